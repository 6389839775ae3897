//! An open cache: the index, the segments and the volatile segment together, for reading.
//!
//! It finds entries; it does not know what a record says. It trusts nothing that it finds.

use core::ffi::CStr;

use super::{Index, candidates};
use crate::shm::counters::Volatile;
use crate::shm::layout::{self, Kind};
use crate::shm::raw::{self, AsFd, OwnedFd};
use crate::shm::segments::{Entry, Place, Segments};

/// A cache, opened for reading.
#[derive(Debug)]
pub struct Cache {
    /// The index.
    pub index: Index,
    /// The segments.
    pub segments: Segments,
    /// Counters and hints.
    pub volatile: Volatile,
}

impl Cache {
    /// Opens the cache below `directory` (`IBID_DIR`); `None` if there is none that can be used as it is.
    pub fn open(directory: &CStr) -> Option<Cache> {
        Cache::open_at(open_layout_directory(directory)?)
    }

    /// Opens the cache in the directory of this layout.
    pub fn open_at(directory: OwnedFd) -> Option<Cache> {
        let index = Index::open(directory.as_fd())?;
        let volatile = open_volatile(directory.as_fd(), index.header())?;
        let segments = Segments::new(directory, index.header().uuid);
        Some(Cache { index, segments, volatile })
    }

    /// Where a blob with this digest stands, by the index.
    pub fn find_blob(&self, digest: &[u8; 32]) -> Option<Place> {
        let key = index_key_of_blob(digest);
        candidates(&self.index.words(), &key, self.index.window()).iter().find(|place| {
            self.segments
                .entry(*place)
                .is_some_and(|e| e.header.kind() == Some(Kind::Blob) && e.header.key == *digest)
        })
    }

    /// The records under an invocation key or a portable key, newest first.
    pub fn records<'c>(
        &'c self,
        key: &'c [u8; 16],
    ) -> impl Iterator<Item = (Place, Entry<'c>)> + 'c {
        let candidates = candidates(&self.index.words(), key, self.index.window());
        let mut at = 0;
        core::iter::from_fn(move || {
            loop {
                let place = candidates.iter().nth(at)?;
                at += 1;
                let Some(entry) = self.segments.entry(place) else { continue };
                let (invocation, portable) = entry.header.key.split_at(16);
                if entry.header.kind() == Some(Kind::Record)
                    && (key == invocation || key == portable)
                {
                    return Some((place, entry));
                }
            }
        })
    }
}

/// The index key of a blob: the first half of its digest.
pub fn index_key_of_blob(digest: &[u8; 32]) -> [u8; 16] {
    digest.first_chunk().copied().unwrap_or_default()
}

/// Opens the directory of this layout, which must be ours alone to write.
pub fn open_layout_directory(directory: &CStr) -> Option<OwnedFd> {
    let outer = raw::open_directory(directory).ok()?;
    let mut name = [0u8; 32];
    name.get_mut(..layout::DIRECTORY.len())?.copy_from_slice(layout::DIRECTORY.as_bytes());
    let inner =
        raw::open_directory_at(outer.as_fd(), CStr::from_bytes_until_nul(&name).ok()?).ok()?;
    for directory in [&outer, &inner] {
        let state = raw::stat_fd(directory.as_fd()).ok()?;
        if state.uid != raw::user() || state.mode & 0o022 != 0 {
            return None;
        }
    }
    Some(inner)
}

/// The name of the stand-in for the volatile segment where there is no shared memory: a file in the cache.
pub const VOLATILE_FILE: &CStr = c"volatile";
/// Where the kernel's shared memory objects have their names.
pub const SHARED_MEMORY: &CStr = c"/dev/shm";

/// Maps the volatile segment, or the file that stands in for it.
pub fn open_volatile(
    directory: raw::BorrowedFd<'_>,
    header: &layout::IndexHeader,
) -> Option<Volatile> {
    let name = CStr::from_bytes_until_nul(&header.volatile).ok()?;
    let shared = raw::open_directory(SHARED_MEMORY)
        .and_then(|memory| raw::open_read_write_at(memory.as_fd(), name))
        .and_then(|file| Volatile::open(file.as_fd(), &header.uuid));
    shared
        .or_else(|_| {
            raw::open_read_write_at(directory, VOLATILE_FILE)
                .and_then(|file| Volatile::open(file.as_fd(), &header.uuid))
        })
        .ok()
}
