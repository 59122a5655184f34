//! Prefixes → who has an address: sorted bounds, so that asking costs one binary search.

use std::net::IpAddr;

use ipnet::IpNet;

/// Which of many prefixes is the longest around an address.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefixes {
    v4: Bounds,
    v6: Bounds,
}

/// The first address of each stretch that has one owner, sorted, with its owner.
#[derive(Debug, Clone, Default)]
struct Bounds(Vec<(u128, Option<u16>)>);

impl Prefixes {
    /// Makes the table of prefixes with their owners; no prefix comes twice.
    pub(super) fn new(prefixes: &[(IpNet, u16)]) -> Self {
        let of = |v4: bool| {
            let mut family: Vec<_> = prefixes
                .iter()
                .filter(|(prefix, _)| prefix.addr().is_ipv4() == v4)
                .map(|(prefix, owner)| {
                    (number(prefix.network()), number(prefix.broadcast()), *owner)
                })
                .collect();
            // A prefix before those that lie in it.
            family.sort_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
            Bounds::new(&family)
        };
        Self { v4: of(true), v6: of(false) }
    }

    /// Returns the owner of the longest prefix around an address.
    pub(super) fn find(&self, address: IpAddr) -> Option<u16> {
        let address = address.to_canonical();
        let bounds = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        bounds.find(number(address))
    }
}

impl Bounds {
    /// Flattens nested stretches, which come sorted, the outer before the inner.
    fn new(stretches: &[(u128, u128, u16)]) -> Self {
        let mut bounds = Self::default();
        let mut around: Vec<(u128, u16)> = Vec::new();
        for &(first, last, owner) in stretches {
            bounds.leave(&mut around, first);
            bounds.put(first, Some(owner));
            around.push((last, owner));
        }
        bounds.leave(&mut around, u128::MAX);
        if let Some((last, _)) = around.first() {
            debug_assert_eq!(*last, u128::MAX, "only a stretch to the very end is never left");
        }
        bounds
    }

    /// Leaves the stretches that end before `next`, the innermost first.
    fn leave(&mut self, around: &mut Vec<(u128, u16)>, next: u128) {
        while let Some(&(last, _)) = around.last()
            && last < next
        {
            around.pop();
            self.put(last + 1, around.last().map(|(_, owner)| *owner));
        }
    }

    fn put(&mut self, first: u128, owner: Option<u16>) {
        // Where several stretches end together the outermost one's successor counts.
        self.0.pop_if(|(known, _)| *known == first);
        self.0.push((first, owner));
    }

    fn find(&self, address: u128) -> Option<u16> {
        let place = self.0.partition_point(|(first, _)| *first <= address);
        self.0[..place].last().and_then(|(_, owner)| *owner)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_table_finds_what_a_scan_for_the_longest_prefix_finds(
            entries in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..24),
            addresses in proptest::collection::vec(any::<u32>(), 0..24),
        ) {
            let mut prefixes: Vec<(IpNet, u16)> = Vec::new();
            for (owner, (address, len)) in entries.iter().enumerate() {
                // Few high bits, so that prefixes nest.
                let address = std::net::Ipv4Addr::from(address & 0x0103_07ff);
                let prefix = IpNet::new(address.into(), *len).unwrap().trunc();
                if prefixes.iter().all(|(known, _)| *known != prefix) {
                    prefixes.push((prefix, u16::try_from(owner).unwrap()));
                }
            }
            let table = Prefixes::new(&prefixes);
            let edges = prefixes.iter().flat_map(|(p, _)| [p.network(), p.broadcast()]);
            let near = addresses.iter().map(|a| IpAddr::V4((a & 0x0103_07ff).into()));
            for address in edges.chain(near).collect::<Vec<_>>() {
                let longest = prefixes
                    .iter()
                    .filter(|(prefix, _)| prefix.contains(&address))
                    .max_by_key(|(prefix, _)| prefix.prefix_len())
                    .map(|(_, owner)| *owner);
                prop_assert_eq!(table.find(address), longest, "{}", address);
            }
        }
    }

    #[test]
    fn everything_and_the_last_address_have_their_owners() {
        let all: IpNet = "::/0".parse().unwrap();
        let last: IpNet = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128".parse().unwrap();
        let table = Prefixes::new(&[(all, 0), (last, 1)]);
        assert_eq!(table.find("::1".parse().unwrap()), Some(0));
        assert_eq!(table.find(last.addr()), Some(1));
        assert_eq!(table.find("10.0.0.1".parse().unwrap()), None);
    }
}
