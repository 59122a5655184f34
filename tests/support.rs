//! Runs the built binary and the library, and finds the captures.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use portreeve::capture::file::{Files, Input, Options};
use portreeve::decode;
use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{self, EvidenceKind, Tools};
use portreeve::pipeline::{Config, Gathered, Workers, gather};
use serde_json::Value;

/// What a run of the binary gave.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the run was not killed"),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns the records of an NDJSON report.
    pub(crate) fn records(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.out).expect("NDJSON is UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("a report is UTF-8")
    }
}

/// Prepares a run of the binary, without what the machine's settings would change.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    command.current_dir(root()).stdin(Stdio::null());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM"] {
        command.env_remove(name);
    }
    command
}

/// Runs the binary in the folder of the package.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    Ran::of(command().args(arguments).output().expect("the binary runs"))
}

/// Runs the binary with bytes on its standard input.
pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // The run may end before it has read everything.
        let _ = pipe.write_all(&input);
    });
    let output = child.wait_with_output().expect("the binary ends");
    feeder.join().expect("the feeder ends");
    Ran::of(output)
}

/// Returns the records of an NDJSON report over one file.
pub(crate) fn analyze(path: &Path) -> (Ran, Vec<Value>) {
    let path = path.to_str().expect("the path is text");
    let ran = run(["analyze", "--format", "ndjson", path]);
    let records = ran.records();
    (ran, records)
}

/// Returns the folder of the package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every capture of the tree, by its path below `captures/`.
pub(crate) fn captures() -> BTreeMap<String, PathBuf> {
    truth().keys().map(|name| (name.clone(), root().join("captures").join(name))).collect()
}

/// Returns the same, and the recordings of real servers.
pub(crate) fn all_captures() -> BTreeMap<String, PathBuf> {
    let mut all = captures();
    for entry in fs::read_dir(root().join("captures/real")).expect("it is in the tree") {
        let path = entry.expect("it is readable").path();
        if path.extension().is_some_and(|end| end == "pcap") {
            let name = path.file_name().expect("it has a name").to_string_lossy();
            all.insert(format!("real/{name}"), path.clone());
        }
    }
    all
}

/// Returns what must be found in each capture of the tree.
pub(crate) fn truth() -> BTreeMap<String, Value> {
    let text = fs::read_to_string(root().join("captures/truth.json")).expect("it is in the tree");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Returns the set of real captures beside the package, and says so where it is absent.
pub(crate) fn public_set(test: &str) -> Option<PathBuf> {
    let beside = || root().join("../shared");
    let shared = std::env::var_os("PORTREEVE_SHARED").map_or_else(beside, PathBuf::from);
    let set = shared.join("captures/public");
    if set.is_dir() {
        return Some(set);
    }
    // Past the test harness, which would keep the line of a test that passes.
    let line = format!("{test}: SKIPPED, {} is not there\n", set.display());
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}

/// Returns the part of a record that is portreeve's own.
pub(crate) fn own<'a>(record: &'a Value, field: &str) -> &'a Value {
    &record["portreeve"][field]
}

/// Returns the records of an event type.
pub(crate) fn of_type<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["event_type"] == event).collect()
}

/// Returns the summary, the last record.
pub(crate) fn summary(records: &[Value]) -> &Value {
    let last = records.last().expect("a report has a summary");
    assert_eq!(last["event_type"], "summary");
    last
}

/// Returns a number, 0 where there is none.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Says what is wrong with a summary's ledger: it must balance to the packet, at each point and in total.
pub(crate) fn imbalance(summary: &Value) -> Option<String> {
    let ledger = own(summary, "ledger");
    let points = ledger["points"].as_array().expect("the ledger has points");
    let sum = |value: &Value| {
        value.as_object().map_or(0, |causes| causes.values().map(number).sum::<u64>())
    };
    let mut received = 0;
    for part in points.iter().chain([&ledger["total"]]) {
        let placed = ["filtered", "classified", "unclassified", "in_flight"]
            .map(|place| number(&part[place]))
            .iter()
            .sum::<u64>()
            + sum(&part["stopped"]);
        if placed != number(&part["received"]) || number(&part["in_flight"]) != 0 {
            return Some(format!("{placed} frames are placed: {part}"));
        }
        if number(&part["offered"]) != number(&part["received"]) + sum(&part["dropped"]) {
            return Some(format!("offered is not received and dropped: {part}"));
        }
    }
    for point in points {
        received += number(&point["received"]);
    }
    let total = number(&ledger["total"]["received"]);
    (total != received).then(|| format!("the points have {received} frames, the total {total}"))
}

/// What a kind of evidence is called as a finding, for those that are findings by themselves.
pub(crate) const FINDINGS: &[(EvidenceKind, &str)] = &[
    (EvidenceKind::BearerToken, "plaintext-bearer"),
    (EvidenceKind::BasicCredentials, "basic-auth-cleartext"),
    (EvidenceKind::DigestCredentials, "digest-auth-cleartext"),
    (EvidenceKind::ApiKey, "api-key-cleartext"),
    (EvidenceKind::InternalKey, "internal-key-cleartext"),
    (EvidenceKind::BackendJwt, "backend-jwt-cleartext"),
    (EvidenceKind::TokenIssued, "token-issued-cleartext"),
    (EvidenceKind::PasswordGrant, "password-grant-cleartext"),
    (EvidenceKind::SessionCookie, "session-cookie-cleartext"),
    (EvidenceKind::FormLogin, "form-login-cleartext"),
    (EvidenceKind::WsSecurity, "ws-security-cleartext"),
    (EvidenceKind::DefaultCredentials, "default-credentials"),
    (EvidenceKind::JwtUnsigned, "jwt-unsigned"),
    (EvidenceKind::TokenExpired, "token-expired"),
    (EvidenceKind::LdapSimpleBind, "ldap-simple-bind-cleartext"),
    (EvidenceKind::JmxClear, "jmx-no-tls"),
    (EvidenceKind::JmxLogin, "jmx-login-cleartext"),
    (EvidenceKind::JmxNoAuth, "jmx-no-auth"),
    (EvidenceKind::AmqpLogin, "amqp-login-cleartext"),
    (EvidenceKind::MqttLogin, "mqtt-login-cleartext"),
    (EvidenceKind::ThriftLogin, "thrift-login-cleartext"),
    (EvidenceKind::DatabridgeLogin, "databridge-login-cleartext"),
    (EvidenceKind::SnmpCommunity, "snmp-community-cleartext"),
];

/// Flows and the sum of counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) flows: u64,
    pub(crate) count: u64,
}

/// Reads one capture in memory through the whole library, up to the join.
pub(crate) fn gathered(capture: Vec<u8>, workers: usize) -> Gathered {
    let source = Files::from_reader("memory", Cursor::new(capture), &Options::default());
    through(source, workers)
}

/// Reads files through the whole library, up to the join.
pub(crate) fn gathered_files(paths: &[PathBuf], workers: usize) -> Gathered {
    let inputs = paths.iter().map(Input::from).collect();
    through(Files::open(inputs, &Options::default()).expect("few inputs"), workers)
}

fn through(mut source: Files, workers: usize) -> Gathered {
    let tools = Tools {
        options: inspect::Options::default(),
        fingerprinter: Fingerprinter::new(b"integration"),
    };
    let mut config = Config {
        workers: NonZeroUsize::new(workers).map_or(Workers::Inline, Workers::Threads),
        decode: decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
        on_progress: Box::new(|_| {}),
        on_broken: Box::new(|_| {}),
    };
    gather(&mut source, &mut config, &tools).expect("the workers live")
}

/// Returns what was seen of each kind of evidence.
pub(crate) fn evidence(gathered: &Gathered) -> BTreeMap<&'static str, Sum> {
    let mut sums: BTreeMap<&'static str, Sum> = BTreeMap::new();
    for shard in &gathered.shards {
        for facts in shard.flows().filter_map(|(number, _)| shard.facts(number)) {
            for evidence in &facts.evidence {
                let name = FINDINGS.iter().find(|(kind, _)| *kind == evidence.kind);
                let Some((_, name)) = name else { continue };
                let sum = sums.entry(name).or_default();
                sum.flows += 1;
                sum.count += evidence.count;
            }
        }
    }
    sums
}
