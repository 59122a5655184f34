//! The published shape of a row: one JSON object a row and transport.

use serde::Serialize;

use crate::catalog::{Catalog, Port, Service};
use crate::packet::Transport;
use crate::report::json::line;

/// A row, for one transport.
#[derive(Debug, Serialize)]
pub(super) struct RowRecord<'a> {
    id: &'a str,
    product: &'a str,
    name: &'a str,
    role: &'static str,
    /// An integer, `"lo-hi"` or null. Of a port that counts up while it is taken, the first one.
    port: Port,
    transport: &'static str,
    protocol: &'static str,
    encryption: &'static str,
    base_port: Option<u16>,
    built_in_offset: u16,
    offset: &'static str,
    direction: Option<&'static str>,
    default_on: bool,
    versions: &'a str,
    lifecycle: &'static str,
    status: &'static str,
    source: &'a str,
    section: Option<&'a str>,
    as_printed: Option<&'a str>,
    note: Option<&'a str>,
    components: &'a [String],
    networks: Vec<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    how: Option<How>,
}

/// How a row came to be a candidate of the port that was asked for.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct How {
    /// The port that was asked for.
    pub(super) asked_port: u16,
    /// The offset that puts the row there; its built-in one where the documents print the port.
    pub(super) at_offset: u16,
    /// Whether the port is the documented one.
    pub(super) documented: bool,
}

impl<'a> RowRecord<'a> {
    /// Makes the record of a row with the port that it has.
    pub(super) fn new(
        catalog: &'a Catalog,
        service: &'a Service,
        port: Port,
        transport: Transport,
        how: Option<How>,
    ) -> Self {
        Self {
            id: &service.id,
            product: &catalog.product(service.product).id,
            name: &service.name,
            role: service.role.name(),
            port,
            transport: transport_name(transport),
            protocol: service.protocol.name(),
            encryption: service.encryption.name(),
            base_port: service.base_port(),
            built_in_offset: service.built_in_offset,
            offset: service.offset.name(),
            direction: service.direction.map(crate::catalog::Direction::name),
            default_on: service.default_on,
            versions: &service.versions,
            lifecycle: service.lifecycle.name(),
            status: service.status.name(),
            source: &service.source,
            section: service.section.as_deref(),
            as_printed: service.as_printed.as_deref(),
            note: service.note.as_deref(),
            components: &service.components,
            networks: service.networks.iter().map(ToString::to_string).collect(),
            how,
        }
    }

    /// Writes it as one line.
    pub(super) fn write(&self, text: &mut String) {
        text.push_str(&line(self).expect("strings, numbers and lists of them"));
    }
}

/// Returns a transport as the catalogue writes it.
pub(super) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}
