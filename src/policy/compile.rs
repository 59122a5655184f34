//! A policy file's entries → [`Rule`]s: names are looked up in the catalogue and the site.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::NO_ZONES;
use super::file::{File, MatchEntry, RuleEntry};
use super::kind::Trigger;
use super::rule::{Conditions, Field, Rule, ServiceTest, Test};
use super::words::{By, OneOrMany, Word};
use crate::catalog::toml_text::{line_of, parse, with_hint};
use crate::catalog::{Catalog, ProductId, ServiceId};
use crate::error::{Error, Result};
use crate::site::{Site, ZoneId};

/// One policy file's text on its way to rules.
pub(super) struct Source<'a> {
    /// Where it came from, for errors and reports.
    pub(super) path: &'a Path,
    /// Its text.
    pub(super) text: &'a str,
    /// It ships with portreeve: it may name products that a user's own catalogue does not have, and zones
    /// that a site does not.
    pub(super) shipped: bool,
    pub(super) catalog: &'a Catalog,
    pub(super) site: &'a Site,
}

impl Source<'_> {
    /// Reads the file.
    pub(super) fn file(&self) -> Result<File> {
        parse(self.path, self.text)
    }

    /// Returns the line where a span of the file begins.
    pub(super) fn line(&self, span: Range<usize>) -> usize {
        line_of(self.text, Some(span))
    }

    /// An error at the line where a span of the file begins.
    pub(super) fn error(&self, span: Range<usize>, cause: impl Into<String>) -> Error {
        Error::at_line(self.path, self.line(span), cause)
    }

    /// Makes the rules of the file.
    pub(super) fn rules(&self, file: &File) -> Result<Vec<Rule>> {
        let pack = file.pack.as_ref().map(|pack| pack.id.get_ref().0.as_str());
        file.rule.iter().map(|entry| self.rule(entry, pack)).collect()
    }

    fn rule(&self, entry: &RuleEntry, pack: Option<&str>) -> Result<Rule> {
        let id = &entry.id.get_ref().0;
        if let Some(pack) = pack
            && id.split_once('/').is_none_or(|(prefix, _)| prefix != pack)
        {
            let cause = format!("rule `{id}` of pack `{pack}` is not called `{pack}/…`");
            return Err(self.error(entry.id.span(), cause));
        }
        if *entry.signature_id.get_ref() == 0 {
            let cause = "signature_id 0 stands for every rule: expected 1 or above";
            return Err(self.error(entry.signature_id.span(), cause));
        }
        let kind = entry.kind.get_ref().0;
        let evidence = entry.matches.evidence.as_ref().map_or(0, |kinds| bits(kinds, |k| k as u32));
        if kind.trigger() == Trigger::Evidence && evidence == 0 {
            let cause = format!("a rule of kind `{kind}` needs `evidence` in its [rule.match]");
            return Err(self.error(entry.kind.span(), cause));
        }
        let mut rule = Rule {
            id: id.clone(),
            title: entry.title.0.clone(),
            kind,
            severity: entry.severity.0,
            signature_id: *entry.signature_id.get_ref(),
            source: entry.source.0.clone(),
            remedy: entry.remedy.0.clone(),
            file: self.path.to_string_lossy().into_owned(),
            line: self.line(entry.id.span()),
            pack: pack.map(str::to_owned),
            skipped: None,
            specificity: 0,
            asks: Vec::new(),
            excludes: Vec::new(),
            evidence,
            on_service: Conditions::default(),
            on_flow: Conditions::default(),
        };
        let all = self.conditions(&entry.matches)?;
        rule.specificity = all.weight;
        let none = self.conditions(&entry.not)?;
        rule.specificity += Field::Other.weight() * u32::try_from(none.len()).unwrap_or(u32::MAX);
        (rule.asks, rule.excludes) = (all.written, none.written);
        rule.on_service = Conditions { all: all.on_service, none: none.on_service };
        rule.on_flow = Conditions { all: all.on_flow, none: none.on_flow };
        if self.site.zones().is_empty() && rule.on_flow.all.iter().any(Test::needs_zones) {
            rule.skipped = Some(NO_ZONES);
        }
        Ok(rule)
    }

    fn conditions(&self, entry: &MatchEntry) -> Result<Fields> {
        let mut fields = Fields::default();
        if let Some(roles) = &entry.role {
            let set = roles.0.iter().fold(0, |bits, role| bits | 1 << *role as u32);
            fields.write("role", roles.0.iter().map(|role| role.name()));
            fields.service(Field::Role, ServiceTest::Role(set));
        }
        if let Some(products) = &entry.product {
            let (ids, exact) = self.products(products)?;
            fields.write("product", &products.get_ref().0);
            let field = if exact { Field::Product } else { Field::ProductPattern };
            fields.service(field, ServiceTest::Product(ids));
        }
        if let Some(services) = &entry.service {
            let (ids, exact) = self.services(services)?;
            fields.write("service", &services.get_ref().0);
            let field = if exact { Field::Service } else { Field::Product };
            fields.service(field, ServiceTest::Service(ids));
        }
        if let Some(directions) = &entry.direction {
            let set = directions.0.iter().fold(0, |bits, one| bits | 1 << *one as u32);
            fields.write("direction", directions.0.iter().map(|one| one.name()));
            fields.service(Field::Other, ServiceTest::Direction(set));
        }
        if let Some(lifecycles) = &entry.lifecycle {
            let set = lifecycles.0.iter().fold(0, |bits, one| bits | 1 << *one as u32);
            fields.write("lifecycle", lifecycles.0.iter().map(|one| one.name()));
            fields.service(Field::Other, ServiceTest::Lifecycle(set));
        }
        if let Some(wanted) = entry.catalogued {
            fields.write("catalogued", [wanted.to_string()]);
            fields.service(Field::Other, ServiceTest::Catalogued(wanted));
        }
        self.flow_conditions(entry, &mut fields)?;
        Ok(fields)
    }

    fn flow_conditions(&self, entry: &MatchEntry, fields: &mut Fields) -> Result<()> {
        if let Some(protocols) = &entry.protocol {
            fields.write("protocol", names(protocols));
            fields.flow(Field::Protocol, Test::Protocol(bits(protocols, |p| p as u32)));
        }
        if let Some(faults) = &entry.certificate {
            fields.write("certificate", names(faults));
            fields.flow(Field::Protocol, Test::Certificate(bits(faults, |f| f as u32)));
        }
        if let Some(kinds) = &entry.evidence {
            fields.write("evidence", names(kinds));
            fields.flow(Field::Other, Test::Evidence(bits(kinds, |k| k as u32)));
        }
        if let Some(encrypted) = entry.encrypted {
            fields.write("encrypted", [encrypted.to_string()]);
            fields.flow(Field::Other, Test::Encrypted(encrypted));
        }
        if let Some(wanted) = entry.known_host {
            fields.write("known_host", [wanted.to_string()]);
            fields.flow(Field::Other, Test::KnownHost(wanted));
        }
        if let Some(transports) = &entry.transport {
            fields.write("transport", names(transports));
            fields.flow(Field::Other, Test::Transport(bits(transports, |t| t as u32)));
        }
        if let Some(ports) = &entry.port {
            fields.write("port", ports.0.iter().map(ToString::to_string));
            fields.flow(Field::Port, Test::Port(ports.0.clone()));
        }
        if let Some(zones) = &entry.initiator_zone {
            fields.write("initiator_zone", &zones.get_ref().0);
            fields.flow(Field::Zone, Test::InitiatorZone(self.zones(zones)?));
        }
        if let Some(zones) = &entry.responder_zone {
            fields.write("responder_zone", &zones.get_ref().0);
            fields.flow(Field::Zone, Test::ResponderZone(self.zones(zones)?));
        }
        if let Some(trusts) = &entry.initiator_trust {
            fields.write("initiator_trust", names(trusts));
            fields.flow(Field::Trust, Test::InitiatorTrust(bits(trusts, |t| t as u32)));
        }
        if let Some(trusts) = &entry.responder_trust {
            fields.write("responder_trust", names(trusts));
            fields.flow(Field::Trust, Test::ResponderTrust(bits(trusts, |t| t as u32)));
        }
        if let Some(wanted) = entry.crosses_trust {
            fields.write("crosses_trust", [wanted.to_string()]);
            fields.flow(Field::Trust, Test::CrossesTrust(wanted));
        }
        Ok(())
    }

    /// Returns the products of names and patterns, and whether all were names.
    fn products(&self, written: &Spanned<OneOrMany<String>>) -> Result<(Vec<ProductId>, bool)> {
        let known: Vec<&str> = self.catalog.products().iter().map(|p| p.id.as_str()).collect();
        let (places, exact) = self.places("product", written, &known)?;
        Ok((places.into_iter().map(ProductId).collect(), exact))
    }

    /// Returns the services of names and patterns, and whether all were names.
    fn services(&self, written: &Spanned<OneOrMany<String>>) -> Result<(Vec<ServiceId>, bool)> {
        let known: Vec<&str> = self.catalog.services().iter().map(|s| s.id.as_str()).collect();
        let (places, exact) = self.places("service", written, &known)?;
        Ok((places.into_iter().map(ServiceId).collect(), exact))
    }

    fn places(
        &self,
        what: &str,
        written: &Spanned<OneOrMany<String>>,
        known: &[&str],
    ) -> Result<(Vec<u16>, bool)> {
        let mut places = Vec::new();
        for pattern in &written.get_ref().0 {
            let found = places.len();
            let fits = known.iter().enumerate().filter(|(_, name)| is_like(name, pattern));
            places.extend(fits.filter_map(|(place, _)| u16::try_from(place).ok()));
            if places.len() == found && !self.shipped {
                let error = self.error(written.span(), format!("unknown {what} `{pattern}`"));
                return Err(with_hint(error, pattern, known.iter().copied()));
            }
        }
        let exact = written.get_ref().0.iter().all(|pattern| !pattern.contains('*'));
        Ok((places, exact))
    }

    /// Returns the site's zones of the given names. Without a site file every name is taken: a rule can
    /// then be checked, and never met.
    fn zones(&self, written: &Spanned<OneOrMany<String>>) -> Result<Vec<ZoneId>> {
        let mut zones = Vec::new();
        for name in &written.get_ref().0 {
            let called = self.site.zones().iter().enumerate().filter(|(_, z)| z.is_called(name));
            let found = zones.len();
            zones.extend(called.filter_map(|(place, _)| u16::try_from(place).ok()).map(ZoneId));
            if zones.len() == found && !self.shipped && self.site.path().is_some() {
                let error = self.error(written.span(), format!("unknown zone `{name}`"));
                let known = self.site.zones().iter().flat_map(|zone| {
                    std::iter::once(zone.name.as_str()).chain(zone.alias.as_deref())
                });
                return Err(with_hint(error, name, known));
            }
        }
        Ok(zones)
    }
}

/// The fields of a rule that are set, and what they weigh.
#[derive(Default)]
struct Fields {
    on_service: Vec<ServiceTest>,
    on_flow: Vec<Test>,
    weight: u32,
    written: Vec<(&'static str, String)>,
}

impl Fields {
    /// Keeps a field as its file has it.
    fn write<T: AsRef<str>>(&mut self, field: &'static str, values: impl IntoIterator<Item = T>) {
        let values: Vec<T> = values.into_iter().collect();
        let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
        self.written.push((field, values.join(", ")));
    }

    fn service(&mut self, field: Field, test: ServiceTest) {
        self.on_service.push(test);
        self.weight += field.weight();
    }

    fn flow(&mut self, field: Field, test: Test) {
        self.on_flow.push(test);
        self.weight += field.weight();
    }

    fn len(&self) -> usize {
        self.on_service.len() + self.on_flow.len()
    }
}

/// Returns the names of values.
fn names<T: Word + PartialEq>(values: &OneOrMany<By<T>>) -> impl Iterator<Item = &'static str> {
    values
        .0
        .iter()
        .filter_map(|value| T::all().find(|(_, known)| *known == value.0))
        .map(|(name, _)| name)
}

/// Returns one bit for each value.
fn bits<T: Copy>(values: &OneOrMany<By<T>>, place: impl Fn(T) -> u32) -> u32 {
    values.0.iter().fold(0, |bits, value| bits | 1 << place(value.0))
}

/// Tells whether a name is what a pattern says; `*` stands for any text.
pub(super) fn is_like(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|at| tail.is_char_boundary(*at))
                .any(|at| is_like(&tail[at..], rest))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(is_like("wso2-api-manager-3", "wso2-*"));
        assert!(is_like("wso2-api-manager-3/gateway-http", "*/gateway-http"));
        assert!(is_like("abc", "a*c") && is_like("ac", "a*c") && is_like("abc", "*"));
        assert!(!is_like("abcd", "a*c") && !is_like("wso2", "wso2-*"));
    }
}
