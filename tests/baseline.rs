//! A baseline of one run accepts what it found, and nothing else.

use crate::support::{code, run};

#[test]
fn a_baseline_accepts_what_it_was_made_of_and_tells_what_is_new_and_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.toml");
    let path = path.to_str().unwrap();
    let first = run(["analyze", "captures/demo.pcap", "--write-baseline", path]);
    assert_eq!(code(&first), 1);

    let again = run(["analyze", "captures/demo.pcap", "--baseline", path]);
    assert_eq!(code(&again), 0, "nothing is new");

    let other = "captures/http/token-in-header.pcap";
    let new = run(["analyze", other, "--baseline", path]);
    assert_eq!(code(&new), 1, "another client is new");
    let page = String::from_utf8(new.stdout).unwrap();
    assert!(page.contains("Gone since the baseline"), "{page}");

    let spoilt = std::fs::read_to_string(path).unwrap().replace("wso2/bearer-over-http", "wso2/x");
    std::fs::write(path, spoilt).unwrap();
    let refused = run(["analyze", "captures/demo.pcap", "--baseline", path]);
    assert_eq!(code(&refused), 2);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("unknown rule `wso2/x`"), "{error}");
}
