//! The door of the house. Everything behind it is in the library.

/// Messages are read in one thread and dropped in another; the system's allocator pays for that with locks
/// (`docs/PERFORMANCE.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    liaison::cli::run()
}
