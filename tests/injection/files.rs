//! Texts of the user's own files: whatever a name, a title or a remedy holds, it does nothing to a terminal
//! and ends no string.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{PAYLOADS, capture, is_plain, strings, well_formed};
use crate::support::{command, root, run};

/// Returns a payload as a string of TOML.
fn quoted(name: &str, payload: &[u8]) -> String {
    toml::Value::from(format!("{name}{}", String::from_utf8_lossy(payload))).to_string()
}

/// Writes the catalogue with a product more, whose gateway listens where a token goes by.
fn catalog(payload: &[u8], folder: &Path) -> PathBuf {
    let to = folder.join("catalog");
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(root().join("catalog")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    let say = |name: &str| quoted(name, payload);
    let text = format!(
        "[product]\nid = \"own\"\nname = {}\nvendor = {}\nversions = {}\nlifecycle = \"current\"\n\
         rank = 1\nnote = {}\n[[service]]\nid = \"gateway\"\nname = {}\nrole = \"gateway\"\nport = 7777\n\
         transport = \"tcp\"\noffset = \"fixed\"\nprotocol = \"http\"\nencryption = \"none\"\nsource = {}\n\
         section = {}\nas_printed = {}\nstatus = \"confirmed\"\nnote = {}\n",
        say("PRODUCT-"),
        say("VENDOR-"),
        say("VERSIONS-"),
        say("NOTE-"),
        say("SERVICE-"),
        say("SOURCE-"),
        say("SECTION-"),
        say("PRINTED-"),
        say("ROW-"),
    );
    fs::write(to.join("own.toml"), text).unwrap();
    to
}

/// Writes a file of rules.
fn policy(payload: &[u8], folder: &Path) -> PathBuf {
    let path = folder.join("policy.toml");
    let say = |name: &str| quoted(name, payload);
    let text = format!(
        "[pack]\nid = \"own\"\ntitle = {}\n[[rule]]\nid = \"own/token\"\ntitle = {}\n\
         kind = \"plaintext-bearer\"\nseverity = \"critical\"\nsignature_id = 1\nsource = {}\nremedy = {}\n\
         [rule.match]\nevidence = \"bearer-token\"\nservice = \"own/gateway\"\n",
        say("PACK-"),
        say("TITLE-"),
        say("BASIS-"),
        // A remedy may have lines; they are printed as they are.
        quoted(
            "REMEDY-",
            &payload
                .iter()
                .map(|byte| if *byte == b'\n' { b' ' } else { *byte })
                .collect::<Vec<_>>()
        ),
    );
    fs::write(&path, text).unwrap();
    path
}

/// Writes a site file.
fn site(payload: &[u8], folder: &Path) -> PathBuf {
    let path = folder.join("site.toml");
    let say = |name: &str| quoted(name, payload);
    let zone = say("ZONE-");
    let text = format!(
        "[[zone]]\nname = {zone}\nprefixes = [\"10.0.0.0/24\"]\ntrust = \"server\"\n\
         [[host]]\nname = {}\naddresses = [\"10.0.0.8\"]\nproducts = [\"own\"]\nzone = {zone}\n\
         [policy]\ndisabled = [\"own/gateway\"]\n\
         [[suppress]]\nrule = \"wso2/basic-over-servlet-http\"\ninitiator = {zone}\nuntil = 2099-01-01\n\
         reason = {}\n[[suppress]]\nrule = \"wso2/jmx-in-clear\"\nuntil = 2099-01-01\nreason = {}\n",
        say("NAME-"),
        say("REASON-"),
        say("UNUSED-"),
    );
    fs::write(&path, text).unwrap();
    path
}

/// What of the user's files is in reports.
const REPORTED: [&str; 7] =
    ["SERVICE-", "TITLE-", "REMEDY-", "ZONE-", "NAME-", "REASON-", "BASIS-"];

#[test]
fn texts_of_own_files_do_nothing_in_any_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen: Vec<&str> = Vec::new();
    for payload in PAYLOADS {
        let what = payload.escape_ascii().to_string();
        let path = capture(payload, folder.path());
        let arguments = [
            OsString::from("--catalog"),
            catalog(payload, folder.path()).into(),
            "--policy".into(),
            policy(payload, folder.path()).into(),
            "--site".into(),
            site(payload, folder.path()).into(),
        ];
        let analyze = |format: &str| {
            let format = format!("--format={format}");
            let first = [OsString::from("analyze"), format.into(), path.clone().into()];
            run(first.iter().chain(&arguments))
        };
        let records = well_formed(analyze, &what);
        let said: Vec<&str> = records.iter().flat_map(strings).collect();
        for place in REPORTED {
            let whole = format!("{place}{}", String::from_utf8_lossy(payload).trim_end());
            if said.iter().any(|text| text.contains(&whole)) {
                seen.push(place);
            }
        }
    }
    for place in REPORTED {
        assert!(seen.contains(&place), "{place} is in no report");
    }
}

#[test]
fn what_is_looked_up_in_own_files_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for payload in PAYLOADS {
        let what = payload.escape_ascii().to_string();
        let catalog = catalog(payload, folder.path());
        let (policy, site) = (policy(payload, folder.path()), site(payload, folder.path()));
        let [catalog, policy, site] = [&catalog, &policy, &site].map(|path| path.to_str().unwrap());
        for looked_up in [
            &["catalog", "list", "--product=own"][..],
            &["catalog", "show", "7777"],
            &["catalog", "explain", "own/gateway"],
            &["catalog", "check", catalog],
            &["policy", "list", "--site", site, "--policy", policy],
            &["policy", "explain", "own/token", "--policy", policy],
            &["policy", "explain", "own", "--policy", policy],
            &["policy", "check", policy],
        ] {
            for format in ["text", "ndjson"] {
                let mut arguments = looked_up.to_vec();
                arguments.extend(["--format", format, "--catalog", catalog]);
                let ran = run(&arguments);
                assert_eq!(ran.code, 0, "{what}, {looked_up:?}: {}", ran.err);
                is_plain(ran.text(), &what);
                assert_eq!(ran.err, "", "{what}, {looked_up:?}");
                assert!(format == "text" || !ran.records().is_empty(), "{what}, {looked_up:?}");
            }
        }
    }
}

/// Files of the user's with a wrong name, which the message repeats.
const WRONG: [(&str, &str); 11] = [
    ("--site", "[[zone]]\nname = {}\n[[zone]]\nname = {}\n"),
    ("--site", "[[host]]\nname = {}\n"),
    ("--site", "[[host]]\nname = \"a\"\naddresses = [{}]\n"),
    ("--site", "[[host]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\nzone = {}\n"),
    ("--site", "[[host]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\nproducts = [{}]\n"),
    ("--site", "[policy]\npacks = [{}]\n"),
    ("--site", "[policy]\nauth_headers = [{}]\n"),
    ("--site", "[[suppress]]\nrule = {}\nuntil = 2099-01-01\nreason = \"r\"\n"),
    ("--site", "{} = 1\n"),
    ("--policy", "[[rule]]\nid = {}\n"),
    ("--baseline", "[[suppress]]\nrule = {}\nuntil = 2099-01-01\nreason = \"r\"\n"),
];

#[test]
fn a_wrong_name_in_an_own_file_stays_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    for payload in PAYLOADS {
        for (flag, text) in WRONG {
            fs::write(&path, text.replace("{}", &quoted("x", payload))).unwrap();
            let output = command()
                .args(["analyze", flag])
                .arg(&path)
                .arg("captures/http/token-in-header.pcap")
                .output()
                .unwrap();
            let what = format!("{text:?} with {}", payload.escape_ascii());
            let err = String::from_utf8(output.stderr).expect("messages are UTF-8");
            is_plain(&err, &what);
            // A rule that is not known to this version is no error of a baseline.
            assert!(output.status.code() == Some(2) || flag == "--baseline", "{what}: {err}");
            let starts = ["error: ", "hint: ", "warning: "];
            assert!(
                err.lines().all(|line| starts.iter().any(|start| line.starts_with(start))),
                "{what}: {err}"
            );
        }
    }
}
