//! Compresses the results that were not used for the longest time.
//!
//! A result is appended compressed, then no word leads to what it was made of any more, then that becomes holes in its segments: a
//! process that dies in between leaves both, or space that comes back when the segment is evicted. What two kept results need
//! stays as it is. Read next: `compressed.rs`, `discard.rs`, `docs/store.md`.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::time::Duration;

use super::append::now_s;
use super::create::COMPRESSED;
use super::discard::{Choice, Gone, RecordFound, Stretch};
use super::draft::{Draft, blobs_of, is_of_use_elsewhere};
use super::export::export_record;
use super::path_set::PathSet;
use super::recency::Used;
use super::space::segment_bytes_max;
use super::survivors::ENTRY_PART;
use super::walk::Named;
use super::{Store, files};
use crate::error::StoreError;
use crate::outcome::InternalError;
use crate::shm::fault;
use crate::shm::layout::{EntryHeader, Kind};
use crate::shm::segments::{Entry, Place};

/// So much of what a cache may hold stays uncompressed.
const RAW_PART: u64 = 4;
/// Results are compressed where a cache takes more than one such part of what it may hold.
const FULL_PART: u64 = 2;
/// They are so after each such part of what it may hold that was stored.
const STEP_PART: u64 = 8;
/// After so many bytes of what was compressed its old place is given back.
const BATCH_BYTES: u64 = 32 << 20;

/// What is to be compressed: what was used last the longest ago, until both hold.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    /// No more than so many bytes are uncompressed.
    pub raw_bytes: u64,
    /// Nothing is that was neither stored nor used for so long.
    pub idle: Option<Duration>,
}

impl Until {
    /// What a cache that may hold so many bytes does by itself.
    pub fn of(max_bytes: u64) -> Until {
        Until { raw_bytes: max_bytes / RAW_PART, idle: None }
    }
}

/// What was compressed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    /// Results.
    pub results: u64,
    /// What they took.
    pub from_bytes: u64,
    /// What they take.
    pub to_bytes: u64,
}

impl Store {
    /// Whether anything was compressed here.
    pub fn has_compressed(&self) -> bool {
        self.directory.join(COMPRESSED).exists()
    }

    /// Whether it is time to compress again, in a process of its own.
    pub(super) fn compression_is_due(&self) -> bool {
        let space = self.space();
        let noted = fs::read(self.directory.join(COMPRESSED)).ok();
        let noted = noted.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        // A number that is from another index says nothing.
        let from = if noted > self.window().newest { 0 } else { noted };
        let new = space.own.iter().filter(|segment| segment.seq >= from);
        let new_bytes: u64 = new.map(|segment| segment.disk_bytes).sum();
        space.disk_bytes > self.max_bytes / FULL_PART && new_bytes > self.max_bytes / STEP_PART
    }

    /// Compresses what is to be, or with `dry_run` only says what that would be, without [`Compressed::to_bytes`]. `progress` is
    /// told how many of how many steps are done. Another process that does it is not waited for.
    pub fn compress(
        &self,
        until: Until,
        dry_run: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Compressed, StoreError> {
        self.index()?;
        let _alone = files::lock(&self.directory, "lock-compress", false)?;
        self.gather_use_now();
        let (newest, is_due) = (self.window().newest, self.compression_is_due());
        let used = Used::read(&self.directory);
        let before_s = self.cold_before(&used, until);
        // Where all stays, no record is looked into.
        let compressed = match before_s {
            0 => Compressed::default(),
            _ => self.compress_before(before_s, &used, dry_run, progress)?,
        };
        if !dry_run && (is_due || compressed.results > 0) {
            self.note_compressed(newest)?;
        }
        Ok(compressed)
    }

    /// Compresses what was used last before that time.
    fn compress_before(
        &self,
        before_s: u64,
        used: &Used,
        dry_run: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Compressed, StoreError> {
        let mut sweep = Sweep::of(self, used, before_s, progress);
        if dry_run {
            return Ok(sweep.planned());
        }
        if !sweep.records.is_empty() && !self.has_compressed() {
            // Without a note nobody asks for what is compressed.
            self.note_compressed(0)?;
        }
        let swept = sweep.run(progress);
        // Also what was done before a disk was full.
        let given_back = sweep.give_back();
        swept.and(given_back)?;
        if sweep.compressed.results > 0 {
            self.begin_a_short_segment()?;
        }
        Ok(sweep.compressed)
    }

    /// Notes that segments before `seq` were looked at.
    fn note_compressed(&self, seq: u64) -> Result<(), StoreError> {
        let path = self.directory.join(COMPRESSED);
        let write = |mut file: &fs::File| file.write_all(&seq.to_le_bytes());
        files::whole_file(&path, 8, write).map_err(StoreError::io(
            "cannot write",
            &path,
            InternalError::Append,
        ))
    }

    /// What was used last before that time is to be compressed: seconds since the epoch.
    fn cold_before(&self, used: &Used, until: Until) -> u64 {
        let (mut ages, mut raw_bytes) = (Vec::new(), 0);
        self.each_place(|_, entry| {
            if !is_compressed(entry) {
                let bytes = size_of::<EntryHeader>() as u64 + entry.header.body_bytes;
                ages.push((used.last(&entry.header), bytes));
                raw_bytes += bytes;
            }
        });
        ages.sort_unstable();
        let before = |idle: Duration| (u64::from(now_s()) + 1).saturating_sub(idle.as_secs());
        let mut before_s = until.idle.map_or(0, before);
        for (last_s, bytes) in ages {
            if raw_bytes <= until.raw_bytes {
                break;
            }
            before_s = before_s.max(u64::from(last_s) + 1);
            raw_bytes -= bytes;
        }
        before_s
    }
}

fn is_compressed(entry: &Entry<'_>) -> bool {
    matches!(entry.header.kind(), Some(Kind::Compressed | Kind::CompressedSet))
}

/// Whether a result may be compressed: it must be found by content. One that is larger than what survives an eviction is that of a
/// link, or the like, and is not worth it.
fn fits(store: &Store, draft: &Draft) -> bool {
    let bytes: u64 = blobs_of(draft).map(|blob| blob.len_bytes).sum();
    draft.result_key != [0; 16]
        && is_of_use_elsewhere(draft)
        && bytes <= segment_bytes_max(store.max_bytes) / ENTRY_PART
}

/// One pass over a cache.
struct Sweep<'s> {
    store: &'s Store,
    named: Vec<Named>,
    /// The records that are to be compressed, and their deltas, in the order of their places.
    records: Vec<RecordFound>,
    /// Where blobs stand.
    blobs: HashMap<[u8; 32], Place>,
    /// Path sets by their own keys: each is compressed with the first result that needs it.
    sets: HashMap<[u8; 16], Vec<Place>>,
    /// What goes with the last record that names it: how many of those are left, and what goes.
    needless: HashMap<[u8; 32], (usize, Vec<Stretch>)>,
    /// Path sets that stand in a second place now, and that.
    moved: Vec<(Place, Place)>,
    /// What stands compressed in another place, and is still there.
    ready: Vec<Stretch>,
    compressed: Compressed,
}

impl<'s> Sweep<'s> {
    /// Chooses what was used last before a time.
    fn of(
        store: &'s Store,
        used: &Used,
        before_s: u64,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Sweep<'s> {
        let (named, _) = store.named();
        let (total, mut done) = (2 * named.len(), 0);
        let mut choice = Choice::default();
        let (mut blobs, mut sets) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        let is_cold = |entry: &Entry<'_>| u64::from(used.last(&entry.header)) < before_s;
        store.each_place(|place, entry| {
            done += 1;
            progress(done, total);
            match entry.header.kind() {
                Some(Kind::Compressed) => {}
                // One that is compressed, and not old, lives as long as what is compressed now.
                Some(Kind::CompressedSet) if !store.is_soon_evicted(place) => {}
                Some(Kind::PathSet | Kind::CompressedSet) => {
                    let own_key = entry.header.key.last_chunk().copied().unwrap_or_default();
                    sets.entry(own_key).or_default().push(place);
                }
                kind => {
                    if kind == Some(Kind::Blob) {
                        blobs.insert(entry.header.key, place);
                    }
                    choice.add(store, place, entry, &mut |entry, draft| {
                        is_cold(entry) && (kind == Some(Kind::Delta) || fits(store, draft))
                    });
                }
            }
        });
        let Gone { mut records, parts } = choice.close();
        records.sort_unstable_by_key(|record| record.stretch.place);
        let mut needless: HashMap<_, (usize, Vec<_>)> = HashMap::new();
        for part in parts {
            needless.entry(part.key).or_default().1.push(part.stretch);
        }
        for name in records.iter().flat_map(|record| &record.names) {
            if let Some((left, _)) = needless.get_mut(name) {
                *left += 1;
            }
        }
        let (moved, ready, compressed) = (Vec::new(), Vec::new(), Compressed::default());
        Sweep { store, named, records, blobs, sets, needless, moved, ready, compressed }
    }

    fn planned(&self) -> Compressed {
        let stretches = self.records.iter().map(|record| &record.stretch);
        let parts = self.needless.values().flat_map(|(_, stretches)| stretches);
        Compressed {
            results: self.records.iter().filter(|record| record.base.is_none()).count() as u64,
            from_bytes: stretches.chain(parts).map(Stretch::bytes).sum(),
            to_bytes: 0,
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(usize, usize)) -> Result<(), StoreError> {
        let records = std::mem::take(&mut self.records);
        let total = records.len();
        for (done, record) in records.iter().enumerate() {
            progress(total + done, 2 * total);
            // A delta goes with the record that tells it. What cannot be compressed stays, with all that it needs.
            if record.base.is_some() || self.compress(record.stretch.place)? {
                self.is_ready(record);
            }
            if self.ready.iter().map(Stretch::bytes).sum::<u64>() >= BATCH_BYTES {
                self.give_back()?;
            }
        }
        Ok(())
    }

    /// Appends a result compressed, and its path sets; false if it is damaged, or no longer there.
    fn compress(&mut self, place: Place) -> Result<bool, StoreError> {
        let store = self.store;
        let Some(segment) = store.map_segment(place.seq) else { return Ok(false) };
        let Some(entry) = segment.entry(place) else { return Ok(false) };
        let Some(draft) = store.draft_of(&entry) else { return Ok(false) };
        let mut export = Vec::new();
        let find = |digest: &[u8; 32]| self.blobs.get(digest).copied();
        if !matches!(export_record(store, (place, &entry), &draft, &find, &mut export), Ok(true)) {
            return Ok(false);
        }
        let says_it = |other: Entry<'_>| other.header.identity == entry.header.identity;
        if !store.compressed(&draft.result_key).into_iter().any(says_it) {
            let Some(bytes) = store.put_compressed(&entry.header, &export)? else {
                return Ok(false);
            };
            self.compressed.to_bytes += bytes;
            fault::point("compressing: result appended");
        }
        self.compressed.results += 1;
        let (set, _) = PathSet::of(&draft, |variable| variable.value);
        for place in self.sets.remove(set.own_key()).unwrap_or_default() {
            self.compress_set(place)?;
        }
        Ok(true)
    }

    fn compress_set(&mut self, place: Place) -> Result<(), StoreError> {
        let segment = self.store.map_segment(place.seq);
        let Some(entry) = segment.as_ref().and_then(|segment| segment.entry(place)) else {
            return Ok(());
        };
        let Some(set) = PathSet::read(&entry) else { return Ok(()) };
        let (copy, bytes) = self.store.append_compressed_set(&entry.header, &set.encode())?;
        self.compressed.to_bytes += bytes;
        fault::point("compressing: path set appended");
        self.moved.push((place, copy));
        self.ready.push(Stretch::of(place, &entry.header));
        Ok(())
    }

    /// Notes what of a record is to be given back.
    fn is_ready(&mut self, record: &RecordFound) {
        self.ready.push(record.stretch);
        for name in &record.names {
            if let Some((left, stretches)) = self.needless.get_mut(name) {
                *left -= 1;
                if *left == 0 {
                    self.ready.append(stretches);
                }
            }
        }
    }

    /// Lets words lead to what is compressed, and gives back what stands in two places.
    fn give_back(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let _locks = store.lock_for_discarding()?;
        for (old, new) in self.moved.drain(..) {
            let from = self.named.partition_point(|named| named.place < old);
            let words = self.named[from..].iter().take_while(|named| named.place == old);
            let words: Vec<_> = words.map(|named| (named.at, named.word)).collect();
            store.move_entry(&words, new);
            fault::point("compressing: path set moved");
        }
        self.compressed.from_bytes += self.ready.iter().map(Stretch::bytes).sum::<u64>();
        store.drop_stretches(std::mem::take(&mut self.ready), &self.named)
    }
}
