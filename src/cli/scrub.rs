//! `portreeve scrub`: a capture without its secrets.

use std::path::PathBuf;
use std::process::ExitCode;

use super::evidence::{Copy, check_input, create};
use super::values::written;
use super::{complain, run};
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::capture::Source;
use crate::capture::file::{Files, Input, Options};
use crate::catalog::Catalog;
use crate::decode;
use crate::error::{Error, Result};
use crate::inspect::secret::Fingerprinter;
use crate::inspect::{self, Tools};
use crate::pipeline::Config;
use crate::pipeline::bounded::{self, Limit};
use crate::pipeline::join::{self, Past, Setting};
use crate::pipeline::outputs::Outputs;
use crate::pipeline::scrub::{Found, Reading, Scope, Subjects};
use crate::policy::Policy;
use crate::report::record::Severity;
use crate::report::summary::Provenance;
use crate::site::Site;

/// Arguments of `scrub`.
#[derive(clap::Args)]
#[command(
    long_about = "Copy a capture with everything overwritten that may be secret, so that it can be \
shared. Every frame keeps its time, its length and its headers. Of payload only what is known to be \
structure stays: methods, paths, names of headers and fields, lengths, handshakes of TLS. Checksums are \
left as they were. Packets of flows with findings bear a comment that names the rule."
)]
pub(super) struct Args {
    /// The capture
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The copy, as pcapng
    #[arg(value_name = "OUT", value_parser = OsStringValueParser::new().try_map(written))]
    output: PathBuf,
}

/// Bytes of a random seed.
const SEED_LEN: usize = 32;

/// Bytes that the process may take: as much as a run has unless told otherwise.
const MEMORY: u64 = 1 << 30;

/// Copies the capture.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let input = Input::from(&args.input);
    check_input(&args.output, &input)?;
    let inputs = [input];
    let options = Options::default();
    let mut seed = [0; SEED_LEN];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::new(format!("no random seed is to be had: {error}")))?;
    let fingerprinter = Fingerprinter::new(&seed);
    let decode = decode::Options {
        hash_seed: fingerprinter.seed(b"flow keys"),
        ..decode::Options::default()
    };
    let mut reading =
        Reading { decode: decode.clone(), separate: false, since: None, until: None, filter: None };
    let mut config = Config {
        workers: run::workers(None),
        decode,
        separate: false,
        since: None,
        until: None,
        filter: None,
        on_progress: Box::new(|_| {}),
        on_broken: Box::new(complain),
    };
    let (catalog, site, found) =
        (Catalog::embedded(), Site::default(), Found::new(Scope::Everything, MEMORY));
    let policy = Policy::load(catalog, &site, &[])?;
    let past = Past::default();
    let setting = Setting {
        catalog,
        past: &past,
        site: &site,
        policy: &policy,
        fail_on: Severity::Critical,
        threads: false,
        provenance: Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            catalog_sha256: catalog.content_hash(),
            policy_sha256: policy.content_hash().to_owned(),
            site_sha256: None,
            filter: None,
            since: None,
            until: None,
            inputs: Vec::new(),
        },
    };
    let mut outputs = Outputs::default();
    outputs.add("findings", Box::new(found.clone()));
    let tools = Tools { options: inspect::Options::default(), fingerprinter };
    let mut source = Files::open(inputs.to_vec(), &options)?;
    let limit = Limit { memory: MEMORY, setting: &setting };
    let (gathered, carried) =
        bounded::gather(&mut source, &mut config, &tools, &limit, &mut outputs)?;
    if gathered.front.frames == 0 && source.inputs().iter().all(|input| input.broken.is_some()) {
        return Err(Error::new("nothing could be read").hint("see the messages above"));
    }
    join::report_after(carried, &gathered, &source, &setting, &mut outputs, || None)?;
    let subjects = Subjects::new(&gathered, &found, Scope::Everything);
    drop(gathered);
    let file = create(&args.output)?;
    let copy = Copy {
        path: &args.output,
        file,
        inputs: &inputs,
        scope: Scope::Everything,
        memory: MEMORY,
    };
    copy.write(&options, &mut reading, &subjects)?;
    Ok(ExitCode::SUCCESS)
}
