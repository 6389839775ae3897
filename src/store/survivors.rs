//! What is copied out of a segment before that is evicted: what was used since it came there, and, within less, what may
//! have been used.
//!
//! An entry is copied first, then its words are changed one by one, each by compare-and-swap; then the segment goes. A
//! process that dies in between leaves copies or words too many, never a wrong one. Read next: `recency.rs`, `rotate.rs`.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use super::Store;
use super::append::NewEntry;
use super::decode::decode_record;
use super::draft::blobs_of;
use super::recency::{Use, Used};
use super::walk::body_of;
use crate::error::StoreError;
use crate::index;
use crate::os::map::FileMap;
use crate::shm::fault;
use crate::shm::layout::{
    INDEX_WORDS_OFFSET, Kind, SEGMENT_BYTES, SEGMENT_BYTES_MIN, SegmentHeader,
};
use crate::shm::segments::{Entry, Place};
use crate::shm::words::{Words, WordsMut};

/// How many times the longest segment may be copied, of what was used, while one process evicts.
const USED_SEGMENTS: u64 = 4;
/// An entry that is a larger part of the longest segment is the result of a link, or the like: it survives least. A few of them
/// fill each segment that others leave.
pub(super) const ENTRY_PART: u64 = 4;
/// What part of a segment is copied of what may have been used.
const UNKNOWN_PART: u64 = 4;

/// One eviction, of one segment or several.
pub(super) struct Pass {
    used: Used,
    /// How much may still be copied.
    left_bytes: u64,
    /// The largest entry that is copied.
    entry_bytes_max: u64,
    /// The newest segment when it began: later ones hold what it has copied.
    pub(super) newest: u64,
}

/// An entry and the words that lead to it.
struct Survivor {
    last: Use,
    place: Place,
    bytes: u64,
    kind: Option<Kind>,
    /// Which words of the index, and their values.
    words: Vec<(usize, u64)>,
}

impl Pass {
    pub(super) fn new(used: Used, segment_bytes_max: u64, newest: u64) -> Pass {
        Pass {
            used,
            left_bytes: USED_SEGMENTS * segment_bytes_max,
            entry_bytes_max: segment_bytes_max / ENTRY_PART,
            newest,
        }
    }

    /// Of all that a segment has, what is to be copied: what was used last first.
    fn choose(&mut self, mut found: Vec<Survivor>, disk_bytes: u64) -> Vec<Survivor> {
        found.sort_by(|a, b| b.last.cmp(&a.last).then(b.place.cmp(&a.place)));
        let mut unknown_bytes = disk_bytes.max(SEGMENT_BYTES_MIN) / UNKNOWN_PART;
        found.retain(|survivor| {
            let is_chosen = survivor.bytes <= self.entry_bytes_max
                && match survivor.last {
                    Use::At(_) => survivor.bytes <= self.left_bytes,
                    Use::Unknown => survivor.bytes <= unknown_bytes.min(self.left_bytes),
                    Use::Not => false,
                };
            if is_chosen {
                self.left_bytes -= survivor.bytes;
                if survivor.last == Use::Unknown {
                    unknown_bytes -= survivor.bytes;
                }
            }
            is_chosen
        });
        // Blobs before the records that name them.
        found.sort_by_key(|survivor| (survivor.kind == Some(Kind::Record), survivor.place));
        found
    }
}

impl Store {
    /// Copies out of segment `seq` what is to survive it. What fails is lost with the segment.
    pub(super) fn save_survivors(&self, seq: u64, disk_bytes: u64, pass: &mut Pass) {
        let Some((file, bytes)) = self.open_segment(seq) else { return };
        let len = usize::try_from(bytes).unwrap_or(usize::MAX);
        // What is larger than a segment is the result of a link, or the like: it survives least.
        if bytes > SEGMENT_BYTES {
            return;
        }
        let Ok(map) = FileMap::new(file.as_fd(), len) else { return };
        let Some(header) = map.get::<SegmentHeader>(0) else { return };
        let uuid = self.cache.index.header().uuid;
        let found = self.live_entries(seq).into_iter().filter_map(|(place, words)| {
            let entry = Entry::find(&map, place, &uuid)?;
            // What a delta saves is less than it costs to tell it anew.
            (entry.header.kind() != Some(Kind::Delta)).then_some(())?;
            let last = pass.used.of(&entry.header, header.made_s);
            let bytes = entry.header.body_bytes;
            Some(Survivor { last, place, bytes, kind: entry.header.kind(), words })
        });
        let found: Vec<_> = found.collect();
        for survivor in pass.choose(found, disk_bytes) {
            let Some(entry) = Entry::find(&map, survivor.place, &uuid) else { continue };
            if let Ok(place) = self.copy_forward(&entry) {
                fault::point("survivor: copied");
                self.move_entry(&survivor.words, place);
            }
        }
    }

    /// The entries of a segment that words lead to, each with its words.
    pub(super) fn live_entries(&self, seq: u64) -> BTreeMap<Place, Vec<(usize, u64)>> {
        let (words, window) = (self.cache.index.words(), self.window());
        let mut found: BTreeMap<Place, Vec<(usize, u64)>> = BTreeMap::new();
        for at in 0..words.len() {
            let word = words.load(at);
            if let Some(place) = index::place_of(word, window).filter(|place| place.seq == seq) {
                found.entry(place).or_default().push((at, word));
            }
        }
        words.acquire();
        found
    }

    /// Appends an entry anew, if it is whole; a record names its blobs where they are now.
    fn copy_forward(&self, entry: &Entry<'_>) -> Result<Place, StoreError> {
        let damaged = || StoreError::Corrupt(self.segment_path(0));
        let header = entry.header;
        let body = body_of(entry).ok_or_else(damaged)?;
        if header.kind() == Some(Kind::Record) {
            let mut draft = decode_record(&header, &body).ok_or_else(damaged)?;
            let whole = blobs_of(&draft)
                .all(|blob| blob.len_bytes == 0 || self.cache.find_blob(&blob.digest).is_some());
            if !whole {
                return Err(damaged());
            }
            let named = draft.outputs.iter_mut().map(|output| &mut output.blob);
            for blob in named.chain(&mut draft.stdout).chain(&mut draft.stderr) {
                if let Some(place) = self.cache.find_blob(&blob.digest) {
                    blob.set_place(place);
                }
            }
            return self.append_record(&draft, header.stored_s);
        }
        if xxhash_rust::xxh3::xxh3_128(&body).to_le_bytes() != header.sum {
            return Err(damaged());
        }
        self.append(&NewEntry::of(&header, &[&body]).ok_or_else(damaged)?)
    }

    /// Lets words that lead to an entry lead to its copy; one that has changed meanwhile stays.
    pub(super) fn move_entry(&self, old: &[(usize, u64)], place: Place) {
        let Ok(index) = self.index() else { return };
        let Some(words) = index.words_mut(INDEX_WORDS_OFFSET, self.word_count()) else { return };
        for (at, word) in old {
            if self.populate_word(*at).is_ok() {
                words.replace(*at, *word, index::moved(*word, place));
            }
        }
    }
}
