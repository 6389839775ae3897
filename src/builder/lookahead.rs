//! Looking ahead while the tool runs, so that less is left to do when it has ended, and the build waits.
//!
//! A name that it looked for in vain need not be looked for again if its directory still has the stamp that it had when
//! nothing was there; what it read is in the digest table by then. Nothing that is seen here enters a record.
//! Read next: `file_states.rs`.

use std::collections::HashSet;
use std::path::Path;

use super::file_states::{Absent, FileStates, KnownAbsent};
use super::path_walker::c_path;
use crate::shm::raw;
use crate::store::Store;

/// What was seen while the tool ran.
pub struct Lookahead<'a> {
    store: &'a Store,
    files: FileStates,
    absent: KnownAbsent,
}

impl<'a> Lookahead<'a> {
    /// Nothing seen yet.
    pub fn new(store: &'a Store) -> Lookahead<'a> {
        Lookahead {
            store,
            files: FileStates::new(store.cache.access),
            absent: KnownAbsent::default(),
        }
    }

    /// Looks at a path at which the tool found nothing.
    pub fn look(&mut self, path: &Path) {
        let Absent::In(directory, name) = self.files.look(path) else { return };
        let Some(state) = self.files.directory(&directory) else { return };
        if self.files.reliable_path(&directory, &state, &HashSet::new()).is_some() {
            self.absent.insert(directory.join(name).into_os_string(), state.stat);
        }
    }

    /// Takes the digest of a file that the tool read, if it has not changed since before the run.
    pub fn read(&mut self, path: &Path) {
        let Some(path) = c_path(path) else { return };
        let Ok(state) = raw::stat(&path) else { return };
        if state.is_regular() && self.files.is_reliable(&path, &state, self.files.taken_ns) {
            let _ = self.store.digest_file(&path, &state, true);
        }
    }

    /// What is known when the tool has ended.
    pub fn into_absent(self) -> KnownAbsent {
        self.absent
    }
}
