//! The door of the house. Everything behind it is in the library.

fn main() -> std::process::ExitCode {
    liaison::cli::run()
}
