//! What a faulty catalogue says: one line with file, line, what was expected, and a hint.

use std::path::PathBuf;

use super::*;

const PRODUCT: &str = r#"[product]
id = "mail"
name = "Mail"
vendor = "Example"
versions = "1"
lifecycle = "current"

"#;

const ROW: &str = r#"[[service]]
id = "smtp"
name = "SMTP"
role = "messaging"
port = 2525
transport = "tcp"
offset = "moves"
protocol = "any"
encryption = "upgrade"
source = "Mail's manual"
status = "confirmed"
"#;

fn load(text: &str) -> Result<Catalog> {
    load_files(&[("mail.toml", text)])
}

fn load_files(files: &[(&str, &str)]) -> Result<Catalog> {
    Catalog::new(files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())))
}

/// Returns the error of one file, as the command line prints it.
fn error_of(text: &str) -> String {
    shown(load(text))
}

fn shown(loaded: Result<Catalog>) -> String {
    let error = loaded.expect_err("the file is faulty");
    let shown = match error.hint_text() {
        Some(hint) => format!("{error} (hint: {hint})"),
        None => error.to_string(),
    };
    assert!(!shown.contains('\n'), "an error is one line: {shown}");
    shown
}

/// The product with one row in which `from` is replaced by `to`.
fn row_with(from: &str, to: &str) -> String {
    assert!(ROW.contains(from), "{from}");
    format!("{PRODUCT}{}", ROW.replace(from, to))
}

#[test]
fn a_whole_row_loads() {
    let catalog = load(&format!("{PRODUCT}{ROW}")).unwrap();
    assert_eq!(catalog.candidates(Transport::Tcp, 2525).len(), 1);
}

#[test]
fn a_faulty_row_names_file_line_and_what_was_expected() {
    for (from, to, line, expected) in [
        ("port = 2525", "port = 70000", 12, "port 70000 is above 65535"),
        ("port = 2525", "port = 0", 12, "port 0 is below 1"),
        ("port = 2525", "port = -1", 12, "port -1 is below 1"),
        ("port = 2525", "port = \"90-80\"", 12, "the range 90-80 does not go upwards"),
        ("port = 2525", "port = \"80-70000\"", 12, "port 70000 is above 65535"),
        ("port = 2525", "port = \"any\"", 12, "a port from 1 to 65535"),
        ("port = 2525", "port = 25.25", 12, "a port from 1 to 65535"),
        ("source = \"Mail's manual\"\n", "", 8, "missing field `source`"),
        ("\"Mail's manual\"", "\" \"", 17, "empty text"),
        ("port = 2525\n", "", 8, "missing field `port`"),
        ("\"messaging\"", "\"mesaging\"", 11, "(hint: did you mean `messaging`?)"),
        ("\"messaging\"", "\"zebra\"", 11, "expected one of `analytics`"),
        ("\"tcp\"", "\"sctp\"", 13, "expected one of `tcp`, `udp`, `both`"),
        ("\"moves\"", "\"move\"", 14, "(hint: did you mean `moves`?)"),
        ("\"any\"", "\"smtp\"", 15, "unknown value `smtp`"),
        ("\"upgrade\"", "\"maybe\"", 16, "unknown value `maybe`"),
        ("\"confirmed\"", "\"certain\"", 18, "expected one of `confirmed`"),
        ("\"confirmed\"", "\"corrected\"", 18, "needs `as_printed`"),
        ("id = \"smtp\"", "id = \"SMTP\"", 9, "name `SMTP` is not of lower-case letters"),
        ("role =", "rol =", 11, "(hint: did you mean `role`?)"),
        ("offset =", "built_in_offset = -3\noffset =", 14, "built-in offset -3 is below 0"),
        ("offset =", "built_in_offset = 70000\noffset =", 14, "built-in offset 70000 is above"),
        ("offset =", "built_in_offset = 2525\noffset =", 12, "is not above its built-in offset"),
        (
            "offset = \"moves\"",
            "built_in_offset = 1\noffset = \"fixed\"",
            15,
            "a row that is `fixed` has no built-in offset",
        ),
        ("status =", "networks = [\"10.0.0.0/33\"]\nstatus =", 18, "neither a prefix nor AS"),
        ("status =", "networks = [\"AS-1\"]\nstatus =", 18, "`AS-1` is neither a prefix nor AS"),
        ("status =", "default_on = \"no\"\nstatus =", 18, "expected a boolean"),
        ("status =", "direction = \"in\"\nstatus =", 18, "unknown value `in`"),
    ] {
        let shown = error_of(&row_with(from, to));
        assert!(shown.starts_with(&format!("mail.toml:{line}: ")), "{to}: {shown}");
        assert!(shown.contains(expected), "{to}: {shown}");
    }
}

#[test]
fn a_duplicate_id_names_both_lines() {
    let shown = error_of(&format!("{PRODUCT}{ROW}{ROW}"));
    assert_eq!(shown, "mail.toml:20: duplicate id `smtp`: line 9 has it already");
}

#[test]
fn a_duplicate_product_names_the_other_file() {
    let text = format!("{PRODUCT}{ROW}");
    let shown = shown(load_files(&[("a.toml", &text), ("b.toml", &text)]));
    assert_eq!(shown, "b.toml:2: duplicate product id `mail`: a.toml has it already");
}

#[test]
fn a_faulty_product_names_its_line() {
    let text = PRODUCT.replace("lifecycle", "life_cycle");
    let shown = error_of(&text);
    assert!(shown.starts_with("mail.toml:6: unknown field `life_cycle`"), "{shown}");
    assert!(shown.ends_with("(hint: did you mean `lifecycle`?)"), "{shown}");
    let shown = error_of(ROW);
    assert!(shown.contains("missing field `product`"), "{shown}");
    let shown = error_of("[product\n");
    assert!(shown.starts_with("mail.toml:1: "), "{shown}");
}

#[test]
fn a_faulty_include_names_its_line() {
    let other = format!("{}{ROW}", PRODUCT.replace("\"mail\"", "\"post\""));
    let including = |include: &str| {
        let text = format!("{PRODUCT}[[include]]\n{include}\n");
        shown(load_files(&[("mail.toml", &text), ("post.toml", &other)]))
    };
    let shown = including("product = \"posts\"");
    assert_eq!(shown, "mail.toml:9: unknown product `posts` (hint: did you mean `post`?)");
    let shown = including("product = \"post\"\nexcept = [\"smt\"]");
    assert_eq!(
        shown,
        "mail.toml:10: unknown service `smt` in `except` (hint: did you mean `smtp`?)"
    );
    let shown = including("product = \"post\"\nbuilt_in_offset = 65000");
    assert_eq!(shown, "mail.toml:9: `smtp` is beyond 65535 at offset 65000");
    let shown = including("product = \"post\"\nbuilt_in_offset = -1");
    assert_eq!(
        shown,
        "mail.toml:10: built-in offset -1 is below 0: expected a number from 0 to 65535"
    );
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let shown = error_of(&row_with("\"messaging\"", "\"\\u001b[31mred\""));
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn a_directory_without_files_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = Catalog::load(dir.path()).unwrap_err();
    assert!(error.to_string().contains("expected at least one .toml"), "{error}");
    let error = Catalog::load(dir.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("none: "), "{error}");
}

#[test]
fn a_directory_is_read_like_the_embedded_files() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let loaded = Catalog::load(directory).unwrap();
    assert_eq!(loaded.content_hash(), Catalog::embedded().content_hash());
    assert_eq!(loaded.services(), Catalog::embedded().services());
}
