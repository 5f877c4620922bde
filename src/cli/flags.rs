//! How the text of a flag is read: the same on the command line and from the environment, and in all commands.
//!
//! What a flag means is its command's business; which variable belongs to it stands beside it.

use std::time::Duration;

use clap::builder::{BoolishValueParser, Resettable};
use clap::{ArgAction, CommandFactory as _};

use super::Cli;

/// The command line as it is read. A variable that is empty counts as not set, and one for a switch takes what people write:
/// `true`, `yes`, `on`, `1` and their opposites.
pub fn command() -> clap::Command {
    readable(Cli::command(), &is_empty)
}

fn readable(command: clap::Command, is_empty: &dyn Fn(&std::ffi::OsStr) -> bool) -> clap::Command {
    command
        .mut_args(|arg| {
            let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
            let arg = if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg };
            if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
        })
        .mut_subcommands(|command| readable(command, is_empty))
}

#[expect(clippy::disallowed_methods, reason = "only whether it is empty; what it says comes in by clap")]
fn is_empty(variable: &std::ffi::OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
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
    fn an_empty_variable_is_not_set() {
        let command = readable(Cli::command(), &|variable| variable == "LIAISON_DEMO");
        let (mut demo, mut others) = (0, 0);
        each(&command, "liaison", &mut |flag, arg| match arg.get_env() {
            Some(_) => others += 1,
            None => {
                assert_eq!(flag, "liaison up --demo");
                demo += 1;
            }
        });
        assert!(demo == 1 && others > 150);
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
