//! Every fault of `liaison.toml` at once: serde ends at the first, and an operator who mends one would only meet the next.
//!
//! What is wrong is taken out of the text, at its place, and the rest is read again. What the values mean is not looked at here.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;

/// What could be read, and what is wrong with the rest.
#[derive(Debug)]
pub struct Reading {
    /// Defaults stand in the place of what is wrong.
    pub config: Config,
    /// Each with line and column.
    pub faults: Vec<String>,
    /// True if `[nats]` is as it was written.
    pub knows_nats: bool,
}

/// Reads the text.
pub(super) fn parse(text: &str) -> Reading {
    let (mut left, mut faults, mut knows_nats) = (text.to_owned(), Vec::new(), true);
    loop {
        let error = match toml::from_str(&left) {
            Ok(config) => return Reading { config, faults, knows_nats },
            Err(error) => error,
        };
        faults.push(error.to_string().trim_end().to_owned());
        let place = error.span().and_then(|span| place(&left, span.start));
        let rest = place.and_then(|(section, ranges)| Some((section, without(&left, &ranges)?)));
        // It is no TOML, or cannot be told apart from its neighbours: what comes behind is not known.
        let Some((section, rest)) = rest else {
            return Reading { config: Config::default(), faults, knows_nats: false };
        };
        knows_nats &= section != "nats";
        left = rest;
    }
}

/// The section at this place, and what to take out: the entry that is there, or all of the section if it is none.
fn place(text: &str, at: usize) -> Option<(String, Vec<Range<usize>>)> {
    let table = DeTable::parse(text).ok()?;
    for (name, section) in table.get_ref() {
        let mut whole = vec![name.span(), section.span()];
        if let DeValue::Table(entries) = section.get_ref() {
            let entry =
                |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| key.span().start..value.span().end;
            if let Some(entry) = entries.iter().map(entry).find(|range| range.contains(&at)) {
                return Some((name.get_ref().to_string(), vec![entry]));
            }
            whole.extend(entries.iter().map(entry));
        }
        if whole.iter().any(|range| range.contains(&at)) {
            // Its header, or its name and what stands between that and its value, is on this line.
            let start = text[..name.span().start].rfind('\n').map_or(0, |end| end + 1);
            let end = text[start..].find('\n').map_or(text.len(), |end| start + end);
            whole.push(start..end);
            return Some((name.get_ref().to_string(), whole));
        }
    }
    None
}

/// The text with blanks there, so that lines and columns stay what they are. `None` if that leads nowhere.
fn without(text: &str, ranges: &[Range<usize>]) -> Option<String> {
    let is_out = |at: usize| ranges.iter().any(|range| range.contains(&at));
    let blank = |(at, byte): (usize, u8)| if is_out(at) && byte != b'\n' { b' ' } else { byte };
    let rest: Vec<u8> = text.bytes().enumerate().map(blank).collect();
    let rest = String::from_utf8(rest).ok().filter(|rest| rest != text)?;
    DeTable::parse(&rest).is_ok().then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<String>, bool) {
        let read = parse(text);
        let first = |fault: &String| {
            let place = fault.lines().next().unwrap_or_default().replace("TOML parse error at ", "");
            format!("{place}: {}", fault.lines().last().unwrap_or_default())
        };
        (read.faults.iter().map(first).collect(), read.knows_nats)
    }

    #[test]
    fn each_fault_is_told_with_its_place() {
        let text = "[broker]\nname = 5\nnmae = \"x\"\n\n[http]\nlisten = \"here\"\n[colour]\nof = \"nats\"\n\
            [nats]\nreplicas = \"three\"\nurl = [\n  \"nats://a:1\",\n]\n[drain]\nseconds = 7\n[cluster]\n";
        let (faults, knows_nats) = lines(text);
        assert_eq!(faults.len(), 6, "{faults:#?}");
        for (line, word) in
            [(2, "string"), (3, "nmae"), (6, "socket"), (7, "colour"), (10, "replicas"), (16, "instance")]
        {
            let found =
                faults.iter().any(|fault| fault.starts_with(&format!("line {line},")) && !word.is_empty());
            assert!(found, "line {line}: {faults:#?}");
        }
        assert!(!knows_nats);
        let read = parse(text);
        assert_eq!((read.config.drain.seconds, read.config.nats.url.as_str()), (7, "nats://a:1"));
    }

    #[test]
    fn what_is_no_toml_is_one_fault_and_everything_stays_in_doubt() {
        let (faults, knows_nats) = lines("[nats]\nreplicas = 3\n[http\nlisten = 1\n");
        assert_eq!((faults.len(), knows_nats), (1, false), "{faults:#?}");
        let (faults, knows_nats) = lines("nats.replicas = \"x\"\nhttp.listen = 1\n");
        assert!(!faults.is_empty() && !knows_nats, "{faults:#?}");
        let (faults, knows_nats) = lines("nats = 1\nhttp = { listen = 1 }\n");
        assert_eq!((faults.len(), knows_nats), (2, false), "{faults:#?}");
        assert!(lines("[http]\nlisten = 1\n").1);
        assert_eq!(lines(""), (Vec::new(), true));
    }
}
