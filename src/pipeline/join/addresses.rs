//! How many different addresses there are, exactly up to a bound.

use std::collections::HashSet;
use std::net::IpAddr;

/// Addresses that are told apart; beyond it the number stays there. A million take some 10 MB, and four
/// times that as IPv6.
pub(super) const ADDRESSES_MAX: usize = 1 << 20;

/// Different addresses, at most [`ADDRESSES_MAX`]. Each version has a set of its own: most are four bytes.
#[derive(Default)]
pub(super) struct Addresses {
    v4: HashSet<u32, foldhash::fast::RandomState>,
    v6: HashSet<u128, foldhash::fast::RandomState>,
}

impl Addresses {
    /// Adds one, if there is room.
    #[inline]
    pub(super) fn add(&mut self, address: IpAddr) {
        if self.len() >= ADDRESSES_MAX {
            return;
        }
        match address {
            IpAddr::V4(address) => self.v4.insert(address.to_bits()),
            IpAddr::V6(address) => self.v6.insert(address.to_bits()),
        };
    }

    /// Adds all of another set, as long as there is room.
    pub(super) fn merge(&mut self, other: &Self) {
        for address in &other.v4 {
            self.add(IpAddr::V4((*address).into()));
        }
        for address in &other.v6 {
            self.add(IpAddr::V6((*address).into()));
        }
    }

    /// Returns how many there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_counts_once_and_no_more_than_fit() {
        let mut some = Addresses::default();
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.1", "::a00:1", "2001:db8::1"] {
            some.add(address.parse().unwrap());
        }
        assert_eq!(some.len(), 4);
        let mut many = Addresses::default();
        (0..=u32::try_from(ADDRESSES_MAX).unwrap()).for_each(|n| many.add(IpAddr::V4(n.into())));
        assert_eq!(many.len(), ADDRESSES_MAX);
        many.merge(&some);
        assert_eq!(many.len(), ADDRESSES_MAX);
        some.merge(&many);
        assert_eq!(some.len(), ADDRESSES_MAX);
    }
}
