//! What `analyze` and `live` have in common: the arguments of a run, and what is made of them.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ArgAction;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::clash;
use super::values::{Format, Output, SeverityValue, output, size, threads, written};
use super::warn;
use crate::catalog::Catalog;
use crate::decode;
use crate::error::{Error, Result};
use crate::inspect::secret::Fingerprinter;
use crate::inspect::{Options, Tools};
use crate::packet::Timestamp;
use crate::pipeline::join::Past;
use crate::pipeline::{FrameFilter, Workers};
use crate::policy::Policy;
use crate::policy::baseline::Baseline;
use crate::report::summary::{Provenance, RunRecord};
use crate::site::Site;

/// Arguments of every run.
#[derive(clap::Args)]
pub(super) struct RunArgs {
    /// Use the port catalogue of this directory instead of the built-in one
    #[arg(long, value_name = "DIR")]
    pub(super) catalog: Option<PathBuf>,
    /// What is known of the deployment: hosts, products, offsets, zones, accepted findings, and which packs judge
    #[arg(long, value_name = "FILE")]
    pub(super) site: Option<PathBuf>,
    /// Judge by the rules of this file as well; may be given again
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Vec<PathBuf>,
    /// Report only what this baseline does not have, and what of it is gone
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// Write what is found as a baseline: a file of suppressions that hold for a year
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(written))]
    pub(super) write_baseline: Option<PathBuf>,
    /// Format of the report on standard output
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Write the report to a file as well, in any format; may be given again
    #[arg(short = 'o', long = "output", value_name = "FORMAT=PATH", value_parser = output)]
    pub(super) outputs: Vec<Output>,
    /// Look only at frames that this BPF expression matches
    #[arg(long, value_name = "BPF")]
    pub(super) filter: Option<String>,
    /// Leave VLAN ids out of what tells flows apart
    #[arg(long)]
    pub(super) ignore_vlan: bool,
    /// UDP port that carries VXLAN, beside 4789 and 8472; may be given again
    #[arg(long = "vxlan-port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) vxlan_ports: Vec<u16>,
    /// Exit with 1 on findings of this severity or a graver one
    #[arg(long, value_name = "SEVERITY", value_enum, default_value = "high")]
    pub(super) fail_on: SeverityValue,
    /// Threads in all; 1 reads and looks on one thread [default: the processors, up to 4]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(super) workers: Option<NonZeroUsize>,
    /// Memory that the run stays below, as in 512M; at least 192M for that
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size)]
    pub(super) memory_limit: u64,
    /// Show user names instead of their fingerprints
    #[arg(long, action = ArgAction::SetTrue)]
    pub(super) show_users: bool,
    /// Key of the fingerprints of tokens: equal keys give equal fingerprints [default: a random one]
    #[arg(long, value_name = "FILE")]
    pub(super) fingerprint_key: Option<PathBuf>,
}

/// Threads beyond which more are of no use to one reader.
const WORKERS_DEFAULT_MAX: usize = 4;

/// Memory below which a run does not stay, whatever the limit: what it takes beside its flows, and then some.
const MEMORY_LIMIT_MIN: u64 = 192 << 20;

/// Bytes of a random fingerprint key: as many as the digest has.
const KEY_LEN: usize = 32;

/// Longest key that is read: a device never ends.
const KEY_LEN_MAX: u64 = 64 << 10;

impl RunArgs {
    /// Returns the fingerprints' key: the user's, or a random one.
    fn key(&self) -> Result<Vec<u8>> {
        let Some(path) = &self.fingerprint_key else {
            let mut key = vec![0; KEY_LEN];
            getrandom::fill(&mut key)
                .map_err(|error| Error::new(format!("no random key is to be had: {error}")))?;
            return Ok(key);
        };
        let failed = |error| Error::unread(path, &error);
        let mut key = Vec::new();
        File::open(path)
            .map_err(failed)?
            .take(KEY_LEN_MAX + 1)
            .read_to_end(&mut key)
            .map_err(failed)?;
        if key.len() as u64 > KEY_LEN_MAX {
            let error = Error::at_path(path, format!("a key has at most {KEY_LEN_MAX} bytes"));
            return Err(error.hint("head -c 32 /dev/urandom > FILE makes a good one"));
        }
        if key.is_empty() {
            let error = Error::at_path(path, "the fingerprint key is empty");
            return Err(error.hint("head -c 32 /dev/urandom > FILE makes a good one"));
        }
        Ok(key)
    }

    /// Refuses to write over a file that the run reads, and to write two files into one. The baseline alone may
    /// be written anew over the one that was read.
    pub(super) fn check_files(
        &self,
        known: &Known,
        captures: &[PathBuf],
        evidence: Option<&Path>,
    ) -> Result<()> {
        let mut files = clash::Files::default();
        for path in captures {
            files.reads(path, clash::is_capture);
        }
        if let Some(path) = &self.catalog {
            files.reads(path, clash::is_toml);
        }
        let texts = self.site.iter().chain(&self.policy);
        let texts = texts.chain(known.site.policy.files.iter().map(|(path, _)| path));
        for path in texts.chain(&self.fingerprint_key) {
            files.reads(path, |_| false);
        }
        self.write_baseline.iter().try_for_each(|path| files.writes(path))?;
        if let Some(path) = &self.baseline {
            files.reads(path, |_| false);
        }
        self.outputs.iter().try_for_each(|output| files.writes(&output.path))?;
        evidence.map_or(Ok(()), |path| files.writes(path))
    }

    /// Warns of a memory limit that cannot hold.
    pub(super) fn warn_of_memory(&self) {
        if self.memory_limit < MEMORY_LIMIT_MIN {
            warn(&format!(
                "--memory-limit: {} bytes are below 192M: the run takes more, and flows beyond an eighth of it are thrown out",
                self.memory_limit
            ));
        }
    }

    /// Returns what inspection and decoding need. Under one key a run is the same everywhere: the hash of
    /// flow keys is seeded from it too, and nobody who does not know it can choose where flows land.
    pub(super) fn tools(&self, site: &Site) -> Result<(Tools, decode::Options)> {
        let fingerprinter = Fingerprinter::new(&self.key()?);
        let hash_seed = fingerprinter.seed(b"flow keys");
        let auth_headers = site.policy.auth_headers.clone();
        let options = Options { auth_headers, show_users: self.show_users };
        let decode = decode::Options {
            hash_seed,
            ignore_vlan: self.ignore_vlan,
            vxlan_ports: self.vxlan_ports.clone(),
            ..decode::Options::default()
        };
        Ok((Tools { options, fingerprinter }, decode))
    }

    /// Returns what the report says of its own making; the inputs are added at the end.
    pub(super) fn provenance(&self, known: &Known) -> Provenance {
        Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            catalog_sha256: known.catalog.content_hash(),
            policy_sha256: known.policy.content_hash().to_owned(),
            site_sha256: known.site.content_hash().map(str::to_owned),
            filter: self.filter.clone(),
            since: None,
            until: None,
            inputs: Vec::new(),
        }
    }
}

/// Returns who owns the shards: one thread fewer than in all, since one reads and decodes.
pub(super) fn workers(threads: Option<NonZeroUsize>) -> Workers {
    let available = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads.map_or_else(|| available().min(WORKERS_DEFAULT_MAX), NonZeroUsize::get);
    NonZeroUsize::new(threads - 1).map_or(Workers::Inline, Workers::Threads)
}

/// Returns the number of threads in all.
pub(super) fn threads_of(workers: Workers) -> usize {
    match workers {
        Workers::Inline => 1,
        Workers::Threads(workers) => workers.get() + 1,
    }
}

/// What a run goes by: catalogue, site and policy, which name each other.
pub(super) struct Known {
    pub(super) catalog: Cow<'static, Catalog>,
    pub(super) site: Site,
    pub(super) policy: Policy,
    pub(super) past: Past,
}

impl Known {
    /// Loads what the user names, and what is built in else.
    pub(super) fn load(args: &RunArgs) -> Result<Self> {
        let catalog = match &args.catalog {
            Some(dir) => Cow::Owned(Catalog::load(dir)?),
            None => Cow::Borrowed(Catalog::embedded()),
        };
        let site = match &args.site {
            Some(path) => Site::load(path, &catalog)?,
            None => Site::default(),
        };
        let policy = Policy::load(&catalog, &site, &args.policy)?;
        let baseline = match &args.baseline {
            Some(path) => Some(Baseline::load(path, &catalog, &policy)?),
            None => None,
        };
        let past =
            Past::new(baseline, args.write_baseline.as_ref().map(|_| args.memory_limit / 16));
        Ok(Self { catalog, site, policy, past })
    }
}

/// Writes the baseline that the user asked for; `end` is the run's last packet.
pub(super) fn write_baseline(args: &RunArgs, known: &Known, end: Timestamp) -> Result<()> {
    let Some(path) = &args.write_baseline else { return Ok(()) };
    replace(path, &known.past.write(end))
        .map_err(|error| Error::at_path(path, format!("cannot be written: {error}")))
}

/// Writes a file that is there already beside it first, so that a full disk leaves the earlier one whole.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    if !path.is_file() {
        return std::fs::write(path, text);
    }
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // Who may write to the file may not be allowed to make one; and what is there is somebody else's.
    let Ok(mut file) = File::create_new(&new) else { return std::fs::write(path, text) };
    let written = path
        .metadata()
        .and_then(|earlier| file.set_permissions(earlier.permissions()))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&new, &path));
    if written.is_err() {
        // What is half written is of no use, and the error says enough.
        let _ = std::fs::remove_file(&new);
    }
    written
}

/// Fails where the baseline that the user asked for could not be written at the end, hours later.
pub(super) fn check_baseline(args: &RunArgs) -> Result<()> {
    use rustix::fs::{Access, access};
    let Some(path) = &args.write_baseline else { return Ok(()) };
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let able = if path.exists() {
        access(path, Access::WRITE_OK)
    } else {
        access(folder.unwrap_or_else(|| Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)
    };
    able.map_err(|error| Error::at_path(path, format!("cannot be written: {error}")))
}

/// Compiles the user's BPF expression.
#[cfg(feature = "live")]
pub(super) fn frame_filter(expression: Option<&str>) -> Result<Option<FrameFilter>> {
    let filter = expression.map(crate::capture::live::FileFilter::new).transpose()?;
    Ok(filter.map(|mut filter| -> FrameFilter { Box::new(move |frame| filter.keeps(frame)) }))
}

/// Refuses a BPF expression: only libpcap compiles it.
#[cfg(not(feature = "live"))]
pub(super) fn frame_filter(expression: Option<&str>) -> Result<Option<FrameFilter>> {
    match expression {
        None => Ok(None),
        Some(_) => Err(Error::about("--filter", "this build cannot compile BPF expressions")
            .hint("build it with the feature `live`, which needs libpcap")),
    }
}

/// Measures a run on the wall clock.
pub(super) struct Watch {
    started: Instant,
    workers: usize,
}

impl Watch {
    pub(super) fn start(workers: Workers) -> Self {
        Self { started: Instant::now(), workers: threads_of(workers) }
    }

    /// Returns the time since the run began.
    #[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
    pub(super) fn elapsed(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    /// Returns the figures of the run so far.
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    pub(super) fn figures(&self, packets: u64, bytes: u64) -> RunRecord {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        RunRecord {
            seconds,
            cpu_seconds: cpu_seconds(),
            packets_per_second: rate(packets as f64),
            bits_per_second: rate(bytes as f64 * 8.0),
            workers: self.workers,
            peak_memory_bytes: peak_memory_bytes(),
            live: None,
        }
    }
}

/// Ticks a second in which Linux tells processor time to programs (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the processor seconds of all threads, where the system tells them (proc(5), `/proc/PID/stat`).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// Returns the largest resident memory so far (proc(5), `VmHWM`).
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
