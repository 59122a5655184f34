//! `portreeve bench`: how fast each stage and the whole pipeline are on this machine.
//!
//! A mix knows its own truth, and the bench fails where the pipeline finds anything else: a fast wrong
//! answer is no answer.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::values::threads;
use super::{print, run};
use crate::capture::file::{self, Files, Input};
use crate::capture::held::Held;
use crate::capture::mix::{Amount, Mix, Recipe, Truth};
use crate::capture::{Block, Event, Source};
use crate::catalog::toml_text;
use crate::decode;
use crate::error::{Error, Result};
use crate::inspect::secret::Fingerprinter;
use crate::inspect::{Options, Tools};
use crate::pipeline::measure::{self, Found, Stage, Taken};
use crate::pipeline::{Config, Workers};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Captures to measure with instead of a built-in mix; they are held in memory
    #[arg(value_name = "FILE", conflicts_with = "mix")]
    inputs: Vec<PathBuf>,
    /// Built-in traffic: what a gateway sees, or small packets of many flows
    #[arg(long, value_enum, default_value = "gateway")]
    mix: MixName,
    /// Packets of the mix
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,
    /// Flows that they are spread over [default: 42 packets a flow for gateway, 10 for small]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    flows: u64,
    /// Repeat each measurement for so many seconds and take the median
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// Threads in all [default: the processors, up to 4]
    #[arg(long, value_name = "N", value_parser = threads)]
    workers: Option<NonZeroUsize>,
    /// Format of the figures
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Show the ratio to the figures of an earlier run in JSON
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Write the mix to a pcap file and measure nothing: for other tools
    #[arg(long, value_name = "PCAP", conflicts_with = "inputs")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MixName {
    Gateway,
    Small,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What was measured.
#[derive(Serialize, Deserialize)]
struct Figures {
    version: String,
    input: String,
    packets: u64,
    bytes: u64,
    flows: u64,
    tokens: u64,
    workers: usize,
    cores: usize,
    machine: String,
    features: Vec<String>,
    stages: Vec<StageFigures>,
    packets_per_second: f64,
    gbit_per_second: f64,
    block_latency_ns: Latency,
    lost: u64,
    peak_memory_bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct StageFigures {
    stage: String,
    ns_per_packet: f64,
    best_ns_per_packet: f64,
    runs: usize,
}

#[derive(Serialize, Deserialize)]
struct Latency {
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

/// Measures and prints.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let recipe = match args.mix {
        MixName::Gateway => Recipe::Gateway,
        MixName::Small => Recipe::Small,
    };
    let amount = Amount { packets: args.packets, flows: args.flows, seed: 1 };
    if let Some(path) = &args.write {
        let truth = write(path, Mix::new(recipe, amount))?;
        let text = format!(
            "{} packets, {} flows, {} requests, {} bearer tokens in {} flows\n",
            truth.packets, truth.flows, truth.requests, truth.tokens, truth.token_flows
        );
        return print(text.as_bytes());
    }
    let (held, truth, input) = if args.inputs.is_empty() {
        let mut mix = Mix::new(recipe, amount);
        let held = Held::of(&mut mix)?;
        (held, Some(mix.truth()), format!("mix {}", recipe.name()))
    } else {
        let inputs = args.inputs.iter().map(Input::from).collect();
        let mut files = Files::open(inputs, &file::Options::default())?;
        (Held::of(&mut files)?, None, format!("{} file(s)", args.inputs.len()))
    };
    let figures = measure_all(args, &held, truth, input)?;
    let old = args.compare.as_deref().map(read).transpose()?;
    print(
        match args.format {
            Format::Text => text(&figures, old.as_ref()).into_bytes(),
            Format::Json => json(&figures)?,
        }
        .as_slice(),
    )
}

fn measure_all(args: &Args, held: &Held, truth: Option<Truth>, input: String) -> Result<Figures> {
    let packets = held.frames();
    if packets == 0 {
        return Err(Error::new("there is no packet to measure with"));
    }
    let tools = Tools {
        options: Options::default(),
        fingerprinter: Fingerprinter::new(b"portreeve bench"),
    };
    let workers = run::workers(args.workers);
    let mut stages = Vec::new();
    for stage in Stage::ALL {
        let taken = measure::repeat(args.seconds, || measure::stage(stage, held))?;
        stages.push(stage_figures(stage.name(), taken, packets));
    }
    let mut latency = Histogram::new(3).expect("three digits are a valid precision");
    let mut found = None;
    let taken = measure::repeat(args.seconds, || {
        let mut config = config(workers);
        let (gathered, seconds) = measure::whole(held, &mut config, &tools, &mut latency)?;
        found = Some(measure::found(&gathered));
        Ok(seconds)
    })?;
    stages.push(stage_figures("pipeline", taken, packets));
    let found = found.expect("a measurement runs at least once");
    check(found, truth)?;
    Ok(figures(held, input, found, workers, stages, taken, &latency))
}

#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn figures(
    held: &Held,
    input: String,
    found: Found,
    workers: Workers,
    stages: Vec<StageFigures>,
    taken: Taken,
    latency: &Histogram<u64>,
) -> Figures {
    let (packets, bytes) = (held.frames(), held.wire_bytes());
    Figures {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        input,
        packets,
        bytes,
        flows: found.flows,
        tokens: found.tokens,
        workers: run::threads_of(workers),
        cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        machine: machine(),
        features: features(),
        stages,
        packets_per_second: packets as f64 / taken.median,
        gbit_per_second: bytes as f64 * 8.0 / taken.median / 1e9,
        block_latency_ns: Latency {
            p50: latency.value_at_quantile(0.5),
            p90: latency.value_at_quantile(0.9),
            p99: latency.value_at_quantile(0.99),
            max: latency.max(),
        },
        lost: 0,
        peak_memory_bytes: run::peak_memory_bytes(),
    }
}

/// A mix knows what is in it.
fn check(found: Found, truth: Option<Truth>) -> Result<()> {
    let Some(truth) = truth else { return Ok(()) };
    let pairs = [
        ("packets", found.packets, truth.packets),
        ("flows", found.flows, truth.flows),
        ("bearer tokens", found.tokens, truth.tokens),
        ("flows with tokens", found.token_flows, truth.token_flows),
    ];
    match pairs.into_iter().find(|(_, found, truth)| found != truth) {
        Some((what, found, truth)) => Err(Error::new(format!(
            "the result is wrong: the mix has {truth} {what}, and {found} were found"
        ))),
        None => Ok(()),
    }
}

fn config(workers: Workers) -> Config {
    Config {
        workers,
        decode: decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
        on_progress: Box::new(|_| {}),
        on_broken: Box::new(|_| {}),
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn stage_figures(stage: &str, taken: Taken, packets: u64) -> StageFigures {
    let each = |seconds: f64| seconds * 1e9 / packets as f64;
    StageFigures {
        stage: stage.to_owned(),
        ns_per_packet: each(taken.median),
        best_ns_per_packet: each(taken.best),
        runs: taken.runs,
    }
}

fn text(figures: &Figures, old: Option<&Figures>) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let ratio = |new: f64, old: Option<f64>| {
        old.map_or(String::new(), |old| format!("  {:.2}x the old figure", new / old))
    };
    let _ = writeln!(
        out,
        "{}: {} packets, {} flows, {} bearer tokens; {} thread(s) on {}",
        figures.input,
        figures.packets,
        figures.flows,
        figures.tokens,
        figures.workers,
        figures.machine
    );
    let _ = writeln!(
        out,
        "{:>10.2} million packets/s, {:.2} Gbit/s{}",
        figures.packets_per_second / 1e6,
        figures.gbit_per_second,
        ratio(figures.packets_per_second, old.map(|old| old.packets_per_second))
    );
    for stage in &figures.stages {
        let before = old.and_then(|old| old.stages.iter().find(|one| one.stage == stage.stage));
        let _ = writeln!(
            out,
            "{:>10.1} ns/packet {:<9} best {:.1}, {} run(s){}",
            stage.ns_per_packet,
            stage.stage,
            stage.best_ns_per_packet,
            stage.runs,
            ratio(stage.ns_per_packet, before.map(|before| before.ns_per_packet))
        );
    }
    let Latency { p50, p90, p99, max } = figures.block_latency_ns;
    let _ = writeln!(
        out,
        "           block latency p50 {} us, p90 {} us, p99 {} us, max {} us; {} lost",
        p50 / 1000,
        p90 / 1000,
        p99 / 1000,
        max / 1000,
        figures.lost
    );
    if let Some(memory) = figures.peak_memory_bytes {
        let _ = writeln!(
            out,
            "           peak memory {} MiB, the frames themselves ({} MiB) included",
            memory >> 20,
            figures.bytes >> 20
        );
    }
    out
}

fn json(figures: &Figures) -> Result<Vec<u8>> {
    let mut out = serde_json::to_vec_pretty(figures)
        .map_err(|error| Error::new(format!("cannot write the figures: {error}")))?;
    out.push(b'\n');
    Ok(out)
}

fn read(path: &Path) -> Result<Figures> {
    let text = toml_text::read(path)?;
    serde_json::from_str(&text).map_err(|error| {
        Error::at_line(path, error.line(), format!("no figures of an earlier run: {error}"))
    })
}

/// Returns the processor's name, where the system tells it.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn features() -> Vec<String> {
    let features = [("live", cfg!(feature = "live"))];
    features.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
}

/// Writes a mix as a pcap file with nanoseconds (the libpcap file format, magic 0xa1b23c4d).
fn write(path: &Path, mut mix: Mix) -> Result<Truth> {
    let failed =
        |error: std::io::Error| Error::at_path(path, format!("cannot be written: {error}"));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
    let header: [u32; 6] = [0xa1b2_3c4d, 2 | 4 << 16, 0, 0, 262_144, 1];
    for word in header {
        out.write_all(&word.to_le_bytes()).map_err(failed)?;
    }
    let mut block = Block::default();
    while matches!(mix.next(&mut block)?, Event::Frames) {
        for (index, record) in block.frames.iter().enumerate() {
            let frame = block.frame(index, 1);
            let (seconds, nanoseconds) =
                (record.time.0.div_euclid(1_000_000_000), record.time.0.rem_euclid(1_000_000_000));
            let words =
                [seconds, nanoseconds, i64::from(record.span.len), i64::from(record.wire_len)];
            for word in words {
                let word = u32::try_from(word).unwrap_or(u32::MAX);
                out.write_all(&word.to_le_bytes()).map_err(failed)?;
            }
            out.write_all(frame.bytes).map_err(failed)?;
        }
    }
    out.flush().map_err(failed)?;
    Ok(mix.truth())
}
