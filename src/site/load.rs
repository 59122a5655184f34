//! A site file's entries → a [`Site`]: what concerns several entries, and names of the catalogue.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use ipnet::IpNet;
use jiff::ToSpan;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::file::{DayEntry, File, HostEntry, PolicyEntry, SuppressEntry, ZoneEntry, prefix};
use super::prefixes::Prefixes;
use super::{Host, Named, Place, PolicyChoice, Site, Suppression, Zone, ZoneId};
use crate::catalog::toml_text::{line_of, parse, with_hint};
use crate::catalog::{Catalog, Product, ProductId};
use crate::error::{Error, Result};
use crate::packet::Timestamp;

/// Zones and hosts that a site may have: what a `ZoneId` and a `HostId` can name.
const ENTRIES_MAX: usize = 65_535;

/// Reads the text of a site file.
pub(super) fn site(path: &Path, text: &str, catalog: &Catalog) -> Result<Site> {
    let file: File = parse(path, text)?;
    let loader = Loader { path, text, catalog };
    if file.zone.len().max(file.host.len()) > ENTRIES_MAX {
        return Err(Error::at_path(path, format!("more than {ENTRIES_MAX} zones or hosts")));
    }
    let zones = loader.zones(&file.zone)?;
    let zone_prefixes = loader.prefixes(file.zone.iter().map(|zone| {
        let prefixes = zone.prefixes.iter().map(|p| (p.get_ref().0, p.span()));
        (zone.name.get_ref().0.as_str(), prefixes.collect())
    }))?;
    let hosts = loader.hosts(&file.host, &zones)?;
    let host_prefixes = loader.prefixes(
        file.host.iter().map(|host| (host.name.get_ref().0.as_str(), host_prefixes(host))),
    )?;
    Ok(Site {
        policy: loader.policy(&file.policy)?,
        suppressions: loader.suppressions(&file.suppress, &zones)?,
        path: Some(path.to_owned()),
        content_hash: Some(hash(text)),
        zones,
        hosts,
        zone_prefixes,
        host_prefixes,
    })
}

struct Loader<'a> {
    path: &'a Path,
    text: &'a str,
    catalog: &'a Catalog,
}

impl Loader<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        line_of(self.text, Some(span))
    }

    fn error(&self, span: Range<usize>, cause: impl Into<String>) -> Error {
        Error::at_line(self.path, self.line(span), cause)
    }

    fn zones(&self, entries: &[ZoneEntry]) -> Result<Vec<Zone>> {
        let mut lines: HashMap<&str, usize> = HashMap::new();
        for entry in entries {
            self.only(&mut lines, "zone", &entry.name.get_ref().0, entry.name.span())?;
        }
        let zone = |entry: &ZoneEntry| Zone {
            name: entry.name.get_ref().0.clone(),
            trust_server: entry.trust.is_some(),
            alias: entry.alias.as_ref().map(|alias| alias.0.clone()),
            line: self.line(entry.name.span()),
        };
        Ok(entries.iter().map(zone).collect())
    }

    fn hosts(&self, entries: &[HostEntry], zones: &[Zone]) -> Result<Vec<Host>> {
        let mut lines: HashMap<&str, usize> = HashMap::new();
        let mut hosts = Vec::with_capacity(entries.len());
        for entry in entries {
            self.only(&mut lines, "host", &entry.name.get_ref().0, entry.name.span())?;
            let prefixes = host_prefixes(entry).into_iter().map(|(prefix, _)| prefix);
            let prefixes: Vec<IpNet> = prefixes.collect();
            if prefixes.is_empty() {
                let cause = format!("host `{}` has no address", entry.name.get_ref().0);
                let error = self.error(entry.name.span(), cause);
                return Err(error.hint("give `addresses` or `prefixes`"));
            }
            let products = entry.products.iter().map(|name| self.product(name));
            let products = products.collect::<Result<Vec<_>>>()?;
            let zone = entry.zone.as_ref().map(|zone| self.zone(zone, zones)).transpose()?;
            self.check_offset(entry, &products)?;
            hosts.push(Host {
                name: entry.name.get_ref().0.clone(),
                products,
                offset: entry.offset.as_ref().map(|offset| offset.get_ref().0),
                zone,
                prefixes,
                line: self.line(entry.name.span()),
            });
        }
        Ok(hosts)
    }

    /// Refuses a name that another entry of the same sort has already.
    fn only<'n>(
        &self,
        lines: &mut HashMap<&'n str, usize>,
        what: &str,
        name: &'n str,
        span: Range<usize>,
    ) -> Result<()> {
        let line = self.line(span.clone());
        match lines.insert(name, line) {
            None => Ok(()),
            Some(first) => {
                let cause = format!("duplicate {what} `{name}`: line {first} has it already");
                Err(self.error(span, cause))
            }
        }
    }

    /// Makes the table of all entries' prefixes, of which no two are the same.
    fn prefixes<'n>(
        &self,
        entries: impl Iterator<Item = (&'n str, Vec<(IpNet, Range<usize>)>)>,
    ) -> Result<Prefixes> {
        let mut owners: HashMap<IpNet, (&str, usize)> = HashMap::new();
        let mut all = Vec::new();
        for (owner, (name, prefixes)) in entries.enumerate() {
            for (prefix, span) in prefixes {
                let line = self.line(span.clone());
                if let Some((first, at)) = owners.insert(prefix, (name, line)) {
                    let what = if prefix.prefix_len() == prefix.max_prefix_len() {
                        "address"
                    } else {
                        "prefix"
                    };
                    let shown = if what == "address" {
                        prefix.addr().to_string()
                    } else {
                        prefix.to_string()
                    };
                    let cause = format!("{what} {shown} belongs to `{first}` already, line {at}");
                    return Err(self.error(span, cause));
                }
                all.push((prefix, u16::try_from(owner).expect("checked against ENTRIES_MAX")));
            }
        }
        Ok(Prefixes::new(&all))
    }

    /// Reads "product" or "product/component".
    fn product(&self, written: &Spanned<String>) -> Result<(ProductId, Option<String>)> {
        let text = written.get_ref().as_str();
        let (name, component) = match text.split_once('/') {
            Some((name, component)) => (name, Some(component)),
            None => (text, None),
        };
        let Some(id) = self.catalog.product_named(name) else {
            let error = self.error(written.span(), format!("unknown product `{name}`"));
            let known = self.catalog.products().iter().map(|product| product.id.as_str());
            return Err(with_hint(error, name, known));
        };
        let product = self.catalog.product(id);
        if let Some(component) = component
            && !product.components.iter().any(|known| known == component)
        {
            return Err(self.unknown_component(written.span(), product, component));
        }
        Ok((id, component.map(str::to_owned)))
    }

    fn unknown_component(&self, span: Range<usize>, product: &Product, component: &str) -> Error {
        let cause = match product.components.as_slice() {
            [] => format!("product `{}` has no components, so no `{component}`", product.id),
            known => format!(
                "product `{}` has no component `{component}`: expected one of {}",
                product.id,
                known.join(", ")
            ),
        };
        let known = product.components.iter().map(String::as_str);
        with_hint(self.error(span, cause), component, known)
    }

    fn zone(&self, name: &Spanned<String>, zones: &[Zone]) -> Result<ZoneId> {
        let place = zones.iter().position(|zone| zone.name == *name.get_ref());
        if let Some(id) = place.and_then(|place| u16::try_from(place).ok()) {
            return Ok(ZoneId(id));
        }
        let error = self.error(name.span(), format!("unknown zone `{}`", name.get_ref()));
        if zones.is_empty() {
            return Err(error.hint("the site file names no zone: add a [[zone]]"));
        }
        Err(with_hint(error, name.get_ref(), zones.iter().map(|zone| zone.name.as_str())))
    }

    /// Refuses an offset that moves a port of the host's own products beyond 65535.
    fn check_offset(
        &self,
        entry: &HostEntry,
        products: &[(ProductId, Option<String>)],
    ) -> Result<()> {
        let Some(offset) = &entry.offset else { return Ok(()) };
        for (product, component) in products {
            for id in &self.catalog.product(*product).services {
                let service = self.catalog.service(*id);
                let runs = component.as_deref().is_none_or(|component| service.is_in(component));
                if runs && service.port_at(offset.get_ref().0).is_none() {
                    let cause = format!(
                        "offset {} moves `{}` beyond port 65535",
                        offset.get_ref().0,
                        service.id
                    );
                    return Err(self.error(offset.span(), cause));
                }
            }
        }
        Ok(())
    }

    fn policy(&self, entry: &PolicyEntry) -> Result<PolicyChoice> {
        let named = |names: &[Spanned<String>]| -> Vec<Named> {
            let named = |name: &Spanned<String>| Named {
                name: name.get_ref().clone(),
                line: self.line(name.span()),
            };
            names.iter().map(named).collect()
        };
        let directory = self.path.parent().unwrap_or_else(|| Path::new(""));
        let files = entry.files.iter();
        let files = files.map(|file| (directory.join(&file.get_ref().0), self.line(file.span())));
        let mut disabled = Vec::new();
        for name in &entry.disabled {
            let Some(id) = self.catalog.service_named(name.get_ref()) else {
                let cause = format!("unknown service `{}`", name.get_ref());
                let known = self.catalog.services().iter().map(|service| service.id.as_str());
                return Err(with_hint(self.error(name.span(), cause), name.get_ref(), known));
            };
            disabled.push((id, self.line(name.span())));
        }
        Ok(PolicyChoice {
            packs: entry.packs.as_deref().map(named),
            files: files.collect(),
            disabled,
            expect: named(&entry.expect),
            auth_headers: entry.auth_headers.iter().map(|header| header.0.clone()).collect(),
        })
    }

    fn suppressions(&self, entries: &[SuppressEntry], zones: &[Zone]) -> Result<Vec<Suppression>> {
        let place = |written: &Option<Spanned<String>>| {
            written.as_ref().map(|written| self.place(written, zones)).transpose()
        };
        let suppression = |entry: &SuppressEntry| {
            let (until, ends) = self.until(&entry.until)?;
            Ok(Suppression {
                rule: entry.rule.get_ref().0.clone(),
                initiator: place(&entry.initiator)?,
                responder: place(&entry.responder)?,
                port: entry.port.map(|port| port.0),
                row: entry.row.as_ref().map(|row| row.0.clone()),
                until,
                ends,
                reason: entry.reason.0.clone(),
                file: self.path.to_owned(),
                line: self.line(entry.rule.span()),
            })
        };
        entries.iter().map(suppression).collect()
    }

    /// Reads an address, a prefix or the name of a zone; a zone that is called like an address wins.
    fn place(&self, written: &Spanned<String>, zones: &[Zone]) -> Result<Place> {
        let text = written.get_ref();
        if let Ok(zone) = self.zone(written, zones) {
            return Ok(Place::Zone(zone));
        }
        let looks_numeric =
            text.starts_with(|c: char| c.is_ascii_digit()) || text.contains([':', '/']);
        match prefix(text) {
            Ok(prefix) => Ok(Place::Prefix(prefix)),
            Err(cause) if looks_numeric => Err(self.error(written.span(), cause)),
            Err(_) => {
                let cause = format!("`{text}` is no address, no prefix and no zone of this site");
                let known = zones.iter().map(|zone| zone.name.as_str());
                Err(with_hint(self.error(written.span(), cause), text, known))
            }
        }
    }

    /// Returns a day as written, and the first moment after it, UTC.
    fn until(&self, day: &Spanned<DayEntry>) -> Result<(String, Timestamp)> {
        let date = day.get_ref().0;
        let ends = date
            .checked_add(1.day())
            .and_then(|next| TimeZone::UTC.to_timestamp(next.at(0, 0, 0, 0)))
            .ok()
            .and_then(|next| i64::try_from(next.as_nanosecond()).ok());
        match ends {
            Some(ends) => Ok((date.to_string(), Timestamp(ends))),
            None => {
                Err(self.error(day.span(), format!("day {date} is beyond what can be compared")))
            }
        }
    }
}

fn host_prefixes(host: &HostEntry) -> Vec<(IpNet, Range<usize>)> {
    let addresses = host.addresses.iter().map(|a| (a.get_ref().0.into(), a.span()));
    addresses.chain(host.prefixes.iter().map(|p| (p.get_ref().0, p.span()))).collect()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes all");
        hex
    })
}
