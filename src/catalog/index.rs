//! Ports → candidates: a dense table, so that asking costs two loads.

use super::service::{
    Direction, Lifecycle, OffsetBehaviour, Port, Product, Service, ServiceId, Status,
};
use crate::packet::Transport;

/// A service that may be what listens on a port, and the offset that makes it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// The service.
    pub service: ServiceId,
    /// The offset under which it listens there; 0 for one that offsets do not touch.
    pub offset: u16,
}

/// Which services listen where, and in which order they are named.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// By transport: port → place in `lists`; 0 is the empty list.
    documented: [Table; 2],
    /// By transport: base port → rows that a user's offset moves.
    moving: [Table; 2],
    /// By transport: port → rows that stay where they are under a user's offset.
    staying: [Table; 2],
    /// Rows without a number, in the order of naming.
    random: Box<[ServiceId]>,
}

/// One list of candidates for each port.
#[derive(Debug, Clone)]
struct Table {
    places: Box<[u16]>,
    lists: Vec<Box<[Candidate]>>,
}

/// Ports that there are, with 0.
const PORTS: usize = 65_536;

impl Table {
    /// Makes the table of all (ports, candidate) pairs, which come in the order of naming.
    fn new(entries: impl Iterator<Item = (Port, Candidate)>) -> Self {
        let mut by_port: std::collections::BTreeMap<u16, Vec<Candidate>> =
            std::collections::BTreeMap::new();
        for (port, candidate) in entries {
            let (first, last) = match port {
                Port::None => continue,
                Port::Number(port) => (port, port),
                Port::Range(first, last) => (first, last),
            };
            for port in first..=last {
                by_port.entry(port).or_default().push(candidate);
            }
        }
        let mut places = vec![0; PORTS].into_boxed_slice();
        let mut lists: Vec<Box<[Candidate]>> = vec![Box::default()];
        for (port, list) in by_port {
            places[usize::from(port)] =
                u16::try_from(lists.len()).expect("no more lists than ports, and port 0 has none");
            lists.push(list.into());
        }
        Self { places, lists }
    }

    fn at(&self, port: u16) -> &[Candidate] {
        &self.lists[usize::from(self.places[usize::from(port)])]
    }
}

impl Index {
    pub(super) fn new(products: &[Product], services: &[Service]) -> Self {
        let mut order: Vec<(ServiceId, &Service)> = services
            .iter()
            .enumerate()
            .map(|(id, service)| {
                (ServiceId(u16::try_from(id).expect("the loader limits services")), service)
            })
            .collect();
        order.sort_by_key(|(id, service)| naming_order(*id, service, products));
        let table = |transport, rows: fn(&Service) -> Option<(Port, u16)>| {
            Table::new(
                order.iter().filter(|(_, service)| service.transports.has(transport)).filter_map(
                    |(id, service)| {
                        let (port, offset) = rows(service)?;
                        Some((port, Candidate { service: *id, offset }))
                    },
                ),
            )
        };
        let both = |rows: fn(&Service) -> Option<(Port, u16)>| {
            [table(Transport::Tcp, rows), table(Transport::Udp, rows)]
        };
        Self {
            documented: both(|row| Some((row.port.spread(row.offset), row.built_in_offset))),
            moving: both(|row| Some((row.offset.moves().then(|| row.port_at(0))??, 0))),
            staying: both(|row| {
                let stays = row.offset != OffsetBehaviour::Moves;
                stays.then(|| (row.port.spread(row.offset), 0))
            }),
            random: order
                .iter()
                .filter(|(_, service)| service.port == Port::None)
                .map(|(id, _)| *id)
                .collect(),
        }
    }

    pub(super) fn documented(&self, transport: Transport, port: u16) -> &[Candidate] {
        self.documented[place(transport)].at(port)
    }

    pub(super) fn random(&self) -> &[ServiceId] {
        &self.random
    }

    pub(super) fn at_offset(
        &self,
        transport: Transport,
        port: u16,
        user_offset: u16,
    ) -> impl Iterator<Item = Candidate> + '_ {
        let moved = port
            .checked_sub(user_offset)
            .map_or(&[][..], |base| self.moving[place(transport)].at(base));
        let moved = moved
            .iter()
            .map(move |candidate| Candidate { service: candidate.service, offset: user_offset });
        // With offset 0 the rows that move only if unset are in both tables; once is enough.
        let staying =
            self.staying[place(transport)].at(port).iter().copied().filter(move |candidate| {
                user_offset != 0 || !self.moving[place(transport)].at(port).contains(candidate)
            });
        moved.chain(staying)
    }

    /// Returns every offset from 0 to `offset_max` that puts a moving service on a port.
    pub(super) fn moved_to(
        &self,
        transport: Transport,
        port: u16,
        offset_max: u16,
    ) -> impl Iterator<Item = Candidate> + '_ {
        (0..=offset_max.min(port)).flat_map(move |offset| {
            self.moving[place(transport)]
                .at(port - offset)
                .iter()
                .map(move |candidate| Candidate { service: candidate.service, offset })
        })
    }
}

fn place(transport: Transport) -> usize {
    match transport {
        Transport::Tcp => 0,
        Transport::Udp => 1,
    }
}

/// What is still shipped before what is not, a product's own listener before the far end of its
/// connections, what is known before what is only printed, then by the products' rank, what is on by
/// default first, then as in the files.
fn naming_order(
    id: ServiceId,
    service: &Service,
    products: &[Product],
) -> (bool, bool, bool, u16, bool, ServiceId) {
    (
        service.lifecycle == Lifecycle::Retired,
        service.direction == Some(Direction::Outbound),
        service.status == Status::Suspect,
        products[usize::from(service.product.0)].rank,
        !service.default_on,
        id,
    )
}
