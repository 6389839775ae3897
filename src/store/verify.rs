//! Reads every byte that the index leads to, says what is damaged, and on request drops it.
//!
//! Nothing is mended by guessing: what is damaged cannot be found afterwards, and so is a miss. A word whose segment was
//! evicted, a record whose blob has gone and a hole that nobody names are no damage. Read next: `walk.rs`.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::compressed;
use super::draft::{Draft, blobs_of};
use super::path_set::PathSet;
use super::walk::{Named, Segment};
use super::{Store, Terms};
use crate::error::StoreError;
use crate::index::{self, Index};
use crate::outcome::InternalError;
use crate::record::BlobRef;
use crate::record::stored::{arena_bytes, base_place, cold_part, hot_part};
use crate::shm::layout::{DIRECTORY, INDEX_WORDS_OFFSET, Kind, segment_name};
use crate::shm::raw;
use crate::shm::segments::{Entry, Place};
use crate::shm::words::WordsMut;

/// How much of a body is read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Whole records.
    pub records: u64,
    /// Whole blobs.
    pub blobs: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Words and blobs whose record or segment was removed: misses, and no damage.
    pub misses: u64,
    /// What is damaged, in the order of the places.
    pub damage: Vec<Damage>,
}

/// A damaged thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// Where it stands; the beginning of a segment stands for the whole of it, segment 0 for the index.
    pub place: Place,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The index: its header or its length.
    Index,
    /// A segment: its header or its length.
    Segment,
    /// No whole entry stands where the index says.
    Entry,
    /// A word leads to the entry of another key.
    Stray,
    /// A record's bytes are not those that were written.
    Record,
    /// A blob's bytes are not those that were written.
    Blob,
    /// A record gives a blob that is damaged.
    Output,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = segment_name(self.place.seq);
        let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(&name));
        let at = self.place.offset();
        match self.fault {
            Fault::Index => write!(f, "index: its header or its length is wrong"),
            Fault::Segment => write!(f, "{name}: its header or its length is wrong"),
            Fault::Entry => write!(f, "{name} at {at}: no whole entry stands here"),
            Fault::Stray => write!(f, "{name} at {at}: a word of another key leads here"),
            Fault::Record => write!(f, "{name} at {at}: a record's bytes are damaged"),
            Fault::Blob => write!(f, "{name} at {at}: a blob's bytes are damaged"),
            Fault::Output => write!(f, "{name} at {at}: a record gives a blob that is damaged"),
        }
    }
}

/// Checks the cache in `directory` (`IBID_DIR`), and with `repair` drops what is damaged. `progress` is called with how many of
/// how many words have been followed.
pub fn verify(
    directory: &Path,
    terms: impl Into<Terms>,
    repair: bool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<VerifyReport, StoreError> {
    let inside = directory.join(DIRECTORY);
    let path = inside.join("index");
    let terms = terms.into();
    if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(VerifyReport::default());
    }
    let is_whole = raw::open_directory(&super::c_path(&inside)?)
        .is_ok_and(|handle| Index::open(raw::AsFd::as_fd(&handle)).is_some());
    if !is_whole {
        if repair {
            Store::open(directory, terms)?;
        }
        let damage = Damage { place: Place { seq: 0, unit: 0 }, fault: Fault::Index };
        return Ok(VerifyReport { damage: vec![damage], ..VerifyReport::default() });
    }
    let store = Store::open(directory, terms)?;
    let mut verifier = Verifier::new(&store);
    verifier.follow_words(progress);
    verifier.follow_references();
    if repair {
        verifier.drop_damaged()?;
    }
    let mut report = verifier.report;
    report.damage.sort_unstable();
    report.damage.dedup();
    Ok(report)
}

struct Verifier<'s> {
    store: &'s Store,
    /// All words that lead into a segment that is there, by place.
    named: Vec<Named>,
    /// Those of them to be dropped.
    dropped: BTreeSet<usize>,
    segments_dropped: Vec<u64>,
    /// What is known of blobs.
    is_whole: HashMap<Place, bool>,
    by_digest: HashMap<[u8; 32], Place>,
    references: Vec<Reference>,
    report: VerifyReport,
}

/// A blob, as a record names it.
struct Reference {
    blob: BlobRef,
    record: Place,
    /// The record's words, in `named`.
    words: Range<usize>,
}

impl Reference {
    fn hint(&self) -> Place {
        self.blob.place()
    }
}

impl<'s> Verifier<'s> {
    fn new(store: &'s Store) -> Verifier<'s> {
        let (named, dead) = store.named();
        Verifier {
            store,
            named,
            dropped: BTreeSet::new(),
            segments_dropped: Vec::new(),
            is_whole: HashMap::new(),
            by_digest: HashMap::new(),
            references: Vec::new(),
            report: VerifyReport { misses: dead, ..VerifyReport::default() },
        }
    }

    fn follow_words(&mut self, progress: &mut dyn FnMut(usize, usize)) {
        let store = self.store;
        let mut from = 0;
        while let Some(seq) = self.named.get(from).map(|named| named.place.seq) {
            let to = from + self.named[from..].partition_point(|named| named.place.seq == seq);
            if !store.segment_path(seq).exists() {
                self.report.misses += (to - from) as u64;
            } else if let Some(segment) = store.map_segment(seq) {
                while from < to {
                    let place = self.named[from].place;
                    let end = from + self.named[from..to].partition_point(|n| n.place == place);
                    self.check_entry(&segment, place, from..end);
                    from = end;
                    progress(from, self.named.len());
                }
            } else {
                self.segments_dropped.push(seq);
                self.damaged(Place { seq, unit: 0 }, Fault::Segment, from..to);
            }
            from = to;
            progress(from, self.named.len());
        }
    }

    fn damaged(&mut self, place: Place, fault: Fault, words: Range<usize>) {
        self.report.damage.push(Damage { place, fault });
        self.dropped.extend(words);
    }

    fn check_entry(&mut self, segment: &Segment, place: Place, words: Range<usize>) {
        let Some(entry) = segment.entry(place) else {
            return self.damaged(place, Fault::Entry, words);
        };
        let (first, second) = entry.header.key.split_at(16);
        let count = self.store.word_count();
        let is_record = entry.header.kind() == Some(Kind::Record);
        for at in words.clone() {
            let Named { at: slot, word, .. } = self.named[at];
            let is_of =
                |key: &[u8]| key.try_into().is_ok_and(|key| index::belongs(slot, word, key, count));
            if !(is_of(first) || is_record && is_of(second)) {
                self.damaged(place, Fault::Stray, at..at + 1);
            }
        }
        self.report.bytes += entry.header.body_bytes;
        match entry.header.kind() {
            None => self.damaged(place, Fault::Entry, words),
            Some(Kind::Record | Kind::Delta) => self.check_record(&entry, place, words),
            Some(Kind::Compressed) => {
                if compressed::draft(&entry).is_some() {
                    self.report.records += 1;
                } else {
                    self.damaged(place, Fault::Record, words);
                }
            }
            Some(Kind::PathSet | Kind::CompressedSet) => {
                if PathSet::read(&entry).is_none() {
                    self.damaged(place, Fault::Record, words);
                }
            }
            // Its header, which was checked, is all of it.
            Some(Kind::Fingerprint) => {}
            Some(Kind::Blob) => {
                self.by_digest.insert(entry.header.key, place);
                if self.check_blob(&entry, place) {
                    self.report.blobs += 1;
                } else {
                    self.damaged(place, Fault::Blob, words);
                }
            }
        }
    }

    /// A delta of a record that was evicted is no damage: it is not found.
    fn check_record(&mut self, entry: &Entry<'_>, place: Place, words: Range<usize>) {
        let window = self.store.window();
        match self.store.draft_of(entry) {
            Some(draft) => {
                self.report.records += 1;
                let reference = |blob| Reference { blob, record: place, words: words.clone() };
                self.references.extend(blobs_of(&draft).map(reference));
            }
            None if base_place(entry).is_some_and(|base| base.seq < window.oldest) => {
                self.report.misses += 1;
            }
            None => self.damaged(place, Fault::Record, words),
        }
    }

    fn check_blob(&mut self, entry: &Entry<'_>, place: Place) -> bool {
        let is_whole = blob_is_whole(entry);
        self.is_whole.insert(place, is_whole);
        is_whole
    }

    /// Follows the records' own hints: a blob may have lost its word to others and be found all the same.
    fn follow_references(&mut self) {
        let mut references = std::mem::take(&mut self.references);
        references.sort_unstable_by_key(Reference::hint);
        for of_one in references.chunk_by(|a, b| a.hint().seq == b.hint().seq) {
            let segment = self.store.map_segment(of_one[0].hint().seq);
            for reference in of_one {
                match self.check_reference(reference, segment.as_ref()) {
                    Some(true) => {}
                    Some(false) => {
                        self.damaged(reference.record, Fault::Output, reference.words.clone());
                    }
                    None => self.report.misses += 1,
                }
            }
        }
    }

    /// Whether the blob is whole; `None` if it has gone.
    fn check_reference(
        &mut self,
        reference: &Reference,
        segment: Option<&Segment>,
    ) -> Option<bool> {
        let (blob, hint) = (&reference.blob, reference.hint());
        let is_it = |entry: &Entry<'_>| {
            entry.header.kind() == Some(Kind::Blob)
                && entry.header.key == blob.digest
                && entry.header.body_bytes == blob.len_bytes
        };
        if let Some(entry) = segment.and_then(|segment| segment.entry(hint)).filter(is_it) {
            let known = self.is_whole.get(&hint).copied();
            let is_whole = known.unwrap_or_else(|| self.check_blob(&entry, hint));
            return Some(is_whole && entry.header.sum == blob.sum);
        }
        let elsewhere = self.by_digest.get(&blob.digest).and_then(|place| self.is_whole.get(place));
        if let Some(is_whole) = elsewhere {
            return Some(*is_whole);
        }
        // The segment is there, but not the blob that was put into it before the record was.
        let is_there = hint.seq >= self.store.window().oldest && segment.is_some();
        is_there.then_some(false)
    }

    fn drop_damaged(&mut self) -> Result<(), StoreError> {
        let index = self.store.index.as_ref();
        let Some(words) =
            index.and_then(|index| index.words_mut(INDEX_WORDS_OFFSET, self.store.word_count()))
        else {
            return Ok(());
        };
        for named in self.dropped.iter().map(|at| self.named[*at]) {
            self.store.populate_word(named.at)?;
            words.replace(named.at, named.word, 0);
        }
        for path in self.segments_dropped.iter().map(|seq| self.store.segment_path(*seq)) {
            let gone = super::files::remove(&path);
            gone.map_err(StoreError::io("cannot remove", &path, InternalError::Segment))?;
        }
        Ok(())
    }
}

/// Whether a blob's bytes are those that its digest and its sum were made of.
pub(super) fn blob_is_whole(entry: &Entry<'_>) -> bool {
    let (mut sum, mut digest) = (Xxh3::new(), blake3::Hasher::new());
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < entry.header.body_bytes {
        let left = usize::try_from(entry.header.body_bytes - at).unwrap_or(usize::MAX);
        let part = &mut chunk[..CHUNK_BYTES.min(left)];
        if entry.copy_out(at, part).is_none() {
            return false;
        }
        sum.update(part);
        digest.update(part);
        at += part.len() as u64;
    }
    sum.digest128().to_le_bytes() == entry.header.sum
        && *digest.finalize().as_bytes() == entry.header.key
}

impl Store {
    /// The record of an entry, also one that is told by another record; `None` if one of them is damaged or not there.
    pub fn draft_of(&self, entry: &Entry<'_>) -> Option<Draft> {
        if entry.header.kind() == Some(Kind::Compressed) {
            return compressed::draft(entry);
        }
        // A walk through all entries comes to more segments than a process keeps.
        let segments = &self.cache.segments.anew()?;
        let mut arena = vec![0; arena_bytes(segments, entry)?];
        let (record, rest) = hot_part(segments, entry, &mut arena)?;
        let (cold, _) = cold_part(segments, entry, &record, rest)?;
        Draft::decode(&record, &cold, &entry.header.key)
    }
}
