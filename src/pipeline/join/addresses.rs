//! How many different addresses there are, exactly up to a bound.
//!
//! Each address gets a number once; whoever counts marks numbers. So an address that many services see is kept
//! once, and a mark is a bit.

use std::collections::HashMap;
use std::net::IpAddr;

/// Addresses that are told apart, in all. A million of IPv4 take some 20 MB, and twice that as IPv6.
const ADDRESSES_MAX: usize = 1 << 20;

/// Different addresses, at most [`ADDRESSES_MAX`], each with a number. Each version has a map of its own: most take
/// four bytes.
#[derive(Default)]
pub(super) struct Addresses {
    v4: HashMap<u32, u32, foldhash::fast::RandomState>,
    v6: HashMap<[u32; 4], u32, foldhash::fast::RandomState>,
    is_beyond: bool,
}

impl Addresses {
    /// Returns the number of an address, which it gets if it has none; `None` when there are no more.
    #[inline]
    pub(super) fn number(&mut self, address: IpAddr) -> Option<u32> {
        let len = self.v4.len() + self.v6.len();
        let next = (len < ADDRESSES_MAX).then_some(u32::try_from(len).ok()?);
        let number = match address {
            IpAddr::V4(address) => number(&mut self.v4, address.to_bits(), next),
            IpAddr::V6(address) => number(&mut self.v6, words(address.to_bits()), next),
        };
        self.is_beyond |= number.is_none();
        number
    }

    /// Tells whether there were more addresses than are told apart.
    pub(super) fn is_beyond(&self) -> bool {
        self.is_beyond
    }
}

/// Returns an address in four parts: beside a number of four bytes nothing is left empty.
fn words(address: u128) -> [u32; 4] {
    let bytes = address.to_ne_bytes();
    std::array::from_fn(|part| {
        let at = 4 * part;
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    })
}

fn number<A: Eq + std::hash::Hash>(
    map: &mut HashMap<A, u32, foldhash::fast::RandomState>,
    address: A,
    next: Option<u32>,
) -> Option<u32> {
    match next {
        Some(next) => Some(*map.entry(address).or_insert(next)),
        None => map.get(&address).copied(),
    }
}

/// Numbers of one chunk of [`Marks`], in bits.
const CHUNK: u32 = 1 << 12;

/// Numbers that were seen, a bit each.
#[derive(Default)]
pub(super) struct Marks {
    chunks: Vec<Option<Box<[u64; CHUNK as usize / 64]>>>,
    len: u64,
}

impl Marks {
    /// Marks a number.
    #[inline]
    pub(super) fn add(&mut self, number: u32) {
        let word = &mut self.chunk((number / CHUNK) as usize)[(number % CHUNK / 64) as usize];
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        self.len += u64::from(is_new);
    }

    /// Marks all that another one has marked.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut more = 0;
        for (index, theirs) in other.chunks.iter().enumerate() {
            let Some(theirs) = theirs else { continue };
            for (word, their) in self.chunk(index).iter_mut().zip(theirs.iter()) {
                more += u64::from((their & !*word).count_ones());
                *word |= their;
            }
        }
        self.len += more;
    }

    /// Returns how many numbers are marked.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn chunk(&mut self, index: usize) -> &mut [u64; CHUNK as usize / 64] {
        if index >= self.chunks.len() {
            self.chunks.resize_with(index + 1, || None);
        }
        self.chunks[index].get_or_insert_with(|| Box::new([0; CHUNK as usize / 64]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_one_number_and_there_are_no_more_than_fit() {
        let mut some = Addresses::default();
        let numbers: Vec<_> = ["10.0.0.1", "10.0.0.2", "10.0.0.1", "::a00:1", "2001:db8::1"]
            .iter()
            .map(|address| some.number(address.parse().unwrap()).unwrap())
            .collect();
        assert_eq!(numbers, [0, 1, 0, 2, 3]);
        let mut many = Addresses::default();
        let full = u32::try_from(ADDRESSES_MAX).unwrap();
        for n in 0..full {
            assert_eq!(many.number(IpAddr::V4(n.into())), Some(n));
        }
        assert!(!many.is_beyond());
        assert_eq!(many.number(IpAddr::V4((full - 1).into())), Some(full - 1));
        assert_eq!(many.number(IpAddr::V4(full.into())), None);
        assert_eq!(many.number("2001:db8::1".parse().unwrap()), None);
        assert!(many.is_beyond());
    }

    #[test]
    fn each_mark_counts_once() {
        let mut some = Marks::default();
        for number in [5, 5, 4095, 4096, 1_000_000] {
            some.add(number);
        }
        assert_eq!(some.len(), 4);
        let mut others = Marks::default();
        for number in [5, 6, 70_000] {
            others.add(number);
        }
        some.merge(&others);
        assert_eq!(some.len(), 6);
        others.merge(&some);
        assert_eq!(others.len(), 6);
    }
}
