//! How the text of a flag is read: the same on the command line and from the environment, and in all commands.
//!
//! What a flag means is its command's business; which variable belongs to it stands beside it.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::builder::{BoolishValueParser, Resettable};
use clap::{ArgAction, CommandFactory as _};

use super::Cli;

/// What clap takes as off.
const OFF: [&str; 6] = ["n", "no", "f", "false", "off", "0"];

/// The command line as it is read. A variable that is empty counts as not set, and one for a switch takes what people write:
/// `true`, `yes`, `on`, `1` and their opposites. A switch that is off there is not set either: it conflicts with nothing.
pub fn command() -> clap::Command {
    readable(Cli::command(), &variable)
}

fn readable(command: clap::Command, variable: &dyn Fn(&OsStr) -> Option<OsString>) -> clap::Command {
    command
        .mut_args(|arg| {
            let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
            let value = arg.get_env().and_then(variable);
            let is_off =
                |value: &OsString| value.to_str().is_some_and(|value| OFF.contains(&&*value.to_lowercase()));
            let says_nothing = value.is_some_and(|value| value.is_empty() || is_switch && is_off(&value));
            let arg = if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg };
            if says_nothing { arg.env(Resettable::Reset) } else { arg }
        })
        .mut_subcommands(|command| readable(command, variable))
}

#[expect(clippy::disallowed_methods, reason = "only whether it says anything; what it says comes in by clap")]
fn variable(name: &OsStr) -> Option<OsString> {
    std::env::var_os(name)
}

/// Seconds, or a number with its unit: `30`, `30s`, `5m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    span.try_into().map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &clap::Command, path: &str, look: &mut impl FnMut(&str, &clap::Arg)) {
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            look(&format!("{path} --{}", arg.get_long().unwrap_or_default()), arg);
        }
        for inner in command.get_subcommands() {
            each(inner, &format!("{path} {}", inner.get_name()), look);
        }
    }

    #[test]
    fn every_flag_is_also_a_variable() {
        let mut seen = 0;
        each(&Cli::command(), "liaison", &mut |flag, arg| {
            let variable = arg.get_env().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
            assert!(variable.starts_with("LIAISON_"), "{flag} has no variable: {variable:?}");
            seen += 1;
        });
        assert!(seen > 150, "{seen} flags");
    }

    #[test]
    fn a_variable_that_says_nothing_is_not_set() {
        for (variable, value, unset) in [
            ("LIAISON_DEMO", "", "liaison up --demo"),
            ("LIAISON_DEMO", "No", "liaison up --demo"),
            ("LIAISON_DEMO", "yes", ""),
            ("LIAISON_CURSOR_FILE", "", "liaison replay --cursor-file"),
            ("LIAISON_CURSOR_FILE", "no", ""),
        ] {
            let set = |name: &OsStr| (name == variable).then(|| OsString::from(value));
            let mut found = String::new();
            each(&readable(Cli::command(), &set), "liaison", &mut |flag, arg| {
                if arg.get_env().is_none() {
                    found.push_str(flag);
                }
            });
            assert_eq!(found, unset, "{variable}={value}");
        }
    }

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("5m", 300), ("1h 30m", 5400), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "-1", "-5s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
