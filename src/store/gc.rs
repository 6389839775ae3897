//! Tidies a cache up: evicts by size and by age, makes the index larger, removes what nobody will use again.
//!
//! All of it may be left undone, or be cut short: what remains is a cache that works. Read next: `rotate.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::space::{SegmentFile, is_layout};
use super::walk::Named;
use super::{Store, create, files};
use crate::error::StoreError;
use crate::index::{self, belongs};
use crate::shm::fault;
use crate::shm::layout::{BUCKET_WORDS, DIRECTORY, IndexHeader, Kind};
use crate::shm::segments::Entry;
use crate::shm::words::{Ordering::Relaxed, Word};

/// The age from which a temporary file belongs to no running process.
const TEMPORARY_AGE: Duration = Duration::from_hours(1);
/// After what time the directory of another layout is no longer used.
const LAYOUT_AGE: Duration = Duration::from_hours(30 * 24);

/// How many words a larger index has for each one that is taken.
const GROWTH: u64 = 4;

/// What is wanted of a cache.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What it may hold.
    pub max_bytes: u64,
    /// Segments to which nothing was added for so long go.
    pub max_age: Option<Duration>,
    /// Nothing is removed, only counted. What would survive is counted as if it went.
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Segments that were removed.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Records in them that could be found.
    pub records: u64,
    /// How long the tools ran to make those.
    pub tool_us: u64,
    /// Temporary files that were left behind.
    pub temporaries: usize,
    /// Directories of other layouts.
    pub layouts: usize,
    /// The index was made larger.
    pub index_grew: bool,
}

/// Tidies the cache in `directory` (`IBID_DIR`) up. `progress` is called with how many of how many steps are done.
pub fn collect(
    directory: &Path,
    store: &Store,
    wanted: Wanted,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Collected, StoreError> {
    let mut collected = Collected::default();
    let (left, layouts) = (temporaries(store.directory()), other_layouts(directory));
    if wanted.dry_run {
        (collected.temporaries, collected.layouts) = (left.len(), layouts.len());
    } else {
        collected.temporaries = remove_temporaries(store.directory());
        collected.layouts = count_removed(&layouts, remove_layout);
    }
    let mut done = 0;
    let mut going = |segment: &SegmentFile| {
        done += 1;
        progress(done, done);
        collected.add(segment, store);
    };
    if wanted.dry_run {
        let space = store.space();
        let newest = store.window().newest;
        let by_size = space.excess(wanted.max_bytes, newest).first;
        let first = store.first_to_keep(wanted).max(by_size);
        space.own.iter().filter(|segment| segment.seq < first).for_each(going);
        return Ok(collected);
    }
    {
        let _lock = files::lock(store.directory(), "lock-evict", true)?;
        store.is_evicting.set(true);
        store.evict_to(wanted.max_bytes, &mut going);
        let first = store.first_to_keep(wanted);
        for segment in store.space().own.iter().filter(|segment| segment.seq < first) {
            going(segment);
            store.raise_oldest(segment.seq + 1);
            fs::remove_file(&segment.path).ok();
            fault::point("collection: segment removed");
        }
        store.is_evicting.set(false);
    }
    collected.index_grew = store.grow_index(0, true, progress)?;
    create::sweep_shared_memory();
    Ok(collected)
}

impl Collected {
    /// Adds a segment that is about to go.
    fn add(&mut self, segment: &SegmentFile, store: &Store) {
        self.segments += 1;
        self.bytes += segment.disk_bytes;
        let Some(mapped) = store.map_segment(segment.seq) else { return };
        for place in store.live_entries(segment.seq).into_keys() {
            let is_record = |entry: &Entry<'_>| {
                matches!(entry.header.kind(), Some(Kind::Record | Kind::Compressed))
            };
            let entry = mapped.entry(place).filter(is_record);
            let record = entry.and_then(|entry| store.draft_of(&entry));
            self.records += u64::from(record.is_some());
            self.tool_us += record.map_or(0, |record| record.tool_us);
        }
    }
}

impl Store {
    /// The lowest segment that is not too old.
    fn first_to_keep(&self, wanted: Wanted) -> u64 {
        let newest = self.window().newest;
        let is_young = |seq: u64| {
            let limit = wanted.max_age.and_then(|age| SystemTime::now().checked_sub(age));
            let changed = fs::metadata(self.segment_path(seq)).and_then(|state| state.modified());
            limit.is_none_or(|limit| changed.is_ok_and(|changed| changed >= limit))
        };
        let segments = files::segments(&self.directory);
        let young = segments.iter().map(|(seq, _)| *seq).find(|seq| is_young(*seq));
        young.unwrap_or(newest + 1).max(self.window().oldest)
    }

    /// Makes a larger index if, with so many words more, half of this one is taken, or a fourth where this process has come to
    /// a full bucket; whether it did. `waits` says whether another process that makes something is waited for.
    pub(super) fn grow_index(
        &self,
        more: u64,
        waits: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<bool, StoreError> {
        let header = *self.cache.index.header();
        if create::buckets(u64::MAX) <= header.buckets {
            return Ok(false);
        }
        let (named, _) = self.named();
        let taken = named.len() as u64 + more;
        let wanted = create::buckets(GROWTH * taken);
        let part = if self.is_crowded.get() { 4 } else { 2 };
        if part * taken <= self.word_count() as u64 || wanted <= header.buckets {
            return Ok(false);
        }
        let _lock = files::lock(&self.directory, "lock", waits)?;
        fault::point("growth: locked");
        if !self.is_current() {
            return Ok(false);
        }
        let (named, _) = self.named();
        let larger = IndexHeader { buckets: wanted, ..header }.sealed();
        create::successor(&self.directory, larger, self.window(), |words| {
            self.move_words(&named, index::word_count(&header), words, progress);
        })?;
        Ok(true)
    }

    /// Puts all words, of which there are `old` slots, to where they belong in a larger index.
    fn move_words(
        &self,
        all: &[Named],
        old: usize,
        words: &[Word],
        progress: &mut dyn FnMut(usize, usize),
    ) {
        let mut done = 0;
        for run in all.chunk_by(|a, b| a.place.seq == b.place.seq) {
            done += run.len();
            progress(done, all.len());
            let Some(segment) = self.map_segment(run[0].place.seq) else { continue };
            for named in run {
                let Some(entry) = segment.entry(named.place) else { continue };
                let (first, second) = entry.header.key.split_at(16);
                let keys = [first, second].into_iter().filter_map(|key| key.try_into().ok());
                for key in keys.filter(|key| belongs(named.at, named.word, key, old)).take(1) {
                    let from = index::first_word(&key, words.len());
                    let bucket = &words[from..from + BUCKET_WORDS];
                    if let Some(free) = bucket.iter().find(|word| word.load(Relaxed) == 0) {
                        free.store(named.word, Relaxed);
                    }
                }
            }
        }
    }
}

fn count_removed(paths: &[PathBuf], remove: fn(&Path) -> io::Result<()>) -> usize {
    paths.iter().filter(|path| remove(path).is_ok()).count()
}

/// Removes what processes that died were making; how many files that were.
pub(super) fn remove_temporaries(directory: &Path) -> usize {
    count_removed(&temporaries(directory), remove_temporary)
}

fn remove_temporary(path: &Path) -> io::Result<()> {
    files::remove(path).inspect(|()| fault::point("collection: temporary file removed"))
}

fn remove_layout(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        files::remove(&entry?.path())?;
        fault::point("collection: file of another layout removed");
    }
    fs::remove_dir(path).inspect(|()| fault::point("collection: other layout removed"))
}

fn temporaries(directory: &Path) -> Vec<PathBuf> {
    let is_old = |path: &PathBuf| unused_for(path).is_some_and(|age| age > TEMPORARY_AGE);
    named(directory, |name| name.starts_with("tmp-")).filter(is_old).collect()
}

fn other_layouts(directory: &Path) -> Vec<PathBuf> {
    let is_other = |name: &str| is_layout(name) && name != DIRECTORY;
    // Without an index one is being made, or somebody died while it was removed.
    let unused = |path: &Path| unused_for(&path.join("index")).or_else(|| unused_for(path));
    let is_old = |path: &PathBuf| unused(path).is_some_and(|age| age > LAYOUT_AGE);
    named(directory, is_other).filter(is_old).collect()
}

fn named(directory: &Path, fits: impl Fn(&str) -> bool) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(move |entry| entry.file_name().to_str().is_some_and(&fits))
        .map(|entry| entry.path())
}

/// How long ago a file was last written or read.
fn unused_for(path: &Path) -> Option<Duration> {
    let state = fs::symlink_metadata(path).ok()?;
    let used = state.modified().ok()?.max(state.accessed().ok()?);
    SystemTime::now().duration_since(used).ok()
}
