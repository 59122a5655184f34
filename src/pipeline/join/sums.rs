//! What the flows add up to, whatever is allowed of them. A second thread may do this sum.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use super::places::Place;
use super::resolve;
use super::totals::{Item, Totals};
use super::verdict::Blind;
use super::view::View;
use crate::catalog::{Catalog, ServiceId};
use crate::pipeline::ledger::Ledger;
use crate::pipeline::shard::Shard;

/// Sums that need no more of a flow than its service.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) totals: Totals,
    pub(super) ledger: Ledger,
    pub(super) blind: Blind,
}

/// Where flows are found.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) shards: &'a [Shard],
    pub(super) places: &'a [Place],
}

impl<'a> Scene<'a> {
    /// Returns a flow as the join sees it.
    pub(super) fn view(&self, place: &Place) -> View<'a> {
        View::new(self.catalog, place.flow(self.shards), place.facts(self.shards))
    }

    /// Loads some flows and their facts at once, so that the cache misses overlap; called with each index.
    #[inline]
    pub(super) fn load_ahead(&self, index: usize) {
        if index.is_multiple_of(LOOK_AHEAD) {
            self.load(&self.places[index..].iter().take(LOOK_AHEAD));
        }
    }

    /// Loads flows, their facts, the first evidence of each, and what that leads to.
    #[inline]
    pub(super) fn load<'p>(&self, places: &(impl Iterator<Item = &'p Place> + Clone)) {
        let some_of = |touch: fn(&Place, &[Shard]) -> u64| {
            places.clone().fold(0, |loaded, place| loaded ^ touch(place, self.shards))
        };
        let flows = some_of(Place::touch);
        let evidence = some_of(Place::touch_evidence);
        std::hint::black_box(flows ^ evidence ^ some_of(Place::touch_secret));
    }
}

/// Flows that are loaded before the first of them is looked at.
pub(super) const LOOK_AHEAD: usize = 16;

impl Sums {
    /// Adds one flow.
    pub(super) fn add(&mut self, scene: &Scene<'_>, place: &Place, service: Option<ServiceId>) {
        let view = scene.view(place);
        self.count_frames(scene, place, &view, service.is_some());
        self.blind.see(&view);
        let responder = view.responder();
        let item = Item {
            client: view.initiator().ip(),
            port: (responder.port(), view.transport()),
            app_proto: resolve::app_proto(view.flow, view.facts),
            packets: view.flow.packets_total(),
            bytes: view.flow.bytes_total(),
            handshake_ns: view.flow.handshake_ns,
        };
        self.totals.add(&item, responder.ip(), service);
    }

    /// A flow's frames may have been seen at several points.
    fn count_frames(
        &mut self,
        scene: &Scene<'_>,
        place: &Place,
        view: &View<'_>,
        classified: bool,
    ) {
        let shard = &scene.shards[place.shard()];
        let mut here = view.flow.packets_total();
        let mut add = |point, frames: u64| {
            let at = self.ledger.point(point);
            *(if classified { &mut at.classified } else { &mut at.unclassified }) += frames;
        };
        for (point, frames) in shard.elsewhere(place.number()) {
            here = here.saturating_sub(frames);
            add(point, frames);
        }
        add(view.flow.point, here);
        if let Some(facts) = view.facts {
            let uninspected = &mut self.ledger.point(view.flow.point).uninspected;
            for reason in
                facts.uninspected.names().filter(|reason| !COUNTED_BEFORE.contains(reason))
            {
                *uninspected.entry(reason).or_default() += 1;
            }
        }
    }
}

/// Reasons that were counted by frame when those came in, or did not.
const COUNTED_BEFORE: [&str; 2] = ["snaplen", "sample"];

/// Flows whose services are handed over at once.
const CHUNK_LEN: usize = 4096;

/// Chunks that may wait for the second thread.
const CHUNKS_MAX: usize = 8;

/// Sums flows up in their order, here or in a second thread.
pub(super) enum Summer<'a, 'scope> {
    /// In the calling thread.
    Here { scene: Scene<'a>, sums: &'scope mut Sums, next: usize },
    /// In another one.
    There { services: Vec<Option<ServiceId>>, to: SyncSender<Vec<Option<ServiceId>>> },
}

impl<'a, 'scope> Summer<'a, 'scope> {
    /// Begins in a thread of its own.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        scene: Scene<'a>,
        sums: &'scope mut Sums,
    ) -> Self
    where
        'a: 'scope,
    {
        let (to, from) = sync_channel(CHUNKS_MAX);
        scope.spawn(move || sum_up(&scene, sums, &from));
        Self::There { services: Vec::with_capacity(CHUNK_LEN), to }
    }

    /// Adds the next flow, whose service is this.
    #[inline]
    pub(super) fn add(&mut self, service: Option<ServiceId>) {
        match self {
            Self::Here { scene, sums, next } => {
                sums.add(scene, &scene.places[*next], service);
                *next += 1;
            }
            Self::There { services, to } => {
                services.push(service);
                if services.len() == CHUNK_LEN {
                    hand_over(services, to);
                }
            }
        }
    }

    /// There are no more.
    pub(super) fn end(self) {
        if let Self::There { mut services, to } = self {
            hand_over(&mut services, &to);
        }
    }
}

fn hand_over(services: &mut Vec<Option<ServiceId>>, to: &SyncSender<Vec<Option<ServiceId>>>) {
    let full = std::mem::replace(services, Vec::with_capacity(CHUNK_LEN));
    // The other thread ends before this one only by a defect, which the scope passes on.
    let _ = to.send(full);
}

fn sum_up(scene: &Scene<'_>, sums: &mut Sums, from: &Receiver<Vec<Option<ServiceId>>>) {
    let mut next = 0;
    for services in from {
        for service in services {
            scene.load_ahead(next);
            sums.add(scene, &scene.places[next], service);
            next += 1;
        }
    }
}
