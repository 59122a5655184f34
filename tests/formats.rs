//! What CI servers read: our own reports against the schemas that others published.
//!
//! SARIF is held to its JSON schema, as the crate `serde-sarif` carries it. JUnit has no standard but two
//! schemas that readers go by: Ant's (Windy Road, `JUnit.xsd`) and that of Jenkins' xUnit plug-in
//! (`junit-10.xsd`). What the two say of each element stands below as tables of our own.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};
use serde_json::Value;

use crate::support::{captures, run};
use crate::wire::Wire;

/// What stands in an element.
enum Content {
    /// Text alone.
    Text,
    /// Text and elements as they come.
    Anything,
    /// At most so many elements of these names in any order.
    Some(&'static [&'static str], usize),
    /// Elements in this order, each with the least and the greatest number.
    InOrder(&'static [(&'static str, usize, usize)]),
}

/// What an attribute holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// Text without line breaks, tabs and spaces that a reader would take away (XML Schema Part 2 §3.3.2).
    Token,
    Name,
    Number,
    Decimal,
    /// Seconds as Surefire writes them.
    Seconds,
    Time,
}

/// An element: its attributes, each with whether it must be there, and what stands in it.
type Element = (&'static str, &'static [(&'static str, Kind, bool)], Content);

/// Windy Road's schema of Ant's reports, of `testsuites` as root.
const ANT: &[Element] = &[
    ("testsuites", &[], Content::InOrder(&[("testsuite", 0, MANY)])),
    (
        "testsuite",
        &[
            ("package", Kind::Token, true),
            ("id", Kind::Number, true),
            ("name", Kind::Name, true),
            ("timestamp", Kind::Time, true),
            ("hostname", Kind::Name, true),
            ("tests", Kind::Number, true),
            ("failures", Kind::Number, true),
            ("errors", Kind::Number, true),
            ("skipped", Kind::Number, false),
            ("time", Kind::Decimal, true),
        ],
        Content::InOrder(&[
            ("properties", 1, 1),
            ("testcase", 0, MANY),
            ("system-out", 1, 1),
            ("system-err", 1, 1),
        ]),
    ),
    ("properties", &[], Content::InOrder(&[("property", 0, MANY)])),
    ("property", &[("name", Kind::Name, true), ("value", Kind::Text, true)], EMPTY),
    (
        "testcase",
        &[
            ("name", Kind::Token, true),
            ("classname", Kind::Token, true),
            ("time", Kind::Decimal, true),
        ],
        Content::Some(&["skipped", "error", "failure"], 1),
    ),
    // Of no declared type: anything goes.
    ("skipped", &[("message", Kind::Text, false), ("type", Kind::Text, false)], Content::Anything),
    ("error", &[("message", Kind::Text, false), ("type", Kind::Text, true)], Content::Text),
    ("failure", &[("message", Kind::Text, false), ("type", Kind::Text, true)], Content::Text),
    ("system-out", &[], Content::Text),
    ("system-err", &[], Content::Text),
];

/// The schema of Jenkins' xUnit plug-in, which is Surefire's with what others write.
const JENKINS: &[Element] = &[
    (
        "testsuites",
        &[
            ("name", Kind::Text, false),
            ("time", Kind::Seconds, false),
            ("tests", Kind::Text, false),
            ("failures", Kind::Text, false),
            ("errors", Kind::Text, false),
        ],
        Content::InOrder(&[("testsuite", 0, MANY)]),
    ),
    (
        "testsuite",
        &[
            ("name", Kind::Text, true),
            ("tests", Kind::Text, true),
            ("failures", Kind::Text, true),
            ("errors", Kind::Text, true),
            ("group", Kind::Text, false),
            ("time", Kind::Seconds, false),
            ("skipped", Kind::Text, false),
            ("timestamp", Kind::Text, false),
            ("hostname", Kind::Text, false),
            ("id", Kind::Text, false),
            ("package", Kind::Text, false),
            ("file", Kind::Text, false),
            ("log", Kind::Text, false),
            ("url", Kind::Text, false),
        ],
        Content::Some(&["testsuite", "properties", "testcase", "system-out", "system-err"], MANY),
    ),
    ("properties", &[], Content::InOrder(&[("property", 0, MANY)])),
    ("property", &[("name", Kind::Text, true), ("value", Kind::Text, true)], EMPTY),
    (
        "testcase",
        &[
            ("name", Kind::Text, true),
            ("time", Kind::Text, false),
            ("classname", Kind::Text, false),
            ("group", Kind::Text, false),
        ],
        Content::Some(&["skipped", "error", "failure", "system-out", "system-err"], MANY),
    ),
    ("skipped", &[("message", Kind::Text, false), ("type", Kind::Text, false)], Content::Text),
    ("error", &[("message", Kind::Text, false), ("type", Kind::Text, false)], Content::Text),
    ("failure", &[("message", Kind::Text, false), ("type", Kind::Text, false)], Content::Text),
    ("system-out", &[], Content::Text),
    ("system-err", &[], Content::Text),
];

const MANY: usize = usize::MAX;

const EMPTY: Content = Content::InOrder(&[]);

impl Kind {
    fn fits(self, text: &str) -> bool {
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            Self::Text => true,
            Self::Token => {
                text.split(' ').all(|word| !word.is_empty()) && !text.contains(['\n', '\t', '\r'])
            }
            Self::Name => Self::Token.fits(text) && !text.is_empty(),
            Self::Number => text.parse::<i32>().is_ok(),
            Self::Decimal => text.parse::<f64>().is_ok() && !text.contains(['e', 'E']),
            Self::Seconds => {
                let (whole, part) = text.split_once('.').unwrap_or((text, ""));
                is_digits(&whole.replace(',', "")) && is_digits(part)
            }
            Self::Time => {
                let shape: String =
                    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
                shape == "0000-00-00T00:00:00"
            }
        }
    }
}

/// Adds what of an element, and of all in it, is against a schema.
fn faults(schema: &[Element], node: Node<'_, '_>, found: &mut Vec<String>) {
    let name = node.tag_name().name();
    let mut fault = |what: String| found.push(format!("<{name}>: {what}"));
    let Some((_, attributes, content)) = schema.iter().find(|element| element.0 == name) else {
        return fault("no such element".to_owned());
    };
    for attribute in node.attributes() {
        match attributes.iter().find(|known| known.0 == attribute.name()) {
            None => fault(format!("attribute {} is not allowed", attribute.name())),
            Some((_, kind, _)) if !kind.fits(attribute.value()) => {
                fault(format!("{}=\"{}\"", attribute.name(), attribute.value()));
            }
            Some(_) => {}
        }
    }
    for (required, ..) in attributes.iter().filter(|attribute| attribute.2) {
        if !node.has_attribute(*required) {
            fault(format!("attribute {required} is missing"));
        }
    }
    let children: Vec<&str> =
        node.children().filter(Node::is_element).map(|child| child.tag_name().name()).collect();
    let has_text = node
        .children()
        .any(|child| child.text().is_some_and(|text| !text.trim().is_empty()) && child.is_text());
    match content {
        Content::Anything => {}
        Content::Text if children.is_empty() => {}
        Content::Some(names, most) if !has_text && children.len() <= *most => {
            for other in children.iter().filter(|child| !names.contains(child)) {
                fault(format!("<{other}> is not allowed"));
            }
        }
        Content::InOrder(parts) if !has_text => {
            let mut rest = children.as_slice();
            for (part, least, most) in *parts {
                let there = rest.iter().take_while(|child| *child == part).count();
                if there < *least || there > *most {
                    fault(format!("{there} times <{part}>"));
                }
                rest = &rest[there..];
            }
            if let Some(other) = rest.first() {
                fault(format!("<{other}> is not allowed there"));
            }
        }
        _ => fault("has what it must not have".to_owned()),
    }
    for child in node.children().filter(Node::is_element) {
        faults(schema, child, found);
    }
}

/// Returns what of a JUnit report is against either schema, or against itself.
fn against_junit(text: &str) -> Vec<String> {
    let document = Document::parse(text).unwrap();
    let root = document.root_element();
    let mut found = Vec::new();
    for schema in [ANT, JENKINS] {
        faults(schema, root, &mut found);
    }
    let mut names = BTreeSet::new();
    for suite in root.children().filter(|node| node.has_tag_name("testsuite")) {
        let counts = [
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ];
        for (attribute, element) in counts {
            let there = suite.descendants().filter(|node| node.has_tag_name(element)).count();
            if suite.attribute(attribute) != Some(there.to_string().as_str()) {
                found.push(format!("{attribute} is not the {there} that there are"));
            }
        }
        for case in suite.children().filter(|node| node.has_tag_name("testcase")) {
            if !names.insert(case.attribute("name")) {
                found.push(format!("two cases {:?}", case.attribute("name")));
            }
        }
    }
    found
}

/// Returns SARIF's schema where cargo has fetched the crate that carries it; nothing builds that crate.
fn sarif_schema() -> Option<Value> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let folders = |path: PathBuf| fs::read_dir(path).ok().into_iter().flatten().flatten();
    let crates = folders(home.join("registry/src")).flat_map(|source| folders(source.path()));
    let mut carriers =
        crates.filter(|entry| entry.file_name().to_string_lossy().starts_with("serde-sarif-"));
    let text = fs::read_to_string(carriers.next()?.path().join("src/schema.json")).ok()?;
    let mut schema: Value = serde_json::from_str(&text).ok()?;
    // As published, the pattern of `language`, which we do not write, is no regular expression.
    for part in ["run", "toolComponent"] {
        schema["definitions"][part]["properties"]["language"].as_object_mut()?.remove("pattern");
    }
    Some(schema)
}

/// Reports that differ in what they hold: findings of every severity, none, doubts, suppressions, a baseline,
/// absences, rows, proofs.
fn reports(folder: &Path) -> Vec<(String, String, String)> {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut wire = Wire::default();
    wire.spoken("10.20.2.7", "10.20.3.10:8280", "http");
    wire.refused("10.20.2.7", "10.20.3.10:9099");
    wire.spoken("10.20.3.10", "10.20.4.10:9443", "tls");
    wire.write(&folder.join("own.pcap"), 65_535);
    wire.write(&folder.join("cut.pcap"), 96);
    let declared = fs::read_to_string("tests/data/declared.toml").unwrap();
    let zones = "[[zone]]\nname = \"public\"\nprefixes = [\"10.20.2.0/24\"]\n\
         [[zone]]\nname = \"management\"\nprefixes = [\"10.20.4.0/24\"]\n\
         [[suppress]]\nrule = \"wso2/basic-over-servlet-http\"\nuntil = 2030-01-01\nreason = \"<known> & \\u001b[31m\"\n\
         [[suppress]]\nrule = \"wso2/bearer-over-http\"\nuntil = 2020-01-01\nreason = \"over\"\n";
    let packs = "packs = [\"wso2\", \"ibm-api-connect-zones\"]\nexpect = [";
    fs::write(path("site.toml"), declared.replace("expect = [", packs) + zones).unwrap();
    let baseline = path("baseline.toml");
    run(["analyze", "captures/demo.pcap", "--write-baseline", &baseline]);
    let (own, cut, site) = (path("own.pcap"), path("cut.pcap"), path("site.toml"));
    let runs: Vec<Vec<&str>> = vec![
        vec!["captures/demo.pcap"],
        vec!["captures/demo.pcap", "--site", &site],
        vec!["captures/demo.pcap", "--site", &site, "--baseline", &baseline],
        vec![&own, "--site", &site, "--baseline", &baseline],
        vec![&own, "--fail-on", "info"],
        vec![&cut, "--fail-on", "critical"],
        vec!["captures/file/cut.pcap.gz", "captures/file/pcap-us-little.pcap"],
        vec!["captures/http/snaplen-in-token.pcap"],
        vec!["captures/link/no-flows.pcap"],
        vec!["captures/file/empty.pcap"],
    ];
    let one = |more: Vec<&str>| {
        let (sarif, junit) = (path("report.sarif"), path("report.xml"));
        let outputs = [format!("sarif={sarif}"), format!("junit={junit}")];
        let mut arguments =
            vec!["analyze", "--format", "ndjson", "-o", &outputs[0], "-o", &outputs[1]];
        arguments.extend(&more);
        let ran = run(arguments);
        assert_ne!(ran.code, 2, "{more:?}: {}", ran.err);
        (more.join(" "), fs::read_to_string(sarif).unwrap(), fs::read_to_string(junit).unwrap())
    };
    runs.into_iter().map(one).collect()
}

#[test]
fn junit_reports_keep_to_the_schemas_of_ant_and_jenkins() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for (about, _, junit) in reports(folder.path()) {
        assert_eq!(against_junit(&junit), Vec::<String>::new(), "{about}");
        for element in
            ["<failure", "<error", "<skipped", "by suppressions", "by the baseline", "gone since"]
        {
            if junit.contains(element) {
                seen.insert(element);
            }
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn the_tables_of_the_schemas_refuse_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, good) = reports(folder.path()).swap_remove(0);
    let wrong = [
        (" hostname=\"localhost\"", ""),
        (" time=\"0\">", " time=\"soon\">"),
        ("<properties>", "<properties><testcase/>"),
        (" errors=\"0\"", " errors=\"7\""),
        ("<system-err>", "<system-err/><system-err>"),
        (" type=\"critical\"", ""),
        ("<testsuites>", "<testsuites verdict=\"x\">"),
        ("T09:", " 09:"),
    ];
    for (part, other) in wrong {
        assert!(good.contains(part), "{part}: {good}");
        assert_ne!(against_junit(&good.replacen(part, other, 1)), Vec::<String>::new(), "{part}");
    }
}

#[test]
fn sarif_reports_keep_to_the_published_schema() {
    let Some(schema) = sarif_schema() else {
        // Past the test harness, which would keep the line of a test that passes.
        let line = b"sarif_reports_keep_to_the_published_schema: SKIPPED, `cargo fetch` brings the schema\n";
        let _ = std::io::stderr().write_all(line);
        return;
    };
    let validator =
        jsonschema::draft7::options().should_validate_formats(true).build(&schema).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut states = BTreeSet::new();
    for (about, sarif, _) in reports(folder.path()) {
        let log: Value = serde_json::from_str(&sarif).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&log).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert_eq!(errors, Vec::<String>::new(), "{about}");
        let results = log["runs"][0]["results"].as_array().unwrap();
        let prints: Vec<String> = results
            .iter()
            .filter(|result| result["suppressions"] == serde_json::json!([]))
            .filter_map(|result| result.get("partialFingerprints").map(Value::to_string))
            .collect();
        let different: BTreeSet<&String> = prints.iter().collect();
        if !about.contains("--baseline") {
            assert_eq!(different.len(), prints.len(), "{about}: one fingerprint, two results");
        }
        states.extend(
            results.iter().filter_map(|result| result["baselineState"].as_str().map(str::to_owned)),
        );
    }
    assert_eq!(states, ["absent", "new", "unchanged"].map(str::to_owned).into());
}

#[test]
fn every_capture_of_the_tree_gives_a_junit_report_that_keeps_to_the_schemas() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.xml");
    let output = format!("junit={}", report.display());
    for (name, path) in captures().iter().filter(|(name, _)| name.starts_with("http/")) {
        let ran = run(["analyze", path.to_str().unwrap(), "-o", &output]);
        assert_ne!(ran.code, 2, "{name}: {}", ran.err);
        let junit = fs::read_to_string(&report).unwrap();
        assert_eq!(against_junit(&junit), Vec::<String>::new(), "{name}");
    }
}
