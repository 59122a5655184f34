//! `portreeve live`: findings on interfaces as they happen, a full report at the end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::analyze::exit_code;
use super::rotate::{Reopener, Rotation};
use super::run::{self, Known, RunArgs, Watch};
use super::service::Service;
use super::status::StatusLine;
use super::values::size;
use super::{FAILED, complain, output, source};
use crate::capture::privileges::{self, CapabilitySet, Keep, SandboxReport, User};
use crate::error::{Error, Result};
use crate::inspect::Tools;
use crate::pipeline::Config;
use crate::pipeline::join::{Carried, Setting};
use crate::pipeline::live::{self as watching, Status, Watcher};
use crate::report::summary::{LiveRecord, Rtt, RunRecord};

/// Bytes of a frame that are captured unless the user says otherwise: all of it, also where the
/// device joins segments (tcpdump's default too).
pub(super) const SNAPLEN: u32 = 262_144;

/// Arguments of `live`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Interface to watch, or `any`; may be given again
    #[arg(short, long = "interface", value_name = "IFACE", required = true)]
    pub(super) interfaces: Vec<String>,
    /// What captures
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) backend: Backend,
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// Bytes of a frame to capture
    #[arg(long, value_name = "N", default_value_t = SNAPLEN, value_parser = clap::value_parser!(u32).range(64..=262_144))]
    pub(super) snaplen: u32,
    /// Capture only what the interface would take anyway
    #[arg(long)]
    pub(super) no_promisc: bool,
    /// Kernel buffer: of each interface for libpcap [default: 64M], of all together for eBPF [default: 32M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) buffer: Option<u64>,
    /// Blocks of up to 1 MiB that may wait for the workers, an interface
    #[arg(long, value_name = "N", default_value_t = source::QUEUE_LEN, hide = true)]
    pub(super) queue: usize,
    /// Seconds between two `stats` records
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    stats: u64,
    /// Begin the files of -o anew when they are this large
    #[arg(long, value_name = "SIZE", value_parser = size)]
    rotate_size: Option<u64>,
    /// Begin the files of -o anew after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_every: Option<u64>,
    /// Go on as this user once the interfaces are open [default: who called sudo]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Keep all privileges
    #[arg(long)]
    no_sandbox: bool,
}

/// What captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Backend {
    /// eBPF where kernel, capabilities, interfaces and filter allow it, else libpcap; says which and why.
    Auto,
    /// Counting in the kernel, payload of undecided flows only.
    Ebpf,
    /// libpcap: every frame.
    Pcap,
}

/// Watches the interfaces and returns what the verdict says.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let workers = run::workers(args.run.workers);
    let watch = Watch::start(workers);
    let signals = Signals::listen()?;
    let known = Known::load(&args.run)?;
    args.run.warn_of_memory();
    args.run.check_files(&known, &[], None)?;
    let (tools, decode) = args.run.tools(&known.site)?;
    let mut capture = source::open(args, &signals.stop)?;
    // Files are opened as whoever the run goes on as: rotation opens more of them later.
    let sandbox = confine(args, &known, capture.needs)?;
    let rotation =
        Rotation { size: args.rotate_size, age: args.rotate_every.map(Duration::from_secs) };
    let (mut outputs, reopeners) =
        output::open(args.run.format, &args.run.outputs, true, rotation)?;
    run::check_baseline(&args.run)?;
    super::note(&format!(
        "watching {} through {}; {sandbox}",
        args.interfaces.join(", "),
        capture.shown
    ));
    let mut config = Config {
        workers,
        decode,
        separate: false,
        since: None,
        until: None,
        filter: capture.filter.take(),
        on_progress: Box::new(|_| ()),
        on_broken: Box::new(complain),
    };
    let mut watcher = LiveWatcher {
        args,
        known,
        watch,
        backend: capture.backend,
        sandbox,
        signals,
        tools: tools.clone(),
        renewed: None,
        reopeners,
        service: Service::of_environment(),
        status: StatusLine::new(),
        is_ready: false,
    };
    let options = watching::Options {
        memory_limit: args.run.memory_limit.saturating_sub(capture.memory),
        stats_every: Duration::from_secs(args.stats),
        ask_every: watching::ASK_EVERY,
    };
    let summary = watching::run(
        capture.source.as_mut(),
        &mut config,
        &tools,
        &mut outputs,
        &mut watcher,
        options,
    )?;
    for input in capture.source.inputs().iter().filter(|input| input.frames == 0) {
        super::warn(&format!("no packet came through {}: is it the right interface?", input.name));
    }
    run::write_baseline(&args.run, &watcher.known, summary.timestamp)?;
    watcher.service.say("STOPPING=1");
    Ok(exit_code(&summary))
}

/// Gives up what the run does not need.
fn confine(args: &Args, known: &Known, needs: CapabilitySet) -> Result<SandboxReport> {
    if args.no_sandbox {
        return Ok(SandboxReport::without());
    }
    let user = match &args.user {
        Some(name) => Some(User::find(name)?),
        None => User::of_sudo(),
    };
    let outputs = args.run.outputs.iter().map(|output| &output.path);
    let written = outputs.chain(&args.run.write_baseline);
    privileges::confine(&Keep {
        user,
        capabilities: needs,
        read: read_again(args, known),
        write: written.map(|path| dir_of(path)).collect(),
    })
}

/// Returns the directories of what a reload reads; an editor may put another file in a file's place.
fn read_again(args: &Args, known: &Known) -> Vec<PathBuf> {
    let files = args.run.site.iter().chain(&args.run.policy).chain(&args.run.baseline);
    let files = files.chain(known.site.policy.files.iter().map(|(path, _)| path));
    let catalog = args.run.catalog.iter().cloned();
    catalog.chain(files.map(|file| dir_of(file))).collect()
}

fn dir_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What the user wants by signals.
struct Signals {
    /// Raised by the first SIGINT or SIGTERM; the second one ends the process.
    stop: Arc<AtomicBool>,
    /// Raised by SIGHUP.
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> Result<Self> {
        let signals = Self { stop: Arc::default(), reload: Arc::default() };
        let listen = || {
            for signal in [SIGINT, SIGTERM] {
                // In this order: the second signal finds the flag raised by the first.
                flag::register_conditional_shutdown(
                    signal,
                    FAILED.into(),
                    Arc::clone(&signals.stop),
                )?;
                flag::register(signal, Arc::clone(&signals.stop))?;
            }
            flag::register(SIGHUP, Arc::clone(&signals.reload))
        };
        listen().map_err(|error| Error::new(format!("cannot listen to signals: {error}")))?;
        Ok(signals)
    }
}

/// Looks after the run.
struct LiveWatcher<'a> {
    args: &'a Args,
    known: Known,
    watch: Watch,
    backend: &'static str,
    sandbox: SandboxReport,
    signals: Signals,
    /// What inspection goes by.
    tools: Tools,
    /// The same, until it is handed on.
    renewed: Option<Arc<Tools>>,
    reopeners: Vec<Reopener>,
    service: Service,
    status: StatusLine,
    is_ready: bool,
}

impl LiveWatcher<'_> {
    fn setting_of<'k>(&self, known: &'k Known) -> Setting<'k> {
        Setting {
            catalog: &known.catalog,
            site: &known.site,
            policy: &known.policy,
            past: &known.past,
            fail_on: self.args.run.fail_on.into(),
            threads: false,
            provenance: self.args.run.provenance(known),
        }
    }

    /// Reads site, policy, catalogue and baseline again, and opens the files of -o anew.
    fn reload(&mut self, carried: &mut Carried) {
        self.service.say("RELOADING=1");
        self.status.clear();
        for reopener in &self.reopeners {
            if let Err(error) = reopener.reopen() {
                let cause = format!("cannot be opened again: {error}");
                complain(&Error::at_path(reopener.path(), cause));
                super::note("its records go on to the file that was open");
            }
        }
        match Known::load(&self.args.run) {
            Ok(mut known) => {
                carried.renumber(&self.setting(), &self.setting_of(&known));
                known.past.take_over(&self.known.past);
                self.tools.options.auth_headers.clone_from(&known.site.policy.auth_headers);
                self.renewed = Some(Arc::new(self.tools.clone()));
                self.known = known;
                super::note("reloaded");
            }
            Err(error) => {
                complain(&error);
                super::note("the rules stay as they were");
            }
        }
        self.service.say("READY=1");
    }
}

impl Watcher for LiveWatcher<'_> {
    fn setting(&self) -> Setting<'_> {
        self.setting_of(&self.known)
    }

    fn pulse(&mut self, status: &Status, carried: &mut Carried) -> Result<()> {
        if !std::mem::replace(&mut self.is_ready, true) {
            self.service.say("READY=1");
        }
        self.service.alive();
        if output::reader_has_gone() {
            return Err(Error::about("standard output", "its reader has gone away"));
        }
        if self.signals.reload.swap(false, Ordering::Relaxed) {
            self.reload(carried);
        }
        let is_due = |seconds: u64| self.watch.elapsed() >= Duration::from_secs(seconds);
        if self.args.duration.is_some_and(is_due) {
            self.signals.stop.store(true, Ordering::Relaxed);
        }
        self.status.show(status);
        Ok(())
    }

    fn renewed_tools(&mut self) -> Option<Arc<Tools>> {
        self.renewed.take()
    }

    fn make_way(&mut self) {
        self.status.clear();
    }

    fn figures(&self, status: &Status, finding_latency: Option<Rtt>) -> Option<RunRecord> {
        let mut figures = self.watch.figures(status.frames, status.wire_bytes);
        figures.live = Some(LiveRecord {
            backend: self.backend,
            sandbox: self.sandbox.clone(),
            finding_latency,
        });
        Some(figures)
    }
}
