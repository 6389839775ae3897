//! Drops records that somebody chooses one by one, with the blobs and path sets that no other record needs.
//!
//! First no word leads to them, then their bytes become holes in their segments: a process that dies in between leaves space
//! that comes back when the segment is evicted. Nothing that is kept is moved. Read next: `gc.rs`, `docs/store.md`.

use std::collections::HashSet;
use std::fs::File;

use super::draft::blobs_of;
use super::path_set::PathSet;
use super::tail::punch_pages;
use super::walk::Named;
use super::{Store, files};
use crate::error::StoreError;
use crate::record::stored::base_place;
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
pub(super) struct Stretch {
    pub(super) place: Place,
    end: u64,
}

impl Stretch {
    pub(super) fn of(place: Place, header: &EntryHeader) -> Stretch {
        let bytes = size_of::<EntryHeader>() as u64 + header.body_bytes;
        Stretch { place, end: place.offset() as u64 + bytes.next_multiple_of(UNIT_BYTES) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.end - self.place.offset() as u64
    }
}

/// An entry that may be dropped if no record that is kept needs it.
pub(super) struct Part {
    /// The digest of a blob, the own key of a path set.
    pub(super) key: [u8; 32],
    pub(super) stretch: Stretch,
}

/// A record, or a delta.
pub(super) struct RecordFound {
    pub(super) stretch: Stretch,
    /// Of a delta: where the record stands that tells it.
    pub(super) base: Option<Place>,
    is_unwanted: bool,
    tool_us: u64,
    /// Its blobs and its path set, each once.
    pub(super) names: Vec<[u8; 32]>,
}

/// All entries that a word leads to.
#[derive(Default)]
pub(super) struct Choice {
    records: Vec<RecordFound>,
    parts: Vec<Part>,
}

/// What goes.
pub(super) struct Gone {
    pub(super) records: Vec<RecordFound>,
    /// What only they need.
    pub(super) parts: Vec<Part>,
}

impl Store {
    /// Visits each record, and each delta as one, that can be found and is whole.
    pub fn each_record(&self, mut visit: impl FnMut(&Draft)) {
        self.each_place(|_, entry| {
            if let Some(Kind::Record | Kind::Delta | Kind::Compressed) = entry.header.kind()
                && let Some(draft) = self.draft_of(entry)
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
            return Ok(self.choose(is_unwanted, progress).discarded());
        }
        self.index()?;
        let _locks = self.lock_for_discarding()?;
        let gone = self.choose(is_unwanted, progress);
        let records = gone.records.iter().map(|record| record.stretch);
        let stretches = records.chain(gone.parts.iter().map(|part| part.stretch)).collect();
        self.drop_stretches(stretches, &self.named().0)?;
        Ok(gone.discarded())
    }

    /// While these are held nothing is evicted, and no larger index takes over words.
    pub(super) fn lock_for_discarding(&self) -> Result<[File; 2], StoreError> {
        let eviction = files::lock(&self.directory, "lock-evict", true)?;
        let creation = files::lock(&self.directory, "lock", true)?;
        fault::point("discarding: locked");
        if self.is_current() { Ok([eviction, creation]) } else { Err(StoreError::Busy) }
    }

    /// Drops entries, to which the words of `named` lead.
    pub(super) fn drop_stretches(
        &self,
        stretches: Vec<Stretch>,
        named: &[Named],
    ) -> Result<(), StoreError> {
        let places: HashSet<Place> = stretches.iter().map(|stretch| stretch.place).collect();
        self.forget_words(named.iter().filter(|named| places.contains(&named.place)))?;
        self.give_back_stretches(stretches);
        Ok(())
    }

    fn choose(
        &self,
        is_unwanted: &mut dyn FnMut(&Draft) -> bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Gone {
        let mut choice = Choice::default();
        let (total, mut done) = (self.named().0.len(), 0);
        self.each_place(|place, entry| {
            done += 1;
            progress(done, total);
            choice.add(self, place, entry, &mut |_, draft| is_unwanted(draft));
        });
        progress(total, total);
        choice.close()
    }

    fn forget_words<'n>(&self, named: impl Iterator<Item = &'n Named>) -> Result<(), StoreError> {
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
    /// Adds an entry; of a record `is_unwanted` says whether it is to go.
    pub(super) fn add(
        &mut self,
        store: &Store,
        place: Place,
        entry: &Entry<'_>,
        is_unwanted: &mut dyn FnMut(&Entry<'_>, &Draft) -> bool,
    ) {
        let header = &entry.header;
        let stretch = Stretch::of(place, header);
        match header.kind() {
            Some(Kind::Blob) => self.parts.push(Part { key: header.key, stretch }),
            Some(Kind::PathSet | Kind::CompressedSet) => {
                let own_key = header.key.last_chunk().copied().unwrap_or_default();
                self.parts.push(Part { key: name_of_set(&own_key), stretch });
            }
            Some(Kind::Record | Kind::Delta | Kind::Compressed) => {
                // One that is damaged is nobody's.
                let Some(draft) = store.draft_of(entry) else { return };
                let (set, _) = PathSet::of(&draft, |variable| variable.value);
                // A compressed one has its blobs in it.
                let blobs = blobs_of(&draft).map(|blob| blob.digest);
                let blobs = blobs.filter(|_| header.kind() != Some(Kind::Compressed));
                let names: HashSet<_> = blobs.chain([name_of_set(set.own_key())]).collect();
                self.records.push(RecordFound {
                    stretch,
                    base: base_place(entry),
                    is_unwanted: is_unwanted(entry, &draft),
                    tool_us: draft.tool_us,
                    names: names.into_iter().collect(),
                });
            }
            Some(Kind::Fingerprint) | None => {}
        }
    }

    /// What goes: the records, and what only they need. One that tells a delta which stays is needed by that.
    pub(super) fn close(self) -> Gone {
        let kept = self.records.iter().filter(|record| !record.is_unwanted);
        let needed: HashSet<Place> = kept.filter_map(|record| record.base).collect();
        let is_gone =
            |record: &RecordFound| record.is_unwanted && !needed.contains(&record.stretch.place);
        let (gone, kept): (Vec<_>, Vec<_>) = self.records.into_iter().partition(is_gone);
        let names = |records: &[RecordFound]| -> HashSet<[u8; 32]> {
            records.iter().flat_map(|record| record.names.iter().copied()).collect()
        };
        let (named_by_gone, named_by_kept) = (names(&gone), names(&kept));
        let is_needless =
            |part: &Part| named_by_gone.contains(&part.key) && !named_by_kept.contains(&part.key);
        Gone { records: gone, parts: self.parts.into_iter().filter(is_needless).collect() }
    }
}

impl Gone {
    fn discarded(&self) -> Discarded {
        let whole = self.records.iter().filter(|record| record.base.is_none());
        let records = self.records.iter().map(|record| &record.stretch);
        let parts = self.parts.iter().map(|part| &part.stretch);
        Discarded {
            records: whole.clone().count() as u64,
            tool_us: whole.map(|record| record.tool_us).sum(),
            bytes: records.chain(parts).map(Stretch::bytes).sum(),
        }
    }
}

/// A path set among digests of blobs: half of it is zero.
fn name_of_set(own_key: &[u8; 16]) -> [u8; 32] {
    let mut name = [0; 32];
    name[..16].copy_from_slice(own_key);
    name
}
