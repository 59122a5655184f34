//! Text that an attacker chooses: whatever stands in names, paths, certificates, interfaces and file names,
//! no output lets it move a cursor, end a string or become a tag, and every format reads back.

mod capture;
mod files;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use portreeve::error::is_unprintable;
use serde_json::Value;

use crate::support::{Ran, command, number, of_type};
use capture::capture;

/// What is tried in every place: ANSI, C1, bell, quotes, markup, ends of sections, hidden and turning
/// characters, and bytes that are no UTF-8. Behind each stands a letter, so that none is trimmed.
const PAYLOADS: [&[u8]; 18] = [
    b"\x1b[31;1mred\x1b[0m",
    b"\x1b]0;title\x07.",
    b"\xc2\x9b31m.",
    b"\x9b31m.",
    b"\xff\xfe\xc3\x28.",
    b"\"'`\\.",
    b"\"},{\"event_type\":\"alert\"}",
    b"<b>&amp;]]>--><!--.",
    b"\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8b\xef\xbb\xbf.",
    b"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\xef\xbf\xbe.",
    b"${jndi:ldap://a/b}%s%n{}{{.}}",
    b"\x7f\x08\x08\x0b\x0c\t.",
    b"\r\nerror: forged\r\n\r\nwarning: forged\n.",
    b"\0a\0.",
    b"</script><script>alert(1)</script>.",
    // Turned text, one of each: RLM, LRM, ALM, LRE to RLO, LRI to PDI.
    "\u{200f}\u{200e}\u{61c}\u{202a}\u{202b}\u{202c}\u{202d}\u{2066}\u{2067}\u{2068}\u{2069}."
        .as_bytes(),
    // Text that nobody sees: tags, soft hyphen, fillers, selectors, joiners.
    "\u{e0041}\u{ad}\u{3164}\u{115f}\u{fe0f}\u{e0101}\u{200d}\u{2060}\u{180e}.".as_bytes(),
    // Strings of a terminal that C1 begins: DCS, OSC, APC.
    b"\xc2\x90q\xc2\x9d52;c;AAAA\x07\xc2\x9f\x9d0;t\x9c.",
];

fn analyze(format: &str, path: &Path, evidence: Option<&Path>) -> Ran {
    let mut command = command();
    command.args(["analyze", "--show-users", "--format", format]).arg(path);
    if let Some(evidence) = evidence {
        command.arg("--evidence").arg(evidence);
    }
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).expect("messages are UTF-8");
    Ran { code: output.status.code().unwrap(), out: output.stdout, err }
}

/// Proves that text can go to a terminal.
fn is_plain(text: &str, what: &str) {
    let bad = text.chars().find(|c| *c != '\n' && is_unprintable(*c));
    assert_eq!(bad, None, "{what}: {text:?}");
}

/// Returns every string of a value.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// Elements of JUnit.
const ELEMENTS: [&str; 9] = [
    "testsuites",
    "testsuite",
    "testcase",
    "failure",
    "skipped",
    "system-err",
    "system-out",
    "properties",
    "property",
];

/// What a line begins with that an attacker would like to write.
const FORGED: [&str; 2] = ["error: forged", "warning: forged"];

/// Runs an analysis in each format and proves that all of them are what they should be; returns the records.
fn well_formed(analyze: impl Fn(&str) -> Ran, what: &str) -> Vec<Value> {
    let [text, lines, sarif, junit] = ["text", "ndjson", "sarif", "junit"].map(|format| {
        let ran = analyze(format);
        assert_eq!(ran.code, 1, "{what}: {}", ran.err);
        is_plain(ran.text(), what);
        is_plain(&ran.err, what);
        let mut all = ran.text().lines().chain(ran.err.lines());
        let forged = all.find(|line| FORGED.iter().any(|start| line.starts_with(start)));
        assert_eq!(forged, None, "{what} as {format}");
        ran
    });
    assert!(!text.text().is_empty(), "{what}");
    let records = lines.records();
    // What a payload puts between the lines would be a record more.
    assert!(records.iter().all(|record| record["portreeve"].is_object()), "{what}");

    let log: Value = serde_json::from_str(sarif.text()).expect("SARIF is JSON");
    let results = log["runs"][0]["results"].as_array().unwrap();
    let alerts = of_type(&records, "alert").len();
    let flows: u64 = results.iter().map(|result| number(&result["occurrenceCount"])).sum();
    assert_eq!(usize::try_from(flows).unwrap(), alerts, "{what}");
    for result in results {
        is_plain(result["message"]["text"].as_str().unwrap(), what);
    }

    let tree = roxmltree::Document::parse(junit.text()).expect("JUnit is XML");
    for node in tree.descendants().filter(roxmltree::Node::is_element) {
        assert!(ELEMENTS.contains(&node.tag_name().name()), "{what}: {:?}", node.tag_name());
    }
    // A parser of XML takes more than XML has (XML 1.0 §2.2).
    let is_char = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert_eq!(junit.text().chars().find(|c| !is_char(*c)), None, "{what}");
    records
}

/// Where what was on the wire is shown.
const SHOWN: [&str; 18] = [
    "PATH-", "HOST-", "AGENT-", "XFF-", "USER-", "FORM-", "ISS-", "PATH2-", "HOST2-", "AGENT2-",
    "SNI-", "SUBJECT-", "MQTT-", "LDAP-", "AMQP-", "JMX-", "FILE-", "IF-",
];

#[test]
fn no_text_of_an_attacker_does_anything_in_any_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen: Vec<&str> = Vec::new();
    for payload in PAYLOADS {
        let what = payload.escape_ascii().to_string();
        let path = capture(payload, folder.path());
        let records = well_formed(|format| analyze(format, &path, None), &what);
        let said: Vec<&str> = records.iter().flat_map(strings).collect();
        for place in SHOWN {
            let whole = format!("{place}{}", String::from_utf8_lossy(payload));
            // Cut to what may stand there, or whole: what was on the wire comes back.
            if said.iter().any(|text| text.contains(&whole)) && !seen.contains(&place) {
                seen.push(place);
            }
        }
    }
    for place in SHOWN {
        assert!(seen.contains(&place), "{place} is in no report");
    }
}

/// Returns the texts of a pcapng file: names of its interfaces, comments of its frames.
fn texts(file: &[u8]) -> [Vec<String>; 2] {
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
    let (mut texts, mut at) = ([Vec::new(), Vec::new()], 0);
    while at < file.len() {
        let end = at + u32_at(at + 4);
        // Where the options of an interface and of a frame begin, and which of them are texts.
        let (kind, mut option, codes) = match u32_at(at) {
            1 => (0, at + 16, 2..=3),
            6 => (1, at + 28 + u32_at(at + 20).next_multiple_of(4), 1..=1),
            _ => (0, end, 1..=1),
        };
        while option + 8 <= end {
            let (code, len) = (u16_at(option), u16_at(option + 2));
            if codes.contains(&code) {
                let text = file[option + 4..option + 4 + len].to_vec();
                texts[kind].push(String::from_utf8(text).expect("texts of pcapng are UTF-8"));
            }
            option += 4 + len.next_multiple_of(4);
        }
        at = end;
    }
    texts
}

#[test]
fn evidence_of_hostile_captures_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    for payload in PAYLOADS {
        let what = payload.escape_ascii().to_string();
        let path = capture(payload, folder.path());
        let evidence = folder.path().join("evidence.pcapng");
        let ran = analyze("text", &path, Some(&evidence));
        assert_eq!(ran.code, 1, "{what}: {}", ran.err);
        let [names, comments] = texts(&fs::read(&evidence).unwrap());
        assert!(!names.is_empty() && !comments.is_empty(), "{what}");
        names.iter().chain(&comments).for_each(|text| is_plain(&text.replace('\n', "\\n"), &what));
        assert!(!names.iter().any(|name| name.contains('\n')), "{what}");
        let again = analyze("ndjson", &evidence, None);
        assert!(matches!(again.code, 0 | 1), "{what}: {}", again.err);
        is_plain(again.text(), &what);
        is_plain(&again.err, &what);
        let ran = command().arg("scrub").arg(&path).arg(&evidence).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{what}");
        is_plain(std::str::from_utf8(&ran.stdout).unwrap(), &what);
        is_plain(std::str::from_utf8(&ran.stderr).unwrap(), &what);
    }
}

#[test]
fn a_hostile_name_in_a_message_stays_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for payload in PAYLOADS {
        let mut name = payload.to_vec();
        name.retain(|byte| *byte != b'/' && *byte != 0);
        name.push(b'\n');
        let path = folder.path().join(OsString::from_vec(name));
        fs::write(&path, b"\xd4\xc3\xb2\xa1 no capture, whatever it begins with").unwrap();
        for arguments in [
            vec![OsString::from("analyze"), path.clone().into()],
            vec!["analyze".into(), "--site".into(), path.clone().into(), "x".into()],
            vec!["analyze".into(), "--catalog".into(), path.clone().into(), "x".into()],
            vec!["policy".into(), "check".into(), path.clone().into()],
            vec!["catalog".into(), "check".into(), path.clone().into()],
            vec!["catalog".into(), "import".into(), path.clone().into()],
            vec!["scrub".into(), path.clone().into(), "/dev/null".into()],
        ] {
            let output = command().args(&arguments).output().unwrap();
            assert_ne!(output.status.code(), Some(0), "{arguments:?}");
            let err = String::from_utf8(output.stderr).expect("messages are UTF-8");
            is_plain(&err, &format!("{arguments:?}"));
            let lines = err.lines().all(|line| {
                ["error: ", "hint: ", "warning: "].iter().any(|start| line.starts_with(start))
            });
            assert!(lines, "{arguments:?}: {err}");
        }
    }
}

#[test]
fn a_hostile_argument_stays_in_its_line() {
    for payload in PAYLOADS {
        let word = |before: &str, after: &str| {
            let mut bytes = [before.as_bytes(), payload, b"\n", after.as_bytes()].concat();
            bytes.retain(|byte| *byte != 0);
            OsString::from_vec(bytes)
        };
        for arguments in [
            vec![word("x", "")],
            vec!["analyze".into(), word("--", "")],
            vec!["analyze".into(), word("--format=", ""), "x".into()],
            vec!["analyze".into(), "--workers".into(), word("", ""), "x".into()],
            vec!["analyze".into(), word("--since=", ""), "x".into()],
            vec!["analyze".into(), "--memory-limit".into(), word("", ""), "x".into()],
            vec!["analyze".into(), "-o".into(), word("text", "=y"), "x".into()],
            vec!["analyze".into(), "--filter".into(), word("", ""), word("no-such-", "")],
            vec!["bench".into(), word("--mix=", "")],
            vec!["catalog".into(), "show".into(), word("", "")],
            vec!["catalog".into(), "explain".into(), word("", "")],
            vec!["policy".into(), "explain".into(), word("", "")],
            vec!["completions".into(), word("", "")],
            vec!["live".into(), "-i".into(), word("no", ""), "--duration".into(), word("", "")],
        ] {
            let output = command().args(&arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert!(output.stdout.is_empty(), "{arguments:?}");
            let err = String::from_utf8(output.stderr).expect("messages are UTF-8");
            is_plain(&err, &format!("{arguments:?}"));
            assert!(err.starts_with("error: "), "{arguments:?}: {err}");
        }
    }
}
