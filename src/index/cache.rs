//! An open cache: the index, the segments and the volatile segment together, for reading.
//!
//! It finds entries; it does not know what a record says. It trusts nothing that it finds.

use core::ffi::CStr;

use super::{Index, candidates};
use crate::shm::access::Access;
use crate::shm::counters::Volatile;
use crate::shm::layout::{self, Kind};
use crate::shm::raw::{self, AsFd, Handle};
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
    /// Who may write it.
    pub access: Access,
}

impl Cache {
    /// Opens the cache below `directory` (`IBID_DIR`); `None` if there is none that can be used as it is. `by_group` says
    /// whether it may be one that the members of a group share.
    pub fn open(directory: &CStr, by_group: bool) -> Option<Cache> {
        let (directory, access) = open_layout_directory(directory, by_group)?;
        Cache::open_at(directory, access)
    }

    /// Opens the cache in the directory of this layout.
    pub fn open_at(directory: Handle, access: Access) -> Option<Cache> {
        let index = Index::open(directory.as_fd())?;
        let volatile = open_volatile(directory.as_fd(), index.header(), access)?;
        let segments = Segments::new(directory, index.header().uuid);
        Some(Cache { index, segments, volatile, access })
    }

    /// Opens a cache for reading alone: nothing is counted there.
    pub fn open_below(directory: Handle) -> Option<Cache> {
        let index = Index::open(directory.as_fd())?;
        let segments = Segments::new(directory, index.header().uuid);
        Some(Cache { index, segments, volatile: Volatile::absent(), access: Access::Own })
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

    /// The records under a direct key or a result key, and the deltas under a direct key, newest first.
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
                let (direct, by_content) = entry.header.key.split_at(16);
                let is_it = match entry.header.kind() {
                    Some(Kind::Record) => key == direct || key == by_content,
                    Some(Kind::Delta) => key == direct,
                    _ => false,
                };
                if is_it {
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

/// Opens the directory of this layout, which must be ours alone to write; or, if `by_group` says so, our group's.
pub fn open_layout_directory(directory: &CStr, by_group: bool) -> Option<(Handle, Access)> {
    let outer = raw::open_directory(directory).ok()?;
    let mut name = [0u8; 32];
    name.get_mut(..layout::DIRECTORY.len())?.copy_from_slice(layout::DIRECTORY.as_bytes());
    let inner =
        raw::open_directory_at(outer.as_fd(), CStr::from_bytes_until_nul(&name).ok()?).ok()?;
    let access = |directory: &Handle| Access::of(&raw::stat_fd(directory.as_fd()).ok()?, by_group);
    let (outside, inside) = (access(&outer)?, access(&inner)?);
    (outside == inside).then_some((inner, inside))
}

/// The name of the stand-in for the volatile segment where there is no shared memory, or a group would have to share
/// it: a file in the cache.
pub const VOLATILE_FILE: &CStr = c"volatile";
/// Where the kernel's shared memory objects have their names.
pub const SHARED_MEMORY: &CStr = c"/dev/shm";

/// Maps the volatile segment, or the file that stands in for it; none where there is none and none can be made.
fn open_volatile(
    directory: raw::BorrowedFd<'_>,
    header: &layout::IndexHeader,
    access: Access,
) -> Option<Volatile> {
    let shared_memory = match access {
        Access::Own => open_shared_memory(header),
        Access::Group(_) => None,
    };
    let file = || {
        let file = raw::open_read_write_at(directory, VOLATILE_FILE).ok()?;
        Volatile::open(file.as_fd(), &header.uuid, None).ok()
    };
    let none = || raw::is_read_only(directory).then(Volatile::absent);
    shared_memory.or_else(file).or_else(none)
}

/// Anybody may make a name there: what has the cache's must be its user's.
fn open_shared_memory(header: &layout::IndexHeader) -> Option<Volatile> {
    let name = CStr::from_bytes_until_nul(&header.volatile).ok()?;
    let memory = raw::open_directory(SHARED_MEMORY).ok()?;
    let file = raw::open_read_write_at(memory.as_fd(), name).ok()?;
    Volatile::open(file.as_fd(), &header.uuid, Some(raw::user())).ok()
}
