//! The segments of a cache, opened as they are asked for and kept mapped.
//!
//! It hands out entry headers that are proven to be what their place says; it does not know what a body means.

use core::cell::OnceCell;
use core::ffi::CStr;

use super::layout::{
    Checked, ENTRY_MAGIC, EntryHeader, SEGMENT_BYTES_MIN, SEGMENT_FIRST_UNIT, SEGMENT_MAGIC,
    SEGMENT_UNITS, SegmentHeader, UNIT_BYTES, segment_name,
};
use super::map::{Map, View};
use super::raw::{self, AsFd, Handle};

/// How many segments one process keeps mapped.
const OPEN_MAX: usize = 64;

const UNIT_SIZE: usize = 64;
const _: () = assert!(UNIT_SIZE as u64 == UNIT_BYTES);

/// Where an entry begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment's full number.
    pub seq: u64,
    /// Units from its beginning.
    pub unit: u32,
}

impl Place {
    /// As events hold it; never 0.
    pub fn number(self) -> u64 {
        self.seq << 20 | u64::from(self.unit)
    }

    /// The place that an event holds.
    pub fn of_number(number: u64) -> Option<Place> {
        let unit = u32::try_from(number & 0xf_ffff).ok()?;
        (number != 0).then_some(Place { seq: number >> 20, unit })
    }

    /// Bytes from the beginning of the segment.
    pub fn offset(self) -> usize {
        self.unit as usize * UNIT_SIZE
    }
}

/// The segments of one cache.
#[derive(Debug)]
pub struct Segments {
    directory: Handle,
    uuid: [u8; 16],
    open: [OnceCell<(u64, Map)>; OPEN_MAX],
}

/// An entry, proven to be the one that its place says.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its header.
    pub header: EntryHeader,
    map: &'a View,
    body: usize,
}

impl Segments {
    /// The segments in `directory` of the cache with this identity.
    pub fn new(directory: Handle, uuid: [u8; 16]) -> Segments {
        Segments { directory, uuid, open: [const { OnceCell::new() }; OPEN_MAX] }
    }

    /// The same segments, none of which is mapped yet: for who comes to more of them than are kept.
    pub fn anew(&self) -> Option<Segments> {
        Some(Segments::new(raw::open_directory_at(self.directory(), c".").ok()?, self.uuid))
    }

    /// The directory of the cache.
    pub fn directory(&self) -> raw::BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The entry at `place`, if there is an intact one.
    pub fn entry(&self, place: Place) -> Option<Entry<'_>> {
        Entry::find(self.segment(place.seq)?, place, &self.uuid)
    }

    fn segment(&self, seq: u64) -> Option<&Map> {
        for cell in &self.open {
            if let Some((number, map)) = cell.get() {
                if *number == seq {
                    return Some(map);
                }
            } else {
                let _ = cell.set((seq, self.map_segment(seq)?));
                return cell.get().map(|(_, map)| map);
            }
        }
        None
    }

    fn map_segment(&self, seq: u64) -> Option<Map> {
        let name = segment_name(seq);
        let file =
            raw::open_read_at(self.directory.as_fd(), CStr::from_bytes_with_nul(&name).ok()?)
                .ok()?;
        let state = raw::stat_fd(file.as_fd()).ok()?;
        if !state.is_regular() || state.stat.size < SEGMENT_BYTES_MIN {
            return None;
        }
        let map = Map::new(file.as_fd(), usize::try_from(state.stat.size).ok()?).ok()?;
        let header: SegmentHeader = map.get(0)?;
        let is_right = header.magic == SEGMENT_MAGIC
            && header.uuid == self.uuid
            && header.seq == seq
            && header.segment_bytes == state.stat.size
            && header.is_intact();
        is_right.then_some(map)
    }
}

impl<'a> Entry<'a> {
    /// The entry at `place` of the segment in `map`, if there is an intact one of the cache with this identity.
    pub fn find(map: &'a View, place: Place, uuid: &[u8; 16]) -> Option<Entry<'a>> {
        if place.unit < SEGMENT_FIRST_UNIT || place.unit >= SEGMENT_UNITS {
            return None;
        }
        let header: EntryHeader = map.get(place.offset())?;
        let body = place.offset() + size_of::<EntryHeader>();
        let is_right = header.magic == ENTRY_MAGIC
            && u64::from(header.seq) == place.seq & 0xffff_ffff
            && header.unit == place.unit
            && header.uuid == *uuid
            && header.is_intact()
            && header.body_bytes <= (map.len() - body) as u64
            && u64::from(header.hot_bytes) <= header.body_bytes;
        is_right.then_some(Entry { header, map, body })
    }

    /// Copies `into.len()` bytes of the body from `offset`.
    pub fn copy_out(&self, offset: u64, into: &mut [u8]) -> Option<()> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(into.len())?;
        if end as u64 > self.header.body_bytes {
            return None;
        }
        self.map.copy_out(self.body + offset, into).then_some(())
    }

    /// XXH3-128 of the whole body.
    pub fn body_sum(&self) -> Option<[u8; 16]> {
        self.map.hash(self.body, usize::try_from(self.header.body_bytes).ok()?)
    }
}
