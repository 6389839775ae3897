//! Tidies a cache up: evicts by size and by age, makes the index larger, removes what nobody will use again.
//!
//! All of it may be left undone, or be cut short: what remains is a cache that works. Read next: `rotate.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::walk::Named;
use super::{Store, create, files};
use crate::error::StoreError;
use crate::index::{self, belongs};
use crate::shm::fault;
use crate::shm::layout::{BUCKET_WORDS, DIRECTORY, IndexHeader};
use crate::shm::words::{Ordering::Relaxed, Word};

/// The age from which a temporary file belongs to no running process.
const TEMPORARY_AGE: Duration = Duration::from_hours(1);
/// After what time the directory of another layout is no longer used.
const LAYOUT_AGE: Duration = Duration::from_hours(30 * 24);

/// What is wanted of a cache.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What it may hold.
    pub max_bytes: u64,
    /// Segments to which nothing was added for so long go.
    pub max_age: Option<Duration>,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Segments that were removed.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
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
    let mut collected = Collected {
        temporaries: count_removed(&temporaries(store.directory()), remove_temporary),
        layouts: count_removed(&other_layouts(directory), remove_layout),
        ..Collected::default()
    };
    let first = store.first_to_keep(wanted);
    store.raise_oldest(first);
    let segments = files::segments(store.directory());
    let gone: Vec<_> = segments.into_iter().filter(|(seq, _)| *seq < first).collect();
    for (done, (seq, bytes)) in gone.iter().enumerate() {
        if fs::remove_file(store.segment_path(*seq)).is_ok() {
            fault::point("collection: segment removed");
            collected.segments += 1;
            collected.bytes += bytes;
        }
        progress(done + 1, gone.len());
    }
    collected.index_grew = store.grow_index(wanted.max_bytes, progress)?;
    create::sweep_shared_memory();
    Ok(collected)
}

impl Store {
    /// The lowest segment that is neither too old nor too much.
    fn first_to_keep(&self, wanted: Wanted) -> u64 {
        let newest = self.window().newest;
        let by_size = self.first_to_stay(wanted.max_bytes, newest);
        let is_young = |seq: u64| {
            let limit = wanted.max_age.and_then(|age| SystemTime::now().checked_sub(age));
            let changed = fs::metadata(self.segment_path(seq)).and_then(|state| state.modified());
            limit.is_none_or(|limit| changed.is_ok_and(|changed| changed >= limit))
        };
        let segments = files::segments(&self.directory);
        let young = segments.iter().map(|(seq, _)| *seq).find(|seq| is_young(*seq));
        by_size.max(young.unwrap_or(newest + 1)).max(self.window().oldest)
    }

    /// Makes a larger index if half of this one is taken, or if it is too small for so much; whether it did.
    fn grow_index(
        &self,
        max_bytes: u64,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<bool, StoreError> {
        let header = *self.cache.index.header();
        let _lock = files::lock(&self.directory, "lock", true)?;
        fault::point("growth: locked");
        if !self.is_current() {
            return Ok(false);
        }
        let (named, _) = self.named();
        let wanted = create::buckets(max_bytes, 2 * named.len() as u64);
        if wanted <= header.buckets {
            return Ok(false);
        }
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
    let is_layout = |name: &str| {
        let mut parts = name.split('-');
        let format = parts.next().and_then(|part| part.strip_prefix('v'));
        format.is_some_and(|format| format.parse::<u32>().is_ok())
            && parts.count() == 2
            && name != DIRECTORY
    };
    // Without an index one is being made, or somebody died while it was removed.
    let unused = |path: &Path| unused_for(&path.join("index")).or_else(|| unused_for(path));
    let is_old = |path: &PathBuf| unused(path).is_some_and(|age| age > LAYOUT_AGE);
    named(directory, is_layout).filter(is_old).collect()
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
