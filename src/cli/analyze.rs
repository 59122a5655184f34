//! `portreeve analyze`: one report over saved captures.

use std::path::PathBuf;
use std::process::ExitCode;

use super::evidence::Evidence;
use super::rotate::Rotation;
use super::run::{self, Known, RunArgs, Watch};
use super::values::{time, written};
use super::{complain, output, progress};
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::capture::file::{self, Files, Input};
use crate::capture::{InputSummary, Source};
use crate::error::{Error, Result};
use crate::packet::Timestamp;
use crate::pipeline::bounded::{self, Limit};
use crate::pipeline::join::{self, Setting};
use crate::pipeline::scrub::Reading;
use crate::pipeline::{Config, Workers};
use crate::report::summary::{Outcome, Summary};

/// The part of the memory limit that is kept for what evidence must remember: an eighth.
const FOUND_OF_LIMIT: u64 = 8;

/// Arguments of `analyze`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Captures, directories of captures, or `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Leave out frames before this time
    #[arg(long, value_name = "T", value_parser = time)]
    since: Option<Timestamp>,
    /// Leave out frames after this time
    #[arg(long, value_name = "T", value_parser = time)]
    until: Option<Timestamp>,
    /// The inputs have nothing to do with each other: a flow does not go on in the next file
    #[arg(long)]
    separate: bool,
    /// Write the packets of flows with findings to this pcapng file, secrets overwritten
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(written))]
    evidence: Option<PathBuf>,
}

/// Audits the inputs and returns what the verdict says.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let workers = run::workers(args.run.workers);
    let watch = Watch::start(workers);
    let known = Known::load(&args.run)?;
    let (tools, decode) = args.run.tools(&known.site)?;
    args.run.warn_of_memory();
    args.run.check_files(&known, &args.inputs, args.evidence.as_deref())?;
    run::check_baseline(&args.run)?;
    if args.since.zip(args.until).is_some_and(|(since, until)| since > until) {
        return Err(Error::about("--until", "it is before `--since`: no frame would be left"));
    }
    let inputs: Vec<Input> = args.inputs.iter().map(Input::from).collect();
    let options = file::Options {
        separate: args.separate,
        // Within what is not the flows'; every decoder is to have room for this much (RFC 8878 §3.1.1.1.2).
        window_max: (args.run.memory_limit / 8).max(8 << 20),
        ..file::Options::default()
    };
    let evidence = match &args.evidence {
        Some(path) => Some(Evidence::begin(path, &inputs, args.run.memory_limit)?),
        None => None,
    };
    let mut source = Files::open(inputs, &options)?;
    let (mut outputs, _) =
        output::open(args.run.format, &args.run.outputs, false, Rotation::default())?;
    if let Some(evidence) = &evidence {
        outputs.add("evidence", evidence.sink());
    }
    let bar = progress::bar(&source.progress());
    let (watched, shown, reported) = (source.progress(), bar.clone(), bar.clone());
    let mut reading = Reading {
        decode: decode.clone(),
        separate: args.separate,
        since: args.since,
        until: args.until,
        filter: run::frame_filter(args.run.filter.as_deref())?,
    };
    let mut config = Config {
        workers,
        decode,
        separate: args.separate,
        since: args.since,
        until: args.until,
        filter: run::frame_filter(args.run.filter.as_deref())?,
        on_progress: Box::new(move |_| shown.set_position(watched.read())),
        on_broken: Box::new(move |error| reported.suspend(|| complain(error))),
    };
    let mut provenance = args.run.provenance(&known);
    (provenance.since, provenance.until) = (args.since, args.until);
    let setting = Setting {
        catalog: &known.catalog,
        site: &known.site,
        policy: &known.policy,
        past: &known.past,
        fail_on: args.run.fail_on.into(),
        threads: workers != Workers::Inline,
        provenance,
    };
    // Evidence needs to know which flows have findings.
    let beside = evidence.as_ref().map_or(0, |_| args.run.memory_limit / FOUND_OF_LIMIT);
    let limit = Limit { memory: args.run.memory_limit - beside, setting: &setting };
    let (gathered, carried) =
        bounded::gather(&mut source, &mut config, &tools, &limit, &mut outputs)?;
    bar.finish_and_clear();
    if gathered.front.frames == 0 {
        something_was_readable(&source.inputs())?;
    }
    let (packets, bytes) = (gathered.front.frames, gathered.front.wire_bytes);
    let figures = || Some(watch.figures(packets, bytes));
    let summary = join::report_after(carried, &gathered, &source, &setting, &mut outputs, figures)?;
    run::write_baseline(&args.run, &known, summary.timestamp)?;
    match evidence {
        Some(evidence) => evidence.write(gathered, &mut reading, &options)?,
        // The memory of many flows is the system's to take back, all at once.
        None => std::mem::forget(gathered),
    }
    Ok(exit_code(&summary))
}

/// Fails where no input was a capture: that nothing was found in nothing is no pass.
fn something_was_readable(inputs: &[InputSummary]) -> Result<()> {
    if inputs.is_empty() {
        let error = Error::new("no capture was found");
        return Err(error.hint("name files, or folders that hold pcap or pcapng files"));
    }
    if inputs.iter().all(|input| input.broken.is_some()) {
        return Err(Error::new("nothing could be read").hint("see the messages above"));
    }
    Ok(())
}

pub(super) fn exit_code(summary: &Summary) -> ExitCode {
    ExitCode::from(match summary.verdict.result {
        Outcome::Pass => 0,
        Outcome::Findings => 1,
        Outcome::Inconclusive => 3,
    })
}
