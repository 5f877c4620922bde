//! Each rule from S-3 to S-20 in both directions: one message that breaks a clause and one that just does not.

use liaison::message::outcome::Code;
use liaison::rules::judge::judge;
use serde_json::{Value, json};

use super::judged::{
    RULES, accepts, changed, judged, message, now, places, put, raw, raw_of, refuses, valid, with, without,
};

#[test]
fn s3_every_token_of_the_subject_agrees() {
    let good = raw_of(&message("01"));
    assert_eq!(good.subject, "ilo.in.it-moi.tn-01.net.flow.observation.tn");
    for (subject, paths) in [
        ("ilo.in.it-moi.system.net.flow.observation.tn", vec!["/source"]),
        ("ilo.in.it-moi.tn-01.case.flow.observation.tn", vec!["/type"]),
        ("ilo.in.it-moi.tn-01.net.flow.route.tn", vec!["/type"]),
        ("ilo.in.it-moi.tn-01.net.flow.observation.zz", vec!["/subject"]),
        ("ilo.in.es-pn.tn-02.net.flow.observation.ly", vec!["/originator", "/source", "/subject"]),
        ("ilo.in.it-moi.tn-01.net.flow.observation.*", vec![""]),
        ("ilo.in.it-moi.tn-01.net.flow.observation", vec![""]),
        ("ilo.in.it-moi.tn-01.net.flow.observation.tn.x", vec![""]),
        ("", vec![""]),
    ] {
        let refusal = judge(&RULES, raw("it-moi", subject, &good.payload), now()).expect_err(subject);
        assert_eq!(places(&refusal.refused), (Code::Subject, paths), "{subject}");
    }
    accepts(&with("12", &[]));
}

#[test]
fn s4_account_originator_and_source_are_one() {
    for (source, originator, paths) in [
        ("/authority/es-pn/post/tn-01", "it-moi", vec!["/source"]),
        ("/authority/it-moi/post/tn-01", "es-pn", vec!["/originator"]),
        ("/broker/one", "it-moi", vec!["/source"]),
    ] {
        let bytes = with("01", &[("/source", json!(source)), ("/originator", json!(originator))]).to_string();
        let subject = valid("01").subject;
        let refusal = judge(&RULES, raw("it-moi", &subject, bytes.as_bytes()), now()).expect_err(source);
        assert_eq!(places(&refusal.refused), (Code::Origin, paths), "{source}");
    }
}

#[test]
fn the_country_is_one_of_iso_3166() {
    for (country, token) in [("TN", "tn"), ("XK", "xk"), ("GB", "gb")] {
        let message = with("01", &[("/subject", json!(country))]).to_string();
        let subject =
            valid("01").subject.replace(".tn", &format!(".{token}")).replace(&format!("{token}-01"), "tn-01");
        assert!(judge(&RULES, raw("it-moi", &subject, message.as_bytes()), now()).is_ok(), "{country}");
    }
    for country in ["UK", "EL", "ZZ", "tn", "T"] {
        refuses(&with("01", &[("/subject", json!(country))]), Code::Envelope, &["/subject"]);
    }
}

#[test]
fn s6_time_before_recording_before_now() {
    accepts(&with("01", &[("/time", json!("2026-03-02T09:40:12Z"))]));
    refuses(&with("01", &[("/time", json!("2026-03-02T09:40:13Z"))]), Code::Time, &["/time"]);
    accepts(&with("01", &[("/recordedtime", json!("2026-03-02T10:05:00Z"))]));
    refuses(&with("01", &[("/recordedtime", json!("2026-03-02T10:05:01Z"))]), Code::Time, &["/recordedtime"]);
    let ahead = [("/time", json!("2026-03-03T00:00:00Z")), ("/recordedtime", json!("2026-03-02T12:00:00Z"))];
    refuses(&with("01", &ahead), Code::Time, &["/time", "/recordedtime"]);
}

#[test]
fn s6_and_the_event_clock_flag_what_is_late() {
    let remarks = |message: &Value| -> Vec<String> {
        let permitted = judged(message).unwrap_or_else(|refusal| panic!("{:?}", refusal.refused));
        assert_eq!(permitted.is_late(), !permitted.remarks().is_empty());
        permitted.remarks().into_iter().map(|fault| fault.path).collect()
    };
    assert!(
        remarks(&with("01", &[("/time", json!("2026-02-23T10:00:00Z"))])).is_empty(),
        "7 days to the second"
    );
    assert_eq!(remarks(&with("01", &[("/time", json!("2026-02-23T09:59:59Z"))])), ["/time"]);
    assert_eq!(remarks(&with("01", &[("/time", json!("1970-01-01T00:00:00Z"))])), ["/time"]);
    assert!(remarks(&with("04", &[("/data/knownSince", json!("2026-03-01T09:40:12Z"))])).is_empty());
    assert_eq!(
        remarks(&with("04", &[("/data/knownSince", json!("2026-03-01T09:40:11Z"))])),
        ["/data/knownSince"]
    );
}

#[test]
fn s7_ranges() {
    let count = |value: Value| with("01", &[("/data/count", value)]);
    accepts(&count(json!({"value": 5, "min": 5, "max": 5, "basis": "measured"})));
    refuses(&count(json!({"value": 5, "min": 6, "basis": "measured"})), Code::Range, &["/data/count/min"]);
    refuses(&count(json!({"value": 5, "max": 4, "basis": "measured"})), Code::Range, &["/data/count/max"]);
    let both = json!({"value": 5, "min": 6, "max": 4, "basis": "measured"});
    refuses(&count(both), Code::Range, &["/data/count/min", "/data/count/max"]);

    let same = json!({"from": "2026-02-23T00:00:00+01:00", "to": "2026-02-22T23:00:00Z"});
    accepts(&with("01", &[("/data/period", same)]));
    let reversed = json!({"from": "2026-02-23T00:00:00+01:00", "to": "2026-02-22T22:59:59Z"});
    refuses(&with("01", &[("/data/period", reversed)]), Code::Range, &["/data/period/to"]);
    let until = [("/data/until", json!("2026-02-28")), ("/eraseby", json!("2026-03-30T00:00:00Z"))];
    refuses(&with("08", &until), Code::Range, &["/data/until"]);

    let shares = |one: f64, other: f64| {
        let list = json!([{"country": "IT", "share": one}, {"country": "FR", "share": other}]);
        with("01", &[("/data/destinations", list)])
    };
    accepts(&shares(0.7, 0.3));
    accepts(&shares(0.9, 0.1));
    refuses(&shares(0.7, 0.31), Code::Range, &["/data/destinations"]);
    let nations = json!([{"nationality": "GIN", "share": 0.6}, {"nationality": "CIV", "share": 0.5}]);
    refuses(&with("01", &[("/data/composition", nations)]), Code::Range, &["/data/composition"]);

    let twice = with("01", &[("/data/composition/1/nationality", json!("GIN"))]);
    refuses(&twice, Code::Range, &["/data/composition/1/nationality"]);
    let thrice = with(
        "01",
        &[
            ("/data/composition/1/nationality", json!("GIN")),
            ("/data/composition/2/nationality", json!("GIN")),
            ("/data/count/min", json!(2000)),
        ],
    );
    let all = ["/data/composition/1/nationality", "/data/composition/2/nationality", "/data/count/min"];
    refuses(&thrice, Code::Range, &all);

    accepts(&with("12", &[("/data/votes", json!({"for": 30, "against": 1, "abstain": 1}))]));
    refuses(&with("12", &[("/data/votes/abstain", json!(7))]), Code::Range, &["/data/votes"]);
}

#[test]
fn s7_years_and_references_to_persons() {
    let programme = |first: u32, second: u32| {
        with(
            "12",
            &[
                ("/type", json!("eu.ilonet.board.programme.v1")),
                (
                    "/data",
                    json!({"years": [first, second], "version": 1, "priorities": [{"id": "1", "text": "Sahel"}]}),
                ),
            ],
        )
    };
    accepts(&programme(2026, 2027));
    for (first, second) in [(2027, 2026), (2026, 2028)] {
        refuses(&programme(first, second), Code::Range, &["/data/years"]);
    }
    let twice = json!([
        {"role": "suspect", "person": {"personRef": "S1"}},
        {"role": "witness", "person": {"personRef": "S1"}},
    ]);
    refuses(&lead(&[("/data/persons", twice)]), Code::Range, &["/data/persons/1/person/personRef"]);
    accepts(&lead(&[]));
}

/// A lead on persons in smuggling, from one police to another.
fn lead(changes: &[(&str, Value)]) -> Value {
    let mut message = with(
        "07",
        &[
            ("/type", json!("eu.ilonet.case.smuggling-lead.v1")),
            ("/purpose", json!("10.3.e")),
            ("/datacategory", json!("personal")),
            ("/source", json!("/authority/de-bpol")),
            ("/originator", json!("de-bpol")),
            ("/audience", json!("fi-raja,eu-europol")),
            ("/handling", json!("H2")),
            ("/evaluation", json!("B2")),
            (
                "/data",
                json!({"caseRef": "L-9", "necessity": "Suspected organiser travels next week.",
            "offence": "migrant-smuggling",
            "persons": [{"role": "suspect", "person": {"personRef": "S1", "aliases": ["Hadji"]}}]}),
            ),
        ],
    );
    put(&mut message, changes);
    message
}

#[test]
fn s8_places() {
    for (path, value) in [("/data/places/1/locode", "FRPAR"), ("/data/places/0/subdivision", "LY-TB")] {
        refuses(&with("01", &[(path, json!(value))]), Code::Geo, &[path]);
    }
    accepts(&with("01", &[("/data/places/0/subdivision", json!("TN-61"))]));
    let leg = [("/data/legs/0/from/locode", json!("LYZWA")), ("/data/places/0/locode", json!("LYZWA"))];
    refuses(&with("02", &leg), Code::Geo, &["/data/legs/0/from/locode", "/data/places/0/locode"]);
    let ring = "/data/places/0/geometry/coordinates/0";
    refuses(&with("04", &[(&format!("{ring}/4"), json!([11.9, 33.2]))]), Code::Geo, &[ring]);
    accepts(&with("04", &[(&format!("{ring}/4"), json!([11.90, 33.10]))]));
}

#[test]
fn s9_deadlines() {
    let recorded = "2026-03-02T09:40:12Z";
    let after = "2026-03-02T09:40:13Z";
    for (number, path) in [
        ("01", "/expirytime"),
        ("07", "/eraseby"),
        ("07", "/reviewby"),
        ("07", "/data/dueBy"),
        ("09", "/data/dueBy"),
    ] {
        refuses(&with(number, &[(path, json!(recorded))]), Code::Time, &[path]);
        accepts(&with(number, &[(path, json!(after))]));
    }
    refuses(&with("12", &[("/data/dueBy", json!("2026-03-01"))]), Code::Time, &["/data/dueBy"]);
    accepts(&with("12", &[("/data/dueBy", json!("2026-03-02"))]));
}

#[test]
fn s10_purpose() {
    for (number, bad) in [("01", "3.4.c"), ("01", "3.4"), ("09", "3.4.b"), ("10", "3.4.d"), ("07", "10.3.c")]
    {
        refuses(&with(number, &[("/purpose", json!(bad))]), Code::Purpose, &["/purpose"]);
    }
    accepts(&with("09", &[("/purpose", json!("8"))]));
}

#[test]
fn s11_screen_covers_body_and_attributes() {
    let number = json!("call +90 555 010 20 30");
    for (number_of, path) in [
        ("01", "/data/title"),
        ("01", "/data/places/1/name"),
        ("05", "/data/features/2"),
        ("04", "/data/reaction"),
    ] {
        refuses(&with(number_of, &[(path, number.clone())]), Code::Personal, &[path]);
    }
    refuses(&with("03", &[("/handlingnote", number.clone())]), Code::Personal, &["/handlingnote"]);
    let address = [("/correlationid", json!("fixer@example.net")), ("/data/title", json!("@fast_crossing"))];
    refuses(&with("01", &address), Code::Personal, &["/correlationid", "/data/title"]);
    refuses(
        &with("10", &[("/data/newData/title", number.clone())]),
        Code::Personal,
        &["/data/newData/title"],
    );
    refuses(&with("10", &[("/data/reason", number)]), Code::Personal, &["/data/reason"]);
    let hash = "1".repeat(64);
    let attachment = json!([{"name": "IMG_20260302_101500.jpg", "mediaType": "image/jpeg", "sha256": hash,
        "sizeBytes": 5, "ref": "https://vault.example/b/905550102030"}]);
    accepts(&with(
        "01",
        &[("/data/attachments", attachment), ("/correlationid", json!("RFI-2026-905550102030"))],
    ));
    let related = |source: &str| json!([{"source": source, "id": "01951111-1111-7111-8111-111111111111"}]);
    accepts(&with("01", &[("/data/relatesTo", related("/authority/it-moi"))]));
    for source in ["+49 170 1234567", "Passport X1234567", "IBAN DE89370400440532013000"] {
        let path = "/data/relatesTo/0/source";
        refuses(&with("01", &[("/data/relatesTo", related(source))]), Code::Personal, &[path]);
    }
    for value in ["+49 170 1234567", "DE89370400440532013000"] {
        refuses(&with("01", &[("/correlationid", json!(value))]), Code::Personal, &["/correlationid"]);
    }
    for value in ["mailto:john.doe@example.org", "tel:+491701234567"] {
        refuses(&with("01", &[("/dataschema", json!(value))]), Code::Personal, &["/dataschema"]);
    }
}

#[test]
fn s11_series_is_masked() {
    for good in ["N01****??", "***", "AB-???"] {
        accepts(&with("05", &[("/data/series", json!(good))]));
    }
    for bad in ["N01234567", "N0123456**", "N01", "N01234567***", "***N01234567"] {
        refuses(&with("05", &[("/data/series", json!(bad))]), Code::Personal, &["/data/series"]);
    }
}

#[test]
fn s12_small_cells_at_exact_places() {
    let cell = |count: u32, place: Value| {
        let mut message = super::judged::all("invalid")
            .into_iter()
            .find(|example| example.name.starts_with("33"))
            .expect("the case")
            .message;
        message["data"]["victimProfile"][0]["count"] = count.into();
        message["data"]["places"] = json!([place]);
        message
    };
    let town = json!({"country": "TN", "name": "Sfax"});
    for count in [1, 2] {
        for place in [town.clone(), json!({"country": "TN", "locode": "TNSFA"})] {
            refuses(&cell(count, place), Code::SmallCell, &["/data/victimProfile/0/count"]);
        }
        accepts(&cell(count, json!({"country": "TN", "subdivision": "TN-61"})));
    }
    accepts(&cell(3, town.clone()));
    accepts(&cell(0, town));
}

#[test]
fn s13_markings() {
    for class in ["R-UE/EU-R", "TS-UE/EU-TS"] {
        refuses(&with("01", &[("/dataclassification", json!(class))]), Code::Class, &["/dataclassification"]);
    }
    for class in ["PUBLIC", "NORMAL", "SNC", "LIMITE"] {
        accepts(&with("01", &[("/dataclassification", json!(class))]));
    }
    refuses(&with("01", &[("/tlp", json!("TLP:CLEAR"))]), Code::Class, &["/tlp"]);
    accepts(&with("01", &[("/tlp", json!("TLP:CLEAR")), ("/dataclassification", json!("PUBLIC"))]));
    refuses(&with("01", &[("/tlp", json!("TLP:RED"))]), Code::Audience, &["/audience"]);
    accepts(&with("01", &[("/tlp", json!("TLP:RED")), ("/audience", json!("eu-com"))]));
}

#[test]
fn s15_who_is_named() {
    refuses(&with("01", &[("/audience", json!("@ms,tn-police"))]), Code::Audience, &["/audience"]);
    refuses(&with("01", &[("/exclude", json!("tn-police"))]), Code::Audience, &["/exclude"]);
    accepts(&with("01", &[("/exclude", json!("de-bpol"))]));
    refuses(&lead(&[("/audience", json!("fi-raja,fi-migri"))]), Code::Audience, &["/audience"]);
    let not_police = [("/source", json!("/authority/nl-ind")), ("/originator", json!("nl-ind"))];
    refuses(&lead(&not_police), Code::Audience, &["/originator"]);
    let release = |audience: &str| {
        with(
            "10",
            &[
                ("/type", json!("eu.ilonet.msg.release.v1")),
                (
                    "/data",
                    json!({"target": message("10")["data"]["target"], "step": "ask", "newAudience": audience,
                "reason": "the neighbours need it"}),
                ),
            ],
        )
    };
    accepts(&release("@sac,de-bpol"));
    for bad in ["@everyone", "tn-police", "de-bpol, fr-dnpaf"] {
        refuses(&release(bad), Code::Audience, &["/data/newAudience"]);
    }
}

#[test]
fn s16_evaluation_and_handling() {
    for member in ["evaluation", "handling"] {
        let path = format!("/{member}");
        refuses(&changed("03", |message| without(message, member)), Code::Eval, &[&path]);
    }
    let neither = changed("04", |message| {
        without(message, "evaluation");
        without(message, "handling");
    });
    refuses(&neither, Code::Eval, &["/evaluation", "/handling"]);
}

#[test]
fn s17_third_countries_only() {
    for host in ["BE", "DK", "IE"] {
        refuses(&with("08", &[("/data/hostCountry", json!(host))]), Code::Place, &["/data/hostCountry"]);
    }
    for host in ["GB", "CH", "XK"] {
        accepts(&with("08", &[("/data/hostCountry", json!(host))]));
    }
}

#[test]
fn s18_retention() {
    for (days, kind, purpose, data) in [
        (180, "case.identity-request", "10.3.a", message("07")["data"].clone()),
        (90, "case.admission-identity", "10.3.c", checked("channel", "study")),
        (90, "case.resettlement-identity", "10.3.d", checked("referral", "unhcr")),
    ] {
        let at = |seconds: i64| {
            let recorded: liaison::message::time::Timestamp =
                "2026-03-02T09:40:12Z".parse().expect("an instant");
            let last = recorded + std::time::Duration::from_secs(days * 86_400);
            let erase_by =
                liaison::message::time::Timestamp::from_second(last.as_second() + seconds).expect("in range");
            with(
                "07",
                &[
                    ("/type", json!(format!("eu.ilonet.{kind}.v1"))),
                    ("/purpose", json!(purpose)),
                    ("/eraseby", json!(erase_by.to_string())),
                    ("/data", data.clone()),
                ],
            )
        };
        accepts(&at(0));
        refuses(&at(1), Code::Retention, &["/eraseby"]);
    }
    accepts(&lead(&[("/eraseby", json!("2027-03-02T09:40:12Z"))]));
    refuses(&lead(&[("/eraseby", json!("2027-03-02T09:40:13Z"))]), Code::Retention, &["/eraseby"]);
    accepts(&with("11", &[("/eraseby", json!("2026-03-20T06:00:00Z"))]));
    accepts(&with("08", &[("/eraseby", json!("2029-03-31T00:00:00Z"))]));
    refuses(&with("08", &[("/eraseby", json!("2029-03-31T00:00:01Z"))]), Code::Retention, &["/eraseby"]);
}

fn checked(member: &str, value: &str) -> Value {
    json!({"caseRef": "A-1", "necessity": "The applicant has no document.", "person": {"personRef": "P1"},
        member: value, "outcome": "asked"})
}

#[test]
fn s19_and_s20_categories() {
    let vulnerable = [("/datacategory", json!("personal")), ("/data/person/biometrics", json!([]))];
    let mut ordinary = with("07", &vulnerable);
    accepts(&ordinary);
    ordinary["data"]["person"]["vulnerable"] = json!(["minor"]);
    refuses(&ordinary, Code::Category, &["/data/person/vulnerable"]);
    let manifest = [("/datacategory", json!("special")), ("/data/persons/1/vulnerable", json!(["elderly"]))];
    refuses(&with("11", &manifest), Code::Purpose, &["/data/persons/1/vulnerable"]);
    accepts(&with("11", &[("/datacategory", json!("special"))]));

    let personal = [
        ("/dataregulation", json!("GDPR")),
        ("/eraseby", json!("2026-04-01T00:00:00Z")),
        ("/audience", json!("eu-com")),
    ];
    for (number, category, code) in [
        ("01", "personal", Code::Personal),
        ("01", "special", Code::Personal),
        ("01", "contact", Code::Personal),
        ("08", "personal", Code::Personal),
        ("07", "none", Code::Category),
        ("07", "contact", Code::Category),
    ] {
        let mut changes = personal.to_vec();
        changes.push(("/datacategory", json!(category)));
        refuses(&with(number, &changes), code, &["/datacategory"]);
    }
    refuses(
        &changed("08", |message| without(&mut message["data"], "contact")),
        Code::Category,
        &["/datacategory"],
    );
    let anonymous = changed("08", |message| {
        without(&mut message["data"], "contact");
        message["datacategory"] = json!("none");
    });
    accepts(&anonymous);
}

#[test]
fn persons_where_there_may_be_none_are_called_personal() {
    for (path, value) in [
        ("/data/suspects", json!([])),
        ("/data/places/0/contact", json!("x")),
        ("/data/extra", json!([{"deep": {"familyName": "x"}}])),
        ("/data/count", json!([{"personRef": "x"}])),
    ] {
        refuses(&with("01", &[(path, value)]), Code::Personal, &[path]);
    }
    refuses(&with("01", &[("/data/extra", json!({"deep": 1}))]), Code::Schema, &["/data/extra"]);
    refuses(&with("08", &[("/data/contact/fax", json!("x"))]), Code::Schema, &["/data/contact/fax"]);
    refuses(&with("07", &[("/data/suspects", json!([]))]), Code::Schema, &["/data/suspects"]);
}
