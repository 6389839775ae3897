//! Every byte of the shared files that has a place: sizes, offsets, headers and the hash that pins them.
//!
//! A change here is another layout, and so another directory: `LAYOUT` must be counted up, and the pinned test with it.
//! Read next: `docs/store.md`, which draws the same map.

use bytemuck::{Pod, Zeroable};
use crossbeam_utils::CachePadded;
use xxhash_rust::xxh3::xxh3_64;

use super::words::Word;

/// Counted up with every change of meaning that sizes and offsets do not show.
pub const FORMAT: u32 = 1;
/// The name of the directory below the cache directory: format, layout, endianness and width.
pub const DIRECTORY: &str = "v1-aa08-le64";

/// The unit of offsets inside a segment.
pub const UNIT_BYTES: u64 = 64;
/// The longest segment file that several entries share; one that holds a large entry is longer.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// The shortest: the first segment after a reboot, a copy or a larger index. The next ones are twice as long each.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Where the first entry of a segment may begin.
pub const SEGMENT_FIRST_UNIT: u32 = 64;
/// Units in the longest shared segment.
pub const SEGMENT_UNITS: u32 = 1 << 20;
/// The largest entry, header included, that shares a segment with others; a larger one has one of its own.
pub const ENTRY_BYTES_MAX: u64 = SEGMENT_BYTES - 64 * UNIT_BYTES;
/// Words in a bucket: two cache lines.
pub const BUCKET_WORDS: usize = 16;
/// Where the buckets begin in the index file.
pub const INDEX_WORDS_OFFSET: usize = 4096;

/// Where [`Control`] stands in the index file.
pub const CONTROL_OFFSET: usize = 512;
/// `cursor` of [`Control`] in the index file.
pub const CURSOR_OFFSET: usize = CONTROL_OFFSET + core::mem::offset_of!(Control<Word>, cursor);
/// `oldest` of [`Control`] in the index file.
pub const OLDEST_OFFSET: usize = CONTROL_OFFSET + core::mem::offset_of!(Control<Word>, oldest);

/// First bytes of an index.
pub const INDEX_MAGIC: [u8; 8] = *b"ibidIDX1";
/// First bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"ibidSEG1";
/// First bytes of the volatile segment.
pub const VOLATILE_MAGIC: [u8; 8] = *b"ibidVOL1";
/// First bytes of an entry.
pub const ENTRY_MAGIC: u32 = 0x6962_6531;

/// The immutable head of an index file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct IndexHeader {
    /// [`INDEX_MAGIC`].
    pub magic: [u8; 8],
    /// [`FORMAT`].
    pub format: u32,
    /// `size_of::<IndexHeader>()`.
    pub header_bytes: u32,
    /// Identity of this cache: random.
    pub uuid: [u8; 16],
    /// Number of buckets, a power of two.
    pub buckets: u64,
    /// [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// Creation time, seconds since the epoch.
    pub created_s: u64,
    /// Name of the volatile segment, NUL-terminated, as `shm_open` takes it without its slash.
    pub volatile: [u8; 64],
    /// XXH3-64 of all bytes before.
    pub check: u64,
}

/// The words of an index that change, each on cache lines of its own. What is done with them: `index/control.rs`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Control<W = Word> {
    /// `seq << 32 | unit` of the next free place.
    pub cursor: CachePadded<W>,
    /// The lowest segment number that is still there.
    pub oldest: CachePadded<W>,
    /// Hash of boot id, device, inode and birth of the index; under another one nothing is appended.
    pub epoch: CachePadded<W>,
}

/// The head of a segment file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct SegmentHeader {
    /// [`SEGMENT_MAGIC`].
    pub magic: [u8; 8],
    /// The cache's identity.
    pub uuid: [u8; 16],
    /// The segment's number, from 1.
    pub seq: u64,
    /// Length of the file.
    pub segment_bytes: u64,
    /// When it was made, seconds since the epoch: no entry came into it before.
    pub made_s: u64,
    /// XXH3-64 of all bytes before.
    pub check: u64,
}

/// The head of the volatile segment.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct VolatileHeader {
    /// [`VOLATILE_MAGIC`]; written last.
    pub magic: [u8; 8],
    /// The cache's identity.
    pub uuid: [u8; 16],
    /// XXH3-64 of all bytes before.
    pub check: u64,
}

/// What an entry of a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What an invocation depends on and gives.
    Record,
    /// Bytes, found by their digest.
    Blob,
    /// Names whose contents find a record.
    PathSet,
    /// What a failing run gave the last time, as a hash; no body.
    Fingerprint,
    /// A record that is told by another one.
    Delta,
    /// A record with what it gives, compressed.
    Compressed,
    /// A path set, compressed.
    CompressedSet,
}

/// The head of an entry, 128 bytes, at a multiple of [`UNIT_BYTES`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct EntryHeader {
    /// [`ENTRY_MAGIC`].
    pub magic: u32,
    /// 1: record, 2: blob, 3: path set, 4: fingerprint, 5: delta, 6: compressed result, 7: compressed path set.
    pub kind: u32,
    /// The segment's number (low 32 bits).
    pub seq: u32,
    /// The entry's own place in the segment, in units.
    pub unit: u32,
    /// The cache's identity.
    pub uuid: [u8; 16],
    /// A record or delta: direct key, result key. A blob: BLAKE3 digest of the body. A path set: the key under which it is found, the
    /// set's own. A fingerprint: its key, zeros. A compressed result: the key under which it is found, its result key.
    pub key: [u8; 32],
    /// Length of the body, which follows at once.
    pub body_bytes: u64,
    /// A record: length of its hot part. A delta: that of all of it. Others: 0.
    pub hot_bytes: u32,
    /// When it was stored, seconds since the epoch.
    pub stored_s: u32,
    /// XXH3-128 of the hot part (record) or of the body.
    pub sum: [u8; 16],
    /// A record, delta or compressed result: hash of all that its content look-up compares and gives. A path set: result key of the
    /// record with which it was stored. A fingerprint: hash of the outcome. Others: 0.
    pub identity: [u8; 16],
    /// A record or delta: hash of the environment it is true of. A compressed result: first half of its path set's own key. Others: 0.
    pub circumstances: u64,
    /// XXH3-64 of all bytes before.
    pub check: u64,
}

const _: () = assert!(size_of::<EntryHeader>() == 128);
const _: () = assert!(core::mem::offset_of!(EntryHeader, key) == 32);
const _: () = assert!(core::mem::offset_of!(EntryHeader, stored_s) == 76);
const _: () = assert!(ENTRY_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(size_of::<IndexHeader>() == 128);
const _: () = assert!(size_of::<Control>() == 3 * 128);
const _: () = assert!(CONTROL_OFFSET + size_of::<Control>() <= INDEX_WORDS_OFFSET);
const _: () = assert!(size_of::<SegmentHeader>() == 56);
const _: () = assert!(large_segment_bytes(ENTRY_BYTES_MAX + 1) > SEGMENT_BYTES);
const _: () = assert!(size_of::<VolatileHeader>() == 32);

/// Headers that end in a check sum of what stands before it.
pub trait Checked: Pod {
    /// Where the check stands.
    const CHECK_OFFSET: usize;
    /// The stored check.
    fn check(&self) -> u64;
    /// The check as it ought to be.
    fn expected_check(&self) -> u64 {
        xxh3_64(bytemuck::bytes_of(self).get(..Self::CHECK_OFFSET).unwrap_or(&[]))
    }
    /// Whether the stored check is right.
    fn is_intact(&self) -> bool {
        self.check() == self.expected_check()
    }
}

macro_rules! checked {
    ($($name:ident),*) => { $(
        impl Checked for $name {
            const CHECK_OFFSET: usize = core::mem::offset_of!($name, check);
            fn check(&self) -> u64 { self.check }
        }
        impl $name {
            /// The same header with its check filled in.
            pub fn sealed(mut self) -> Self {
                self.check = self.expected_check();
                self
            }
        }
    )* };
}
checked!(IndexHeader, SegmentHeader, VolatileHeader, EntryHeader);

impl EntryHeader {
    /// What the entry is, if it is anything known.
    pub fn kind(&self) -> Option<Kind> {
        match self.kind {
            1 => Some(Kind::Record),
            2 => Some(Kind::Blob),
            3 => Some(Kind::PathSet),
            4 => Some(Kind::Fingerprint),
            5 => Some(Kind::Delta),
            6 => Some(Kind::Compressed),
            7 => Some(Kind::CompressedSet),
            _ => None,
        }
    }
}

impl Kind {
    /// The number in [`EntryHeader::kind`].
    pub const fn number(self) -> u32 {
        match self {
            Kind::Record => 1,
            Kind::Blob => 2,
            Kind::PathSet => 3,
            Kind::Fingerprint => 4,
            Kind::Delta => 5,
            Kind::Compressed => 6,
            Kind::CompressedSet => 7,
        }
    }
}

/// The length of an index file with so many buckets.
pub const fn index_bytes(buckets: u64) -> u64 {
    INDEX_WORDS_OFFSET as u64 + buckets * (BUCKET_WORDS as u64) * 8
}

/// The length of a segment that holds one large entry: more than [`SEGMENT_BYTES`], so nobody appends to it.
pub const fn large_segment_bytes(entry_bytes: u64) -> u64 {
    (SEGMENT_FIRST_UNIT as u64 * UNIT_BYTES + entry_bytes).next_multiple_of(4096)
}

/// The name of segment `seq`, NUL-terminated: `seg-` and 16 hexadecimal digits.
pub fn segment_name(seq: u64) -> [u8; 21] {
    let mut name = *b"seg-0000000000000000\0";
    for (i, place) in name.iter_mut().skip(4).take(16).enumerate() {
        let digit = (seq >> (60 - 4 * i)) & 15;
        *place = *b"0123456789abcdef".get(usize::try_from(digit).unwrap_or(0)).unwrap_or(&b'0');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_pinned() {
        let text = std::format!(
            "{FORMAT} {DIRECTORY} {UNIT_BYTES} {SEGMENT_BYTES_MIN} {SEGMENT_BYTES} {SEGMENT_FIRST_UNIT} {BUCKET_WORDS} {INDEX_WORDS_OFFSET} \
             {CURSOR_OFFSET} {OLDEST_OFFSET} {} {} {} {} {}",
            CONTROL_OFFSET + core::mem::offset_of!(Control<Word>, epoch),
            size_of::<IndexHeader>(),
            size_of::<SegmentHeader>(),
            size_of::<VolatileHeader>(),
            size_of::<EntryHeader>(),
        );
        assert_eq!(text, "1 v1-aa08-le64 64 1048576 67108864 64 16 4096 512 640 768 128 56 32 128");
    }

    #[test]
    fn segment_names_are_hexadecimal() {
        assert_eq!(&segment_name(0x1f), b"seg-000000000000001f\0");
    }

    #[test]
    fn a_sealed_header_is_intact_and_a_changed_one_is_not() {
        let mut header = EntryHeader { unit: 7, ..EntryHeader::zeroed() }.sealed();
        assert!(header.is_intact());
        header.unit = 8;
        assert!(!header.is_intact());
    }
}
