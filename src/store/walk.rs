//! Following all words of the index: what the figures of `stats` and the checks of `verify` have in common.
//!
//! Places are visited in their order on the disk, and each segment is mapped only while it is looked at.

use std::os::fd::AsFd;

use super::Store;
use crate::index;
use crate::os::map::FileMap;
use crate::shm::layout::Kind;
use crate::shm::segments::{Entry, Place};
use crate::shm::words::Words;

/// A word of the index that names a place in a segment that has not been evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) place: Place,
    /// Which word of the index.
    pub(super) at: usize,
    pub(super) word: u64,
}

/// A segment, mapped as long as it is looked at.
pub(super) struct Segment {
    map: FileMap,
    uuid: [u8; 16],
}

impl Segment {
    /// The entry at `place`, which must be one of this segment, if there is an intact one.
    pub(super) fn entry(&self, place: Place) -> Option<Entry<'_>> {
        Entry::find(&self.map, place, &self.uuid)
    }
}

/// The bytes of an entry, unchecked; `None` if its segment is cut.
pub(super) fn body_of(entry: &Entry<'_>) -> Option<Vec<u8>> {
    let mut body = vec![0; usize::try_from(entry.header.body_bytes).ok()?];
    entry.copy_out(0, &mut body)?;
    Some(body)
}

impl Store {
    /// All words that name a place, by place; and how many name one that was evicted.
    pub(super) fn named(&self) -> (Vec<Named>, u64) {
        let (words, window) = (self.cache.index.words(), self.window());
        let (mut named, mut dead) = (Vec::new(), 0);
        for at in 0..words.len() {
            let word = words.load(at);
            match index::place_of(word, window) {
                Some(place) => named.push(Named { place, at, word }),
                None if word != 0 => dead += 1,
                None => {}
            }
        }
        words.acquire();
        named.sort_unstable();
        (named, dead)
    }

    /// Maps segment `seq`, if it is as it was made.
    pub(super) fn map_segment(&self, seq: u64) -> Option<Segment> {
        let (file, bytes) = self.open_segment(seq)?;
        let map = FileMap::new(file.as_fd(), usize::try_from(bytes).ok()?).ok()?;
        Some(Segment { map, uuid: self.cache.index.header().uuid })
    }

    /// Visits every entry that a word names, once.
    pub fn each_entry(&self, mut visit: impl FnMut(&Entry<'_>)) {
        self.each_place(|_, entry| visit(entry));
    }

    /// The same, with the places, in their order.
    pub fn each_place(&self, mut visit: impl FnMut(Place, &Entry<'_>)) {
        let (mut named, _) = self.named();
        named.dedup_by_key(|named| named.place);
        for run in named.chunk_by(|a, b| a.place.seq == b.place.seq) {
            let Some(segment) = self.map_segment(run[0].place.seq) else { continue };
            for place in run.iter().map(|named| named.place) {
                if let Some(entry) = segment.entry(place) {
                    visit(place, &entry);
                }
            }
        }
    }

    /// How many records and how many blobs can be found now.
    pub fn count_entries(&self) -> (u64, u64) {
        let (mut records, mut blobs) = (0, 0);
        self.each_entry(|entry| match entry.header.kind() {
            Some(Kind::Record | Kind::Delta | Kind::Compressed) => records += 1,
            Some(Kind::Blob) => blobs += 1,
            Some(Kind::PathSet | Kind::CompressedSet | Kind::Fingerprint) | None => {}
        });
        (records, blobs)
    }
}
