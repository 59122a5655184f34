//! Names in policy files → values: one or a list, with errors that list what is known.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{I64Deserializer, StrDeserializer};
use serde::de::{self, Deserializer, Visitor};

use super::kind::{FindingKind, Severity};
use crate::catalog::port_number;
use crate::inspect::{EvidenceKind, Protocol};
use crate::packet::Transport;

/// A closed list of names that policy files may use.
pub(super) trait Word: Copy + Sized {
    /// What it is called in errors.
    const WHAT: &'static str;

    /// Returns every value with its name.
    fn all() -> impl Iterator<Item = (&'static str, Self)>;
}

/// A value by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct By<T>(pub(super) T);

impl<'de, T: Word> Deserialize<'de> for By<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = T::all().find(|(name, _)| *name == text);
        known.map(|(_, value)| Self(value)).ok_or_else(|| {
            let names: Vec<String> = T::all().map(|(name, _)| format!("`{name}`")).collect();
            let names = names.join(", ");
            de::Error::custom(format!("unknown {} `{text}`, expected one of {names}", T::WHAT))
        })
    }
}

impl Word for FindingKind {
    const WHAT: &'static str = "finding kind";

    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.iter().map(|kind| (kind.name(), *kind))
    }
}

impl Word for Severity {
    const WHAT: &'static str = "severity";

    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.into_iter().map(|severity| (severity.name(), severity))
    }
}

impl Word for EvidenceKind {
    const WHAT: &'static str = "evidence";

    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.into_iter().map(|kind| (kind.name(), kind))
    }
}

impl Word for Protocol {
    const WHAT: &'static str = "protocol";

    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.into_iter().map(|protocol| (protocol.name(), protocol))
    }
}

impl Word for Transport {
    const WHAT: &'static str = "transport";

    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        [Self::Tcp, Self::Udp].into_iter().map(|transport| (transport.name(), transport))
    }
}

/// How an address stands to the zones that may exchange the platform's internal clear traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// In a zone with `trust = "server"`.
    Server,
    /// In another named zone.
    Other,
    /// In no named zone.
    Unknown,
}

impl Word for Trust {
    const WHAT: &'static str = "trust";

    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        [("server", Self::Server), ("other", Self::Other), ("unknown", Self::Unknown)].into_iter()
    }
}

/// What a server's certificate is faulted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateFault {
    /// It is past its end.
    Expired,
    /// Its private key is in every download.
    ProductDefault,
    /// Nobody but itself vouches for it.
    SelfSigned,
}

impl Word for CertificateFault {
    const WHAT: &'static str = "certificate fault";

    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        [
            ("expired", Self::Expired),
            ("product-default", Self::ProductDefault),
            ("self-signed", Self::SelfSigned),
        ]
        .into_iter()
    }
}

/// `8280` or `"4000-4009"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports(pub(super) u16, pub(super) u16);

impl Ports {
    /// Tells whether a port is among them.
    pub(super) fn contains(self, port: u16) -> bool {
        (self.0..=self.1).contains(&port)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{}-{}", self.0, self.1) }
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortsVisitor)
    }
}

struct PortsVisitor;

impl Visitor<'_> for PortsVisitor {
    type Value = Ports;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port from 1 to 65535 or \"first-last\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Ports, E> {
        port_number(number).map(|port| Ports(port, port)).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Ports, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ports, E> {
        let bounds = text.split_once('-').and_then(|(first, last)| {
            Some((first.parse::<i64>().ok()?, last.parse::<i64>().ok()?))
        });
        let Some((first, last)) = bounds else {
            return Err(E::invalid_value(de::Unexpected::Str(text), &self));
        };
        let first = port_number(first).map_err(E::custom)?;
        let last = port_number(last).map_err(E::custom)?;
        if first > last {
            return Err(E::custom(format!("the range {text} does not go upwards")));
        }
        Ok(Ports(first, last))
    }
}

/// One value, or a list that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list of them")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        T::deserialize(I64Deserializer::new(number)).map(|one| OneOrMany(vec![one]))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(StrDeserializer::new(text)).map(|one| OneOrMany(vec![one]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = sequence.next_element()? {
            all.push(one);
        }
        if all.is_empty() {
            return Err(de::Error::custom("empty list: leave the key out"));
        }
        Ok(OneOrMany(all))
    }
}
