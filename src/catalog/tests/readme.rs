//! Holds catalog/README.md and the schema together.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;

const README: &str = include_str!("../../../catalog/README.md");

/// Returns the first cells of the table below a heading, without their back quotes.
fn named_under(heading: &str) -> BTreeSet<String> {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.filter_map(|line| line.split('`').next()).map(str::to_owned).collect()
}

/// Returns the fields of a table: what the loader says it expected when it meets another one.
fn fields_of(table: &str) -> BTreeSet<String> {
    let text = format!("{table}\nno_such_field = 1\n");
    let error = Catalog::new([(PathBuf::from("a.toml"), text)].into_iter()).unwrap_err();
    let (unknown, expected) = error.cause().split_once("expected one of ").expect("unknown field");
    assert!(unknown.contains("no_such_field"), "{error}");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> BTreeSet<String> {
    all.iter().map(|value| name(*value).to_owned()).collect()
}

#[test]
fn the_readme_documents_every_field() {
    for (heading, table) in [
        ("`[product]`", "[product]"),
        ("`[[service]]`", "[[service]]"),
        ("`[[include]]`", "[[include]]"),
    ] {
        assert_eq!(named_under(heading), fields_of(table), "{heading}");
    }
}

#[test]
fn the_readme_documents_every_value() {
    assert_eq!(named_under("Roles: `role`"), names(Role::ALL, Role::name));
    assert_eq!(named_under("Protocols: `protocol`"), names(AppProtocol::ALL, AppProtocol::name));
    assert_eq!(named_under("Encryption: `encryption`"), names(Encryption::ALL, Encryption::name));
    assert_eq!(
        named_under("What the offset does: `offset`"),
        names(OffsetBehaviour::ALL, OffsetBehaviour::name)
    );
    let within = |field: &str, values: BTreeSet<String>| {
        let start = format!("| `{field}` |");
        let line = README.lines().find(|line| line.starts_with(&start)).expect(field);
        for value in values {
            assert!(line.contains(&format!("`{value}`")), "{field} does not document {value}");
        }
    };
    within("status", names(Status::ALL, Status::name));
    within("direction", names(Direction::ALL, Direction::name));
    within("lifecycle", names(Lifecycle::ALL, Lifecycle::name));
    within("transport", ["tcp", "udp", "both"].map(str::to_owned).into_iter().collect());
}

#[test]
fn the_example_of_the_readme_loads() {
    let (_, example) = README.split_once("```toml\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let carbon = embedded::FILES.iter().find(|(name, _)| *name == "wso2-carbon.toml").unwrap();
    let files = [("example.toml", example), *carbon];
    let catalog =
        Catalog::new(files.into_iter().map(|(name, text)| (PathBuf::from(name), text.to_owned())))
            .unwrap();
    let service = catalog.service_named("example-gateway/gateway-http").unwrap();
    assert_eq!(catalog.service(service).port_at(1), Some(Port::Number(8281)));
    assert!(catalog.service_named("example-gateway/servlet-https").is_some());
    assert!(catalog.service_named("example-gateway/kdc").is_none());
}

/// The defaults that the tables print are those of the code.
#[test]
fn the_readme_prints_the_defaults() {
    let text = "[product]\nid = \"a\"\nname = \"A\"\nvendor = \"A\"\nversions = \"1\"\n\
                lifecycle = \"current\"\n[[service]]\nid = \"b\"\nname = \"B\"\nrole = \"jmx\"\n\
                port = 1\ntransport = \"tcp\"\noffset = \"moves\"\nprotocol = \"any\"\n\
                encryption = \"none\"\nsource = \"s\"\nstatus = \"confirmed\"\n";
    let catalog = Catalog::new([(PathBuf::from("a.toml"), text.to_owned())].into_iter()).unwrap();
    let service = &catalog.services()[0];
    assert_eq!(catalog.products()[0].rank, 50);
    assert!(README.contains("| `rank` | 50 |"));
    assert!(service.default_on && service.components.is_empty() && service.networks.is_empty());
    assert!(README.contains("| `default_on` | true |"));
    assert_eq!(service.built_in_offset, 0);
    assert!(README.contains("| `built_in_offset` | 0 |"));
    assert_eq!(service.versions, "1");
    assert_eq!(AUTO_INCREMENT_PORTS, 10);
    assert!(README.contains("4000 means 4000 to 4009"));
}
