//! The loader's cache as a record judges it: by what it answers for the names that were asked.
//!
//! Read next: `os/library_cache.rs`, `observe/loader/library_names.rs`.

use std::ffi::{CStr, CString};
use std::fs;

use crate::os::library_cache::{LibraryCache, PATH};
use crate::shm::raw::{self, FileState};

/// The cache's bytes, and its state when they were read.
pub struct Libraries {
    /// Its state.
    pub state: FileState,
    bytes: Vec<u8>,
}

impl Libraries {
    /// The cache as it is now; `None` if it is not there, or not a plain file.
    pub fn read() -> Option<Libraries> {
        let path = CString::new(PATH).ok()?;
        let state = raw::lstat(&path).ok().filter(FileState::is_regular)?;
        let bytes = fs::read(PATH).ok()?;
        (raw::lstat(&path) == Ok(state)).then_some(Libraries { state, bytes })
    }

    /// What it answers for each name; `None` if it is not understood.
    pub fn answers<'n>(
        &self,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Option<Vec<(CString, CString)>> {
        let cache = LibraryCache::parse(&self.bytes)?;
        let answer = |name: &[u8]| Some((recorded(name)?, CString::new(cache.answer(name)?).ok()?));
        names.map(answer).collect()
    }
}

/// How a record spells a name that was asked of the cache: no program's name has a slash.
fn recorded(name: &[u8]) -> Option<CString> {
    CString::new([PATH.as_bytes(), b"/", name].concat()).ok()
}

/// The name that was asked of the cache, if a record's search is such a one.
pub fn asked(search: &CStr) -> Option<&[u8]> {
    search.to_bytes().strip_prefix(PATH.as_bytes())?.strip_prefix(b"/")
}
