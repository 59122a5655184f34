//! The schema of a catalogue file, as catalog/README.md documents it.
//!
//! Takes TOML; gives rows that are checked as far as one row can be. What concerns several rows or files
//! (duplicate ids, included products) is checked where they meet, in [`super::load`].

use std::path::PathBuf;

use ipnet::IpNet;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::service::{
    AppProtocol, Direction, Encryption, Lifecycle, Network, OffsetBehaviour, Port, Role, Status,
    Transports,
};

/// One catalogue file before its rows are joined with the others.
#[derive(Debug)]
pub(super) struct Source {
    /// Where it came from, for errors.
    pub(super) path: PathBuf,
    /// Its text, for the lines of errors.
    pub(super) text: String,
    /// What it says.
    pub(super) file: File,
}

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) product: ProductEntry,
    #[serde(default)]
    pub(super) include: Vec<IncludeEntry>,
    #[serde(default)]
    pub(super) service: Vec<ServiceEntry>,
}

/// `[product]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductEntry {
    pub(super) id: Spanned<Name>,
    pub(super) name: Text,
    pub(super) vendor: Text,
    pub(super) versions: Text,
    pub(super) lifecycle: Lifecycle,
    #[serde(default = "middle_rank")]
    pub(super) rank: u16,
    #[serde(default)]
    pub(super) components: Vec<Name>,
    pub(super) note: Option<Text>,
}

/// Where a product stands among the candidates of a port when its file does not say.
fn middle_rank() -> u16 {
    50
}

/// `[[include]]`: the rows of another file, as rows of this product.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IncludeEntry {
    pub(super) product: Spanned<String>,
    pub(super) component: Option<Name>,
    pub(super) prefix: Option<Name>,
    #[serde(default, deserialize_with = "built_in_offset")]
    pub(super) built_in_offset: u16,
    #[serde(default)]
    pub(super) except: Vec<Spanned<String>>,
}

/// `[[service]]`: one row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceEntry {
    pub(super) id: Spanned<Name>,
    #[serde(default)]
    pub(super) component: Components,
    pub(super) name: Text,
    pub(super) role: Role,
    pub(super) port: Spanned<PortEntry>,
    pub(super) transport: TransportEntry,
    #[serde(default, deserialize_with = "built_in_offset")]
    pub(super) built_in_offset: u16,
    pub(super) offset: Spanned<OffsetBehaviour>,
    pub(super) protocol: Spanned<AppProtocol>,
    pub(super) encryption: Encryption,
    pub(super) direction: Option<Direction>,
    #[serde(default = "yes")]
    pub(super) default_on: bool,
    pub(super) versions: Option<Text>,
    pub(super) lifecycle: Option<Lifecycle>,
    pub(super) source: Text,
    pub(super) section: Option<Text>,
    pub(super) as_printed: Option<Text>,
    pub(super) status: Spanned<Status>,
    pub(super) note: Option<Text>,
    #[serde(default)]
    pub(super) networks: Vec<NetworkEntry>,
}

fn yes() -> bool {
    true
}

impl ServiceEntry {
    /// Returns what is wrong with the row as a whole, and where.
    pub(super) fn fault(&self) -> Option<(std::ops::Range<usize>, String)> {
        let behaviour = *self.offset.get_ref();
        if self.built_in_offset > 0 && !behaviour.moves() {
            let cause = format!("a row that is `{behaviour}` has no built-in offset");
            return Some((self.offset.span(), cause));
        }
        if let Some(first) = self.port.get_ref().0.first()
            && first <= self.built_in_offset
        {
            let cause = format!(
                "port {first} is not above its built-in offset {}: give the port as it is with it",
                self.built_in_offset
            );
            return Some((self.port.span(), cause));
        }
        let status = *self.status.get_ref();
        if status != Status::Confirmed && (self.as_printed.is_none() || self.note.is_none()) {
            let cause = format!(
                "a row that is `{status}` needs `as_printed` (the document's words) and `note` (what is true)"
            );
            return Some((self.status.span(), cause));
        }
        None
    }
}

/// A name of lower-case words joined by hyphens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Name(pub(super) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            let cause = format!("name `{name}` is not of lower-case letters, digits and hyphens");
            return Err(de::Error::custom(cause));
        }
        Ok(Self(name))
    }
}

/// Text that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() {
            return Err(de::Error::custom("empty text where something should be said"));
        }
        Ok(Self(text))
    }
}

/// `port = 8280`, `port = "5228-5230"` or `port = "random"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortEntry(pub(super) Port);

impl<'de> Deserialize<'de> for PortEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortVisitor)
    }
}

struct PortVisitor;

impl Visitor<'_> for PortVisitor {
    type Value = PortEntry;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a port from 1 to 65535, \"first-last\" or \"random\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<PortEntry, E> {
        port_number(number).map(|port| PortEntry(Port::Number(port))).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<PortEntry, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PortEntry, E> {
        if text == "random" {
            return Ok(PortEntry(Port::None));
        }
        let bounds = text.split_once('-').and_then(|(first, last)| {
            Some((first.parse::<i64>().ok()?, last.parse::<i64>().ok()?))
        });
        let Some((first, last)) = bounds else {
            return Err(E::invalid_value(de::Unexpected::Str(text), &self));
        };
        let first = port_number(first).map_err(E::custom)?;
        let last = port_number(last).map_err(E::custom)?;
        if first >= last {
            return Err(E::custom(format!("the range {text} does not go upwards")));
        }
        Ok(PortEntry(Port::Range(first, last)))
    }
}

/// Returns the port of a number, or why it is none.
pub(crate) fn port_number(number: i64) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(0) => Err("port 0 is below 1".into()),
        Ok(port) => Ok(port),
        Err(_) if number < 0 => Err(format!("port {number} is below 1")),
        Err(_) => Err(format!("port {number} is above 65535")),
    }
}

/// Reads a built-in offset.
fn built_in_offset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let number = i64::deserialize(deserializer)?;
    offset_number(number).map_err(|cause| de::Error::custom(format!("built-in {cause}")))
}

/// Returns the port offset of a number, or why it is none.
pub(crate) fn offset_number(number: i64) -> Result<u16, String> {
    u16::try_from(number).map_err(|_| {
        let side = if number < 0 { "below 0" } else { "above 65535" };
        format!("offset {number} is {side}: expected a number from 0 to 65535")
    })
}

/// `transport = "tcp"`, `"udp"` or `"both"`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TransportEntry {
    Tcp,
    Udp,
    Both,
}

impl From<TransportEntry> for Transports {
    fn from(entry: TransportEntry) -> Self {
        Self {
            tcp: !matches!(entry, TransportEntry::Udp),
            udp: !matches!(entry, TransportEntry::Tcp),
        }
    }
}

/// `component = "gateway"` or a list of them.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(untagged, expecting = "expected the name of a component or a list of them")]
pub(super) enum Components {
    #[default]
    Every,
    One(Name),
    Some(Vec<Name>),
}

impl From<Components> for Vec<String> {
    fn from(components: Components) -> Self {
        match components {
            Components::Every => Self::new(),
            Components::One(name) => vec![name.0],
            Components::Some(names) => names.into_iter().map(|name| name.0).collect(),
        }
    }
}

/// `"17.0.0.0/8"` or `"AS15169"`.
#[derive(Debug, Clone)]
pub(super) struct NetworkEntry(pub(super) Network);

impl<'de> Deserialize<'de> for NetworkEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(number) = text.strip_prefix("AS").and_then(|number| number.parse().ok()) {
            return Ok(Self(Network::AutonomousSystem(number)));
        }
        text.parse::<IpNet>().map(|prefix| Self(Network::Prefix(prefix))).map_err(|_| {
            de::Error::custom(format!("`{text}` is neither a prefix nor AS and a number"))
        })
    }
}
