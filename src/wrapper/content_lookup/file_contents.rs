//! What files contain now: each is looked at once for all candidates.
//!
//! It looks and remembers; whether that agrees with a record is for `evidence.rs`.

use std::cell::OnceCell;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use rustc_hash::FxHashMap;

use crate::builder::file_states::FileStates;
use crate::builder::library_answers::Libraries;
use crate::builder::places::{Places, hidden_digest};
use crate::builder::search::search;
use crate::probe::command::Command;
use crate::probe::judge::Environment;
use crate::record;
use crate::shm::raw::{self, Errno, FileState};
use crate::store::Store;
use crate::store::digest::{digest_link, digest_listing};
use crate::store::path_set::{PathSet, of_value};

/// The state of files, and what they contain.
pub struct FileContents<'a> {
    pub store: &'a Store,
    pub command: &'a Command<'a>,
    pub environment: &'a Environment,
    pub files: FileStates,
    searches: FxHashMap<CString, CString>,
    /// Of what paths lead to.
    states: FxHashMap<CString, Result<FileState, Errno>>,
    /// Of the paths themselves.
    link_states: FxHashMap<CString, Result<FileState, Errno>>,
    /// By kind of input.
    digests: FxHashMap<u32, FxHashMap<CString, Option<[u8; 32]>>>,
    libraries: OnceCell<Option<Libraries>>,
}

/// With room for the inputs of a source with some system headers.
fn by_path<T>() -> FxHashMap<CString, T> {
    FxHashMap::with_capacity_and_hasher(256, rustc_hash::FxBuildHasher)
}

impl<'a> FileContents<'a> {
    pub fn new(store: &'a Store, command: &'a Command<'a>, environment: &'a Environment) -> Self {
        FileContents {
            store,
            command,
            environment,
            files: FileStates::new(store.cache.access),
            searches: FxHashMap::default(),
            states: by_path(),
            link_states: FxHashMap::default(),
            digests: FxHashMap::default(),
            libraries: OnceCell::new(),
        }
    }

    /// What the names of a path set contain, as [`PathSet::result_key`] takes it, in these places; `None` if one of them is not
    /// there, or is of another kind.
    pub fn of_set(&mut self, set: &PathSet, places: &Places) -> Option<Vec<[u8; 32]>> {
        let mut contents = Vec::with_capacity(set.inputs.len() + set.variables.len());
        for (kind, path) in &set.inputs {
            contents.push(self.digest(&places.show_path(path), *kind)?);
        }
        for (name, flags) in &set.variables {
            let value = if flags & record::VALUE_NAMES_PLACES == 0 {
                self.environment.digest(name.to_bytes(), *flags)
            } else {
                hidden_digest(self.environment, name, *flags, places)
            };
            contents.push(of_value(value));
        }
        Some(contents)
    }

    /// The digest of what an input of this kind contains, as a record holds it.
    pub fn digest(&mut self, path: &CStr, kind: u32) -> Option<[u8; 32]> {
        if let Some(known) = self.digests.get(&kind).and_then(|of_kind| of_kind.get(path)) {
            return *known;
        }
        let digest = self.read(path, kind);
        self.digests.entry(kind).or_insert_with(by_path).insert(path.to_owned(), digest);
        digest
    }

    fn read(&mut self, path: &CStr, kind: u32) -> Option<[u8; 32]> {
        match kind {
            record::CONTENT | record::REMADE => {
                let state = self.state(path, false).ok().filter(FileState::is_regular)?;
                let is_reliable = self.is_reliable(path, &state);
                self.store.digest_file(path, &state, is_reliable)
            }
            record::LINK => {
                self.state(path, true).ok().filter(FileState::is_symlink)?;
                digest_link(path)
            }
            record::LISTING => {
                let state = self.state(path, false).ok().filter(FileState::is_directory)?;
                let digest = digest_listing(path)?;
                (raw::stat(path).map(|now| now.stat) == Ok(state.stat)).then_some(digest)
            }
            _ => None,
        }
    }

    /// Whether the stamp of a file, in this state just now, tells its content from any later one.
    pub fn is_reliable(&mut self, path: &CStr, state: &FileState) -> bool {
        let taken_ns = self.files.taken_ns;
        self.files.is_reliable(path, state, taken_ns)
    }

    /// The state of a path, or of what it leads to.
    pub fn state(&mut self, path: &CStr, is_link: bool) -> Result<FileState, Errno> {
        let states = if is_link { &mut self.link_states } else { &mut self.states };
        if let Some(known) = states.get(path) {
            return *known;
        }
        let state = if is_link { raw::lstat(path) } else { raw::stat(path) };
        states.insert(path.to_owned(), state);
        state
    }

    /// Whether nothing is to be had by a path: it is not there, or may not be reached.
    pub fn is_missing(&mut self, path: &CStr) -> bool {
        const NOWHERE: [Errno; 3] = [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS];
        self.state(path, true).is_err_and(|errno| NOWHERE.contains(&errno))
    }

    /// The state that counts for an input of this kind.
    pub fn state_of_input(&mut self, path: &CStr, kind: u32) -> Option<FileState> {
        match kind {
            record::LINK | record::EXISTS => self.state(path, true).ok(),
            _ => self.state(path, false).ok(),
        }
    }

    /// The loader's cache, read when it is asked for first.
    pub fn libraries(&self) -> Option<&Libraries> {
        self.libraries.get_or_init(Libraries::read).as_ref()
    }

    /// What a program's name is found to be in today's `PATH`.
    pub fn search(&mut self, name: &CStr) -> &CStr {
        let environment = self.environment;
        self.searches
            .entry(name.to_owned())
            .or_insert_with(|| search(environment, OsStr::from_bytes(name.to_bytes())))
    }
}
