//! What a flow travels in: the stack of VLAN tags and tunnels of one frame, and the table that turns
//! such stacks into an [`EncapId`].
//!
//! # What identifies a tunnel
//! Both directions of a conversation must get one id, two tenants two. Outer addresses are sorted, so
//! they serve. An id serves where one network configures it for both directions: VNI, GRE key, ERSPAN
//! session, `PPPoE` session. A label that each receiver chooses for itself (GTP's TEID, MPLS labels, the
//! call id of PPTP, the session of L2TP) differs by direction and is left out: conversation before tenant. It is reported as
//! long as an encapsulation has only ever shown one.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::fast::FixedState;

use crate::packet::EncapId;

/// VLAN tags that a frame may carry: providers stack two or three; more is an attack or noise.
pub const VLAN_DEPTH_MAX: usize = 8;

/// Tunnels inside tunnels that are opened: a cloud's mirror of an overlay on a backbone has four.
pub const TUNNEL_DEPTH_MAX: usize = 8;

/// Encapsulations told apart: every VLAN of a site and some 60,000 pairs of tunnel ends, in about
/// 15 MB. What comes later shares one id a domain.
pub const ENCAPS_MAX: usize = 65_536;

/// VLAN ids have twelve bits.
const VLANS: usize = 4096;

/// Stands for a VLAN not seen yet; beyond the table's limit.
const UNSEEN: EncapId = EncapId(u32::MAX);

/// One layer that carries another network inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Which encapsulation.
    pub kind: TunnelKind,
    /// VNI, key, session or label, where the kind has one. A label that belongs to one direction is
    /// told only while the encapsulation has shown no other.
    pub id: Option<u32>,
    /// Outer addresses, sorted; a layer without own addresses (MPLS, `PPPoE`) has none.
    pub ends: Option<[IpAddr; 2]>,
}

impl Tunnel {
    /// Tells whether both are the same tunnel for a flow key.
    fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.ends == other.ends
            && (self.kind.labels_one_direction() || self.id == other.id)
    }

    fn hash_into(&self, hasher: &mut impl Hasher) {
        let id = if self.kind.labels_one_direction() { None } else { self.id };
        hasher.write_u64(self.kind as u64 | id.map_or(0, |id| u64::from(id) << 8 | 1 << 40));
        for end in self.ends.iter().flatten() {
            match end {
                IpAddr::V4(v4) => hasher.write_u32(v4.to_bits()),
                IpAddr::V6(v6) => hasher.write_u128(v6.to_bits()),
            }
        }
    }
}

/// The encapsulations that are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TunnelKind {
    /// ERSPAN I to III (draft-foschiano-erspan-03).
    Erspan,
    /// `EtherIP` (RFC 3378) and Ethernet as an IP payload (RFC 8986 §4.9).
    EtherIp,
    /// Geneve (RFC 8926).
    Geneve,
    /// GRE (RFC 2784, RFC 2890), also transparent Ethernet bridging and NVGRE (RFC 7637).
    Gre,
    /// GTP-U (3GPP TS 29.281).
    Gtp,
    /// IP in IP: 4in4 (RFC 2003), 6in4 (RFC 4213), 4in6 (RFC 2473).
    IpInIp,
    /// L2TP with PPP (RFC 2661) or Ethernet (RFC 3931, RFC 4719) in it.
    L2tp,
    /// MPLS label stack (RFC 3032).
    Mpls,
    /// Network service header (RFC 8300).
    Nsh,
    /// Provider backbone bridging (IEEE 802.1ah).
    Pbb,
    /// PPP over Ethernet (RFC 2516).
    Pppoe,
    /// PPTP's GRE (RFC 2637).
    Pptp,
    /// Teredo (RFC 4380).
    Teredo,
    /// `TaZmen` Sniffer Protocol, by which access points and routers mirror.
    Tzsp,
    /// VXLAN (RFC 7348), also with its generic protocol extension.
    Vxlan,
}

impl TunnelKind {
    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Erspan => "erspan",
            Self::EtherIp => "etherip",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Gtp => "gtp",
            Self::IpInIp => "ip-in-ip",
            Self::L2tp => "l2tp",
            Self::Mpls => "mpls",
            Self::Nsh => "nsh",
            Self::Pbb => "pbb",
            Self::Pppoe => "pppoe",
            Self::Pptp => "pptp",
            Self::Teredo => "teredo",
            Self::Tzsp => "tzsp",
            Self::Vxlan => "vxlan",
        }
    }

    /// Tells whether a mirror made it: both directions of the traffic go from the mirror to its collector.
    pub fn is_mirror(self) -> bool {
        matches!(self, Self::Erspan | Self::Tzsp)
    }

    /// Tells whether each direction has a label of its own: a service path (RFC 8300 §1.3) is as
    /// one-way as an MPLS label.
    fn labels_one_direction(self) -> bool {
        matches!(self, Self::Gtp | Self::L2tp | Self::Mpls | Self::Nsh | Self::Pptp)
    }
}

/// What a flow travels in. Part of the flow key, as an [`EncapId`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Encap {
    /// Captures that have nothing to do with each other are different domains.
    pub domain: u32,
    /// VLAN ids, outermost first, wherever in the frame they stand; priority tags (id 0) are none.
    pub vlans: Vec<u16>,
    /// Tunnels, outermost first.
    pub tunnels: Vec<Tunnel>,
}

/// The stack of one frame, while it is walked. Layers are only ever added, so that a [`Depth`] names
/// what was there at some point.
pub(super) struct Layers {
    vlans: [u16; VLAN_DEPTH_MAX],
    tunnels: [Tunnel; TUNNEL_DEPTH_MAX],
    /// The tunnels whose sender has the higher address, as bits from the outermost on.
    turned: u8,
    depth: Depth,
}

/// How much of [`Layers`] counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Depth {
    vlans: u8,
    tunnels: u8,
}

impl Layers {
    pub(super) fn new() -> Self {
        let none = Tunnel { kind: TunnelKind::IpInIp, id: None, ends: None };
        Self {
            vlans: [0; VLAN_DEPTH_MAX],
            tunnels: [none; TUNNEL_DEPTH_MAX],
            turned: 0,
            depth: Depth::default(),
        }
    }

    pub(super) fn depth(&self) -> Depth {
        self.depth
    }

    /// Adds a VLAN id; `None` when there are too many.
    pub(super) fn push_vlan(&mut self, id: u16) -> Option<()> {
        *self.vlans.get_mut(usize::from(self.depth.vlans))? = id;
        self.depth.vlans += 1;
        Some(())
    }

    /// Adds a tunnel, and whether its sender has the higher address; `None` when there are too many.
    pub(super) fn push_tunnel(&mut self, tunnel: Tunnel, turned: bool) -> Option<()> {
        *self.tunnels.get_mut(usize::from(self.depth.tunnels))? = tunnel;
        self.turned |= u8::from(turned) << self.depth.tunnels;
        self.depth.tunnels += 1;
        Some(())
    }

    /// Returns a bit for each tunnel, from the outermost on: its sender has the higher address.
    pub(super) fn turned(&self, depth: Depth) -> u8 {
        self.turned & !(u8::MAX << depth.tunnels)
    }

    fn vlans(&self, depth: Depth) -> &[u16] {
        &self.vlans[..usize::from(depth.vlans)]
    }

    fn tunnels(&self, depth: Depth) -> &[Tunnel] {
        &self.tunnels[..usize::from(depth.tunnels)]
    }
}

/// Gives every encapsulation its id, in the order of first sight.
pub(super) struct Encaps {
    domain: u32,
    table: Vec<Encap>,
    /// Index into `table` by keyed hash; equal hashes take the next free number.
    by_hash: HashMap<u64, EncapId, FixedState>,
    /// Plain traffic of the domain.
    plain: EncapId,
    /// Traffic of the domain in one VLAN, by its id: the commonest encapsulation by far.
    single: Box<[EncapId; VLANS]>,
    /// The encapsulation last looked up.
    last: EncapId,
    /// What encapsulations of the domain share that came when the table was full.
    overflow: Option<EncapId>,
    folded: u64,
    max: usize,
}

impl Encaps {
    pub(super) fn new(seed: u64) -> Self {
        let plain = EncapId(0);
        let mut encaps = Self {
            domain: 0,
            table: Vec::new(),
            by_hash: HashMap::with_hasher(FixedState::with_seed(seed)),
            plain,
            single: none_of_all(),
            last: plain,
            overflow: None,
            folded: 0,
            max: ENCAPS_MAX,
        };
        let layers = Layers::new();
        encaps.insert(encaps.hash(&layers, Depth::default()), &layers, Depth::default());
        encaps
    }

    /// Switches to a domain. Its plain entry is made whatever the limit: inputs are few.
    pub(super) fn enter_domain(&mut self, domain: u32) {
        self.domain = domain;
        self.single.fill(UNSEEN);
        self.overflow = None;
        let (layers, depth) = (Layers::new(), Depth::default());
        let hash = self.hash(&layers, depth);
        self.plain = self
            .find(hash, &layers, depth)
            .unwrap_or_else(|free| self.insert(free, &layers, depth));
        self.last = self.plain;
    }

    /// Returns the id of traffic without tag and tunnel.
    #[inline]
    pub(super) fn plain(&self) -> EncapId {
        self.plain
    }

    /// Returns the id of traffic in one VLAN.
    #[inline]
    pub(super) fn single(&mut self, vlan: u16) -> EncapId {
        match self.single[usize::from(vlan) % VLANS] {
            UNSEEN => self.first_of_vlan(vlan),
            id => id,
        }
    }

    #[cold]
    fn first_of_vlan(&mut self, vlan: u16) -> EncapId {
        let mut layers = Layers::new();
        layers.push_vlan(vlan);
        let id = self.of(&layers, layers.depth());
        // A folded frame is looked up each time, so that each one is counted.
        if Some(id) != self.overflow {
            self.single[usize::from(vlan) % VLANS] = id;
        }
        id
    }

    /// Returns the id of traffic in a VLAN in a VLAN.
    #[inline]
    pub(super) fn double(&mut self, vlans: [u16; 2]) -> EncapId {
        let last = &self.table[self.last.0 as usize];
        if last.domain == self.domain && last.tunnels.is_empty() && last.vlans == vlans {
            return self.last;
        }
        let mut layers = Layers::new();
        for vlan in vlans {
            layers.push_vlan(vlan);
        }
        self.of(&layers, layers.depth())
    }

    /// Returns the id of a stack down to a depth.
    pub(super) fn of(&mut self, layers: &Layers, depth: Depth) -> EncapId {
        if depth == Depth::default() {
            return self.plain;
        }
        if !self.is(self.last, layers, depth) {
            let hash = self.hash(layers, depth);
            self.last = match self.find(hash, layers, depth) {
                Ok(id) => id,
                Err(free) if self.table.len() < self.max => self.insert(free, layers, depth),
                Err(_) => return self.fold(),
            };
        }
        self.keep_common_labels(layers, depth);
        self.last
    }

    /// Returns what an id stands for.
    pub(super) fn get(&self, id: EncapId) -> &Encap {
        &self.table[id.0 as usize]
    }

    pub(super) fn folded(&self) -> u64 {
        self.folded
    }

    fn fold(&mut self) -> EncapId {
        self.folded += 1;
        *self.overflow.get_or_insert_with(|| {
            let id = EncapId(u32::try_from(self.table.len()).expect("the table has a limit"));
            self.table.push(Encap { domain: self.domain, ..Encap::default() });
            id
        })
    }

    /// Forgets the label of a tunnel that has just shown another one.
    fn keep_common_labels(&mut self, layers: &Layers, depth: Depth) {
        let known = &mut self.table[self.last.0 as usize].tunnels;
        for (known, seen) in known.iter_mut().zip(layers.tunnels(depth)) {
            if known.id != seen.id {
                known.id = None;
            }
        }
    }

    fn is(&self, id: EncapId, layers: &Layers, depth: Depth) -> bool {
        let encap = &self.table[id.0 as usize];
        let tunnels = layers.tunnels(depth);
        encap.domain == self.domain
            && encap.vlans == layers.vlans(depth)
            && encap.tunnels.len() == tunnels.len()
            && encap.tunnels.iter().zip(tunnels).all(|(known, seen)| known.is_same(seen))
    }

    /// Returns the id of a stack, or else the number under which it is to be entered.
    fn find(&self, hash: u64, layers: &Layers, depth: Depth) -> Result<EncapId, u64> {
        let mut number = hash;
        while let Some(&id) = self.by_hash.get(&number) {
            if self.is(id, layers, depth) {
                return Ok(id);
            }
            number = number.wrapping_add(1);
        }
        Err(number)
    }

    fn insert(&mut self, number: u64, layers: &Layers, depth: Depth) -> EncapId {
        let id = EncapId(u32::try_from(self.table.len()).expect("the table has a limit"));
        self.table.push(Encap {
            domain: self.domain,
            vlans: layers.vlans(depth).to_vec(),
            tunnels: layers.tunnels(depth).to_vec(),
        });
        self.by_hash.insert(number, id);
        id
    }

    fn hash(&self, layers: &Layers, depth: Depth) -> u64 {
        let mut hasher = self.by_hash.hasher().build_hasher();
        hasher.write_u32(self.domain);
        for &vlan in layers.vlans(depth) {
            hasher.write_u16(vlan);
        }
        hasher.write_u8(depth.vlans);
        for tunnel in layers.tunnels(depth) {
            tunnel.hash_into(&mut hasher);
        }
        hasher.finish()
    }
}

fn none_of_all() -> Box<[EncapId; VLANS]> {
    let ids: Box<[EncapId]> = vec![UNSEEN; VLANS].into();
    ids.try_into().expect("it has as many as there are VLANs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(vlans: &[u16], tunnels: &[Tunnel]) -> Layers {
        let mut layers = Layers::new();
        for &vlan in vlans {
            layers.push_vlan(vlan).unwrap();
        }
        for &tunnel in tunnels {
            layers.push_tunnel(tunnel, false).unwrap();
        }
        layers
    }

    fn intern(encaps: &mut Encaps, vlans: &[u16], tunnels: &[Tunnel]) -> EncapId {
        let layers = layers(vlans, tunnels);
        encaps.of(&layers, layers.depth())
    }

    fn tunnel(kind: TunnelKind, id: u32) -> Tunnel {
        Tunnel { kind, id: Some(id), ends: None }
    }

    #[test]
    fn plain_traffic_of_the_first_domain_is_zero() {
        let mut encaps = Encaps::new(1);
        assert_eq!(intern(&mut encaps, &[], &[]), EncapId(0));
        assert_eq!(encaps.plain(), EncapId(0));
        assert_eq!(encaps.get(EncapId(0)), &Encap::default());
    }

    #[test]
    fn each_stack_has_one_id_in_each_domain() {
        let mut encaps = Encaps::new(1);
        let single = encaps.single(7);
        assert_eq!(intern(&mut encaps, &[7], &[]), single);
        let double = intern(&mut encaps, &[7, 8], &[]);
        assert_ne!(double, single);
        assert_ne!(intern(&mut encaps, &[8, 7], &[]), double);
        assert_eq!(intern(&mut encaps, &[7, 8], &[]), double);
        encaps.enter_domain(1);
        assert_ne!(encaps.plain(), EncapId(0));
        assert_ne!(encaps.single(7), single);
        encaps.enter_domain(0);
        assert_eq!(encaps.plain(), EncapId(0));
        assert_eq!(encaps.single(7), single);
    }

    #[test]
    fn a_vni_tells_tenants_apart_and_a_teid_does_not() {
        let mut encaps = Encaps::new(1);
        let red = intern(&mut encaps, &[], &[tunnel(TunnelKind::Vxlan, 1)]);
        let blue = intern(&mut encaps, &[], &[tunnel(TunnelKind::Vxlan, 2)]);
        assert_ne!(red, blue);
        let up = intern(&mut encaps, &[], &[tunnel(TunnelKind::Gtp, 1)]);
        assert_eq!(encaps.get(up).tunnels[0].id, Some(1));
        let down = intern(&mut encaps, &[], &[tunnel(TunnelKind::Gtp, 2)]);
        assert_eq!(up, down);
        assert_eq!(encaps.get(up).tunnels[0].id, None);
        intern(&mut encaps, &[], &[tunnel(TunnelKind::Gtp, 1)]);
        assert_eq!(encaps.get(up).tunnels[0].id, None, "a label once in doubt stays so");
    }

    #[test]
    fn a_full_table_folds_and_counts_what_is_new() {
        let mut encaps = Encaps::new(1);
        encaps.max = 3;
        let known = [intern(&mut encaps, &[1], &[]), intern(&mut encaps, &[2], &[])];
        let folded = encaps.single(3);
        assert_eq!(intern(&mut encaps, &[4, 5], &[]), folded);
        assert_eq!(encaps.single(3), folded);
        assert_eq!(encaps.folded(), 3);
        assert!(!known.contains(&folded));
        assert_eq!(encaps.single(1), known[0]);
        assert_ne!(folded, encaps.plain(), "folded traffic is not taken for plain traffic");
    }

    #[test]
    fn a_stack_has_a_limit() {
        let mut layers = Layers::new();
        for id in 0..VLAN_DEPTH_MAX {
            assert!(layers.push_vlan(u16::try_from(id).unwrap()).is_some());
        }
        assert!(layers.push_vlan(1).is_none());
    }
}
