//! Frames of the journal and blocks of sled as loose bytes: what is believed comes back as it was, and nothing else is.
//!
//! Behind a checksum nothing is ever found by chance, so the inner readers get their bytes without one too.

use liaison::archive::loose;

/// Worth putting anywhere.
pub const WORDS: &[&str] =
    &["LIAF", "\0\0\0\0", "\u{1}", "\u{2}", "\u{3}", "\u{7f}", "accepted", "it-moi", "\0\0\0\u{1}"];

/// First byte: which reader. Then its bytes.
pub fn run(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 3 {
        0 => frame(rest),
        1 => pack(rest),
        _ => block(rest),
    }
}

fn frame(bytes: &[u8]) {
    let Ok(records) = loose::frame(bytes) else { return };
    let again = loose::reframed(bytes).expect("what was read is written");
    assert_eq!(loose::frame(&again).expect("what was written is read"), records);
}

fn pack(bytes: &[u8]) {
    let Ok(records) = loose::records(bytes) else { return };
    let again = loose::written(&records).expect("what was read is written");
    assert_eq!(loose::records(&again).expect("what was written is read"), records);
}

/// Two bytes with the length of the heads, then heads and bodies.
fn block(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk::<2>() else { return };
    let (heads, bodies) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    if let Some(records) = loose::block(heads, bodies) {
        let again = loose::written(&records).expect("what was read is written");
        assert_eq!(loose::records(&again).expect("what was written is read"), records);
    }
}
