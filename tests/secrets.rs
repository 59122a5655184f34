//! No output holds a token or a password, in any format and any encoding.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::{all_captures, captures, run};

/// What every token and every password of the captures begins with, and what products ship with.
const CANARIES: [&str; 3] = ["CANARY-", "canary-pw-", "admin:admin"];

/// Returns a secret in every spelling that an output could have it in.
fn spellings(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let all = |spell: fn(u8) -> String, between: &str| {
        bytes.iter().map(|byte| spell(*byte)).collect::<Vec<_>>().join(between)
    };
    let mut spellings = vec![
        secret.to_owned(),
        all(|byte| format!("{byte:02x}"), ""),
        all(|byte| format!("{byte:02X}"), ""),
        all(|byte| format!("{byte:02x}"), " "),
        all(|byte| format!("{byte:02x}"), ":"),
        all(|byte| format!("%{byte:02X}"), ""),
        all(|byte| format!("%{byte:02x}"), ""),
        all(|byte| format!("{byte}"), ","),
        all(|byte| format!("{byte}"), ", "),
        secret.replace('-', "%2D").replace(':', "%3A"),
        secret.replace('-', "%2d").replace(':', "%3a"),
        secret.chars().rev().collect(),
    ];
    // In base64, what is whole of it wherever it begins.
    for before in 0..3 {
        let padded = [&[b'.'; 3][..before], bytes].concat();
        let text = STANDARD.encode(&padded);
        let from = (before * 8).div_ceil(6);
        let whole = padded.len() * 8 / 6;
        spellings.push(text[from..whole].to_owned());
    }
    spellings
}

/// Returns the spellings of canaries that stand in some bytes.
pub(crate) fn leaks(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let all = CANARIES.iter().flat_map(|secret| spellings(secret));
    all.filter(|spelling| text.contains(spelling.as_str())).collect()
}

#[test]
fn the_search_for_secrets_finds_them() {
    for text in ["x CANARY-1", "43414e4152592d31", "%43%41%4E%41%52%59%2D", "CANARY%2D1"] {
        assert_eq!(leaks(text.as_bytes()).len(), 1, "{text}");
    }
    for before in ["", "a", "ab", "abc"] {
        let text = STANDARD.encode(format!("{before}:canary-pw-1"));
        assert!(!leaks(text.as_bytes()).is_empty(), "{text}");
    }
    let demo = fs::read(&captures()["demo.pcap"]).unwrap();
    assert!(leaks(&demo).len() >= 3, "the demo holds tokens, passwords and Basic credentials");
    assert!(leaks(b"a canary, an admin; admin").is_empty());
}

#[test]
fn no_output_holds_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> =
        formats().into_iter().map(|format| (format, folder.path().join(format))).collect();
    let mut faults = Vec::new();
    let mut look = |what: &str, bytes: &[u8]| {
        for leak in leaks(bytes) {
            faults.push(format!("{what}: {leak}"));
        }
    };
    for (name, path) in all_captures() {
        for more in [&[][..], &["--show-users", "--fail-on", "info"]] {
            let outputs = files.iter().flat_map(|(format, path)| {
                ["-o".to_owned(), format!("{format}={}", path.display())]
            });
            let mut arguments = vec!["analyze".to_owned(), path.to_str().unwrap().to_owned()];
            arguments.extend(outputs);
            arguments.extend(more.iter().map(|word| (*word).to_owned()));
            let ran = run(&arguments);
            look(&format!("{name} on standard output"), &ran.out);
            look(&format!("{name} on standard error"), ran.err.as_bytes());
            for (format, path) in &files {
                let bytes = fs::read(path).unwrap_or_default();
                assert!(ran.code == 2 || !bytes.is_empty(), "{name} as {format} is empty");
                look(&format!("{name} as {format}"), &bytes);
                let _ = fs::remove_file(path);
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Returns the formats that the binary knows; the two first ones it must know.
fn formats() -> Vec<&'static str> {
    let help = run(["analyze", "--help"]);
    let is_known = |format: &&str| help.text().contains(&format!("- {format}"));
    let known: Vec<_> = ["text", "ndjson", "sarif", "junit"].into_iter().filter(is_known).collect();
    assert!(known.starts_with(&["text", "ndjson"]), "{}", help.text());
    known
}
