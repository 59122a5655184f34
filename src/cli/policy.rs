//! `portreeve policy`: the rules that there are, one of them in full, and the check of a file of one's own.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::catalog::layout::{labelled, table};
use super::output;
use crate::catalog::Catalog;
use crate::error::{Error, Printable, Result, nearest};
use crate::policy::{Matrix, Policy, Rule};
use crate::report::json::line;
use crate::site::Site;

/// Arguments of `policy`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Format of standard output
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
    /// Read the catalogue from a directory instead of the binary
    #[arg(long, global = true, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// The site file: its `packs` are all the packs that judge, and it names the zones
    #[arg(long, global = true, value_name = "FILE")]
    site: Option<PathBuf>,
    /// Rules of a file as well; may be given again
    #[arg(long, global = true, value_name = "FILE")]
    policy: Vec<PathBuf>,
}

/// A format of what the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Ndjson,
}

#[derive(Subcommand)]
enum Command {
    /// List the rules: those that ship; with a site file or rules of your own, those that a run would use
    List,
    /// Explain one rule, or one matrix with its rows; list the rules of one pack
    Explain {
        /// Its id, such as wso2/bearer-over-http, the part behind the slash, a matrix or a pack
        #[arg(value_name = "RULE")]
        rule: String,
    },
    /// Check a file of rules
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Does what the arguments say; data goes to `out`.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let text = answer(args, output::width())?;
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::about("standard output", format!("cannot be written: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Returns what is to be written.
fn answer(args: &Args, width: usize) -> Result<String> {
    let loaded;
    let catalog = match &args.catalog {
        Some(dir) => {
            loaded = Catalog::load(dir)?;
            &loaded
        }
        None => Catalog::embedded(),
    };
    let site = match &args.site {
        Some(path) => Site::load(path, catalog)?,
        None => Site::default(),
    };
    if let Command::Check { file } = &args.command {
        return check(file, catalog, &site, args);
    }
    let policy = if args.site.is_none() && args.policy.is_empty() {
        Policy::all_shipped(catalog, &site)?
    } else {
        Policy::load(catalog, &site, &args.policy)?
    };
    let has_site = args.site.is_some();
    match (&args.command, args.format) {
        (Command::Explain { rule }, format) => explain(&policy, rule, format, has_site, width),
        (_, Format::Text) => Ok(list(&policy, None, has_site, width)),
        (_, Format::Ndjson) => Ok(lines(policy.rules().iter().map(rule_value))),
    }
}

/// Checks a file together with what it is to be used with: ids must be its own.
fn check(file: &Path, catalog: &Catalog, site: &Site, args: &Args) -> Result<String> {
    let mut files = args.policy.clone();
    files.push(file.to_owned());
    let policy = Policy::load(catalog, site, &files)?;
    let name = file.to_string_lossy();
    let rules = policy.rules().iter().filter(|rule| rule.file == name).count();
    let all = policy.matrices().iter().flat_map(|matrix| &matrix.rows);
    let rows = all.filter(|row| row.file == name).count();
    Ok(match args.format {
        Format::Text => {
            let noun = |count, one, many| if count == 1 { one } else { many };
            let rules = format!("{rules} {}", noun(rules, "rule", "rules"));
            let rows = format!("{rows} matrix {}", noun(rows, "row", "rows"));
            format!("{}: {rules}, {rows}\n", Printable(&name))
        }
        Format::Ndjson => lines([json!({ "file": name, "rules": rules, "rows": rows })]),
    })
}

/// Lists the rules of every pack, or of one.
fn list(policy: &Policy, only: Option<&str>, has_site: bool, width: usize) -> String {
    let mut text = String::new();
    for pack in policy.packs().iter().filter(|pack| only.is_none_or(|only| pack.id == only)) {
        let rules = policy.rules().iter().filter(|rule| rule.pack.as_deref() == Some(&pack.id));
        rule_table(&mut text, width, &pack.id, &pack.title, rules, has_site);
    }
    if only.is_none() {
        let own = policy.rules().iter().filter(|rule| rule.pack.is_none());
        rule_table(&mut text, width, "your own", "rules in no pack", own, has_site);
    }
    text
}

fn rule_table<'a>(
    text: &mut String,
    width: usize,
    name: &str,
    title: &str,
    rules: impl Iterator<Item = &'a Rule>,
    has_site: bool,
) {
    let rows: Vec<[String; 3]> = rules
        .map(|rule| {
            let title = match (rule.skipped, has_site) {
                (None, _) => rule.title.clone(),
                (Some(_), true) => format!("{} (not judged)", rule.title),
                (Some(_), false) => format!("{} (needs a site file)", rule.title),
            };
            [rule.severity.to_string(), rule.id.clone(), title]
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    labelled(text, width, 0, &format!("{name}: "), title);
    table(text, width, ["severity", "rule", "title"], rows);
}

fn explain(
    policy: &Policy,
    name: &str,
    format: Format,
    has_site: bool,
    width: usize,
) -> Result<String> {
    if let Some(matrix) = policy.matrices().iter().find(|matrix| matrix.id == name) {
        return Ok(match format {
            Format::Text => explain_matrix(matrix, has_site, width),
            Format::Ndjson => lines(matrix.rows.iter().map(|row| row_value(matrix, row))),
        });
    }
    let of_pack = |rule: &&Rule| rule.pack.as_deref() == Some(name);
    if policy.packs().iter().any(|pack| pack.id == name) {
        return Ok(match format {
            Format::Text => list(policy, Some(name), has_site, width),
            Format::Ndjson => lines(policy.rules().iter().filter(of_pack).map(rule_value)),
        });
    }
    let is_meant = |rule: &&Rule| {
        rule.id == name || rule.id.split_once('/').is_some_and(|(_, short)| short == name)
    };
    let rules: Vec<&Rule> = policy.rules().iter().filter(is_meant).collect();
    if rules.is_empty() {
        return Err(unknown(policy, name));
    }
    Ok(match format {
        Format::Text => {
            let texts: Vec<String> =
                rules.iter().map(|rule| explain_rule(rule, has_site, width)).collect();
            texts.join("\n")
        }
        Format::Ndjson => lines(rules.into_iter().map(rule_value)),
    })
}

/// What a rule about zones or components waits for.
const NEEDS: &str = "a site file that names its zones or components (--site)";

fn unknown(policy: &Policy, name: &str) -> Error {
    let ids = policy.rules().iter().map(|rule| rule.id.as_str());
    let shorts = policy.rules().iter().filter_map(|rule| Some(rule.id.split_once('/')?.1));
    let matrices = policy.matrices().iter().map(|matrix| matrix.id.as_str());
    let packs = policy.packs().iter().map(|pack| pack.id.as_str());
    let near = nearest(name, ids.chain(shorts).chain(matrices).chain(packs));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`portreeve policy list` lists them".to_owned(),
    };
    Error::about(name, "no rule, no pack and no matrix is called so").hint(hint)
}

fn explain_rule(rule: &Rule, has_site: bool, width: usize) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", Printable(&rule.id));
    let fields = |fields: &[(&str, String)]| {
        fields.iter().map(|(field, value)| format!("{field} = {value}")).collect::<Vec<_>>()
    };
    let mut say = |label: &str, body: &str| {
        labelled(&mut text, width, 2, &format!("{label:<10}"), body);
    };
    say("title", &rule.title);
    say("finds", &format!("{}, {}", rule.kind, rule.severity));
    say("trigger", rule.kind.trigger().detail());
    for (place, field) in fields(&rule.asks).iter().enumerate() {
        say(if place == 0 { "if" } else { "and" }, field);
    }
    for field in fields(&rule.excludes) {
        say("unless", &field);
    }
    say("source", &rule.source);
    say("id", &format!("signature_id {}", rule.signature_id));
    say("file", &format!("{}:{}", rule.file, rule.line));
    match rule.skipped {
        Some(skipped) if has_site => say("skipped", skipped),
        Some(_) => say("needs", NEEDS),
        None => {}
    }
    text.push_str("  remedy\n");
    write_remedy(&mut text, &rule.remedy, width);
    text
}

/// Writes what to do, wrapped at words. Lines to be copied into a configuration stay as they are.
fn write_remedy(text: &mut String, remedy: &str, width: usize) {
    let mut words = String::new();
    let flush = |text: &mut String, words: &mut String| {
        if !words.is_empty() {
            labelled(text, width, 4, "", words);
            words.clear();
        }
    };
    for line in remedy.lines() {
        if line.is_empty() || is_to_copy(line) {
            flush(text, &mut words);
            let _ = writeln!(text, "{}", format!("    {}", Printable(line)).trim_end());
        } else {
            words.push_str(if words.is_empty() { "" } else { " " });
            words.push_str(line);
        }
    }
    flush(text, &mut words);
}

/// Tells whether a line of a remedy is one of a configuration: indented, or a table or a key of TOML.
fn is_to_copy(line: &str) -> bool {
    let key = line.split_once(" = ").map(|(key, _)| key);
    line.starts_with([' ', '\t', '['])
        || key.is_some_and(|key| !key.contains(char::is_whitespace) && !key.contains('`'))
}

fn explain_matrix(matrix: &Matrix, has_site: bool, width: usize) -> String {
    let mut text = String::new();
    labelled(&mut text, width, 0, &format!("{}: ", matrix.id), &matrix.title);
    match matrix.skipped {
        Some(skipped) if has_site => labelled(&mut text, width, 2, "not judged: ", skipped),
        Some(_) => labelled(&mut text, width, 2, "needs ", NEEDS),
        None => {}
    }
    for row in &matrix.rows {
        text.push('\n');
        let arrow = format!("{} -> {}", row.initiator, row.responder);
        labelled(&mut text, width, 2, &format!("{}: ", row.id), &arrow);
        let uses = if row.permits {
            row.services.clone()
        } else {
            format!("{} (permits nothing by itself)", row.services)
        };
        labelled(&mut text, width, 4, "", &uses);
        if row.expected {
            labelled(&mut text, width, 4, "", "the deployment does not work without it");
        }
        if let Some(note) = &row.note {
            labelled(&mut text, width, 4, "", note);
        }
    }
    text
}

fn rule_value(rule: &Rule) -> Value {
    let fields = |fields: &[(&'static str, String)]| {
        let pairs = fields.iter().map(|(field, value)| ((*field).to_owned(), json!(value)));
        Value::Object(pairs.collect::<Map<_, _>>())
    };
    json!({
        "id": rule.id,
        "pack": rule.pack,
        "title": rule.title,
        "kind": rule.kind.name(),
        "severity": rule.severity,
        "signature_id": rule.signature_id,
        "match": fields(&rule.asks),
        "not": fields(&rule.excludes),
        "specificity": rule.specificity,
        "source": rule.source,
        "remedy": rule.remedy,
        "file": rule.file,
        "line": rule.line,
        "skipped": rule.skipped,
    })
}

fn row_value(matrix: &Matrix, row: &crate::policy::Row) -> Value {
    json!({
        "matrix": matrix.id,
        "row": row.id,
        "initiator": row.initiator,
        "responder": row.responder,
        "services": row.services,
        "permits": row.permits,
        "expected": row.expected,
        "note": row.note,
        "file": row.file,
        "line": row.line,
    })
}

fn lines(values: impl IntoIterator<Item = Value>) -> String {
    values.into_iter().fold(String::new(), |mut text, value| {
        text.push_str(&line(&value).expect("a value has texts for keys"));
        text
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn answered(line: &[&str]) -> Result<String> {
        let line = std::iter::once(&"policy").chain(line);
        answer(&Line::parse_from(line).args, 80)
    }

    #[test]
    fn the_list_has_every_rule_that_ships_and_fits_a_terminal() {
        let text = answered(&["list"]).unwrap();
        let policy = Policy::all_shipped(Catalog::embedded(), &Site::default()).unwrap();
        for rule in policy.rules() {
            assert!(text.contains(&format!(" {} ", rule.id)), "{}", rule.id);
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let objects = answered(&["list", "--format", "ndjson"]).unwrap();
        assert_eq!(objects.lines().count(), policy.rules().len());
        for line in objects.lines() {
            let rule: Value = serde_json::from_str(line).unwrap();
            assert!(rule["signature_id"].as_u64().is_some_and(|id| id > 0));
        }
    }

    #[test]
    fn a_rule_is_explained_with_the_lines_to_copy() {
        let text = answered(&["explain", "bearer-over-http"]).unwrap();
        assert!(text.starts_with("wso2/bearer-over-http\n"), "{text}");
        assert!(
            text.contains("    [transport.passthru_http.listener]\n    enable = false\n"),
            "{text}"
        );
        assert!(text.contains("role = gateway") && text.contains("plaintext-bearer, critical"));
        let policy = Policy::all_shipped(Catalog::embedded(), &Site::default()).unwrap();
        for rule in policy.rules() {
            let text = answered(&["explain", &rule.id]).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            for line in rule.remedy.lines().filter(|line| is_to_copy(line)) {
                assert!(text.contains(&format!("\n    {line}\n")), "{line} in\n{text}");
            }
        }
        let text = answered(&["explain", "ibm-api-connect/management-from-outside"]).unwrap();
        assert!(text.contains("unless") && text.contains("responder_zone = analytics"), "{text}");
    }

    #[test]
    fn a_matrix_is_explained_row_by_row() {
        let text = answered(&["explain", "ibm-api-connect-zones"]).unwrap();
        assert!(text.contains("  7a: management -> gateway\n    3000/tcp tls\n"), "{text}");
        assert!(text.contains("permits nothing by itself"));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn a_pack_is_explained_by_its_rules() {
        let text = answered(&["explain", "ibm-api-connect"]).unwrap();
        assert!(text.contains("ibm-api-connect/bearer-in-clear") && !text.contains("wso2/"));
        assert!(text.contains("(needs a site"), "{text}");
        let text = answered(&["explain", "wso2/inner-port-from-outside"]).unwrap();
        assert!(text.contains("needs     a site file"), "{text}");
    }

    #[test]
    fn an_unknown_rule_hints_at_the_nearest() {
        let error = answered(&["explain", "wso2/bearer-over-htp"]).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `wso2/bearer-over-http`?"));
    }

    #[test]
    fn a_file_of_rules_is_checked_with_its_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("our.toml");
        let rule = "[[rule]]\nid = \"our/one\"\ntitle = \"t\"\nkind = \"plaintext-bearer\"\nseverity = \"high\"\n\
             signature_id = 1\nsource = \"s\"\nremedy = \"r\"\n[rule.match]\nevidence = \"bearer-token\"\n";
        std::fs::write(&path, rule).unwrap();
        let name = path.to_str().unwrap();
        assert_eq!(answered(&["check", name]).unwrap(), format!("{name}: 1 rule, 0 matrix rows\n"));
        std::fs::write(&path, rule.replace("source = \"s\"\n", "")).unwrap();
        let error = answered(&["check", name]).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("{name}:1: missing field `source`")),
            "{error}"
        );
    }
}
