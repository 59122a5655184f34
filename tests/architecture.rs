//! What the house is built by: who may use whom, who may start threads, print, or look at the clock.
//!
//! Reads the sources as text: comments and literals are taken out, test code is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines that a source file may have without its tests.
const FILE_LINES_MAX: usize = 500;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[(
    "decode/fragment.rs",
    "one datagram's pieces, their limits and their ledger are one subject",
)];

/// Dependencies that nothing uses yet, each with what awaits it.
const AWAITED: &[(&str, &str)] = &[];

/// Modules that may use less than what stands above them.
const NARROW: &[(&str, &[&str])] =
    &[("error", &[]), ("packet", &[]), ("capture", &["error", "packet"])];

/// One source file.
struct Source {
    /// Relative to `src/`, with `/`.
    path: String,
    /// Names of the modules it lies in, from the crate's root: `["inspect", "http1", "body"]`.
    module: Vec<String>,
    /// The file without comments, literals and what stands under `#[cfg(test)]` at its end.
    code: String,
}

/// A word of the code, with its line.
type Word<'a> = (usize, &'a str);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_under(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

/// Returns the sources, but for files that hold only tests.
fn sources() -> Vec<Source> {
    let (src, mut paths) = (root().join("src"), Vec::new());
    files_under(&src, "rs", &mut paths);
    let read = |path: &PathBuf| {
        let relative = path.strip_prefix(&src).unwrap().with_extension("");
        let mut module: Vec<String> =
            relative.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        let path_text = format!("{}.rs", module.join("/"));
        let is_test = |name: &String| matches!(name.as_str(), "tests" | "testing" | "fixtures");
        if module.iter().any(is_test) {
            return None;
        }
        if module.last().is_some_and(|name| name == "mod") {
            module.pop();
        }
        let text = fs::read_to_string(path).unwrap();
        Some(Source { path: path_text, module, code: without_tests(&without_literals(&text)) })
    };
    let sources: Vec<_> = paths.iter().filter_map(read).collect();
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// Blanks out comments and the content of string and character literals; lines stay where they are.
fn without_literals(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let len = literal_len(rest, out.chars().last());
        let Some(len) = len else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.extend(rest[..len].chars().filter(|c| *c == '\n'));
        out.push(' ');
        rest = &rest[len..];
    }
    out
}

/// Returns the length of the comment or literal that begins here, if one does.
fn literal_len(rest: &str, before: Option<char>) -> Option<usize> {
    let until = |from: usize, end: &str| {
        rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("//") {
        // The end of the line stays.
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(until(2, "*/"));
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = rest.strip_prefix('b').unwrap_or(rest);
    if !in_word && let Some(raw) = prefix.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let from = rest.len() - raw.len() + hashes + 1;
            return Some(until(from, &format!("\"{}", "#".repeat(hashes))));
        }
    }
    if rest.starts_with('"') {
        return Some(quoted_len(rest, '"'));
    }
    // A lifetime has no quote behind it.
    let mut letters = rest.strip_prefix('\'')?.chars();
    match (letters.next()?, letters.next()?) {
        ('\\', _) => Some(quoted_len(rest, '\'')),
        (letter, '\'') => Some(letter.len_utf8() + 2),
        _ => None,
    }
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Cuts off the test module at a file's end, and leaves out modules and items for tests only.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        // The item ends with its line, or with the brace that closes at its own depth.
        let mut depth = 0_i64;
        for line in lines.by_ref() {
            out.push('\n');
            let count = |brace| i64::try_from(line.matches(brace).count()).unwrap();
            let opened = count('{') > 0;
            depth += count('{') - count('}');
            if depth == 0 && (opened || line.trim_end().ends_with([';', '}'])) {
                break;
            }
        }
    }
    out
}

/// Returns identifiers and punctuation, `::` as one word.
fn words(code: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let len = if is_name(first) {
                rest.find(|c| !is_name(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push((number + 1, &rest[..len]));
            rest = rest[len..].trim_start();
        }
    }
    found
}

/// Returns the top-level modules that a file names by `crate::`, or by enough `super::`, with their lines.
fn used(source: &Source) -> Vec<(usize, String)> {
    let words = words(&source.code);
    let mut found = Vec::new();
    for index in 0..words.len() {
        let before = index.checked_sub(1).map(|before| words[before].1);
        let mut at = index;
        match words[index].1 {
            "crate" if before != Some("(") => at += 1,
            "super" if before != Some("::") && before != Some("(") => {
                let mut ups = 1;
                while words.get(at + 1).is_some_and(|word| word.1 == "::")
                    && words.get(at + 2).is_some_and(|word| word.1 == "super")
                {
                    (ups, at) = (ups + 1, at + 2);
                }
                if ups < source.module.len() {
                    continue;
                }
                at += 1;
            }
            _ => continue,
        }
        if words.get(at).is_none_or(|word| word.1 != "::") {
            continue;
        }
        match words.get(at + 1) {
            Some((_, "{")) => found.extend(group(&words[at + 2..])),
            Some((line, name)) => found.push((*line, (*name).to_owned())),
            None => {}
        }
    }
    found
}

/// Returns the first names in a group of a `use`, up to its closing brace.
fn group(words: &[Word<'_>]) -> Vec<(usize, String)> {
    let (mut depth, mut first, mut found) = (0, true, Vec::new());
    for (line, word) in words {
        match *word {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => first = true,
            name if first && depth == 0 => {
                found.push((*line, name.to_owned()));
                first = false;
            }
            _ => {}
        }
    }
    found
}

/// Returns the names in tables of dependencies of the manifest, whatever the target.
fn dependencies(kinds: &[&str]) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let mut tables = vec![&manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    let named = |table: &toml::Table, kind: &&str| {
        let names = table.get(*kind).and_then(toml::Value::as_table);
        names.into_iter().flat_map(toml::Table::keys).cloned().collect::<Vec<_>>()
    };
    tables.iter().flat_map(|table| kinds.iter().flat_map(|kind| named(table, kind))).collect()
}

/// Returns the modules in the order in which `src/lib.rs` declares them.
fn order() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let name = |line: &str| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned);
    let order: Vec<_> = text.lines().filter_map(name).collect();
    assert_eq!(order.first().map(String::as_str), Some("error"), "lib.rs declares its modules");
    assert_eq!(order.last().map(String::as_str), Some("cli"));
    order
}

/// Fails with one line each.
fn no_faults(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Returns a line for each place outside the allowed folders where words stand in a row.
fn strays(needles: &[&str], allowed: &[&str], why: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources() {
        if allowed.iter().any(|folder| source.path.starts_with(folder)) {
            continue;
        }
        let words = words(&source.code);
        for needle in needles {
            let needle: Vec<_> = needle.split(' ').collect();
            let rows = words.windows(needle.len());
            for row in rows.filter(|row| row.iter().map(|word| word.1).eq(needle.iter().copied())) {
                faults.push(format!("src/{}:{}: {} {why}", source.path, row[0].0, needle.concat()));
            }
        }
    }
    faults
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let order = order();
    let rank: BTreeMap<&str, usize> = order.iter().map(String::as_str).zip(0..).collect();
    let mut faults = Vec::new();
    for source in sources() {
        let Some(own) = source.module.first().filter(|name| rank.contains_key(name.as_str()))
        else {
            continue;
        };
        let narrow = NARROW.iter().find(|(name, _)| name == own).map(|(_, allowed)| *allowed);
        for (line, name) in used(&source) {
            let Some(other) = rank.get(name.as_str()) else { continue };
            let allowed = match narrow {
                Some(allowed) => allowed.contains(&name.as_str()),
                None => *other < rank[own.as_str()],
            };
            if name != *own && !allowed {
                faults.push(format!("src/{}:{line}: {own} may not use {name}", source.path));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn only_the_pipeline_and_live_sources_start_threads() {
    let needles = ["thread :: spawn", "thread :: scope", "thread :: Builder", "scope . spawn ("];
    let allowed = ["pipeline/", "capture/live", "capture/ebpf"];
    no_faults(&strays(&needles, &allowed, "starts a thread"));
}

#[test]
fn only_cli_prints() {
    let needles =
        ["print !", "println !", "eprint !", "eprintln !", "dbg !", "stdout (", "stderr ("];
    no_faults(&strays(&needles, &["cli/", "main.rs"], "prints"));
}

#[test]
fn time_is_the_packets() {
    let needles = ["Instant :: now", "SystemTime :: now", "Timestamp :: now", "Zoned :: now"];
    let allowed = ["capture/", "pipeline/", "cli/"];
    no_faults(&strays(&needles, &allowed, "looks at the clock"));
}

#[test]
fn unsafe_code_lives_only_in_capture() {
    no_faults(&strays(&["unsafe"], &["capture/"], "is unsafe code"));
}

#[test]
fn stages_touch_no_file_and_no_socket() {
    let needles = ["std :: fs", "std :: net :: TcpStream", "File :: open", "File :: create"];
    let allowed =
        ["capture/", "catalog/", "site/", "policy/", "report/", "pipeline/", "cli/", "error.rs"];
    no_faults(&strays(&needles, &allowed, "does I/O"));
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    let mut reasons: BTreeMap<&str, &str> = LONG_FILES.iter().copied().collect();
    for source in sources() {
        let lines = source.code.trim_end().lines().count();
        let reason = reasons.remove(source.path.as_str());
        if lines > FILE_LINES_MAX && reason.is_none() {
            faults.push(format!("src/{}: {lines} lines without its tests", source.path));
        }
        if lines <= FILE_LINES_MAX && reason.is_some() {
            faults.push(format!("src/{}: short enough, and listed as long", source.path));
        }
    }
    faults.extend(reasons.keys().map(|path| format!("src/{path}: listed as long, and not there")));
    no_faults(&faults);
}

#[test]
fn every_dependency_has_its_reason() {
    let used = dependencies(&["dependencies", "dev-dependencies", "build-dependencies"]);
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let section = text.split("\n## ").find(|part| part.starts_with("Dependencies")).unwrap();
    let mut reasoned = BTreeSet::new();
    for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (names, reason) = row.split_once(" | ").expect("a row has a reason");
        assert!(reason.len() > 15, "a reason is a sentence: {row}");
        let names = names.split(", ").map(|name| name.trim_matches('`').to_owned());
        reasoned.extend(names);
    }
    let without: Vec<_> = used.difference(&reasoned).collect();
    assert!(without.is_empty(), "CONTRIBUTING.md has no line for {without:?}");
    let beyond: Vec<_> = reasoned.difference(&used).collect();
    assert!(beyond.is_empty(), "Cargo.toml does not have {beyond:?}, which CONTRIBUTING.md has");
}

#[test]
fn every_dependency_is_used() {
    let sources = sources();
    let used: BTreeSet<&str> =
        sources.iter().flat_map(|source| words(&source.code)).map(|word| word.1).collect();
    let dependencies = dependencies(&["dependencies"]);
    let is_used = |name: &str| used.contains(name.replace('-', "_").as_str());
    let unused: Vec<_> = dependencies.iter().map(String::as_str).filter(|n| !is_used(n)).collect();
    let awaited: Vec<_> = AWAITED.iter().map(|(name, _)| *name).collect();
    assert_eq!(unused, awaited, "no source names the left ones");
}

#[test]
fn nothing_names_the_machine_it_was_made_on() {
    // Spelt so that this file does not hold it.
    let needle = ["/wo", "rk/"].concat();
    let mut paths = Vec::new();
    for folder in
        ["src", "tests", "catalog", "captures", "scripts", ".ci", "benches", "fuzz", "deploy"]
    {
        let folder = root().join(folder);
        for extension in ["rs", "toml", "md", "py", "json", "txt", "sh", "c", "h", "service"] {
            if folder.is_dir() && !folder.ends_with("target") {
                files_under(&folder, extension, &mut paths);
            }
        }
    }
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "Cargo.toml"] {
        paths.push(root().join(name));
    }
    for name in ["scripts/demo", "scripts/setup", "scripts/test", ".ci/run"] {
        paths.push(root().join(name));
    }
    for path in paths {
        let text = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(&needle), "{} names a path of a workplace", path.display());
    }
}

#[test]
fn the_reader_of_sources_sees_what_it_must() {
    let text = "use crate::{error::Error, flow};\n// crate::no\nlet a = \"crate::no\"; let b = '\"';\n\
        let c = r#\"crate::\"no\"#; fn d<'a>(x: &'a str) { crate::inspect::e() }\n\
        use super::super::policy;\n#[cfg(test)]\nmod tests {\n use crate::cli;\n}\n";
    let source = Source {
        path: "x/y.rs".to_owned(),
        module: vec!["x".to_owned(), "y".to_owned()],
        code: without_tests(&without_literals(text)),
    };
    let used: Vec<_> =
        used(&source).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(used, ["1 error", "1 flow", "4 inspect", "5 policy"]);
}
