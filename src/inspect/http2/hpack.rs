//! HPACK (RFC 7541): header blocks → fields.
//!
//! Written for an observer: a table that was filled before the capture began is no error. What refers to
//! it is unknown, and all that can be read is read. Bounded whatever the peers agree on.

use std::collections::VecDeque;

use super::huffman;

/// Bytes that one table may have: 16 times the protocol's own default. An encoder that is allowed more
/// and uses it refers to entries that are not kept.
const TABLE_SIZE_MAX: usize = 64 << 10;

/// The table's size before anything else is said (RFC 9113 §6.5.2).
const TABLE_SIZE_DEFAULT: usize = 4096;

/// What an entry costs beside its bytes (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

/// Bytes of one block's fields that are evaluated: as much as of a head of HTTP/1. A few bytes may refer to
/// one long entry a thousand times.
const LIST_LEN_MAX: usize = 64 << 10;

/// Fields of one block that are evaluated.
const LIST_FIELDS_MAX: usize = 2048;

/// The fields of one block. Holds what was presented, and therefore has no `Debug`.
#[derive(Default)]
pub(super) struct Fields {
    bytes: Vec<u8>,
    /// Where each field begins, and the lengths of name and value.
    places: Vec<[usize; 3]>,
    /// A field was left out: it refers to what is not known.
    pub(super) has_unknown: bool,
    /// Fields were left out: there are too many, or the table is larger than what is kept.
    pub(super) is_cut: bool,
}

impl Fields {
    fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.has_unknown = false;
        self.is_cut = false;
    }

    /// Returns its memory, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<[usize; 3]>()
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let place = [self.bytes.len(), name.len(), value.len()];
        if place.iter().sum::<usize>() > LIST_LEN_MAX || self.places.len() >= LIST_FIELDS_MAX {
            self.is_cut = true;
            return;
        }
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.places.push(place);
    }

    /// Returns names and values, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places.iter().map(|[at, name, value]| {
            let (name, rest) = self.bytes[*at..].split_at(*name);
            (name, &rest[..*value])
        })
    }

    /// Returns the value of the first field of a name.
    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// One side's table of fields that were sent.
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// There may be entries behind these that nobody saw.
    has_unknown: bool,
    /// The encoder may use more than is kept.
    is_capped: bool,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// One entry; the name is unknown where it was taken from an entry that is.
struct Entry {
    name: Option<Box<[u8]>>,
    value: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        self.name.as_ref().map_or(0, |name| name.len()) + self.value.len() + ENTRY_OVERHEAD
    }
}

impl Table {
    /// Begins empty, or with what nobody saw.
    pub(super) fn new(has_unknown: bool) -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max: TABLE_SIZE_DEFAULT,
            has_unknown,
            is_capped: false,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Returns its memory, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        // What the protocol counts beside an entry's bytes is about what the allocator takes for them.
        self.size
            + self.entries.capacity() * size_of::<Entry>()
            + self.name.capacity()
            + self.value.capacity()
    }

    /// Gives up what is known: a block was lost.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.has_unknown = true;
    }

    /// Reads a block; false where it is malformed, with the fields before the fault.
    pub(super) fn decode(&mut self, block: &[u8], fields: &mut Fields) -> bool {
        fields.clear();
        let mut rest = block;
        while !rest.is_empty() {
            if self.field(&mut rest, fields).is_none() {
                self.forget();
                return false;
            }
        }
        true
    }

    /// Reads one representation (RFC 7541 §6).
    fn field(&mut self, rest: &mut &[u8], fields: &mut Fields) -> Option<()> {
        let first = *rest.first()?;
        match first {
            0x80.. => {
                let index = integer(rest, 7)?;
                match self.entry(index) {
                    Some((Some(name), value)) => fields.add(name, value),
                    _ if index == 0 => return None,
                    _ => self.miss(fields)?,
                }
            }
            0x20..0x40 => {
                let max = usize::try_from(integer(rest, 5)?).ok()?;
                self.is_capped |= max > TABLE_SIZE_MAX;
                self.max = max.min(TABLE_SIZE_MAX);
                self.evict(self.max);
            }
            _ => {
                let is_indexed = first >= 0x40;
                let index = integer(rest, if is_indexed { 6 } else { 4 })?;
                self.literal(index, is_indexed, rest, fields)?;
            }
        }
        Some(())
    }

    fn literal(
        &mut self,
        index: u32,
        is_indexed: bool,
        rest: &mut &[u8],
        fields: &mut Fields,
    ) -> Option<()> {
        let mut name = std::mem::take(&mut self.name);
        let mut value = std::mem::take(&mut self.value);
        name.clear();
        value.clear();
        let mut is_known = true;
        if index == 0 {
            string(rest, &mut name)?;
        } else if let Some((Some(known), _)) = self.entry(index) {
            name.extend_from_slice(known);
        } else {
            is_known = false;
            self.miss(fields)?;
        }
        string(rest, &mut value)?;
        if is_known {
            fields.add(&name, &value);
        }
        if is_indexed {
            let name = is_known.then(|| name.as_slice().into());
            self.insert(Entry { name, value: value.as_slice().into() });
        }
        self.name = name;
        self.value = value;
        Some(())
    }

    /// A reference leads to nothing: unknown, where that can be, else a fault.
    fn miss(&self, fields: &mut Fields) -> Option<()> {
        if self.has_unknown {
            fields.has_unknown = true;
        } else if self.is_capped {
            fields.is_cut = true;
        } else {
            return None;
        }
        Some(())
    }

    /// Returns name and value of an index: the static table, then the newest entry first (§2.3.3).
    fn entry(&self, index: u32) -> Option<(Option<&[u8]>, &[u8])> {
        let index = usize::try_from(index).ok()?.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(index) {
            return Some((Some(name), value));
        }
        let entry = self.entries.get(index - STATIC.len())?;
        Some((entry.name.as_deref(), &entry.value))
    }

    fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(self.max.saturating_sub(size));
        // An entry that is larger than the table empties it (§4.4).
        if size <= self.max {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    /// Drops the oldest entries until no more than `size` bytes are left.
    fn evict(&mut self, size: usize) {
        while self.size > size
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size();
        }
    }
}

/// Reads an integer whose first byte has a prefix of so many bits (§5.1).
fn integer(rest: &mut &[u8], prefix: u32) -> Option<u32> {
    let mask = (1_u32 << prefix) - 1;
    let mut value = u32::from(take(rest)?) & mask;
    if value < mask {
        return Some(value);
    }
    for shift in (0..28).step_by(7) {
        let byte = take(rest)?;
        value = value.checked_add(u32::from(byte & 0x7f) << shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads a string (§5.2).
fn string(rest: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    let is_huffman = rest.first()? & 0x80 != 0;
    let len = usize::try_from(integer(rest, 7)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    if is_huffman {
        huffman::decode(bytes, out)
    } else {
        out.extend_from_slice(bytes);
        Some(())
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (byte, behind) = rest.split_first()?;
    *rest = behind;
    Some(*byte)
}

/// The static table (RFC 7541 Appendix A).
const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn list(table: &mut Table, hex: &str) -> (bool, Vec<String>) {
        let mut fields = Fields::default();
        let whole = table.decode(&bytes(hex), &mut fields);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (whole, fields.iter().map(|(name, value)| text(name) + "=" + &text(value)).collect())
    }

    /// RFC 7541 C.3 and C.4: three requests, in plain strings and in Huffman's.
    #[test]
    fn the_requests_of_rfc_7541_are_read() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let huffman = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, huffman] {
            let mut table = Table::new(false);
            let lists = blocks.map(|block| list(&mut table, block).1.join(" "));
            assert_eq!(lists[0], ":method=GET :scheme=http :path=/ :authority=www.example.com");
            assert!(lists[1].ends_with(":authority=www.example.com cache-control=no-cache"));
            assert!(lists[2].starts_with(":method=GET :scheme=https :path=/index.html"));
            assert!(lists[2].ends_with(":authority=www.example.com custom-key=custom-value"));
            assert_eq!(table.size, 164);
        }
    }

    /// RFC 7541 C.5: responses that evict from a table of 256 bytes.
    #[test]
    fn the_responses_of_rfc_7541_evict() {
        let mut table = Table::new(false);
        let mut fields = Fields::default();
        assert!(table.decode(&bytes("3fe101"), &mut fields));
        list(
            &mut table,
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
             3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        );
        assert_eq!((table.size, table.entries.len()), (222, 4));
        let (whole, second) = list(&mut table, "4803 3330 37c1 c0bf");
        assert!(whole);
        assert_eq!(second[0], ":status=307");
        assert_eq!(second[3], "location=https://www.example.com");
        assert_eq!((table.size, table.entries.len()), (222, 4));
    }

    #[test]
    fn what_nobody_saw_is_unknown_and_the_rest_is_read() {
        let mut table = Table::new(true);
        let mut fields = Fields::default();
        // Indexed unknown, literal with an unknown name that is indexed, literal, and its index.
        assert!(table.decode(&bytes("be ff00 7e01 61 4001 6b01 76 be"), &mut fields));
        assert!(fields.has_unknown && !fields.is_cut);
        let pairs: Vec<_> = fields.iter().collect();
        assert_eq!(pairs, [(&b"k"[..], &b"v"[..]), (b"k", b"v")]);
        let mut table = Table::new(false);
        assert!(!table.decode(&bytes("be"), &mut fields), "a fault where all is known");
    }

    #[test]
    fn a_bomb_of_references_is_bounded() {
        let mut table = Table::new(false);
        let mut block = bytes("4001 6b 7f f100");
        let len = block.len();
        block.resize(len + 127 + 113, b'v');
        block.resize(block.len() + 60_000, 0xbe);
        let mut fields = Fields::default();
        assert!(table.decode(&block, &mut fields));
        assert!(fields.is_cut);
        assert!(fields.bytes.len() <= LIST_LEN_MAX && fields.places.len() <= LIST_FIELDS_MAX);
    }

    #[test]
    fn integers_are_bounded() {
        assert_eq!(integer(&mut &[0x1f, 0x9a, 0x0a][..], 5), Some(1337));
        assert_eq!(integer(&mut &[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], 5), None);
        assert_eq!(integer(&mut &[0x1f][..], 5), None);
    }
}
