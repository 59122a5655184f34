use std::net::SocketAddr;

use std::path::{Path, PathBuf};

use super::*;
use crate::catalog::AppProtocol;
use crate::catalog::Catalog;
use crate::classify::{Heard, Tag, by_port};
use crate::inspect::facts::TlsFacts;
use crate::inspect::{EvidenceKind, Facts, Protocol};
use crate::packet::{At, Timestamp, Transport};
use crate::site::Site;

fn at(frame: u64) -> At {
    At { frame, time: Timestamp(i64::try_from(frame).unwrap() * 1_000_000_000) }
}

/// A flow from a client to a port of a server, with what was seen in it.
struct Flow {
    tag: Tag,
    facts: Facts,
    heard: Heard,
    port: u16,
    host_is_product: bool,
}

impl Flow {
    fn to(port: u16, heard: Heard) -> Self {
        let tag = by_port(Catalog::embedded(), Transport::Tcp, port);
        Self { tag, facts: Facts::default(), heard, port, host_is_product: false }
    }

    fn http(port: u16) -> Self {
        let mut flow = Self::to(port, Heard::Clear(AppProtocol::Http));
        flow.facts.protocol = Some(Protocol::Http);
        flow
    }

    fn seeing(mut self, kind: EvidenceKind, frames: &[u64]) -> Self {
        for frame in frames {
            self.facts.observe(kind, at(*frame), None);
        }
        self
    }

    fn subject(&self) -> Subject<'_> {
        let address = |text: &str, port| SocketAddr::new(text.parse().unwrap(), port);
        Subject {
            catalog: Catalog::embedded(),
            initiator: address("10.0.2.7", 40_000),
            responder: address("10.0.3.10", self.port),
            initiator_known: true,
            transport: Transport::Tcp,
            tag: &self.tag,
            heard: self.heard,
            facts: Some(&self.facts),
            encrypted: Some(self.heard == Heard::Tls),
            established: true,
            answered: true,
            initiator_spoke: true,
            host_is_product: self.host_is_product,
            initiator_zone: None,
            responder_zone: None,
            first: at(1),
            last: at(9),
        }
    }
}

fn site(text: &str) -> Site {
    Site::parse(Path::new("site.toml"), text, Catalog::embedded()).unwrap()
}

fn judge(policy: &Policy, flow: &Flow, site: &Site) -> Vec<Finding> {
    let mut subject = flow.subject();
    subject.initiator_zone = site.zone_of(subject.initiator.ip());
    subject.responder_zone = site.zone_of(subject.responder.ip());
    let mut findings = Vec::new();
    policy.judge(&subject, site, &mut findings);
    findings
}

/// Returns the findings of a flow by the shipped rules, as (rule, severity, count).
fn found(flow: &Flow) -> Vec<(String, Severity, u64)> {
    let site = Site::default();
    let policy = Policy::load(Catalog::embedded(), &site, &[]).unwrap();
    let findings = judge(&policy, flow, &site);
    findings.iter().map(|f| (policy.rules()[f.rule].id.clone(), f.severity, f.count)).collect()
}

fn is(rule: &str, severity: Severity, count: u64) -> (String, Severity, u64) {
    (format!("wso2/{rule}"), severity, count)
}

#[test]
fn a_bearer_over_http_is_one_critical_finding_that_counts_requests() {
    let flow = Flow::http(8280).seeing(EvidenceKind::BearerToken, &[4, 6, 8]);
    assert_eq!(
        found(&flow),
        [
            is("bearer-over-http", Severity::Critical, 3),
            is("http-passthrough-in-use", Severity::Medium, 1),
        ]
    );
    let elsewhere = Flow::http(12_345).seeing(EvidenceKind::BearerToken, &[4]);
    assert_eq!(found(&elsewhere), [is("bearer-in-clear", Severity::High, 1)]);
}

#[test]
fn a_finding_spans_its_evidence() {
    let flow = Flow::http(8280).seeing(EvidenceKind::BearerToken, &[4, 6]);
    let site = Site::default();
    let policy = Policy::load(Catalog::embedded(), &site, &[]).unwrap();
    let findings = judge(&policy, &flow, &site);
    assert_eq!((findings[0].first.frame, findings[0].last.frame), (4, 6));
    assert_eq!(findings[0].evidence, [EvidenceNote::Seen(EvidenceKind::BearerToken)]);
    let rule = &policy.rules()[findings[0].rule];
    assert!(rule.remedy.contains("[transport.passthru_http.listener]\nenable = false"));
    assert!(rule.file.ends_with("wso2.toml") && rule.line > 1);
}

#[test]
fn every_kind_of_evidence_is_named_by_a_rule_that_takes_any_flow() {
    // Credentials for a proxy are not those of the request: by themselves they break no rule.
    let kinds = EvidenceKind::ALL.into_iter().filter(|k| *k != EvidenceKind::ProxyCredentials);
    for kind in kinds {
        let flow = Flow::to(12_345, Heard::Nothing).seeing(kind, &[3]);
        assert_eq!(found(&flow).len(), 1, "{}", kind.name());
    }
}

#[test]
fn mismatches_take_precedence_and_are_low_until_the_host_is_known() {
    use Heard::{Clear, Tls, Upgraded};
    let cases = [
        (8243, Clear(AppProtocol::Http), Some("plaintext-on-tls-port")),
        (8243, Clear(AppProtocol::Amqp), Some("plaintext-on-tls-port")),
        (8243, Clear(AppProtocol::Ssh), Some("unexpected-protocol")),
        (8243, Upgraded(AppProtocol::Amqp), Some("plaintext-on-tls-port")),
        (8280, Tls, Some("tls-on-clear-port")),
        (8280, Clear(AppProtocol::Amqp), Some("unexpected-protocol")),
        (5672, Upgraded(AppProtocol::Amqp), Some("tls-on-clear-port")),
        (8243, Tls, None),
        (8243, Heard::Unknown, None),
        (8243, Heard::Nothing, None),
        (12_345, Clear(AppProtocol::Http), None),
        (9999, Tls, None),
    ];
    for (port, heard, rule) in cases {
        let mut flow = Flow::to(port, heard);
        let low = rule.map(|rule| is(rule, Severity::Low, 1));
        assert_eq!(found(&flow), Vec::from_iter(low), "{port} {heard:?}");
        flow.host_is_product = true;
        let medium = rule.map(|rule| is(rule, Severity::Medium, 1));
        let by_mismatch: Vec<_> =
            found(&flow).into_iter().filter(|f| !f.0.contains("uncatalogued")).collect();
        assert_eq!(by_mismatch, Vec::from_iter(medium), "{port} {heard:?}");
    }
}

#[test]
fn tls_is_obsolete_only_once_the_server_chose_it() {
    let mut flow = Flow::to(8243, Heard::Tls);
    let tls = TlsFacts { version: Some(0x0302), negotiated: true, ..TlsFacts::default() };
    flow.facts.tls = Some(Box::new(tls));
    assert_eq!(found(&flow), [is("obsolete-tls", Severity::Medium, 1)]);
    for (version, negotiated) in [(0x0303, true), (0x0304, true), (0x0302, false)] {
        let tls = TlsFacts { version: Some(version), negotiated, ..TlsFacts::default() };
        flow.facts.tls = Some(Box::new(tls));
        assert_eq!(found(&flow), []);
    }
}

#[test]
fn the_inside_of_the_platform_is_not_for_those_outside() {
    let zones = "[[zone]]\nname = \"servers\"\nprefixes = [\"10.0.3.0/24\"]\ntrust = \"server\"\n";
    let policy = Policy::load(Catalog::embedded(), &site(zones), &[]).unwrap();
    let ids = |site: &Site, port, heard| {
        let findings = judge(&policy, &Flow::to(port, heard), site);
        findings.iter().map(|f| policy.rules()[f.rule].id.clone()).collect::<Vec<_>>()
    };
    let amqp = Heard::Clear(AppProtocol::Amqp);
    let outside = site(zones);
    assert_eq!(ids(&outside, 5672, amqp), ["wso2/inner-port-from-outside"]);
    assert_eq!(ids(&outside, 8243, Heard::Tls), Vec::<String>::new());
    let both = site(&zones.replace("10.0.3.0/24", "10.0.0.0/16"));
    assert_eq!(ids(&both, 5672, amqp), Vec::<String>::new());
}

#[test]
fn a_suppression_covers_its_flows_to_the_end_of_its_last_day() {
    let text = |until: &str, initiator: &str| {
        site(&format!(
            "[[zone]]\nname = \"dmz\"\nprefixes = [\"10.0.2.0/24\"]\n[[suppress]]\nrule = \"wso2/bearer-over-http\"\n\
             initiator = \"{initiator}\"\nport = 8280\nuntil = {until}\nreason = \"x\"\n"
        ))
    };
    let day = 86_400_000_000_000;
    let flow = Flow::http(8280).seeing(EvidenceKind::BearerToken, &[4]);
    let cover = |site: &Site, last: i64| {
        let policy = Policy::load(Catalog::embedded(), site, &[]).unwrap();
        let mut finding = judge(&policy, &flow, site).remove(0);
        finding.last.time = Timestamp(last);
        let mut subject = flow.subject();
        subject.initiator_zone = site.zone_of(subject.initiator.ip());
        policy.cover_of(&finding, &subject, site)
    };
    for initiator in ["10.0.2.7", "10.0.2.4/30", "dmz"] {
        let site = text("1970-01-02", initiator);
        assert_eq!(cover(&site, 2 * day - 1), Cover::By(0));
        assert_eq!(cover(&site, 2 * day), Cover::Expired(0));
    }
    assert_eq!(cover(&text("1970-01-02", "10.0.2.8"), 0), Cover::None);
}

#[test]
fn names_that_are_not_known_are_errors_with_their_line() {
    let catalog = Catalog::embedded();
    let rule = |matching: &str| {
        format!(
            "[[rule]]\nid = \"our/one\"\ntitle = \"t\"\nkind = \"plaintext-bearer\"\nseverity = \"high\"\n\
             signature_id = 1\nsource = \"s\"\nremedy = \"r\"\n[rule.match]\n{matching}\n"
        )
    };
    let cases = [
        (rule("evidence = \"bearer-tokn\""), 10, "unknown evidence", Some("bearer-token")),
        (rule("evidence = [\"bearer-token\", \"x\"]"), 10, "unknown evidence `x`", None),
        (rule("role = \"gatway\""), 10, "unknown value", Some("gateway")),
        (rule("role = \"gateway\""), 4, "needs `evidence`", None),
        (
            rule("product = \"wso2-api-manager-33\"\nevidence = \"bearer-token\""),
            10,
            "unknown product",
            Some("wso2-api-manager-3"),
        ),
        (rule("service = \"acme-*\"\nevidence = \"bearer-token\""), 10, "unknown service", None),
        (rule("protocol = \"htpp\""), 10, "unknown protocol", Some("http")),
        (rule("initiator_trust = \"servers\""), 10, "unknown trust", Some("server")),
        (rule("port = 70000"), 10, "port 70000 is above 65535", None),
        (rule("port = []"), 10, "empty list", None),
        (rule("evidnce = \"x\""), 10, "unknown field", Some("evidence")),
        (
            rule("initiator_zone = \"dmx\"\nevidence = \"bearer-token\""),
            10,
            "unknown zone",
            Some("dmz"),
        ),
        (
            rule("").replace("plaintext-bearer", "plaintext-barer"),
            4,
            "unknown finding kind",
            Some("plaintext-bearer"),
        ),
        (rule("").replace("\"high\"", "\"hgh\""), 5, "unknown severity", Some("high")),
        (rule("").replace("source = \"s\"\n", ""), 1, "missing field `source`", None),
        (rule("").replace("source = \"s\"", "source = \" \""), 7, "empty text", None),
        (rule("").replace("our/one", "our"), 2, "not `pack/name`", None),
        (
            rule("evidence = \"bearer-token\"")
                .replace("signature_id = 1", "signature_id = 7100001"),
            6,
            "has it already",
            None,
        ),
        (
            rule("evidence = \"bearer-token\"").replace("our/one", "wso2/bearer-over-http"),
            2,
            "duplicate rule id",
            None,
        ),
    ];
    let site = site("[[zone]]\nname = \"dmz\"\n");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("our.toml");
    for (text, line, cause, hint) in cases {
        std::fs::write(&path, &text).unwrap();
        let error = Policy::load(catalog, &site, std::slice::from_ref(&path)).expect_err(&text);
        let place = format!("{}:{line}: ", path.display());
        assert!(error.to_string().starts_with(&place), "{error}\n{text}");
        assert!(error.to_string().contains(cause), "{error} should say {cause}");
        if let Some(hint) = hint {
            assert_eq!(error.hint_text(), Some(format!("did you mean `{hint}`?").as_str()));
        }
    }
}

#[test]
fn few_names_that_there_are_are_listed_where_none_is_near() {
    let zones = "[[zone]]\nname = \"dmz\"\n[[zone]]\nname = \"core\"\n";
    let hint_of = |text: &str| {
        let site = Site::parse("site.toml".as_ref(), text, Catalog::embedded());
        let error = site.and_then(|site| Policy::load(Catalog::embedded(), &site, &[]));
        error.unwrap_err().hint_text().map(str::to_owned)
    };
    let listed = Some("expected one of dmz, core".to_owned());
    let host = "[[host]]\nname = \"h\"\naddresses = [\"10.0.0.1\"]\nzone = \"elsewhere\"\n";
    assert_eq!(hint_of(&format!("{zones}{host}")), listed);
    assert!(hint_of(host).is_some_and(|hint| hint.contains("add a [[zone]]")));
    let accepted = "[[suppress]]\nrule = \"wso2/bearer-over-http\"\ninitiator = \"elsewhere\"\nuntil = 2027-01-31\nreason = \"x\"\n";
    assert_eq!(hint_of(&format!("{zones}{accepted}")), listed);
    let expected = hint_of("[policy]\nexpect = [\"elsewhere\"]\n").unwrap();
    assert!(expected.starts_with("expected one of ") && expected.contains("ibm-api-connect-zones"));
    let row = "[[row]]\nmatrix = \"elsewhere\"\nid = \"1\"\ninitiator = \"*\"\nresponder = \"*\"\nuse = [\"1/tcp tls\"]\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("our.toml");
    std::fs::write(&path, row).unwrap();
    let error = Policy::load(Catalog::embedded(), &site(""), &[path]).unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| hint.contains("-distributed")), "{error}");
}

#[test]
fn a_file_that_the_site_names_and_is_not_there_is_told_with_the_line() {
    let site = site("[policy]\nfiles = [\n  \"no/such.toml\",\n]\n");
    let error = Policy::load(Catalog::embedded(), &site, &[]).unwrap_err();
    let expected = "site.toml:3: `no/such.toml` cannot be opened: ";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("beside the site file")));
}

#[test]
fn the_site_names_packs_and_rules_that_there_are() {
    let load = |text: &str| Policy::load(Catalog::embedded(), &site(text), &[]);
    let error = load("[policy]\npacks = [\"wso3\"]\n").unwrap_err();
    assert_eq!(error.to_string(), "site.toml:2: unknown pack `wso3`");
    assert_eq!(error.hint_text(), Some("did you mean `wso2`?"));
    let suppress =
        "[[suppress]]\nrule = \"wso2/bearer-over-htp\"\nuntil = 2027-01-31\nreason = \"x\"\n";
    let error = load(suppress).unwrap_err();
    assert_eq!(error.to_string(), "site.toml:2: unknown rule `wso2/bearer-over-htp`");
    assert_eq!(error.hint_text(), Some("did you mean `wso2/bearer-over-http`?"));
    let error = load("[[zone]]\nname = \"dmz\"\nas = \"gatway\"\n").unwrap_err();
    assert_eq!(error.to_string(), "site.toml:2: no pack knows a zone `gatway`");
    assert_eq!(error.hint_text(), Some("did you mean `gateway`?"));
    let error = load("[policy]\nexpect = [\"wso2-api-manager-4-distribted\"]\n").unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `wso2-api-manager-4-distributed`?"));
    let other = "[policy]\npacks = []\n[[suppress]]\nrule = \"wso2/bearer-over-http\"\nuntil = 2027-01-31\nreason = \"x\"\n";
    assert!(
        load(other).unwrap().rules().is_empty(),
        "a pack that is not loaded keeps its suppressions"
    );
}

#[test]
fn the_more_specific_rule_names_the_finding_and_the_user_s_own_breaks_a_tie() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("our.toml");
    let rule = |id: &str, signature: u32, matching: &str| {
        format!(
            "[[rule]]\nid = \"our/{id}\"\ntitle = \"t\"\nkind = \"plaintext-bearer\"\nseverity = \"low\"\n\
             signature_id = {signature}\nsource = \"s\"\nremedy = \"r\"\n[rule.match]\nevidence = \"bearer-token\"\n{matching}\n"
        )
    };
    let named = |text: &str, port: u16| {
        std::fs::write(&path, text).unwrap();
        let site = Site::default();
        let policy = Policy::load(Catalog::embedded(), &site, std::slice::from_ref(&path)).unwrap();
        let flow = Flow::http(port).seeing(EvidenceKind::BearerToken, &[4]);
        policy.rules()[judge(&policy, &flow, &site)[0].rule].id.clone()
    };
    let all = [
        rule("any", 1, ""),
        rule("role", 2, "role = \"gateway\""),
        rule("port", 3, "port = \"8280-8281\""),
        rule("service", 4, "service = \"wso2-api-manager-4/gateway-http\""),
        rule("not", 5, "[rule.not]\nport = 12345"),
    ];
    assert_eq!(named(&all.concat(), 8280), "our/service");
    assert_eq!(named(&all[..3].concat(), 8280), "our/port");
    assert_eq!(named(&all[..2].concat(), 8280), "wso2/bearer-over-http");
    assert_eq!(named(&all[0], 12_345), "our/any");
    assert_eq!(named(&all[4], 12_345), "wso2/bearer-in-clear");
    assert_eq!(named(&all[4], 12_346), "our/not");
}

#[test]
fn the_packs_in_the_binary_are_those_in_the_directory() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog/policy");
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = paths.map(name).collect();
    names.sort();
    let mut embedded: Vec<String> =
        embedded::PACKS.iter().map(|(path, _)| format!("{}.toml", load::pack_name(path))).collect();
    embedded.sort();
    assert_eq!(embedded, names);
}

/// Returns the names in the first column of the table under a heading of the README.
fn named_under(heading: &str) -> std::collections::BTreeSet<String> {
    let readme = include_str!("../../catalog/policy/README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

/// Returns the fields that a table may have, from the error about one that it may not.
fn fields_of(table: &str) -> std::collections::BTreeSet<String> {
    let text = format!("{table}\nno_such_field = 1\n");
    let (catalog, site) = (Catalog::embedded(), &Site::default());
    let source =
        compile::Source { path: Path::new("a.toml"), text: &text, shipped: false, catalog, site };
    let error = source.file().unwrap_err();
    let (_, expected) = error.cause().split_once("expected one of ").expect("unknown field");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_readme_documents_every_field() {
    let rule = "[[rule]]\nid = \"a/b\"\n[rule.match]";
    for (heading, table) in [
        ("`[pack]`", "[pack]"),
        ("`[[rule]]`", "[[rule]]"),
        ("`[rule.match]`", rule),
        ("`[[party]]`", "[[party]]"),
        ("`[[row]]`", "[[row]]"),
    ] {
        assert_eq!(named_under(heading), fields_of(table), "{heading}");
    }
}
