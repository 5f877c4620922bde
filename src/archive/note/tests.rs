//! Notes against the published examples, another implementation, and what must be refused.

use super::*;

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

/// The example of C2SP signed-note.
#[test]
fn the_published_example_verifies() {
    let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let note = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let verifier = Verifier::parse(key).unwrap();
    assert_eq!((verifier.to_string().as_str(), verifier.kind()), (key, Kind::Log));
    let read = Note::parse(note).unwrap();
    assert_eq!(read.verify(&verifier).unwrap(), None);
    assert_eq!((read.to_string().as_str(), read.text()), (note, "This is an example message.\n"));
    let changed = Note::parse(&note.replace("example message", "example massage")).unwrap();
    assert!(changed.verify(&verifier).is_err());
}

/// Each signs what the other verifies, with the same key texts.
#[test]
fn notes_are_exchanged_with_another_implementation() {
    use signed_note::Signer as _;
    let ours = Signer::new(name("liaison-1"), Kind::Log, &[7; 32]);
    let theirs = signed_note::StandardSigner::new(&ours.secret()).unwrap();
    let text = "a\n\nb\n";
    let signature = theirs.sign(text.as_bytes()).unwrap();
    assert_eq!(signature, ours.sign(text, 5).bytes);
    assert_eq!(theirs.key_id().to_be_bytes(), ours.verifier().id);
    let mut note = Note::new(text.to_owned()).unwrap();
    note.add(ours.sign(text, 5));
    let verifier = signed_note::StandardVerifier::new(&ours.verifier().to_string()).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let parsed = signed_note::Note::from_bytes(note.to_string().as_bytes()).unwrap();
    assert_eq!(parsed.verify(&known).unwrap().0.len(), 1);
    assert_eq!(Note::parse(&note.to_string()).unwrap(), note);
}

#[test]
fn a_witness_signs_text_and_time() {
    let witness = Signer::new(name("de-bpol"), Kind::Witness, &[1; 32]);
    let mut note = Note::new("liaison-1\n1\nx\n".to_owned()).unwrap();
    note.add(witness.sign(note.text(), 1_679_315_147));
    note.add(witness.sign(note.text(), 1_679_315_148));
    assert_eq!(note.signatures().len(), 1, "the later takes the place of the earlier");
    assert_eq!(note.verify(witness.verifier()).unwrap(), Some(1_679_315_148));
    let mut signature = note.signatures()[0].clone();
    signature.bytes[7] ^= 1;
    assert!(witness.verifier().verify(note.text(), &signature).is_err(), "another time");
    let log = Signer::new(name("de-bpol"), Kind::Log, &[1; 32]);
    assert!(note.verify(log.verifier()).is_err(), "the same key for another use is another key");
    assert!(note.verify(Signer::new(name("fr-x"), Kind::Witness, &[1; 32]).verifier()).is_err());
}

#[test]
fn any_changed_bit_of_a_signature_is_refused() {
    let signer = Signer::new(name("n"), Kind::Log, &[2; 32]);
    let signature = signer.sign("text\n", 0);
    assert!(signer.verifier().verify("text\n", &signature).is_ok());
    for bit in 0..512 {
        let mut wrong = signature.clone();
        wrong.bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(signer.verifier().verify("text\n", &wrong).is_err(), "bit {bit}");
    }
}

#[test]
fn what_is_no_note_is_refused() {
    let signer = Signer::new(name("n"), Kind::Log, &[2; 32]);
    let line = signer.sign("text\n", 0).to_string();
    assert!(Note::parse(&format!("text\n\n{line}")).is_ok());
    let many = line.repeat(MOST_SIGNATURES + 1);
    for bad in [
        String::new(),
        "text\n".to_owned(),
        "text\n\n".to_owned(),
        format!("text\n{line}"),
        format!("text\n\n{}", line.trim_end()),
        format!("te\txt\n\n{line}"),
        format!("text\r\n\n{line}"),
        format!("text\n\n{}", line.replace('\n', "\r\n")),
        format!("text\n\n{}", line.replace('\u{2014}', "-")),
        format!("text\n\n{}", line.replace('=', "")),
        format!("text\n\n{}", line.replace(" n ", " n+ ")),
        format!("text\n\n{}", line.replace(" n ", "  ")),
        format!("text\n\n{line}trailing\n"),
        "text\n\n\u{2014} n AAAAAA==\n".to_owned(),
        format!("text\n\n{many}"),
    ] {
        assert!(Note::parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn keys_are_read_strictly_and_never_shown() {
    let signer = Signer::new(name("liaison-1"), Kind::Log, &[2; 32]);
    let again = Signer::parse(&signer.secret()).unwrap();
    assert_eq!(again.verifier(), signer.verifier());
    assert!(!format!("{again:?}").contains(&STANDARD.encode([2; 4])[..4]), "{again:?}");
    let key = signer.verifier().to_string();
    let weak = Verifier::new(name("w"), Kind::Log, VerifyingKey::from_bytes(&[0; 32]).unwrap());
    let (head, tail) = key.rsplit_once('+').unwrap();
    for bad in [
        String::new(),
        "a+b".to_owned(),
        key.replace("liaison-1", "liaison-2"),
        key.to_uppercase(),
        format!("{head}+{}", &tail[..tail.len() - 4]),
        format!("{head}+Ag{}", &tail[2..]),
        format!("{key}="),
        weak.to_string(),
    ] {
        assert!(Verifier::parse(&bad).is_err(), "{bad}");
        assert!(Signer::parse(&format!("PRIVATE+KEY+{bad}")).is_err(), "{bad}");
    }
}
