//! 802.11 data frames and the radio headers in front of them.

use super::Stop;
use super::walk::{Step, Walk};

/// Frame control (IEEE 802.11-2020 §9.2.4.1), as two bytes in the order of transmission.
mod control {
    pub(super) const TYPE_MASK: u8 = 0x0c;
    pub(super) const TYPE_DATA: u8 = 0x08;
    /// A data frame without data.
    pub(super) const SUBTYPE_NULL: u8 = 0x40;
    pub(super) const SUBTYPE_QOS: u8 = 0x80;
    pub(super) const TO_AND_FROM_DS: u8 = 0x03;
    pub(super) const PROTECTED: u8 = 0x40;
    pub(super) const ORDER: u8 = 0x80;
    pub(super) const MORE_FRAGMENTS: u8 = 0x04;
}

impl Walk<'_> {
    /// A frame as radiotap delivers it: its length is the header's second word, little-endian.
    pub(super) fn radiotap(&mut self) -> Result<Step, Stop> {
        let &[_version, _, a, b, present @ ..] = self.peek::<8>()?;
        let len = usize::from(u16::from_le_bytes([a, b]));
        let is_padded = self.radiotap_pads(u32::from_le_bytes(present));
        self.skip(len.max(8))?;
        self.wlan_padded(is_padded)
    }

    /// Tells whether the 802.11 header is padded to four bytes: the flags field (bit 1) comes after the
    /// time (bit 0, eight bytes), both after all words of presence.
    fn radiotap_pads(&self, present: u32) -> bool {
        const HAS_TIME: u32 = 1;
        const HAS_FLAGS: u32 = 1 << 1;
        const HAS_MORE: u32 = 1 << 31;
        const IS_PADDED: u8 = 0x20;
        if present & (HAS_FLAGS | HAS_MORE) != HAS_FLAGS {
            return false;
        }
        let at = if present & HAS_TIME == 0 { 8 } else { 16 };
        self.rest().get(at).is_some_and(|flags| flags & IS_PADDED != 0)
    }

    /// The Prism header is 144 bytes long; some drivers write AVS under its number.
    pub(super) fn prism(&mut self) -> Result<Step, Stop> {
        if self.peek::<2>()? == &[0x80, 0x21] {
            return self.avs();
        }
        self.skip(144)?;
        self.wlan()
    }

    /// The AVS header says its length, in network byte order, in its second word.
    pub(super) fn avs(&mut self) -> Result<Step, Stop> {
        let &[_, _, _, _, a, b, c, d] = self.peek::<8>()?;
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        self.skip(len.max(8))?;
        self.wlan()
    }

    pub(super) fn wlan(&mut self) -> Result<Step, Stop> {
        self.wlan_padded(false)
    }

    fn wlan_padded(&mut self, is_padded: bool) -> Result<Step, Stop> {
        let &[kind, flags] = self.peek::<2>()?;
        if kind & control::TYPE_MASK != control::TYPE_DATA || kind & control::SUBTYPE_NULL != 0 {
            return Err(Stop::NotIp);
        }
        if flags & control::PROTECTED != 0 {
            return Err(Stop::Opaque);
        }
        let four_addresses = flags & control::TO_AND_FROM_DS == control::TO_AND_FROM_DS;
        let mut len = if four_addresses { 30 } else { 24 };
        // A fragment of a link-layer frame: its parts are not put together.
        let sequence = self.rest().get(22).copied().unwrap_or(0);
        if flags & control::MORE_FRAGMENTS != 0 || sequence & 0x0f != 0 {
            return Err(Stop::Fragment);
        }
        if kind & control::SUBTYPE_QOS != 0 {
            len += 2;
            if flags & control::ORDER != 0 {
                len += 4;
            }
        }
        self.skip(if is_padded { usize::next_multiple_of(len, 4) } else { len })?;
        self.llc()
    }
}
