//! A baseline of one run accepts what it found, and nothing else.

use crate::support::run;

#[test]
fn a_baseline_accepts_what_it_was_made_of_and_tells_what_is_new_and_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.toml");
    let path = path.to_str().unwrap();
    let demo = "captures/demo.pcap";
    assert_eq!(run(["analyze", demo, "--write-baseline", path]).code, 1);
    assert_eq!(run(["analyze", demo, "--baseline", path]).code, 0, "nothing is new");

    let new = run(["analyze", "captures/http/token-in-header.pcap", "--baseline", path]);
    assert_eq!(new.code, 1, "another client is new");
    assert!(new.text().contains("Gone since the baseline"), "{}", new.text());

    let spoilt = std::fs::read_to_string(path).unwrap().replace("wso2/bearer-over-http", "wso2/x");
    std::fs::write(path, spoilt).unwrap();
    let refused = run(["analyze", demo, "--baseline", path]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("unknown rule `wso2/x`"), "{}", refused.err);
}
