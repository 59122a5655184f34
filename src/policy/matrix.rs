//! A matrix: who may talk to whom, and on which ports. A file's `[[party]]` and `[[row]]`.

use std::ops::Range;

use toml::Spanned;

use super::compile::{Source, is_like};
use super::file::{File, Judges, PartyEntry, RowEntry};
use super::words::{OneOrMany, Ports, Word};
use crate::catalog::toml_text::with_hint;
use crate::catalog::{Catalog, Encryption, ServiceId};
use crate::classify::Tag;
use crate::error::{Error, Result};
use crate::inspect::Protocol;
use crate::packet::Transport;
use crate::site::{Host, Site, ZoneId};

/// Parties that a matrix may have: one bit each, beside the one for everybody.
const PARTIES_MAX: usize = 31;

/// Everybody, also who is no party: `*` in a row.
pub(super) const ANYBODY: u32 = u32::MAX;

/// Whoever is no party: `other` in a row.
pub(super) const OTHER: u32 = 1 << PARTIES_MAX;

/// Who may talk to whom in a deployment, row by row as a document has it.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The pack that it is: `ibm-api-connect-zones`.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// Its rows, in the order of the file; rows that the user added last.
    pub rows: Vec<Row>,
    /// Traffic that no row allows is a finding: the site's `packs` names it.
    pub judged: bool,
    /// Rows that were not seen are findings: the site's `expect` names it.
    pub expected: bool,
    /// Why nothing can be judged, if nothing can: the site knows none of its parties.
    pub skipped: Option<&'static str>,
    pub(super) judges: Judges,
    pub(super) parties: Vec<String>,
    /// For each zone of the site, the parties that it is.
    pub(super) of_zone: Vec<u32>,
    /// For each host of the site, the parties that it is by its products; 0 where its zone decides.
    pub(super) of_host: Vec<u32>,
}

/// One row of a matrix.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id in the matrix.
    pub id: String,
    /// Who begins, as reports name it.
    pub initiator: String,
    /// Who answers, as reports name it.
    pub responder: String,
    /// What may be used: `443/tcp tls`.
    pub services: String,
    /// What else is to be known of it: how an ambiguity was resolved.
    pub note: Option<String>,
    /// It allows what it names; one that does not says only that a port is in use.
    pub permits: bool,
    /// The deployment does not work without it.
    pub expected: bool,
    /// Where it came from.
    pub file: String,
    /// Its line there, from 1.
    pub line: usize,
    pub(super) initiators: u32,
    pub(super) responders: u32,
    /// Nothing where the operator is to say what.
    pub(super) uses: Vec<Use>,
}

/// What a row lets its initiators use at its responders.
#[derive(Debug, Clone)]
pub(super) enum Use {
    /// Ports that no offset moves.
    Ports {
        ports: Ports,
        transport: Transport,
        /// Protocols that may be spoken, one bit each; `None` for any.
        spoken: Option<u32>,
    },
    /// A service of the catalogue, wherever the responder's offset puts it.
    Service(ServiceId),
}

impl Matrix {
    /// Returns the names of parties, in order; of whoever is none, `other`.
    pub(super) fn names(&self, parties: u32) -> String {
        let named = self.parties.iter().enumerate().filter(|(place, _)| parties & 1 << place != 0);
        let named: Vec<&str> = named.map(|(_, party)| party.as_str()).collect();
        if named.is_empty() { "other".to_owned() } else { named.join(", ") }
    }

    /// Returns the first zone of the site that is one of some parties.
    pub(super) fn zone_of(&self, parties: u32) -> Option<ZoneId> {
        let place = self.of_zone.iter().position(|is| is & parties != 0)?;
        u16::try_from(place).ok().map(ZoneId)
    }
}

impl Row {
    /// Tells whether a flow's ends are the row's.
    pub(super) fn is_between(&self, initiators: u32, responders: u32) -> bool {
        self.initiators & initiators != 0 && self.responders & responders != 0
    }
}

impl Use {
    /// Tells whether an endpoint is what may be used, whatever is spoken there.
    pub(super) fn is_about(&self, port: u16, transport: Transport, tag: &Tag) -> bool {
        match self {
            Self::Ports { ports, transport: wanted, .. } => {
                *wanted == transport && ports.contains(port)
            }
            Self::Service(id) => tag.candidates.iter().any(|candidate| candidate.service == *id),
        }
    }

    /// Returns the port under a responder's offset, for a use that was never seen.
    pub(super) fn port_at(
        &self,
        offset: Option<u16>,
        catalog: &Catalog,
    ) -> Option<(u16, Transport)> {
        match self {
            Self::Ports { ports, transport, .. } => Some((ports.0, *transport)),
            Self::Service(id) => {
                let service = catalog.service(*id);
                let port = offset.map_or(Some(service.port), |offset| service.port_at(offset))?;
                Some((port.first()?, service.transports.iter().next()?))
            }
        }
    }
}

impl Source<'_> {
    /// Makes the matrix of a file that has parties.
    pub(super) fn matrix(&self, file: &File) -> Result<Option<Matrix>> {
        let (Some(pack), false) = (&file.pack, file.party.is_empty()) else {
            if let Some(party) = file.party.first() {
                let cause = "a file with parties needs a [pack]: it is the matrix's name";
                return Err(self.error(party.id.span(), cause));
            }
            return Ok(None);
        };
        self.check_parties(&file.party)?;
        let mut matrix = Matrix {
            id: pack.id.get_ref().0.clone(),
            title: pack.title.0.clone(),
            rows: Vec::new(),
            judged: false,
            expected: false,
            skipped: None,
            of_zone: of_zones(&file.party, self.site),
            of_host: of_hosts(&file.party, self.site, |host| self.products_of(host)),
            judges: pack.judges,
            parties: file.party.iter().map(|party| party.id.get_ref().0.clone()).collect(),
        };
        for row in file.row.iter().filter(|row| row.matrix.is_none()) {
            self.add_row(&mut matrix, row)?;
        }
        let nobody = matrix.of_zone.iter().chain(&matrix.of_host).all(|parties| *parties == 0);
        matrix.skipped = nobody.then_some("the site file names none of its zones and components");
        Ok(Some(matrix))
    }

    fn check_parties(&self, parties: &[PartyEntry]) -> Result<()> {
        if let Some(beyond) = parties.get(PARTIES_MAX) {
            let cause = format!("more than {PARTIES_MAX} parties");
            return Err(self.error(beyond.id.span(), cause));
        }
        for (place, party) in parties.iter().enumerate() {
            let id = &party.id.get_ref().0;
            if parties[..place].iter().any(|earlier| earlier.id.get_ref().0 == *id) {
                return Err(self.error(party.id.span(), format!("duplicate party `{id}`")));
            }
            let known = || parties.iter().map(|party| party.id.get_ref().0.as_str());
            if let Some(other) = &party.stand_in
                && !known().any(|known| known == other.get_ref())
            {
                let cause = format!("unknown party `{}`", other.get_ref());
                return Err(with_hint(self.error(other.span(), cause), other.get_ref(), known()));
            }
        }
        Ok(())
    }

    /// Adds one row to its matrix.
    pub(super) fn add_row(&self, matrix: &mut Matrix, entry: &RowEntry) -> Result<()> {
        let id = &entry.id.get_ref().0;
        if let Some(row) = matrix.rows.iter().find(|row| row.id == *id) {
            let cause = format!("duplicate row `{id}`: {}:{} has it already", row.file, row.line);
            return Err(self.error(entry.id.span(), cause));
        }
        let initiators = self.parties(matrix, &entry.initiator)?;
        let responders = self.parties(matrix, &entry.responder)?;
        let uses = entry.uses.iter().map(|written| self.used(written));
        let uses: Vec<(Use, String)> = uses.collect::<Result<_>>()?;
        let names: Vec<&str> = uses.iter().map(|(_, name)| name.as_str()).collect();
        let services = match names.as_slice() {
            [] => "as the operator declares".to_owned(),
            names => names.join(", "),
        };
        matrix.rows.push(Row {
            id: id.clone(),
            initiator: entry.initiator.get_ref().0.join(", "),
            responder: entry.responder.get_ref().0.join(", "),
            services,
            note: entry.note.as_ref().map(|note| note.0.clone()),
            permits: entry.permits && !uses.is_empty(),
            expected: entry.expected,
            file: self.path.to_string_lossy().into_owned(),
            line: self.line(entry.id.span()),
            initiators,
            responders,
            uses: uses.into_iter().map(|(used, _)| used).collect(),
        });
        Ok(())
    }

    /// Reads `443/tcp tls` or a service's id; returns it with its name in reports.
    fn used(&self, written: &Spanned<String>) -> Result<(Use, String)> {
        let text = written.get_ref().as_str();
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return self.used_service(written);
        }
        let bad = |why: &str| {
            let cause = format!("`{text}` {why}: expected one such as `443/tcp tls`");
            Err(self.error(written.span(), cause))
        };
        let (endpoint, protocols) = text.split_once(' ').unwrap_or((text, ""));
        let Some((ports, transport)) = endpoint.split_once('/') else {
            return bad("has no transport");
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
            return bad("has no port from 1 to 65535");
        };
        if first == 0 || first > last {
            return bad("has no port from 1 to 65535");
        }
        let Some((_, transport)) = Transport::all().find(|(name, _)| *name == transport) else {
            return bad("has a transport that is not known");
        };
        let mut spoken = None;
        for name in protocols.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(protocol) = Protocol::from_name(name) else {
                let error = self.error(written.span(), format!("unknown protocol `{name}`"));
                return Err(with_hint(error, name, Protocol::ALL.into_iter().map(Protocol::name)));
            };
            spoken = Some(spoken.unwrap_or(0) | 1 << protocol as u32);
        }
        let ports = Ports(first, last);
        Ok((Use::Ports { ports, transport, spoken }, text.to_owned()))
    }

    fn used_service(&self, written: &Spanned<String>) -> Result<(Use, String)> {
        let id = written.get_ref();
        let Some(service) = self.catalog.service_named(id) else {
            if self.shipped {
                // A user's own catalogue need not have it; then nothing is ever tagged so.
                return Ok((Use::Service(ServiceId(u16::MAX)), id.clone()));
            }
            let error = self.error(written.span(), format!("unknown service `{id}`"));
            let known = self.catalog.services().iter().map(|service| service.id.as_str());
            return Err(with_hint(error, id, known));
        };
        let row = self.catalog.service(service);
        let transports: Vec<&str> = row.transports.iter().map(Transport::name).collect();
        let spoken = match row.encryption {
            Encryption::Tls => "tls",
            _ => row.protocol.name(),
        };
        Ok((Use::Service(service), format!("{}/{} {spoken}", row.port, transports.join(", "))))
    }

    fn parties(&self, matrix: &Matrix, written: &Spanned<OneOrMany<String>>) -> Result<u32> {
        let mut parties = 0;
        for name in &written.get_ref().0 {
            match (name.as_str(), matrix.parties.iter().position(|party| party == name)) {
                ("*", _) => return Ok(ANYBODY),
                ("other", _) => parties |= OTHER,
                (_, Some(place)) => parties |= 1 << place,
                (_, None) => return Err(self.unknown_party(matrix, written.span(), name)),
            }
        }
        Ok(parties)
    }

    fn unknown_party(&self, matrix: &Matrix, span: Range<usize>, name: &str) -> Error {
        let error = self.error(span, format!("unknown party `{name}` of matrix `{}`", matrix.id));
        with_hint(error, name, matrix.parties.iter().map(String::as_str))
    }

    /// Returns what a host runs: products, and the parts of them that the user names.
    fn products_of<'h>(&self, host: &'h Host) -> Vec<(String, Option<&'h str>)> {
        let named = host.products.iter();
        named.map(|(id, part)| (self.catalog.product(*id).id.clone(), part.as_deref())).collect()
    }
}

/// Returns for each zone the parties that it is.
fn of_zones(parties: &[PartyEntry], site: &Site) -> Vec<u32> {
    let is = |party: &PartyEntry, zone: &crate::site::Zone| {
        party.zone.iter().flat_map(|zones| &zones.0).any(|name| zone.is_called(name))
    };
    let of = |zone| bits_of(parties, |party| is(party, zone));
    site.zones().iter().map(of).collect()
}

/// Returns for each host the parties that it is by what it runs, and for whom it stands in.
fn of_hosts<'s>(
    parties: &[PartyEntry],
    site: &'s Site,
    products_of: impl Fn(&'s Host) -> Vec<(String, Option<&'s str>)>,
) -> Vec<u32> {
    let is = |party: &PartyEntry, runs: &[(String, Option<&str>)]| {
        party.component.iter().flat_map(|all| &all.0).any(|wanted| {
            let (product, part) =
                wanted.split_once('/').map_or((wanted.as_str(), None), |(p, c)| (p, Some(c)));
            runs.iter().any(|(name, runs)| {
                // A product without a part named is all of it.
                is_like(name, product) && (part.is_none() || runs.is_none() || part == *runs)
            })
        })
    };
    let of = |host| {
        let runs = products_of(host);
        bits_of(parties, |party| is(party, &runs))
    };
    let mut of_host: Vec<u32> = site.hosts().iter().map(of).collect();
    for (place, party) in parties.iter().enumerate() {
        let Some(other) = &party.stand_in else { continue };
        let Some(other) = parties.iter().position(|p| p.id.get_ref().0 == *other.get_ref()) else {
            continue;
        };
        // Whoever is the party beside others, as an all-in-one host is, is no host of its own for it.
        if of_host.iter().all(|is| is & 1 << place == 0 || is & 1 << other != 0) {
            for is in of_host.iter_mut().filter(|is| **is & 1 << other != 0) {
                *is |= 1 << place;
            }
        }
    }
    of_host
}

fn bits_of(parties: &[PartyEntry], is: impl Fn(&PartyEntry) -> bool) -> u32 {
    let places = parties.iter().enumerate().filter(|(_, party)| is(party));
    places.fold(0, |bits, (place, _)| bits | 1 << place)
}
