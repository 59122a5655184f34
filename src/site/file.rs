//! The schema of a site file, checked as far as one value can be.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use toml::Spanned;

use crate::catalog::port_number;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) zone: Vec<ZoneEntry>,
    #[serde(default)]
    pub(super) host: Vec<HostEntry>,
    #[serde(default)]
    pub(super) policy: PolicyEntry,
    #[serde(default)]
    pub(super) suppress: Vec<SuppressEntry>,
}

/// `[[zone]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZoneEntry {
    pub(super) name: Spanned<Text>,
    #[serde(default)]
    pub(super) prefixes: Vec<Spanned<PrefixEntry>>,
    pub(super) trust: Option<Trust>,
    #[serde(rename = "as")]
    pub(super) alias: Option<Text>,
}

/// `trust = "server"`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Trust {
    /// The only word there is: without the key a zone is not trusted.
    Server,
}

/// `[[host]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostEntry {
    pub(super) name: Spanned<Text>,
    #[serde(default)]
    pub(super) addresses: Vec<Spanned<AddressEntry>>,
    #[serde(default)]
    pub(super) prefixes: Vec<Spanned<PrefixEntry>>,
    #[serde(default)]
    pub(super) products: Vec<Spanned<String>>,
    pub(super) offset: Option<Spanned<OffsetEntry>>,
    pub(super) zone: Option<Spanned<String>>,
}

/// `[policy]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyEntry {
    pub(super) packs: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) files: Vec<Spanned<Text>>,
    #[serde(default)]
    pub(super) disabled: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) expect: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) auth_headers: Vec<HeaderEntry>,
}

/// `[[suppress]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuppressEntry {
    pub(super) rule: Spanned<Text>,
    pub(super) initiator: Option<Spanned<String>>,
    pub(super) responder: Option<Spanned<String>>,
    pub(super) port: Option<PortEntry>,
    pub(super) row: Option<Text>,
    pub(super) until: Spanned<DayEntry>,
    pub(super) reason: Text,
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

/// `"10.0.3.10"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressEntry(pub(super) IpAddr);

impl<'de> Deserialize<'de> for AddressEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(|address: IpAddr| Self(address.to_canonical())).map_err(|_| {
            de::Error::custom(format!("`{text}` is no IPv4 or IPv6 address; a block is a prefix"))
        })
    }
}

/// `"10.0.2.0/24"`; an address alone is the block of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrefixEntry(pub(super) IpNet);

impl<'de> Deserialize<'de> for PrefixEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        prefix(&text).map(Self).map_err(de::Error::custom)
    }
}

/// Reads a prefix, or an address as a block of one; says what was expected instead.
pub(super) fn prefix(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let prefix: IpNet = text
        .parse()
        .map_err(|_| format!("`{text}` is no prefix: expected one such as 10.0.2.0/24"))?;
    if prefix.trunc() != prefix {
        return Err(format!("prefix `{text}` has bits set behind its length: {}", prefix.trunc()));
    }
    Ok(prefix)
}

/// `offset = 1`.
#[derive(Debug, Clone, Copy)]
pub(super) struct OffsetEntry(pub(super) u16);

impl<'de> Deserialize<'de> for OffsetEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u16::try_from(number) {
            Ok(offset) => Ok(Self(offset)),
            Err(_) if number < 0 => Err(de::Error::custom(format!("offset {number} is below 0"))),
            Err(_) => Err(de::Error::custom(format!("offset {number} is above 65535"))),
        }
    }
}

/// `port = 8280`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortEntry(pub(super) u16);

impl<'de> Deserialize<'de> for PortEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        port_number(i64::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

/// An HTTP field name (RFC 9110 §5.1), in lower case.
#[derive(Debug, Clone)]
pub(super) struct HeaderEntry(pub(super) String);

impl<'de> Deserialize<'de> for HeaderEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if text.is_empty() || !text.chars().all(is_token) {
            return Err(de::Error::custom(format!("`{text}` is no HTTP header name")));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// A day, `2027-01-31`: as a TOML date or as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayEntry(pub(super) jiff::civil::Date);

impl<'de> Deserialize<'de> for DayEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let text = match &written {
            Written::Date(date) => date.to_string(),
            Written::Text(text) => text.clone(),
        };
        let day = (text.len() == "2027-01-31".len()).then(|| text.parse().ok()).flatten();
        day.map(Self).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is no day: expected one such as 2027-01-31"))
        })
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a day such as 2027-01-31")]
enum Written {
    Date(toml::value::Datetime),
    Text(String),
}
