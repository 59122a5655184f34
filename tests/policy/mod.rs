//! Policy cases: flows and evidence in, findings expected. One TOML file a case, beside this one.
//!
//! A case's findings are all there are, so what it does not list must not be found. A flow with `near_miss`
//! is one that only just does not meet that rule; every rule that ships has a case that fires and one that
//! only just does not.

mod case;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portreeve::catalog::Catalog;
use portreeve::policy::Policy;
use portreeve::site::Site;

use case::Case;

fn paths() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are cases");
    paths
}

#[test]
fn every_case_finds_what_it_says_and_nothing_else() {
    let mut failed = Vec::new();
    for path in paths() {
        let case = Case::read(&path);
        if let Err(difference) = case.check() {
            failed.push(format!("{}: {}\n{difference}", path.display(), case.about));
        }
    }
    assert!(failed.is_empty(), "{} case(s) failed:\n\n{}", failed.len(), failed.join("\n\n"));
}

#[test]
fn every_rule_that_ships_has_a_case_that_fires_and_one_that_only_just_does_not() {
    let policy = Policy::all_shipped(Catalog::embedded(), &Site::default()).unwrap();
    let cases: Vec<Case> = paths().iter().map(|path| Case::read(path)).collect();
    let fired: BTreeSet<&str> = cases.iter().flat_map(Case::fired).collect();
    let missed: BTreeSet<&str> = cases.iter().flat_map(Case::near_misses).collect();
    let rules: BTreeSet<&str> = policy.rules().iter().map(|rule| rule.id.as_str()).collect();
    let without = |there: &BTreeSet<&str>| -> Vec<String> {
        rules.difference(there).map(|rule| (*rule).to_owned()).collect()
    };
    assert_eq!(without(&fired), Vec::<String>::new(), "rules that no case fires");
    assert_eq!(without(&missed), Vec::<String>::new(), "rules without a near miss");
    let unknown: Vec<&&str> = missed.difference(&rules).collect();
    assert!(unknown.is_empty(), "near misses of rules that there are not: {unknown:?}");
}
