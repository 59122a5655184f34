//! `catalog show` and `catalog explain`: what may listen on a port, and what the documents say of it.

use std::fmt::Write as _;

use super::layout::{labelled, table};
use super::list::{Filter, endpoint_text, list, port_of, speaks};
use super::record::{How, RowRecord, transport_name};
use super::{Endpoint, Format, unknown};
use crate::catalog::{
    Candidate, Catalog, Direction, Lifecycle, OffsetBehaviour, Port, ProductId, Service, Status,
};
use crate::error::{Printable, Result};
use crate::packet::Transport;

/// Offsets that are tried for "at another offset": operators count up from 1, the highest built-in one is
/// 10, and beyond that everything is near something.
const MOVED_OFFSET_MAX: u16 = 20;

/// A row that may listen on the port, and by which offset.
struct Found<'a> {
    service: &'a Service,
    offset: u16,
    documented: bool,
}

/// Shows everything that may listen on a port.
pub(super) fn show(
    catalog: &Catalog,
    asked: Endpoint,
    offset: Option<u16>,
    format: Format,
    width: usize,
) -> String {
    let mut text = String::new();
    let mut is_empty = true;
    for transport in asked.transports() {
        let found = find(catalog, transport, asked.port, offset);
        if found.is_empty() {
            continue;
        }
        is_empty = false;
        match format {
            Format::Ndjson => {
                for found in &found {
                    let how = How {
                        asked_port: asked.port,
                        at_offset: found.offset,
                        documented: found.documented,
                    };
                    let port = found.service.port_at(found.offset).unwrap_or(Port::None);
                    let port = if found.documented { found.service.port } else { port };
                    RowRecord::new(catalog, found.service, port, transport, Some(how))
                        .write(&mut text);
                }
            }
            Format::Text => write_found(&mut text, asked.port, transport, offset, &found, width),
        }
    }
    if is_empty && format == Format::Text {
        let at = offset.map_or_else(String::new, |offset| format!(" at offset {offset}"));
        writeln!(text, "nothing in the catalogue listens on {}{at}", asked.port)
            .expect("a String takes all");
    }
    text
}

/// Finds the documented rows, then what an offset moves there; or what is there at the user's offset.
fn find(catalog: &Catalog, transport: Transport, port: u16, offset: Option<u16>) -> Vec<Found<'_>> {
    let found = |candidate: Candidate, documented| Found {
        service: catalog.service(candidate.service),
        offset: candidate.offset,
        documented,
    };
    if let Some(offset) = offset {
        let there = catalog.at_offset(transport, port, offset);
        return there
            .map(|candidate| {
                let service = catalog.service(candidate.service);
                found(candidate, service.listens_at(port, None))
            })
            .collect();
    }
    let documented = catalog.candidates(transport, port);
    let moved = catalog.moved_to(transport, port, MOVED_OFFSET_MAX).filter(|moved| {
        moved.offset > 0 && !documented.iter().any(|known| known.service == moved.service)
    });
    let mut moved: Vec<Candidate> = moved.collect();
    moved.sort_by_key(|candidate| {
        let service = catalog.service(candidate.service);
        let retired = service.lifecycle == Lifecycle::Retired;
        (retired, catalog.product(service.product).rank, candidate.offset)
    });
    let documented = documented.iter().map(|candidate| found(*candidate, true));
    documented.chain(moved.into_iter().map(|candidate| found(candidate, false))).collect()
}

fn write_found(
    text: &mut String,
    port: u16,
    transport: Transport,
    offset: Option<u16>,
    found: &[Found<'_>],
    width: usize,
) {
    if !text.is_empty() {
        text.push('\n');
    }
    let at = offset.map_or_else(String::new, |offset| format!(" at offset {offset}"));
    writeln!(text, "{port}/{}{at}", transport_name(transport)).expect("a String takes all");
    let (documented, moved): (Vec<_>, Vec<_>) =
        found.iter().partition(|found| found.documented && offset.is_none());
    let moved_title = if offset.is_some() { "There" } else { "At another offset" };
    for (title, rows) in [("As documented", documented), (moved_title, moved)] {
        if rows.is_empty() {
            continue;
        }
        writeln!(text, "\n{title}").expect("a String takes all");
        let cells = rows
            .iter()
            .map(|found| {
                let service = found.service;
                [offset_text(found), service.id.clone(), speaks_and_more(service)]
            })
            .collect();
        table(text, width, ["offset", "service", "speaks"], cells);
    }
    text.push_str("\nWhat the documents say, and what is true\n");
    write_words(text, found, width);
}

fn offset_text(found: &Found<'_>) -> String {
    let service = found.service;
    if service.built_in_offset > 0 && found.offset == service.built_in_offset {
        format!("{} built in", found.offset)
    } else if service.offset.moves() {
        found.offset.to_string()
    } else {
        "any".to_owned()
    }
}

/// Writes what should be spoken, and what makes the row less likely.
fn speaks_and_more(service: &Service) -> String {
    let mut text = speaks(service);
    let remarks = [
        (service.direction == Some(Direction::Outbound), "outbound"),
        (!service.default_on, "off by default"),
        (service.lifecycle == Lifecycle::Retired, "retired"),
        (service.status != Status::Confirmed, service.status.name()),
    ];
    for (applies, remark) in remarks {
        if applies {
            text.push_str("; ");
            text.push_str(remark);
        }
    }
    text
}

/// Writes the words behind the rows, the same words once.
fn write_words(text: &mut String, found: &[Found<'_>], width: usize) {
    let words = |service: &Service| {
        (
            service.source.clone(),
            service.section.clone(),
            service.as_printed.clone(),
            service.note.clone(),
        )
    };
    let mut seen: Vec<_> = Vec::new();
    for row in found {
        let service = row.service;
        if seen.contains(&words(service)) {
            continue;
        }
        seen.push(words(service));
        let same = found.iter().filter(|other| words(other.service) == words(service)).count() - 1;
        let others = match same {
            0 => String::new(),
            1 => ", and one more".to_owned(),
            _ => format!(", and {same} more"),
        };
        labelled(text, width, 2, "", &format!("{}: {}{others}", service.id, service.name));
        write_source(text, service, width);
    }
}

fn write_source(text: &mut String, service: &Service, width: usize) {
    let source = match &service.section {
        Some(section) => format!("{}: {section}", service.source),
        None => service.source.clone(),
    };
    labelled(text, width, 4, "source   ", &source);
    if let Some(printed) = &service.as_printed {
        labelled(text, width, 4, "printed  ", &format!("\u{201c}{printed}\u{201d}"));
    }
    let verdict = match service.status {
        Status::Confirmed => "",
        Status::Corrected => "Corrected: ",
        Status::Suspect => "Suspect: ",
    };
    if let Some(note) = &service.note {
        labelled(text, width, 4, "true     ", &format!("{verdict}{note}"));
    }
}

/// Explains the service of an id, or every service whose name behind the slash is the one given; of a product,
/// lists its services.
pub(super) fn explain(
    catalog: &Catalog,
    name: &str,
    offset: Option<u16>,
    format: Format,
    width: usize,
) -> Result<String> {
    let services: Vec<&Service> = if let Some(id) = catalog.service_named(name) {
        vec![catalog.service(id)]
    } else {
        let is_it = |service: &&Service| local(service) == Some(name);
        catalog.services().iter().filter(is_it).collect()
    };
    if services.is_empty() {
        if let Some(product) = catalog.product_named(name) {
            return explain_product(catalog, product, offset, format, width);
        }
        let known = catalog
            .services()
            .iter()
            .flat_map(|service| [Some(service.id.as_str()), local(service)])
            .chain(catalog.products().iter().map(|product| Some(product.id.as_str())));
        let otherwise = "`portreeve catalog list` names all of them";
        return Err(unknown("service or product", name, known.flatten(), otherwise));
    }
    let mut text = String::new();
    for service in services {
        let port = port_of(service, offset)?;
        match format {
            Format::Ndjson => {
                for transport in service.transports.iter() {
                    RowRecord::new(catalog, service, port, transport, None).write(&mut text);
                }
            }
            Format::Text => {
                if !text.is_empty() {
                    text.push('\n');
                }
                write_service(&mut text, catalog, service, port, width);
            }
        }
    }
    Ok(text)
}

/// Lists the services of a product with their ports, behind what the product is.
fn explain_product(
    catalog: &Catalog,
    id: ProductId,
    offset: Option<u16>,
    format: Format,
    width: usize,
) -> Result<String> {
    let product = catalog.product(id);
    let mut text = String::new();
    if format == Format::Text {
        let about = format!("{}, {} ({})", product.vendor, product.versions, product.lifecycle);
        labelled(&mut text, width, 0, &format!("{}: ", product.id), &about);
    }
    let services = Filter { product: Some(id), role: None, port: None, offset };
    Ok(text + &list(catalog, &services, format, width)?)
}

/// Returns the part of an id behind the slash.
fn local(service: &Service) -> Option<&str> {
    service.id.split_once('/').map(|(_, local)| local)
}

fn write_service(
    text: &mut String,
    catalog: &Catalog,
    service: &Service,
    port: Port,
    width: usize,
) {
    let product = catalog.product(service.product);
    writeln!(text, "{}: {}", Printable(&service.id), Printable(&service.name))
        .expect("a String takes all");
    let mut field = |name: &str, value: &str| {
        labelled(text, width, 2, &format!("{name:<11}"), value);
    };
    field("product", &format!("{}, {}", product.name, product.vendor));
    if !service.components.is_empty() {
        field("component", &service.components.join(", "));
    }
    field("port", &format!("{}, {}", endpoint_text(service, port), offset_words(service)));
    field("speaks", &speaks(service));
    field("role", service.role.name());
    if let Some(direction) = service.direction {
        field("direction", direction.name());
    }
    field("default", if service.default_on { "on" } else { "off" });
    field("versions", &format!("{} ({})", service.versions, service.lifecycle));
    if !service.networks.is_empty() {
        let networks: Vec<String> = service.networks.iter().map(ToString::to_string).collect();
        field("far end", &networks.join(", "));
    }
    field("status", service.status.name());
    let same = others_there(catalog, service);
    if !same.is_empty() {
        field("same port", &same.join(", "));
    }
    write_source(text, service, width);
}

/// Says what the port offset does to a row.
fn offset_words(service: &Service) -> String {
    let built_in = service.built_in_offset;
    let base = service.base_port().unwrap_or_default();
    match service.offset {
        _ if service.port == Port::None => "no number of its own".to_owned(),
        OffsetBehaviour::Fixed => "the offset does not move it".to_owned(),
        OffsetBehaviour::FixedAutoIncrement => {
            "the offset does not move it; it counts up while its number is taken".to_owned()
        }
        OffsetBehaviour::Moves if built_in > 0 => {
            format!("{base} + the built-in offset {built_in}, which a user's offset replaces")
        }
        OffsetBehaviour::Moves => "the offset is added".to_owned(),
        OffsetBehaviour::MovesIfUnset => {
            "the offset is added unless the port is configured".to_owned()
        }
    }
}

fn others_there<'a>(catalog: &'a Catalog, service: &Service) -> Vec<&'a str> {
    let Some(port) = service.port.first() else { return Vec::new() };
    let mut ids = Vec::new();
    for transport in service.transports.iter() {
        for candidate in catalog.candidates(transport, port) {
            let other = catalog.service(candidate.service);
            if other.id != service.id && !ids.contains(&other.id.as_str()) {
                ids.push(other.id.as_str());
            }
        }
    }
    ids
}
