//! Where frames of the interface `any` were seen: each of them names its own.
//!
//! libpcap's second cooked header carries the index of the interface (`LINKTYPE_LINUX_SLL2`). Every
//! interface that has frames becomes an observation point of its own; what is lost is known of `any` alone.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::net::netdevice;

use super::tap::wire_max;
use crate::capture::{Block, Merged};
use crate::packet::{LinkType, ObservationPoint, PointId};

/// Where the header has the interface's index (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>).
const INDEX_AT: std::ops::Range<usize> = 4..8;

/// Interfaces that become points: a busy container host has some hundred, and each comes and goes. What is
/// beyond stays with `any`.
const POINTS_MAX: usize = 4096;

/// Tells the interfaces of `any` apart.
pub(super) struct Places {
    asking: OwnedFd,
    /// The point that stands for `any`.
    any: PointId,
    by_index: HashMap<u32, Place>,
}

/// One of the interfaces.
#[derive(Debug, Clone, Copy)]
struct Place {
    point: PointId,
    /// Bytes of its longest frame; a longer one is several that offload joined.
    wire_max: u32,
}

impl Places {
    pub(super) fn new(asking: OwnedFd, any: PointId) -> Self {
        Self { asking, any, by_index: HashMap::new() }
    }

    /// Gives each frame the point of the interface that it names.
    pub(super) fn place(&mut self, block: &mut Block, points: &mut Vec<ObservationPoint>) {
        let Block { bytes, frames, merged, .. } = block;
        let mut last = (0, Place { point: self.any, wire_max: u32::MAX });
        for (number, frame) in frames.iter_mut().enumerate() {
            if frame.point != self.any || frame.link != LinkType::LINUX_SLL2 {
                continue;
            }
            let Some(index) = frame.span.of(bytes).get(INDEX_AT) else { continue };
            let index = index.try_into().map_or(0, u32::from_be_bytes);
            if last.0 != index {
                last = (index, self.place_of(index, points));
            }
            frame.point = last.1.point;
            if frame.wire_len > last.1.wire_max {
                merged.push(Merged { index: number, packets: 1, headers_len: 0 });
            }
        }
    }

    fn place_of(&mut self, index: u32, points: &mut Vec<ObservationPoint>) -> Place {
        if let Some(place) = self.by_index.get(&index) {
            return *place;
        }
        let any = Place { point: self.any, wire_max: u32::MAX };
        // An interface that is gone by now stays with `any`.
        let Ok(name) = netdevice::index_to_name(&self.asking, index) else { return any };
        let wire_max = wire_max(&name);
        let known = points.iter().position(|point| point.interface.as_deref() == Some(&name));
        let point = match known {
            Some(point) => point,
            None if points.len() < POINTS_MAX => {
                points.push(ObservationPoint { file: None, interface: Some(name), input: 0 });
                points.len() - 1
            }
            None => return any,
        };
        let place = Place { point: PointId(u16::try_from(point).unwrap_or(self.any.0)), wire_max };
        self.by_index.insert(index, place);
        place
    }
}
