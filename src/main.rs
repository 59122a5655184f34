//! The command line: see [`portreeve::cli`].

use std::process::ExitCode;

/// Flows are made on one thread and forgotten on another: an allocator without a lock between them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portreeve::cli::main()
}
