//! Following all words of the index: what the figures of `stats` and the checks of `verify` have in common.
//!
//! Places are visited in their order on the disk, and no more than one segment after the other is kept mapped.

use super::{Store, c_path};
use crate::error::StoreError;
use crate::index;
use crate::outcome::InternalError;
use crate::shm::layout::Kind;
use crate::shm::raw;
use crate::shm::segments::{Entry, Place, Segments};
use crate::shm::words::Words;

/// A word of the index that names a place in a segment that has not been evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) place: Place,
    /// Which word of the index.
    pub(super) at: usize,
    pub(super) word: u64,
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

    /// The segments with none of them mapped: one process keeps only so many of them.
    pub(super) fn segments_anew(&self) -> Result<Segments, StoreError> {
        let directory = raw::open_directory(&c_path(&self.directory)?).map_err(|errno| {
            let failed = StoreError::io("cannot open", &self.directory, InternalError::CacheDir);
            failed(errno.into())
        })?;
        Ok(Segments::new(directory, self.cache.index.header().uuid))
    }

    /// Visits every entry that a word names, once.
    pub fn each_entry(&self, mut visit: impl FnMut(&Entry<'_>)) {
        let (mut named, _) = self.named();
        named.dedup_by_key(|named| named.place);
        for run in named.chunk_by(|a, b| a.place.seq == b.place.seq) {
            let Ok(segments) = self.segments_anew() else { return };
            for entry in run.iter().filter_map(|named| segments.entry(named.place)) {
                visit(&entry);
            }
        }
    }

    /// How many records and how many blobs can be found now.
    pub fn count_entries(&self) -> (u64, u64) {
        let (mut records, mut blobs) = (0, 0);
        self.each_entry(|entry| match entry.header.kind() {
            Some(Kind::Record) => records += 1,
            Some(Kind::Blob) => blobs += 1,
            None => {}
        });
        (records, blobs)
    }
}
