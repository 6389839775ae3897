//! Drops records that somebody chooses one by one, with the blobs and path sets that no other record needs.
//!
//! First no word leads to them, then their bytes become holes in their segments: a process that dies in between leaves space
//! that comes back when the segment is evicted. Nothing that is kept is moved. Read next: `gc.rs`, `docs/store.md`.

use std::collections::HashSet;

use super::path_set::PathSet;
use super::tail::punch_pages;
use super::verify::{blobs_of, record_of};
use super::walk::Named;
use super::{Store, files};
use crate::error::StoreError;
use crate::shm::fault;
use crate::shm::layout::{EntryHeader, INDEX_WORDS_OFFSET, Kind, UNIT_BYTES};
use crate::shm::segments::{Entry, Place};
use crate::shm::words::WordsMut;
use crate::store::draft::Draft;

/// What was dropped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Discarded {
    /// Records.
    pub records: u64,
    /// How long their tools ran to make them.
    pub tool_us: u64,
    /// The bytes of what was dropped.
    pub bytes: u64,
}

/// An entry, and in which bytes of its segment it stands.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    place: Place,
    end: u64,
}

/// An entry that may be dropped if no record that is kept needs it.
struct Part {
    /// The digest of a blob, the own key of a path set.
    key: [u8; 32],
    stretch: Stretch,
}

/// All entries, by what becomes of them.
#[derive(Default)]
struct Choice {
    discarded: Discarded,
    gone: Vec<Stretch>,
    /// What the records name that go, and those that stay.
    named_by_gone: HashSet<[u8; 32]>,
    named_by_kept: HashSet<[u8; 32]>,
    parts: Vec<Part>,
}

impl Store {
    /// Visits each record that can be found and is whole.
    pub fn each_record(&self, mut visit: impl FnMut(&Draft)) {
        self.each_place(|_, entry| {
            if entry.header.kind() == Some(Kind::Record)
                && let Some(draft) = record_of(entry)
            {
                visit(&draft);
            }
        });
    }

    /// Drops the records of which `is_unwanted` says so, or with `dry_run` only says what would go. `progress` is told how many of
    /// how many words have been followed.
    pub fn discard(
        &self,
        dry_run: bool,
        is_unwanted: &mut dyn FnMut(&Draft) -> bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Discarded, StoreError> {
        if dry_run {
            let (discarded, _) = self.choose(is_unwanted, progress);
            return Ok(discarded);
        }
        self.index()?;
        let _eviction = files::lock(&self.directory, "lock-evict", true)?;
        // No larger index takes over words that go here.
        let _creation = files::lock(&self.directory, "lock", true)?;
        fault::point("discarding: locked");
        if !self.is_current() {
            return Err(StoreError::Busy);
        }
        let (discarded, gone) = self.choose(is_unwanted, progress);
        let places: HashSet<Place> = gone.iter().map(|stretch| stretch.place).collect();
        let (named, _) = self.named();
        let named: Vec<_> = named.into_iter().filter(|it| places.contains(&it.place)).collect();
        self.forget_words(&named)?;
        self.give_back_stretches(gone);
        Ok(discarded)
    }

    fn choose(
        &self,
        is_unwanted: &mut dyn FnMut(&Draft) -> bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> (Discarded, Vec<Stretch>) {
        let mut choice = Choice::default();
        let (total, mut done) = (self.named().0.len(), 0);
        self.each_place(|place, entry| {
            done += 1;
            progress(done, total);
            choice.add(place, entry, is_unwanted);
        });
        progress(total, total);
        choice.close()
    }

    fn forget_words(&self, named: &[Named]) -> Result<(), StoreError> {
        let damaged = || StoreError::Corrupt(self.directory.join("index"));
        let words = self.index()?.words_mut(INDEX_WORDS_OFFSET, self.word_count());
        let words = words.ok_or_else(damaged)?;
        for named in named {
            self.populate_word(named.at)?;
            words.replace(named.at, named.word, 0);
            fault::point("discarding: word removed");
        }
        Ok(())
    }

    /// Makes holes where entries stood that no word leads to.
    fn give_back_stretches(&self, mut gone: Vec<Stretch>) {
        gone.sort_unstable_by_key(|stretch| stretch.place);
        for run in gone.chunk_by(|one, next| one.place.seq == next.place.seq) {
            let Some((file, _)) = self.open_segment(run[0].place.seq) else { continue };
            // Neighbours together: only whole pages become holes.
            for row in run.chunk_by(|one, next| one.end == next.place.offset() as u64) {
                let from = row[0].place.offset() as u64;
                punch_pages(&file, from, row.last().map_or(from, |last| last.end));
                fault::point("discarding: hole made");
            }
        }
    }
}

impl Choice {
    fn add(
        &mut self,
        place: Place,
        entry: &Entry<'_>,
        is_unwanted: &mut dyn FnMut(&Draft) -> bool,
    ) {
        let header = &entry.header;
        let bytes = size_of::<EntryHeader>() as u64 + header.body_bytes;
        let end = place.offset() as u64 + bytes.next_multiple_of(UNIT_BYTES);
        let stretch = Stretch { place, end };
        match header.kind() {
            Some(Kind::Blob) => self.parts.push(Part { key: header.key, stretch }),
            Some(Kind::PathSet) => {
                let own_key = header.key.last_chunk().copied().unwrap_or_default();
                self.parts.push(Part { key: name_of_set(&own_key), stretch });
            }
            Some(Kind::Record) => {
                // One that is damaged is nobody's.
                let Some(draft) = record_of(entry) else { return };
                let named = if is_unwanted(&draft) {
                    self.discarded.records += 1;
                    self.discarded.tool_us += draft.tool_us;
                    self.gone.push(stretch);
                    &mut self.named_by_gone
                } else {
                    &mut self.named_by_kept
                };
                named.extend(blobs_of(&draft).map(|blob| blob.digest));
                let (set, _) = PathSet::of(&draft, |variable| variable.value);
                named.insert(name_of_set(set.own_key()));
            }
            Some(Kind::Fingerprint) | None => {}
        }
    }

    /// What goes: the records, and what only they need.
    fn close(mut self) -> (Discarded, Vec<Stretch>) {
        let is_needless =
            |key: &[u8; 32]| self.named_by_gone.contains(key) && !self.named_by_kept.contains(key);
        let needless = self.parts.iter().filter(|part| is_needless(&part.key));
        self.gone.extend(needless.map(|part| part.stretch));
        let bytes = self.gone.iter().map(|stretch| stretch.end - stretch.place.offset() as u64);
        self.discarded.bytes = bytes.sum();
        (self.discarded, self.gone)
    }
}

/// A path set among digests of blobs: half of it is zero.
fn name_of_set(own_key: &[u8; 16]) -> [u8; 32] {
    let mut name = [0; 32];
    name[..16].copy_from_slice(own_key);
    name
}
