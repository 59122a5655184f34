//! Holds the rows against the documents: every number that a document prints is a row's port or is
//! explained here, and what a row gives as the document's words is in the document.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::*;

/// One document: its number in the list of ports, and the `source` of the rows that rest on it.
struct Document {
    number: &'static str,
    source: &'static str,
}

const DOCUMENTS: [Document; 5] = [
    Document { number: "000", source: "Default Product Ports, WSO2 API Manager 3.x" },
    Document { number: "001", source: "Default Ports of WSO2 Products" },
    Document { number: "002", source: "Default Product Ports, WSO2 API Manager 4.x" },
    Document { number: "003", source: "Default Ports, WSO2 Identity Server" },
    Document { number: "004", source: "Firewall requirements on Kubernetes, IBM API Connect" },
];

/// Numbers that a document prints and that are no ports of it.
const NO_PORTS: &[(&str, u16, &str)] = &[
    ("000", 1, "step of the instructions for the servlet transport"),
    ("000", 2, "step of the instructions for the servlet transport"),
    ("000", 3, "step of the instructions for the servlet transport"),
    ("001", 3, "3 separate modes in WSO2 DAS"),
    ("001", 15169, "Google's autonomous system; the rows have it as a network"),
    ("002", 3, "the Streaming Integrator Tooling's built-in offset"),
    ("002", 10, "the Micro Integrator's built-in offset"),
    ("004", 1, "number of a table, and of row 1 of table 1"),
    ("004", 2, "number of a table, and of row 2 of table 1"),
    ("004", 3, "number of a table, and of row 3 of table 1"),
    ("004", 4, "row of table 1"),
    ("004", 5, "row of table 1"),
    ("004", 6, "row of table 1"),
    ("004", 7, "row of table 1"),
    ("004", 8, "row of table 1"),
    ("004", 9, "row of table 1"),
    ("004", 10, "row of table 1"),
    ("004", 11, "row of table 1"),
    ("004", 12, "row of table 1"),
    ("004", 13, "row of table 1"),
    ("004", 14, "row of table 1"),
    ("004", 15, "row of table 1"),
    ("004", 16, "row of table 1"),
    ("004", 17, "row of table 1"),
    ("004", 18, "row of table 1"),
];

/// The list of every number that the documents print, kept beside so that this test needs no document.
const KEPT: &str = include_str!("../../../tests/data/document-numbers.txt");

fn kept() -> BTreeSet<(String, u16)> {
    let lines = KEPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (document, number) = line.split_once(' ').expect("`document number`");
            (document.to_owned(), number.parse().expect("a port"))
        })
        .collect()
}

#[test]
fn every_number_of_the_documents_is_a_row_or_is_explained() {
    let catalog = Catalog::embedded();
    let kept = kept();
    for document in &DOCUMENTS {
        let rows: Vec<&Service> =
            catalog.services().iter().filter(|row| row.source == document.source).collect();
        assert!(rows.len() >= 10, "{}: only {} rows", document.source, rows.len());
        let numbers = kept.iter().filter(|(name, _)| name == document.number);
        for (_, number) in numbers {
            let has_row = rows.iter().any(|row| row.port.contains(*number));
            let printed = rows.iter().any(|row| {
                row.status != Status::Confirmed
                    && row.as_printed.as_ref().is_some_and(|text| numbers_of(text).contains(number))
            });
            let explained = NO_PORTS.iter().any(|(d, n, _)| (*d, *n) == (document.number, *number));
            assert!(
                has_row || printed || explained,
                "{}: {number} is neither a row's port nor explained",
                document.source
            );
        }
    }
}

#[test]
fn no_explanation_is_left_without_its_number() {
    let kept = kept();
    for (document, number, reason) in NO_PORTS {
        assert!(kept.contains(&((*document).to_owned(), *number)), "{document} {number}: {reason}");
    }
}

#[test]
fn the_kept_numbers_are_those_of_the_documents() {
    let Some(texts) = texts() else { return };
    let mut found = BTreeSet::new();
    for (document, text) in &texts {
        found.extend(numbers_of(text).into_iter().map(|number| (document.clone(), number)));
    }
    assert_eq!(found, kept(), "tests/data/document-numbers.txt is not what the documents print");
}

#[test]
fn what_a_row_gives_as_printed_is_in_its_document() {
    let Some(texts) = texts() else { return };
    let mut missing = Vec::new();
    for document in &DOCUMENTS {
        let text = plain(&texts[document.number]);
        for row in Catalog::embedded().services() {
            let Some(printed) = &row.as_printed else { continue };
            if row.source == document.source && !text.contains(&plain(printed)) {
                missing.push(format!("{}: {printed}", row.id));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Returns the documents' texts by number, if they are there.
fn texts() -> Option<BTreeMap<String, String>> {
    let shared = std::env::var_os("PORTREEVE_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let seeds = shared.join("reference/seeds");
    let Ok(entries) = std::fs::read_dir(&seeds) else {
        skipped(&seeds);
        return None;
    };
    let mut texts = BTreeMap::new();
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if let Some((number, _)) = name.split_once('_') {
            texts.insert(number.to_owned(), std::fs::read_to_string(entry.path()).unwrap());
        }
    }
    assert_eq!(texts.len(), DOCUMENTS.len(), "{}", seeds.display());
    Some(texts)
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(seeds: &Path) {
    eprintln!(
        "SKIPPED: the documents are not in {}; the kept list of their numbers is tested alone",
        seeds.display()
    );
}

/// Returns every number from 1 to 65535 that stands for itself: not part of a word, a version, an address.
fn numbers_of(text: &str) -> BTreeSet<u16> {
    let bytes = text.as_bytes();
    let mut numbers = BTreeSet::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (before, after) = (&bytes[..at], &bytes[at + digits..]);
        let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let dotted = |dot: Option<&u8>, digit: Option<&u8>| {
            dot == Some(&b'.') && digit.is_some_and(u8::is_ascii_digit)
        };
        let part = is_word(before.last())
            || is_word(after.first())
            || dotted(before.last(), before.iter().rev().nth(1))
            || dotted(after.first(), after.get(1))
            || before.last() == Some(&b'/') && dotted_before_slash(before);
        if !part
            && let Ok(number) = text[at..at + digits].parse::<u16>()
            && number > 0
        {
            numbers.insert(number);
        }
        at += digits;
    }
    numbers
}

/// Tells whether the slash at the end follows an address, as in 17.0.0.0/8.
fn dotted_before_slash(before: &[u8]) -> bool {
    let mut back = before.iter().rev().skip(1).skip_while(|byte| byte.is_ascii_digit());
    before.iter().rev().nth(1).is_some_and(u8::is_ascii_digit) && back.next() == Some(&b'.')
}

/// Strips mark-up and white space, which the documents' conversions left in odd places.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut in_tag = false;
    for character in text.chars() {
        match character {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            _ if in_tag => {}
            '`' | '*' | '|' | '\\' => {}
            other if other.is_whitespace() => {}
            other => plain.push(other),
        }
    }
    plain
}
