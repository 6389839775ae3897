//! The std side of the store: create, append, publish, digests; all that a hit does not need.
//!
//! It does not know what a compiler is. Failing is always allowed: the caller goes on without a cache.
//! Read next: `create.rs`, `append.rs`, `draft.rs`, `docs/store.md`.

use std::cell::Cell;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::{Config, Share};
use crate::error::StoreError;
use crate::index::cache::{Cache, index_key_of_blob};
use crate::index::{self, Window};
use crate::os::map::FileMapMut;
use crate::outcome::InternalError;
use crate::record::BlobRef;
use crate::shm::access::Access;
use crate::shm::counters::Counter;
use crate::shm::fault;
use crate::shm::layout::{DIRECTORY, INDEX_WORDS_OFFSET, Kind, SEGMENT_BYTES};
use crate::shm::raw::{self, AsFd, Limited};
use crate::shm::segments::Place;

mod append;
pub mod audits;
mod beside;
pub mod compress;
mod compressed;
mod create;
mod decode;
mod delta;
pub mod digest;
pub mod discard;
pub mod draft;
pub mod export;
mod export_format;
mod export_reader;
mod files;
pub mod fingerprint;
pub mod gc;
pub mod import;
pub mod large;
pub mod layer;
pub mod path_set;
mod recency;
mod rotate;
pub mod running;
mod space;
mod survivors;
mod tail;
pub mod verdicts;
pub mod verify;
mod walk;

use append::{NewEntry, now_s};
use draft::Draft;

/// The default of `IBID_MAX_SIZE`.
pub const MAX_BYTES_DEFAULT: u64 = 10 << 30;

/// What the user says of a cache.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// What it may hold.
    pub max_bytes: u64,
    /// Whether it may be one that the members of a group share.
    pub by_group: bool,
}

/// So many bytes for the user alone.
impl From<u64> for Terms {
    fn from(max_bytes: u64) -> Terms {
        Terms { max_bytes, by_group: false }
    }
}

impl From<&Config> for Terms {
    fn from(config: &Config) -> Terms {
        Terms { max_bytes: config.max_size_bytes, by_group: config.share == Share::Group }
    }
}

/// A cache, opened for reading and appending.
#[derive(Debug)]
pub struct Store {
    /// The reading side.
    pub cache: Cache,
    directory: PathBuf,
    /// For writing; `None` where the cache can only be read.
    index: Option<FileMapMut>,
    /// Device and inode of the index.
    index_file: (u64, u64),
    max_bytes: u64,
    /// Whether the epoch was found to be this boot's: it cannot change while this process lives.
    has_epoch: Cell<bool>,
    /// Whether this process has begun a segment.
    has_rotated: Cell<bool>,
    /// Whether this process has come to a bucket of the index that is full.
    is_crowded: Cell<bool>,
    /// Whether this process evicts now: what it stores then evicts nothing.
    is_evicting: Cell<bool>,
}

impl Store {
    /// Opens the cache in `directory` (`IBID_DIR`); what is missing or damaged is made anew.
    pub fn open(directory: &Path, terms: impl Into<Terms>) -> Result<Store, StoreError> {
        let Terms { max_bytes, by_group } = terms.into();
        limits()?;
        let inside = directory.join(DIRECTORY);
        let access = create::directories(directory, &inside, by_group)?;
        create::file_system(&inside)?;
        let path = c_path(&inside)?;
        let handle = || raw::open_directory(&path);
        let opened = handle().ok().and_then(|directory| Cache::open_at(directory, access));
        let cache = match opened {
            Some(cache) => cache,
            None => create::cache(&inside, access)?,
        };
        let index_path = inside.join("index");
        let failed = |source: io::Error| StoreError::Io {
            what: "cannot map",
            path: index_path.clone(),
            source,
            counted: InternalError::Index,
        };
        let refused = |errno: raw::Errno| failed(errno.into());
        let directory = cache.segments.directory();
        let (file, is_read_only) = match raw::open_read_write_at(directory, index::NAME) {
            Err(error) if raw::is_refusal(error) => {
                (raw::open_read_at(directory, index::NAME).map_err(refused)?, true)
            }
            opened => (opened.map_err(refused)?, false),
        };
        let state = raw::stat_fd(file.as_fd()).map_err(refused)?.stat;
        let len = state.size;
        let index_file = (state.dev, state.ino);
        if !index::is_trusted(cache.index.header(), len) {
            return Err(StoreError::Corrupt(index_path));
        }
        let map = || FileMapMut::new(file.as_fd(), usize::try_from(len).unwrap_or(usize::MAX));
        let index = if is_read_only { None } else { Some(map().map_err(failed)?) };
        Ok(Store {
            cache,
            directory: inside,
            index,
            index_file,
            max_bytes,
            has_epoch: Cell::new(false),
            has_rotated: Cell::new(false),
            is_crowded: Cell::new(false),
            is_evicting: Cell::new(false),
        })
    }

    /// Opens the cache that the user has configured.
    pub fn open_configured(config: &Config) -> Result<Store, StoreError> {
        Store::open(config.cache_dir.as_deref().ok_or(StoreError::NoDirectory)?, config)
    }

    /// The directory of this layout, inside the cache directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the cache can only be read.
    pub fn is_read_only(&self) -> bool {
        self.index.is_none()
    }

    fn index(&self) -> Result<&FileMapMut, StoreError> {
        self.index.as_ref().ok_or(StoreError::ReadOnly)
    }

    /// Whether the volatile segment is in shared memory, and not in the file that stands in for it.
    pub fn is_volatile_in_memory(&self) -> bool {
        create::shared_memory_path(self.cache.index.header()).exists()
    }

    /// Which segments are there now.
    pub fn window(&self) -> Window {
        self.cache.index.window()
    }

    /// Counts something.
    pub fn count(&self, counter: Counter) {
        self.cache.volatile.add(counter, 1);
    }

    /// Counts something of ours that did not work.
    pub fn count_error(&self, error: InternalError) {
        self.count(Counter::internal_error(error as usize));
    }

    /// Stores bytes once; gives the name by which a record refers to them.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobRef, StoreError> {
        let mut blob = name_blob(bytes);
        if bytes.is_empty() {
            return Ok(blob);
        }
        self.once(&mut blob, |blob| self.append(&NewEntry::blob(blob, &[bytes])))?;
        Ok(blob)
    }

    /// The bytes of a blob; `None` if it is gone or damaged.
    pub fn read_blob(&self, blob: &BlobRef) -> Option<Vec<u8>> {
        let entry = self.cache.segments.entry(self.cache.find_blob(&blob.digest)?)?;
        let bytes = walk::body_of(&entry)?;
        (*blake3::hash(&bytes).as_bytes() == blob.digest).then_some(bytes)
    }

    /// Sets a blob's hint: to where it stands already, or to where `append` puts it.
    fn once(
        &self,
        blob: &mut BlobRef,
        append: impl FnOnce(&BlobRef) -> Result<Place, StoreError>,
    ) -> Result<(), StoreError> {
        let place = if let Some(place) = self.find_whole(blob) {
            place
        } else {
            let place = append(blob)?;
            self.publish_blob(blob, place)?;
            place
        };
        blob.set_place(place);
        Ok(())
    }

    /// Where a blob stands already. What is there but damaged does not count: it is stored anew, or no result that
    /// needs it could be a hit again.
    fn find_whole(&self, blob: &BlobRef) -> Option<Place> {
        let place = self.cache.find_blob(&blob.digest)?;
        let entry = self.cache.segments.entry(place)?;
        (entry.header.sum == blob.sum && entry.body_sum() == Some(blob.sum)).then_some(place)
    }

    fn publish_blob(&self, blob: &BlobRef, place: Place) -> Result<(), StoreError> {
        let is_same = |old| {
            let old = self.cache.segments.entry(old);
            old.is_some_and(|old| old.header.key == blob.digest)
        };
        self.publish(&index_key_of_blob(&blob.digest), place, is_same)
    }

    /// Stores a record under both of its keys; where it stands.
    pub fn put_record(&self, draft: &Draft) -> Result<Place, StoreError> {
        let place = self.append_record(draft, now_s())?;
        self.publish_by_content(draft, place)?;
        self.publish_directly(draft, place)?;
        Ok(place)
    }

    fn publish_directly(&self, draft: &Draft, place: Place) -> Result<(), StoreError> {
        let (identity, circumstances) = (draft.identity(), draft.circumstances());
        self.publish(&draft.direct_key, place, |old| {
            self.cache.segments.entry(old).is_some_and(|old| {
                old.header.identity == identity && old.header.circumstances == circumstances
            })
        })
    }

    /// Appends a record that was stored first at `stored_s`.
    fn append_record(&self, draft: &Draft, stored_s: u32) -> Result<Place, StoreError> {
        let encoded = draft.encode();
        self.append(&NewEntry {
            kind: Kind::Record,
            key: draft.keys(),
            // A longer one is refused.
            hot_bytes: u32::try_from(encoded.hot.len()).unwrap_or(u32::MAX),
            stored_s,
            sum: xxhash_rust::xxh3::xxh3_128(&encoded.hot).to_le_bytes(),
            identity: draft.identity(),
            circumstances: draft.circumstances(),
            body: &[&encoded.hot, &encoded.cold],
        })
    }

    fn publish_by_content(&self, draft: &Draft, place: Place) -> Result<(), StoreError> {
        let identity = draft.identity();
        self.publish(&draft.result_key, place, |old| {
            let old = self.cache.segments.entry(old);
            old.is_some_and(|old| old.header.identity == identity)
        })
    }

    fn publish(
        &self,
        key: &[u8; 16],
        place: Place,
        supersedes: impl Fn(Place) -> bool,
    ) -> Result<(), StoreError> {
        if !self.is_current() {
            // A larger one has taken its place, which leads to the same segments; or the cache is gone.
            let uuid = self.cache.index.header().uuid;
            let is_there = self.directory.join("index").exists();
            let current = is_there.then(|| self.reopened()).transpose()?;
            let current = current.filter(|other| other.cache.index.header().uuid == uuid);
            return current.map_or(Ok(()), |other| other.publish_here(key, place, supersedes));
        }
        self.publish_here(key, place, supersedes)
    }

    /// The same cache, opened anew.
    fn reopened(&self) -> Result<Store, StoreError> {
        let by_group = self.cache.access != Access::Own;
        Store::open(self.outer(), Terms { max_bytes: self.max_bytes, by_group })
    }

    fn publish_here(
        &self,
        key: &[u8; 16],
        place: Place,
        supersedes: impl Fn(Place) -> bool,
    ) -> Result<(), StoreError> {
        let count = self.word_count();
        let words = self
            .index()?
            .words_mut(INDEX_WORDS_OFFSET, count)
            .ok_or_else(|| StoreError::Corrupt(self.directory.join("index")))?;
        self.populate_word(index::first_word(key, count))?;
        fault::point("publishing: page there to be written");
        // A lost race is no error: the entry is there for the next process that publishes.
        index::publish(words, key, place, self.window(), supersedes);
        if index::is_full(words, key, self.window()) {
            self.is_crowded.set(true);
        }
        Ok(())
    }

    fn word_count(&self) -> usize {
        index::word_count(self.cache.index.header())
    }

    /// Makes sure that a word of the index can be written without a fault.
    fn populate_word(&self, at: usize) -> Result<(), StoreError> {
        let failed = StoreError::io("cannot write", &self.directory, InternalError::Index);
        self.index()?.populate(INDEX_WORDS_OFFSET + at * 8).map_err(failed)
    }

    /// What is done at the end of a process that stores: what the events of hits say is kept, if there are many. Where it has
    /// begun a segment, or come to a full bucket, the index is made larger if too much of it is taken; then nothing is stored
    /// by way of this value. Whether it is time for [`Store::compress`], in a process that nobody waits for.
    pub fn settle(&self) -> bool {
        if self.is_read_only() {
            return false;
        }
        self.gather_use_if_due();
        if self.has_rotated.get() || self.is_crowded.get() {
            let _ = self.grow_index(0, false, &mut |_, _| {});
        }
        self.has_rotated.get() && self.compression_is_due()
    }

    /// Forgets all that is stored; counters stay. Processes that read it now keep what they have mapped.
    pub fn clear(self) -> Result<(), StoreError> {
        create::clear(&self.directory)
    }
}

/// The name that bytes have as a blob, wherever it stands.
pub fn name_blob(bytes: &[u8]) -> BlobRef {
    BlobRef {
        digest: *blake3::hash(bytes).as_bytes(),
        sum: xxhash_rust::xxh3::xxh3_128(bytes).to_le_bytes(),
        len_bytes: bytes.len() as u64,
        hint: 0,
    }
}

/// Less memory than this is too little for a miss: records and text are read into some 50 MiB, and a segment is mapped.
const MEMORY_BYTES_MIN: u64 = 512 << 20;

/// Whether this process may do what a miss does: past a limit it would be killed, or an allocation would fail.
fn limits() -> Result<(), StoreError> {
    // The log of the observer is as long as a segment.
    if raw::limit(Limited::FileBytes) < SEGMENT_BYTES {
        return Err(StoreError::FileSizeLimit);
    }
    if raw::limit(Limited::DataBytes).min(raw::limit(Limited::AddressBytes)) < MEMORY_BYTES_MIN {
        return Err(StoreError::MemoryLimit);
    }
    Ok(())
}

/// A path as the kernel takes it.
fn c_path(path: &Path) -> Result<CString, StoreError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| StoreError::Corrupt(path.to_path_buf()))
}

#[cfg(test)]
mod tests;
