//! The observation points of a run over files, and what each is known to have lost.

use std::collections::HashMap;

use crate::packet::{ObservationPoint, PointId};

/// Inputs of one run: each is sure of two points, and a point's number has 16 bits.
pub(super) const INPUTS_MAX: usize = POINTS_MAX / POINTS_PER_INPUT_MIN;

/// Interfaces of one input that are told apart by name. More is a damaged or hostile file; the others
/// share one point.
pub(super) const NAMES_PER_INPUT_MAX: usize = 1024;

/// Bytes that are kept of an interface's name: Linux has 15, Windows some 50.
pub(super) const NAME_LEN_MAX: usize = 128;

/// The name of the point that an input's interfaces beyond the limit share.
pub(super) const OTHERS: &str = "(others)";

/// The numbers that a [`PointId`] can hold.
const POINTS_MAX: usize = 1 << 16;

/// An input's first point, and the one that its interfaces beyond a limit share.
const POINTS_PER_INPUT_MIN: usize = 2;

/// The points of a run; grows as files tell their interfaces.
#[derive(Default)]
pub(super) struct Points {
    list: Vec<ObservationPoint>,
    dropped: Vec<u64>,
    input: u32,
    file: String,
    named: HashMap<Option<String>, PointId>,
    others: Option<PointId>,
    inputs_to_come: usize,
}

impl Points {
    /// Starts the points of another input; `inputs_to_come` may follow it.
    pub(super) fn enter(&mut self, input: u32, file: &str, inputs_to_come: usize) {
        self.input = input;
        file.clone_into(&mut self.file);
        self.named.clear();
        self.others = None;
        self.inputs_to_come = inputs_to_come;
    }

    /// Returns the point of an interface of the current input. Interfaces of one name are one point:
    /// nobody could tell them apart in a report.
    pub(super) fn of(&mut self, interface: Option<&[u8]>) -> PointId {
        let name = interface.map(readable);
        if let Some(point) = self.named.get(&name) {
            return *point;
        }
        let kept_free = 1 + POINTS_PER_INPUT_MIN * self.inputs_to_come;
        let is_first = self.named.is_empty();
        let has_room = self.named.len() < NAMES_PER_INPUT_MAX
            && self.list.len().saturating_add(kept_free) < POINTS_MAX;
        if is_first || has_room {
            let point = self.add(name.clone());
            self.named.insert(name, point);
            return point;
        }
        if let Some(others) = self.others {
            return others;
        }
        let others = self.add(Some(OTHERS.to_owned()));
        self.others = Some(others);
        others
    }

    /// Adds frames that are known to be lost at a point.
    pub(super) fn add_dropped(&mut self, point: PointId, frames: u64) {
        if let Some(dropped) = self.dropped.get_mut(usize::from(point.0)) {
            *dropped = dropped.saturating_add(frames);
        }
    }

    /// Returns the frames that are known to be lost at a point.
    pub(super) fn dropped(&self, point: PointId) -> u64 {
        self.dropped.get(usize::from(point.0)).copied().unwrap_or(0)
    }

    /// Returns all points so far.
    pub(super) fn list(&self) -> &[ObservationPoint] {
        &self.list
    }

    fn add(&mut self, interface: Option<String>) -> PointId {
        let point =
            u16::try_from(self.list.len()).expect("two places are kept free for each input");
        self.list.push(ObservationPoint {
            file: Some(self.file.clone()),
            interface,
            input: self.input,
        });
        self.dropped.push(0);
        PointId(point)
    }
}

/// Frames that a file reports as lost at one interface, by its two ways of saying so.
#[derive(Default, Clone, Copy)]
pub(super) struct Losses {
    between_packets: u64,
    in_all: u64,
    counted: u64,
}

impl Losses {
    /// Takes the count of frames lost just before a packet.
    pub(super) fn before_packet(&mut self, frames: u64, point: PointId, points: &mut Points) {
        self.between_packets = self.between_packets.saturating_add(frames);
        self.count(point, points);
    }

    /// Takes the count of frames lost since the beginning of the capture.
    pub(super) fn since_start(&mut self, frames: u64, point: PointId, points: &mut Points) {
        self.in_all = self.in_all.max(frames);
        self.count(point, points);
    }

    /// A file that tells both ways tells the same losses twice.
    fn count(&mut self, point: PointId, points: &mut Points) {
        let known = self.between_packets.max(self.in_all);
        points.add_dropped(point, known.saturating_sub(self.counted));
        self.counted = self.counted.max(known);
    }
}

/// Makes text of a name from a file: cut to [`NAME_LEN_MAX`], what is not UTF-8 replaced. Control
/// characters stay; whoever prints it escapes them.
fn readable(name: &[u8]) -> String {
    let name = &name[..name.len().min(NAME_LEN_MAX)];
    String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_beyond_the_limit_share_one_point() {
        let mut points = Points::default();
        points.enter(0, "a.pcapng", 0);
        let ids: Vec<PointId> =
            (0..5000u32).map(|i| points.of(Some(format!("eth{i}").as_bytes()))).collect();
        assert_eq!(points.list().len(), NAMES_PER_INPUT_MAX + 1);
        assert_eq!(ids[NAMES_PER_INPUT_MAX], ids[4999]);
        let others = &points.list()[usize::from(ids[4999].0)];
        assert_eq!(others.interface.as_deref(), Some(OTHERS));
        assert_eq!(points.of(Some(b"eth7")), ids[7]);
    }

    #[test]
    fn the_last_input_of_a_full_run_still_has_points_of_its_own() {
        let mut points = Points::default();
        for input in 0..INPUTS_MAX {
            points.enter(u32::try_from(input).unwrap(), "f", INPUTS_MAX - 1 - input);
            let mut ids: Vec<PointId> = (0..8u8).map(|i| points.of(Some(&[b'a' + i]))).collect();
            ids.dedup();
            for id in ids {
                assert_eq!(points.list()[usize::from(id.0)].input as usize, input);
            }
        }
    }

    #[test]
    fn losses_told_twice_count_once() {
        let mut points = Points::default();
        points.enter(0, "a", 0);
        let point = points.of(None);
        let mut losses = Losses::default();
        losses.before_packet(3, point, &mut points);
        losses.before_packet(4, point, &mut points);
        losses.since_start(5, point, &mut points);
        assert_eq!(points.dropped(point), 7);
        losses.since_start(9, point, &mut points);
        assert_eq!(points.dropped(point), 9);
    }

    #[test]
    fn a_long_name_is_cut() {
        let mut points = Points::default();
        points.enter(0, "a", 0);
        points.of(Some(&[b'x'; 5000]));
        assert_eq!(points.list()[0].interface.as_ref().unwrap().len(), NAME_LEN_MAX);
    }
}
