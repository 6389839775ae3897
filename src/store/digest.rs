//! Digests of what is on disk, each file hashed once per machine and boot thanks to the shared digest table.
//!
//! A digest is given only for content that did not change while it was read, and entered only under a reliable stamp.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Store;
use crate::shm::raw::{self, FileState};
use crate::shm::stat::Stat;

/// How much is read at a time.
const CHUNK_BYTES: usize = 256 << 10;

impl Store {
    /// Notes the digest of a file that was seen in `state`, whose stamp must be reliable: a changed file has another.
    pub fn note_digest(&self, state: &FileState, digest: &[u8; 32]) {
        self.cache.volatile.digests().enter(&state.stat.stamp(), digest);
    }

    /// The digest of a file that was once seen in this state, if it is still known.
    pub fn known_digest(&self, seen: &Stat) -> Option<[u8; 32]> {
        self.cache.volatile.digests().find(&seen.stamp())
    }

    /// BLAKE3 of the regular file at `path`, which was seen in `state`; `None` if it is another one by now.
    /// `is_reliable` says whether a changed file would have another stamp than that of `state`.
    pub fn digest_file(
        &self,
        path: &CStr,
        state: &FileState,
        is_reliable: bool,
    ) -> Option<[u8; 32]> {
        let stamp = state.stat.stamp();
        // The table may know a file that somebody else can read and we cannot.
        let is_reliable = is_reliable && self.cache.access.all_may_use(state);
        let table = self.cache.volatile.digests();
        if is_reliable && let Some(digest) = table.find(&stamp) {
            return Some(digest);
        }
        let mut file = File::open(Path::new(OsStr::from_bytes(path.to_bytes()))).ok()?;
        let mut hasher = blake3::Hasher::new();
        let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(state.stat.size).unwrap_or(0) + 1)];
        loop {
            match file.read(&mut chunk).ok()? {
                0 => break,
                n => hasher.update(&chunk[..n]),
            };
        }
        if raw::stat(path).ok()?.stat != state.stat {
            return None;
        }
        let digest = *hasher.finalize().as_bytes();
        if is_reliable {
            table.enter(&stamp, &digest);
        }
        Some(digest)
    }
}

/// BLAKE3 of where a symlink points.
pub fn digest_link(path: &CStr) -> Option<[u8; 32]> {
    let target = std::fs::read_link(Path::new(OsStr::from_bytes(path.to_bytes()))).ok()?;
    Some(*blake3::hash(target.as_os_str().as_bytes()).as_bytes())
}

/// BLAKE3 of the sorted names (each with its type) in a directory.
pub fn digest_listing(path: &CStr) -> Option<[u8; 32]> {
    let mut names = Vec::new();
    let shown = if path.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(path.to_bytes()) };
    for entry in std::fs::read_dir(shown).ok()? {
        let entry = entry.ok()?;
        let kind = entry.file_type().ok()?;
        let mark = if kind.is_dir() {
            b'd'
        } else if kind.is_symlink() {
            b'l'
        } else {
            b'f'
        };
        let mut name = entry.file_name().as_bytes().to_vec();
        name.extend([0, mark, 0]);
        names.push(name);
    }
    names.sort_unstable();
    Some(*blake3::hash(&names.concat()).as_bytes())
}
