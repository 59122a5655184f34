//! Arguments → exit code: one file a sub-command, and the only module that prints.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 pass, 1 findings at or
//! above `--fail-on`, 2 the run failed, 3 inconclusive.

mod analyze;
mod bench;
mod catalog;
mod clash;
mod doctor;
mod evidence;
#[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
mod live;
mod output;
mod policy;
mod progress;
mod rotate;
mod run;
mod scrub;
#[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
mod service;
#[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
mod source;
#[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
mod status;
mod values;

use std::ffi::OsString;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::capture::privileges::harden;
use crate::error::{Error, Printable, Result};

/// The run failed: usage, or nothing could be read.
pub(crate) const FAILED: u8 = 2;

/// Watches the traffic of API-management platforms (WSO2, IBM API Connect) and reports what breaks the
/// platform's own rules: first of all OAuth bearer tokens in clear.
#[derive(Parser)]
#[command(
    name = "portreeve",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 pass, 1 findings at or above --fail-on, 2 the run failed, 3 inconclusive."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Audit saved captures: one report over all inputs
    Analyze(Box<analyze::Args>),
    /// Look things up in the port catalogue, check one, make one of another list
    Catalog(Box<catalog::Args>),
    /// Measure how fast the pipeline is on this machine
    Bench(bench::Args),
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Tell what this machine lets portreeve do, and what it lacks
    Doctor,
    /// Watch interfaces: findings as they happen, a full report at the end
    #[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
    Live(Box<live::Args>),
    /// List and explain the rules, check rules of your own
    Policy(Box<policy::Args>),
    /// Write the manual page to standard output
    Man,
    /// Copy a capture with everything overwritten that may be secret, so that it can be shared
    Scrub(scrub::Args),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    harden();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, std::env::args_os()),
    };
    let done = guarded(|| match arguments.command {
        Command::Analyze(args) => analyze::run(&args),
        Command::Policy(args) => policy::run(&args, &mut io::stdout().lock()),
        Command::Catalog(args) => catalog::run(&args, &mut io::stdout().lock()),
        Command::Bench(args) => bench::run(&args),
        Command::Completions { shell } => completions(shell),
        Command::Doctor => doctor::run(),
        #[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
        Command::Live(args) => live::run(&args),
        Command::Man => man(),
        Command::Scrub(args) => scrub::run(&args),
    });
    done.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(FAILED)
    })
}

/// Tells what is wrong with the arguments, or what was asked about them, without sending to the terminal what
/// they would do there.
fn usage(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let printable = |text: &OsString| Printable(&text.to_string_lossy()).to_string();
    let printable: Vec<String> = arguments.map(|argument| printable(&argument)).collect();
    // Nobody is left to tell where standard error cannot be written.
    let _ = match Arguments::try_parse_from(&printable) {
        Err(error) => error.print(),
        // Only what is no text was wrong.
        Ok(_) => writeln!(anstream::stderr().lock(), "error: {}", Printable(&plain(error))),
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILED))
}

/// Returns the first line of what the command line's parser says, without its own mark.
fn plain(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Runs something in which a defect is an error of the run, and no other exit code.
fn guarded(run: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    // Nothing of the run is used afterwards.
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let error = Error::new("a defect of portreeve stopped the run; it is not complete");
        Err(error.hint("please report it with the message above"))
    })
}

/// Writes an error and its hint to standard error.
fn complain(error: &Error) {
    let mut err = anstream::stderr().lock();
    let red = anstyle::AnsiColor::Red.on_default().bold();
    // Nobody is left to tell where standard error cannot be written.
    let _ = writeln!(err, "{red}error:{red:#} {error}");
    if let Some(hint) = error.hint_text() {
        let _ = writeln!(err, "hint: {}", Printable(hint));
    }
}

/// Writes a remark to standard error.
#[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", Printable(text));
}

/// Writes a warning to standard error.
fn warn(text: &str) {
    let mut err = anstream::stderr().lock();
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    let _ = writeln!(err, "{yellow}warning:{yellow:#} {}", Printable(text));
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "portreeve", &mut script);
    print(&script)
}

fn man() -> Result<ExitCode> {
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(Arguments::command()).render(&mut page);
    written.map_err(|error| Error::new(format!("cannot write the manual page: {error}")))?;
    print(&page)
}

/// Writes to standard output; a reader that has gone away has read enough.
fn print(bytes: &[u8]) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::about("standard output", format!("cannot be written: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failed_run() {
        let error = guarded(|| panic!("on purpose")).unwrap_err();
        assert!(error.to_string().contains("it is not complete"));
        assert!(guarded(|| Ok(ExitCode::SUCCESS)).is_ok());
    }

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
