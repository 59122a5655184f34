//! The site file: what the user knows of the deployment.
//!
//! Takes TOML; gives a [`Site`] that answers, for any address, which host and which zone it is. Every name
//! of the catalogue in it is checked here; the names of rules and packs are the policy's, which checks them
//! with the lines that are kept for it. Without a file, [`Site::default`] knows nothing and all else works.

mod file;
mod load;
mod prefixes;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use self::prefixes::Prefixes;
use crate::catalog::{Catalog, ProductId, Service, ServiceId, toml_text};
use crate::error::Result;
use crate::packet::Timestamp;

/// Names one zone: an index into [`Site::zones`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(pub u16);

/// Names one declared host: an index into [`Site::hosts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u16);

/// A named set of prefixes or hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The user's name for it.
    pub name: String,
    /// It may exchange the platform's internal clear traffic with zones like it.
    pub trust_server: bool,
    /// A pack's name for it, where the user calls it otherwise.
    pub alias: Option<String>,
    /// Where the site file names it.
    pub line: usize,
}

impl Zone {
    /// Returns the name that a pack knows it by.
    pub fn pack_name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// Tells whether a rule's name for a zone means this one: its own, or the pack's.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.alias.as_deref() == Some(name)
    }
}

/// A declared host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The user's name for it.
    pub name: String,
    /// What runs on it, each with the part of the product where the user names one.
    pub products: Vec<(ProductId, Option<String>)>,
    /// The port offset, which replaces a built-in one.
    pub offset: Option<u16>,
    /// Its own zone, which wins over any prefix.
    pub zone: Option<ZoneId>,
    /// Its addresses and prefixes, in the order of the file.
    pub prefixes: Vec<IpNet>,
    /// Where the site file names it.
    pub line: usize,
}

impl Host {
    /// Tells whether a service is of what runs on the host.
    pub fn runs(&self, service: &Service) -> bool {
        self.products.iter().any(|(product, component)| {
            *product == service.product
                && component.as_deref().is_none_or(|component| service.is_in(component))
        })
    }

    /// Tells whether a port may be a service's here: at the declared offset it must be that one.
    pub fn listens_at(&self, service: &Service, port: u16) -> bool {
        self.offset
            .is_none_or(|offset| service.port_at(offset).is_some_and(|moved| moved.contains(port)))
    }
}

/// A name in the site file that another room checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Where the site file has it.
    pub line: usize,
}

/// `[policy]`: what the user wants judged, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyChoice {
    /// Packs to load; `None` means every pack that needs no zones.
    pub packs: Option<Vec<Named>>,
    /// The user's own rule files, each with its line; what was relative to the site file is resolved.
    pub files: Vec<(PathBuf, usize)>,
    /// Services that are said to be off, each with its line.
    pub disabled: Vec<(ServiceId, usize)>,
    /// Matrices whose missing flows are reported.
    pub expect: Vec<Named>,
    /// Operator-named authorisation headers, in lower case.
    pub auth_headers: Vec<String>,
}

/// One end of a flow, as a suppression names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// An address or a prefix.
    Prefix(IpNet),
    /// A zone.
    Zone(ZoneId),
}

impl Place {
    /// Tells whether an address, which lies in the given zone, is meant.
    pub fn contains(self, address: IpAddr, zone: Option<ZoneId>) -> bool {
        match self {
            Self::Prefix(prefix) => prefix.contains(&address.to_canonical()),
            Self::Zone(meant) => zone == Some(meant),
        }
    }
}

/// `[[suppress]]`: a finding that somebody accepted, until a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The rule's id.
    pub rule: String,
    /// Only flows that begin here.
    pub initiator: Option<Place>,
    /// Only flows that are answered here.
    pub responder: Option<Place>,
    /// Only this responder port.
    pub port: Option<u16>,
    /// Only this row of the rule's matrix: of findings that a row is missed.
    pub row: Option<String>,
    /// The last day as written, UTC: `2027-01-31`.
    pub until: String,
    /// The first moment after that day.
    pub ends: Timestamp,
    /// Why.
    pub reason: String,
    /// The file that says so.
    pub file: PathBuf,
    /// The line in it.
    pub line: usize,
}

/// What the user knows of the deployment.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// What the policy is to do.
    pub policy: PolicyChoice,
    /// Accepted findings.
    pub suppressions: Vec<Suppression>,
    path: Option<PathBuf>,
    content_hash: Option<String>,
    zones: Vec<Zone>,
    hosts: Vec<Host>,
    zone_prefixes: Prefixes,
    host_prefixes: Prefixes,
}

impl Site {
    /// Reads a site file; its products and services are those of `catalog`.
    pub fn load(path: impl AsRef<Path>, catalog: &Catalog) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(path, &toml_text::read(path)?, catalog)
    }

    /// Reads the text of a site file; `path` is where it came from.
    pub fn parse(path: &Path, text: &str, catalog: &Catalog) -> Result<Self> {
        load::site(path, text, catalog)
    }

    /// Returns the file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the SHA-256 of the site file in hexadecimal; `None` without a file.
    pub fn content_hash(&self) -> Option<&str> {
        self.content_hash.as_deref()
    }

    /// Returns every zone; a [`ZoneId`] is a place in it.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Returns one zone.
    ///
    /// # Panics
    ///
    /// With an id of another site.
    pub fn zone(&self, id: ZoneId) -> &Zone {
        &self.zones[usize::from(id.0)]
    }

    /// Returns the zone of a name: the user's name first, then a pack's.
    pub fn zone_named(&self, name: &str) -> Option<ZoneId> {
        let by_name = self.zones.iter().position(|zone| zone.name == name);
        let place = by_name.or_else(|| self.zones.iter().position(|zone| zone.is_called(name)))?;
        u16::try_from(place).ok().map(ZoneId)
    }

    /// Returns every declared host; a [`HostId`] is a place in it.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns the declared host of an address.
    pub fn host_of(&self, address: IpAddr) -> Option<&Host> {
        self.host_id_of(address).map(|id| &self.hosts[usize::from(id.0)])
    }

    /// Returns which declared host an address is.
    pub fn host_id_of(&self, address: IpAddr) -> Option<HostId> {
        self.host_prefixes.find(address).map(HostId)
    }

    /// Returns the zone of an address: its host's own, else that of the longest prefix.
    pub fn zone_of(&self, address: IpAddr) -> Option<ZoneId> {
        let of_host = self.host_of(address).and_then(|host| host.zone);
        of_host.or_else(|| self.zone_prefixes.find(address).map(ZoneId))
    }
}
