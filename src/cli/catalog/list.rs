//! `catalog list`: rows, filtered.

use std::fmt::Write as _;

use super::layout::table;
use super::record::{RowRecord, transport_name};
use super::{Endpoint, Format, plural};
use crate::catalog::{
    AppProtocol, Catalog, Direction, Encryption, Lifecycle, OffsetBehaviour, Port, ProductId, Role,
    Service, Status,
};
use crate::error::{Error, Printable, Result};

/// What to list.
pub(super) struct Filter {
    pub(super) product: Option<ProductId>,
    pub(super) role: Option<Role>,
    pub(super) port: Option<Endpoint>,
    pub(super) offset: Option<u16>,
}

impl Filter {
    fn admits(&self, service: &Service) -> bool {
        self.product.is_none_or(|product| service.product == product)
            && self.role.is_none_or(|role| service.role == role)
            && self.port.is_none_or(|asked| {
                service.listens_at(asked.port, self.offset)
                    && asked.transports().any(|transport| service.transports.has(transport))
            })
    }
}

/// Lists the rows that the filter admits, each with its port under the user's offset.
pub(super) fn list(
    catalog: &Catalog,
    filter: &Filter,
    format: Format,
    width: usize,
) -> Result<String> {
    let mut text = String::new();
    let mut listed = 0;
    for product in catalog.products() {
        let rows: Vec<(&Service, Port)> = product
            .services
            .iter()
            .map(|id| catalog.service(*id))
            .filter(|service| filter.admits(service))
            .map(|service| Ok((service, port_of(service, filter.offset)?)))
            .collect::<Result<_>>()?;
        listed += rows.len();
        match format {
            Format::Ndjson => write_records(catalog, filter, &rows, &mut text),
            Format::Text if rows.is_empty() => {}
            Format::Text => {
                let heading = format!("{} ({})", product.name, product.id);
                writeln!(text, "{}", Printable(&heading)).expect("a String takes all");
                let cells = rows.iter().map(|(service, port)| cells(service, *port)).collect();
                table(&mut text, width, ["port", "service", "role", "speaks"], cells);
                text.push('\n');
            }
        }
    }
    if format == Format::Text {
        writeln!(text, "{listed} service{}", plural(listed)).expect("a String takes all");
    }
    Ok(text)
}

fn write_records(catalog: &Catalog, filter: &Filter, rows: &[(&Service, Port)], text: &mut String) {
    for (service, port) in rows {
        for transport in service.transports.iter() {
            let asked = filter.port.is_none_or(|asked| asked.transports().any(|t| t == transport));
            if asked {
                RowRecord::new(catalog, service, *port, transport, None).write(text);
            }
        }
    }
}

/// Returns the ports of a row under the user's offset.
pub(super) fn port_of(service: &Service, offset: Option<u16>) -> Result<Port> {
    let Some(offset) = offset else { return Ok(service.port) };
    service.port_at(offset).ok_or_else(|| {
        let base = service.base_port().unwrap_or_default();
        let cause = format!("port {base} at offset {offset} is above 65535 ({})", service.id);
        Error::about("--offset", cause).hint(format!("at most {} here", 65_535 - base))
    })
}

fn cells(service: &Service, port: Port) -> [String; 4] {
    let local = service.id.split_once('/').map_or(service.id.as_str(), |(_, local)| local);
    let mut speaks = speaks(service);
    for remark in remarks(service) {
        speaks.push_str("; ");
        speaks.push_str(&remark);
    }
    [endpoint_text(service, port), local.to_owned(), service.role.name().to_owned(), speaks]
}

/// Writes a row's port and transport: `8280/tcp`, `53/both`, `random/udp`, `4000-4009/tcp`.
pub(super) fn endpoint_text(service: &Service, port: Port) -> String {
    let mut transports = service.transports.iter().map(transport_name);
    let name = match (transports.next(), transports.next()) {
        (Some(only), None) => only,
        _ => "both",
    };
    format!("{}/{name}", port.spread(service.offset))
}

/// Writes what should be spoken: `http`, `http, TLS`.
pub(super) fn speaks(service: &Service) -> String {
    let protocol = match service.protocol {
        AppProtocol::Any => "?",
        protocol => protocol.name(),
    };
    let encryption = match service.encryption {
        Encryption::Either => ", maybe TLS",
        Encryption::None => "",
        Encryption::Tls => ", TLS",
        Encryption::Upgrade => ", StartTLS",
    };
    format!("{protocol}{encryption}")
}

/// Writes what is unusual about a row.
fn remarks(service: &Service) -> Vec<String> {
    let mut remarks = Vec::new();
    if service.built_in_offset > 0 {
        remarks.push(format!("offset {} built in", service.built_in_offset));
    }
    match service.offset {
        OffsetBehaviour::Fixed if service.port != Port::None => remarks.push("fixed".to_owned()),
        OffsetBehaviour::FixedAutoIncrement => remarks.push("fixed, counts up".to_owned()),
        OffsetBehaviour::MovesIfUnset => remarks.push("moves if unset".to_owned()),
        OffsetBehaviour::Fixed | OffsetBehaviour::Moves => {}
    }
    match service.direction {
        Some(Direction::Outbound) => remarks.push("outbound".to_owned()),
        Some(Direction::Both) => remarks.push("both ways".to_owned()),
        Some(Direction::Inbound) | None => {}
    }
    if !service.default_on {
        remarks.push("off by default".to_owned());
    }
    if service.lifecycle == Lifecycle::Retired {
        remarks.push("retired".to_owned());
    }
    if service.status != Status::Confirmed {
        remarks.push(service.status.name().to_owned());
    }
    remarks
}
