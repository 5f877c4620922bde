//! Tables of what the screen must find and what it must let pass. All numbers are invented.

use proptest::prelude::*;

use super::*;

#[test]
fn what_has_the_form_of_personal_data_is_found() {
    for (text, expected) in [
        ("Contact the agent under +90 555 010 20 30 for seats", Found::Phone),
        ("call (+90) 555-010-20-30", Found::Phone),
        ("0090 555 010 20 30", Found::Phone),
        ("0555 010 20 30", Found::Phone),
        ("number 0171/1234567.", Found::Phone),
        ("+90.555.010.20.30", Found::Phone),
        ("+９０ ５５５ ０１０ ２０ ３０", Found::Phone),
        ("اتصل على ٠٥٥٥٠١٠٢٠٣٠", Found::Phone),
        ("+90 5\u{200b}55 0\u{200b}10 20 30", Found::Phone),
        ("+90\u{a0}555\u{2011}010\u{2011}2030", Found::Phone),
        ("tel 555 010 2030", Found::Phone),
        ("WhatsApp: 5550102", Found::Phone),
        ("seats from 905550102030 only", Found::Phone),
        ("(555) 010-2030", Found::Phone),
        ("fixer@example.net", Found::Email),
        ("fixer＠example．net", Found::Email),
        ("fixer @ example.net", Found::Email),
        ("fixer (at) example (dot) net", Found::Email),
        ("fixer[at]example.net", Found::Email),
        ("f\u{200d}ixer@exa\u{200b}mple.net", Found::Email),
        ("مهرب@example.net", Found::Email),
        ("sold by @fast_crossing on a messenger", Found::Handle),
        ("(@fast.crossing)", Found::Handle),
        ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", Found::Mrz),
        ("p<utoeriksson<<anna<maria<<<<<<<<<<<<<<<<<<<", Found::Mrz),
        ("P < U T O E R I K S S O N < < A N N A < M A R I A < < < < < <", Found::Mrz),
        ("L898902C36UTO7408122F1204159ZE184226B<<<<<10", Found::Mrz),
        ("L898902C36UTO7408122F120415912345678901234", Found::Mrz),
        ("7408122F1204159UTO<<<<<<<<<<<6", Found::Mrz),
        ("paid to DE89 3704 0044 0532 0130 00 each time", Found::Iban),
        ("paid to de89370400440532013000", Found::Iban),
        ("GB82-WEST-1234-5698-7654-32", Found::Iban),
        ("one had N0123456 with a new page", Found::Document),
        ("CA00000AA", Found::Document),
        ("12AB34567", Found::Document),
        ("was it AB1234567?", Found::Document),
        ("passport no. 123 456 789", Found::Document),
        ("Passport number: 1234567", Found::Document),
        ("identity card n° 1234567", Found::Document),
        ("passport N 0123456", Found::Document),
    ] {
        assert_eq!(find(text), Some(expected), "{text}");
    }
}

#[test]
fn ordinary_text_of_reports_passes() {
    for text in [
        "",
        "A rubber boat with about 80 on board sank 14 NM north; coast guard recovered 22.",
        "Groups of 4-8 buy onward tickets; prices rose from 4500 to 6500 EUR.",
        "1 240 000 persons, 1,100,000 to 1.400.000, since 2015",
        "an increase of +12000 on 2024, +1 200 000 in all",
        "from 2025-01-01 to 2026-03-01, 2024-2026, 2024/2025/2026",
        "on 01.02.2026 10:15 and 03/03/2026 - 05/03/2026",
        "02.03.2026 09.40",
        "decision SB/2026/4 under Regulation (EU) 2019/1240, Article 10(3)(b)",
        "Implementing Regulation (EU) 2021/581; Directive 2008/115/EC; 2013/488/EU",
        "position 34.740012, 10.760034; 34°44'24\" N 10°45'36\" E; 33SVA1234567890",
        "UN/LOCODE TNSFA, LYZWA; route CMED; PRADO FRA-AO-03001",
        "message 0195c3a1-0001-7000-8000-000000000001 and 0195c3a1-1111-7000-8000-123456789012",
        "sha256 aaaaaaaa11111111aaaaaaaa11111111aaaaaaaa11111111aaaaaaaa11111111",
        "file DTV-2026-004711, RFI-2026-031",
        "see https://vault.example/b/905550102030 and IMG_20260302_101500.jpg",
        "WhatsApp Image 2026-03-02 at 10.15.30",
        "flight TK1984 on 20260302T101500, vessel IMO9074729, IMO 9074729",
        "series N01****?? and N0123456**",
        "sent to @board, @ms-lea and @local.",
        "at 5 @ 4500 EUR",
        "recovery < 10 %, arrivals > 200, and a << b in the model",
        "visa 2025-2026, passports seized 2024 2025 2026",
        "EUR450000 paid, EUR 1200000",
        "in the ratio 0.3333333333",
        "12 of 15 in 2023, 13 of 16 in 2024, 14 of 17 in 2025",
        "صفاقس remains the main hub; metal boats replace wooden ones in 2026.",
        "telephone and e-mail in free text are refused",
        "hot-line open 24/7, seats 1-400",
        "counts by week: 410 290 260 180 12 88",
    ] {
        assert_eq!(find(text), None, "{text}");
    }
}

#[test]
fn references_keep_their_digits_and_not_their_addresses() {
    for text in [
        "https://vault.example/b/+905550102030",
        "N0123456",
        "DE88370400440532013000",
        "RFI-2026-031",
        "+31 files",
    ] {
        assert_eq!(reference(text), None, "{text}");
    }
    for (text, found) in [
        ("mailto:fixer@example.net", Found::Email),
        ("mailto:fixer%40example.net", Found::Email),
        ("https://vault.example/a%40example.net", Found::Email),
        ("https://chat.example/@fast_crossing", Found::Handle),
        ("tel:+905550102030", Found::Phone),
        ("TEL:05550102030", Found::Phone),
        ("+90 555 010 20 30", Found::Phone),
        ("%2B90 555 010 20 30", Found::Phone),
        ("DE89370400440532013000", Found::Iban),
    ] {
        assert_eq!(reference(text), Some(found), "{text}");
    }
}

/// What is left at once is left by the full look too: every letter that is let through is folded to itself.
#[test]
fn plain_letters_hide_nothing() {
    let mut through = 0;
    for character in (0x80..=u32::from(char::MAX)).filter_map(char::from_u32) {
        let text = character.to_string();
        if is_plain(&text) {
            assert_eq!(fold(&text), text, "U+{:04X}", u32::from(character));
            through += 1;
        }
    }
    assert!(through > 800, "{through}");
    assert!(is_plain("Überfahrt nach Łódź, Αθήνα und София") && !is_plain("\u{a0}") && !is_plain("٠"));
}

proptest! {
    #[test]
    fn what_is_plain_has_no_finding(text in "[a-zé<@(0-9 .ßЖω\u{a0}٠]{0,24}") {
        prop_assert!(!is_plain(&text) || (find(&text).is_none() && reference(&text).is_none()));
    }
}
