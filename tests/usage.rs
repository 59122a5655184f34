//! The command line: inputs, outputs, exit codes, and what is said when something is wrong.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{
    Ran, command, number, of_type, own, root, run, run_with_input, summary, truth,
};

const TOKEN: &str = "captures/http/token-in-header.pcap";
const CUT: &str = "captures/file/cut-in-record-header.pcap";
const SILENT: &str = "captures/link/no-flows.pcap";

fn ndjson(arguments: &[&str]) -> (Ran, Vec<Value>) {
    let ran = run([&["analyze", "--format", "ndjson"], arguments].concat());
    let records = ran.records();
    (ran, records)
}

fn bearers(records: &[Value]) -> u64 {
    let alerts = of_type(records, "alert");
    let findings = alerts.iter().map(|alert| own(alert, "finding"));
    findings.filter(|f| f["kind"] == "plaintext-bearer").map(|f| number(&f["count"])).sum()
}

fn received(records: &[Value]) -> u64 {
    number(&own(summary(records), "ledger")["total"]["received"])
}

#[test]
fn exit_codes_say_how_it_went() {
    for (arguments, code) in [
        (vec!["analyze", SILENT], 0),
        (vec!["analyze", TOKEN], 1),
        (vec!["analyze", "captures/file/no-capture.pcap"], 2),
        (vec!["analyze", "captures/file/nothing.pcap"], 2),
        (vec!["analyze", "captures/none.pcap"], 2),
        (vec!["analyze"], 2),
        (vec!["analyze", "--no-such-flag", TOKEN], 2),
        (vec!["analyze", "--workers", "0", TOKEN], 2),
        (vec!["analyze", "--fail-on", "grave", TOKEN], 2),
        (vec!["analyze", "-o", "ndjson", TOKEN], 2),
        (vec!["analyze", "-o", "ndjson=captures/no/such/folder/x", TOKEN], 2),
        (vec!["frobnicate"], 2),
        (vec!["analyze", CUT], 3),
        (vec!["--version"], 0),
        (vec!["--help"], 0),
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(code != 2 || ran.out.is_empty(), "{arguments:?} writes a report");
        assert!(code != 2 || !ran.err.is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn a_report_overwrites_no_file_that_the_run_reads() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str, from: &str| {
        let path = folder.path().join(name);
        fs::copy(root().join(from), &path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let capture = copy("a.pcap", TOKEN);
    let site = copy("site.toml", "tests/data/declared.toml");
    let bytes = fs::read(&capture).unwrap();
    let dotted = folder.path().join("./a.pcap");
    let onto = |path: &str| format!("ndjson={path}");
    for outputs in [
        vec![onto(&capture)],
        vec![onto(dotted.to_str().unwrap())],
        vec![onto(&site)],
        vec![onto(&format!("{capture}.new")), format!("sarif={capture}.new")],
    ] {
        let flags = outputs.iter().flat_map(|output| ["-o", output]);
        let ran = run(["analyze", "--site", &site, &capture].into_iter().chain(flags));
        assert_eq!(ran.code, 2, "{outputs:?}");
        assert!(ran.err.starts_with("error: ") && ran.err.contains("hint: "), "{}", ran.err);
        assert_eq!(fs::read(&capture).unwrap(), bytes, "{outputs:?}");
    }
    let twice = ["analyze", "-o", "ndjson=/dev/null", "-o", "sarif=/dev/null", &capture];
    assert_eq!(run(twice).code, 1);
}

/// Everything that a run can read, as copies in a folder of their own.
fn copies(folder: &std::path::Path) -> Vec<String> {
    let catalog = folder.join("catalog");
    fs::create_dir(&catalog).unwrap();
    for entry in fs::read_dir(root().join("catalog")).unwrap() {
        let from = entry.unwrap().path();
        if from.extension().is_some_and(|end| end == "toml") {
            fs::copy(&from, catalog.join(from.file_name().unwrap())).unwrap();
        }
    }
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::copy(root().join(TOKEN), path("in.pcap")).unwrap();
    fs::write(path("site.toml"), "[policy]\nfiles = [\"more.toml\"]\n").unwrap();
    fs::write(path("key"), "a key").unwrap();
    for name in ["more.toml", "rules.toml", "known.toml"] {
        fs::write(path(name), "").unwrap();
    }
    let names = ["in.pcap", "site.toml", "more.toml", "rules.toml", "known.toml", "key"];
    names.iter().copied().chain(["catalog/wso2-carbon.toml"]).map(path).collect()
}

#[test]
fn no_output_overwrites_what_the_run_reads_nor_another_output() {
    let folder = tempfile::tempdir().unwrap();
    let read = copies(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [catalog, site, rules, known, key] =
        ["catalog", "site.toml", "rules.toml", "known.toml", "key"].map(path);
    let analyze = |more: &[&str]| {
        let all = ["--catalog", &catalog, "--site", &site, "--policy", &rules];
        let all = all.into_iter().chain(["--baseline", &known, "--fingerprint-key", &key]);
        run(["analyze", &path("in.pcap")].into_iter().chain(all).chain(more.iter().copied()))
    };
    let refused = |more: &[&str], why: &str| {
        let before: Vec<_> = read.iter().map(|path| fs::read(path).unwrap()).collect();
        let ran = analyze(more);
        assert_eq!((ran.code, ran.text()), (2, ""), "{more:?}: {}", ran.err);
        let said: Vec<&str> = ran.err.lines().collect();
        assert!(said[0].ends_with(why) && said[1].starts_with("hint: "), "{more:?}: {}", ran.err);
        let after: Vec<_> = read.iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(before == after, "{more:?} touched what the run reads");
    };
    for (at, path) in read.iter().enumerate() {
        let hard = format!("{path}.hard");
        let soft = format!("{path}.soft");
        fs::hard_link(path, &hard).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(path, &soft).unwrap();
        for path in [path, &hard, &soft].into_iter().filter(|path| fs::exists(path).unwrap()) {
            refused(&["-o", &format!("text={path}")], ": the run reads it");
            refused(&["--evidence", path], ": the run reads it");
            // The baseline is what may be written anew.
            if at != 4 {
                refused(&["--write-baseline", path], ": the run reads it");
            }
        }
    }
    let new = path("new");
    refused(&["-o", &format!("text={new}"), "--write-baseline", &new], ": two outputs go there");
    refused(&["--evidence", &new, "--write-baseline", &new], ": two outputs go there");
    refused(&["-o", &format!("text={new}"), "--evidence", &new], ": two outputs go there");
    assert!(!fs::exists(&new).unwrap());

    assert_eq!(analyze(&["--write-baseline", &known]).code, 1);
    assert!(fs::read_to_string(&known).unwrap().contains("[[suppress]]"), "written anew");
    assert_eq!(analyze(&["--write-baseline", &known]).code, 0, "and read again");
}

#[test]
fn a_folder_keeps_its_captures_and_may_take_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (capture, linked, report) = (path("in.pcap"), path("linked"), path("report.txt"));
    fs::copy(root().join(TOKEN), &capture).unwrap();
    let bytes = fs::read(&capture).unwrap();
    let folder = folder.path().to_str().unwrap();
    let onto = run(["analyze", folder, "-o", &format!("text={capture}")]);
    assert!(onto.code == 2 && onto.err.contains("in.pcap: the run reads it"), "{}", onto.err);
    for _ in 0..2 {
        assert_eq!(run(["analyze", folder, "-o", &format!("text={report}")]).code, 1);
    }
    fs::hard_link(&capture, &linked).unwrap();
    let scrubbed = run(["scrub", &capture, &linked]);
    assert!(scrubbed.code == 2 && scrubbed.err.contains("the run reads it"), "{}", scrubbed.err);
    assert_eq!(fs::read(&capture).unwrap(), bytes);
}

#[test]
fn a_run_over_nothing_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    let ran = run(["analyze", empty]);
    assert_eq!((ran.code, ran.out.len()), (2, 0));
    assert!(ran.err.starts_with("error: no capture was found\n"), "{}", ran.err);
    let ran = run(["analyze", "--since", "2030-01-02", "--until", "2030-01-01", TOKEN]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.starts_with("error: --until: "), "{}", ran.err);
}

#[test]
fn a_run_in_which_nothing_was_judged_says_so() {
    let mut cases = vec![
        (vec!["captures/file/empty.pcap"], "no packet was read"),
        (vec![SILENT], "no packet is part of a connection"),
        (vec!["--since", "2030-01-01", TOKEN], "the filter or the time span left no packet"),
    ];
    if cfg!(feature = "live") {
        cases.push((vec!["--filter", "tcp port 1", TOKEN], "the filter or the time span left no"));
    }
    for (arguments, why) in cases {
        let (ran, records) = ndjson(&arguments);
        let warnings = own(summary(&records), "warnings").to_string();
        assert!(warnings.contains(&format!("nothing was judged, since {why}")), "{warnings}");
        // What makes a verdict inconclusive is a closed list, and this is not in it.
        assert_eq!(ran.code, 0, "{arguments:?}");
        let text = run([&["analyze"][..], &arguments].concat());
        let first = text.text().lines().next().unwrap();
        assert_eq!(first, "PASS  Nothing was judged: see the warning.", "{arguments:?}");
    }
    let (_, records) = ndjson(&[TOKEN]);
    assert!(summary(&records)["portreeve"].get("warnings").is_none());
}

#[test]
fn what_is_wrong_is_said_with_file_and_offset() {
    let said = |path: &str| run(["analyze", path]).err;
    assert!(
        said("captures/none.pcap").starts_with("error: captures/none.pcap: cannot be opened: ")
    );
    assert!(
        said("captures/file/no-capture.pcap").starts_with("error: captures/file/no-capture.pcap")
    );
    let cut = said(CUT);
    // A file header of 24 bytes, a record of 16 and 66.
    assert!(cut.starts_with(&format!("error: {CUT}: offset 106: ")), "{cut}");
}

#[test]
fn a_file_that_is_not_there_is_told_in_the_same_words() {
    for arguments in [
        ["analyze", "no/such", TOKEN].as_slice(),
        &["analyze", "--site", "no/such", TOKEN],
        &["analyze", "--policy", "no/such", TOKEN],
        &["analyze", "--baseline", "no/such", TOKEN],
        &["analyze", "--catalog", "no/such", TOKEN],
        &["analyze", "--fingerprint-key", "no/such", TOKEN],
        &["catalog", "import", "no/such"],
    ] {
        let ran = run(arguments);
        let said = ran.err.starts_with("error: no/such: cannot be opened: No such file");
        assert!(said && ran.err.contains("\nhint: a relative path "), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn what_an_option_cannot_mean_is_refused_or_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let capture = root().join(TOKEN);
    let beside = |arguments: &[&str]| {
        let mut command = command();
        let output = command.current_dir(&folder).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let capture = capture.to_str().unwrap();
    for arguments in [
        ["analyze", "-o", "text=-", capture],
        ["analyze", "--write-baseline", "-", capture],
        ["analyze", "--evidence", "-", capture],
    ] {
        let (code, said) = beside(&arguments);
        assert!(code == Some(2) && said.contains("chosen by --format"), "{arguments:?}: {said}");
    }
    let (code, said) = beside(&["scrub", capture, "-"]);
    assert!(code == Some(2) && said.contains("expected a file"), "{said}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

    for command in ["analyze", "bench"] {
        let (code, said) = beside(&[command, "--workers", "0", capture]);
        assert!(code == Some(2) && said.contains("expected a number of threads"), "{said}");
    }

    let (code, said) = beside(&["analyze", "--memory-limit", "191M", capture]);
    assert!(code == Some(1) && said.starts_with("warning: --memory-limit: "), "{said}");
    let (_, said) = beside(&["analyze", "--memory-limit", "192M", capture]);
    assert_eq!(said, "");
}

#[test]
fn no_sub_command_shows_help() {
    let ran = run::<&str>([]);
    let said = format!("{}{}", ran.text(), ran.err);
    assert!(said.contains("analyze") && said.contains("Usage:"), "{said}");
}

#[test]
fn findings_weigh_more_than_what_is_inconclusive() {
    let ran = run(["analyze", TOKEN, CUT]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains(&format!("error: {CUT}")), "{}", ran.err);
    assert!(ran.text().contains("Inconclusive as well"), "{}", ran.text());
}

#[test]
fn a_broken_file_costs_only_itself() {
    let good = truth()["http/token-in-header.pcap"]["frames"].as_u64().unwrap();
    for broken in ["captures/file/no-capture.pcap", "captures/none.pcap", CUT] {
        for order in [[TOKEN, broken], [broken, TOKEN]] {
            let (ran, records) = ndjson(&[&["--separate"][..], &order].concat());
            assert_eq!(ran.code, 1, "{order:?}: {}", ran.err);
            assert_eq!(bearers(&records), 1);
            assert_eq!(received(&records), good + u64::from(broken == CUT));
            assert!(ran.err.contains(broken), "{}", ran.err);
        }
    }
}

#[test]
fn the_severity_that_fails_is_the_users() {
    let basic = "captures/http/basic.pcap";
    assert_eq!(run(["analyze", TOKEN, "--fail-on", "critical"]).code, 1);
    assert_eq!(run(["analyze", basic, "--fail-on", "critical"]).code, 0);
    assert_eq!(run(["analyze", basic, "--fail-on", "high"]).code, 1);
}

#[test]
fn standard_input_is_read_as_it_comes() {
    for name in ["file/gzip.pcap.gz", "file/zstandard.pcap.zst", "file/lz4.pcap.lz4", "demo.pcap"] {
        let bytes = fs::read(root().join("captures").join(name)).unwrap();
        let ran = run_with_input(&["analyze", "--format=ndjson", "-"], &bytes);
        assert_eq!(ran.code, 1, "{name}: {}", ran.err);
        assert_eq!(received(&ran.records()), truth()[name]["frames"].as_u64().unwrap());
        assert_eq!(of_type(&ran.records(), "flow")[0]["pcap_filename"], "-");
    }
    let nothing = run_with_input(&["analyze", "-"], b"");
    assert_eq!((nothing.code, nothing.text()), (2, ""), "{}", nothing.err);
}

#[test]
fn a_folder_is_its_captures() {
    let truth = truth();
    let here = truth.iter().filter(|(name, _)| name.starts_with("http/"));
    let (frames, flows) = here.fold((0, 0), |(frames, flows), (_, truth)| {
        (frames + number(&truth["frames"]), flows + number(&truth["flows"]))
    });
    let (ran, records) = ndjson(&["--separate", "captures/http"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(received(&records), frames);
    assert_eq!(of_type(&records, "flow").len() as u64, flows);
}

/// Writes the records of a pcap file in two files, and returns them.
fn in_two(name: &str, first: usize, folder: &tempfile::TempDir) -> [PathBuf; 2] {
    let bytes = fs::read(root().join(name)).unwrap();
    let (mut at, mut left) = (24, first);
    while left > 0 {
        let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        (at, left) = (at + 16 + len as usize, left - 1);
    }
    let paths = ["2-first.pcap", "1-second.pcap"].map(|name| folder.path().join(name));
    fs::write(&paths[0], &bytes[..at]).unwrap();
    fs::write(&paths[1], [&bytes[..24], &bytes[at..]].concat()).unwrap();
    paths
}

#[test]
fn files_of_a_rotation_are_one_run_in_the_order_of_their_packets() {
    let folder = tempfile::tempdir().unwrap();
    let name = "captures/http/one-byte-segments.pcap";
    in_two(name, 40, &folder);
    let folder = folder.path().to_str().unwrap();
    // By name the second file comes first.
    let (ran, records) = ndjson(&[folder]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(of_type(&records, "flow").len(), 1);
    assert_eq!(bearers(&records), 1, "the token began in one file and ended in the other");
    let (_, apart) = ndjson(&["--separate", folder]);
    assert_eq!(of_type(&apart, "flow").len(), 2);
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    for format in ["text", "ndjson"] {
        let mut child = command()
            .args(["analyze", "--format", format, "captures/demo.pcap"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "the verdict stands");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn one_run_writes_several_reports() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (text, json) = (path("report.txt"), path("report=1.ndjson"));
    let ran = run([
        "analyze",
        "--fingerprint-key=tests/data/key",
        "-o",
        &format!("ndjson={json}"),
        &format!("--output=text={text}"),
        "captures/demo.pcap",
    ]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(fs::read(&text).unwrap(), ran.out, "the same text goes to the file");
    let records: Vec<Value> = fs::read_to_string(json)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(received(&records), truth()["demo.pcap"]["frames"].as_u64().unwrap());
}

#[test]
fn colour_goes_where_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.txt");
    let escapes = |variables: &[(&str, &str)]| {
        let output = command()
            .envs(variables.iter().copied())
            .args(["analyze", TOKEN, "-o", &format!("text={}", file.display())])
            .output()
            .unwrap();
        assert!(!fs::read(&file).unwrap().contains(&0x1b), "a file has no colours");
        output.stdout.contains(&0x1b)
    };
    assert!(!escapes(&[]), "a pipe is no terminal");
    assert!(escapes(&[("CLICOLOR_FORCE", "1")]));
    assert!(!escapes(&[("NO_COLOR", "1")]));
    assert!(!escapes(&[("NO_COLOR", "1"), ("TERM", "xterm-256color")]));
}

#[test]
fn frames_outside_the_users_time_span_are_filtered() {
    let all = truth()["demo.pcap"]["frames"].as_u64().unwrap();
    let (_, records) = ndjson(&["--since", "2026-11-23T09:16:00Z", "captures/demo.pcap"]);
    let later = &own(summary(&records), "ledger")["total"];
    let (_, records) = ndjson(&["--until", "2026-11-23T09:15:59.999999999Z", "captures/demo.pcap"]);
    let earlier = &own(summary(&records), "ledger")["total"];
    for part in [later, earlier] {
        assert_eq!(number(&part["received"]), all);
        assert!(number(&part["filtered"]) > 0);
    }
    assert_eq!(number(&later["filtered"]) + number(&earlier["filtered"]), all);
}

#[test]
fn vlans_tell_flows_apart_unless_the_user_says_otherwise() {
    let name = "captures/link/vlan.pcap";
    let (_, records) = ndjson(&[name]);
    assert_eq!(of_type(&records, "flow")[0]["vlan"], serde_json::json!([30]));
    let (_, records) = ndjson(&["--ignore-vlan", "captures/link/same-tuple-in-two-vlans.pcap"]);
    assert_eq!(of_type(&records, "flow").len(), 1, "the same numbers: a retransmission");
    assert_eq!(bearers(&records), 1);
}

#[test]
fn an_empty_fingerprint_key_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "").unwrap();
    let ran = run(["analyze", "--fingerprint-key", key.to_str().unwrap(), TOKEN]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("is empty") && ran.err.contains("hint: "), "{}", ran.err);
}

#[test]
fn completions_and_the_manual_page_go_to_standard_output() {
    for (arguments, word) in
        [(&["completions", "bash"][..], "complete -F"), (&["man"], ".TH portreeve 1")]
    {
        let ran = run(arguments);
        assert_eq!(ran.code, 0);
        assert!(ran.text().contains(word), "{arguments:?}");
    }
}
