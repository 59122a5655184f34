//! The command line: see [`portreeve::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    portreeve::cli::main()
}
