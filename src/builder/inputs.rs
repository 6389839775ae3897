//! The inputs of a record: what the tool was seen to read, list and ask about, with the stamps and digests of now.
//!
//! What has changed since the tool saw it, or is too young for a reliable stat, is a reason not to store.
//! Read next: `path_walker.rs`.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustc_hash::{FxHashMap, FxHashSet};

use super::file_states::{FileStates, is_shared_object};
use super::library_answers::Libraries;
use super::path_walker::{c_path, path_of};
use crate::compilers::{Times, is_crate, is_launcher, is_precompiled, is_remade};
use crate::os::library_cache;
use crate::outcome::NotStored;
use crate::record;
use crate::shm::raw::{self, FileState};
use crate::shm::stat::Stat;
use crate::store::Store;
use crate::store::digest::{digest_link, digest_listing};
use crate::store::draft::{DraftDirectory, DraftInput};

/// The files of whose state the result may show something: their size, their times.
#[derive(Default)]
pub struct Shows {
    /// Those for which foreign code in the tool asked, by device and inode.
    pub asked: FxHashSet<(u64, u64)>,
    /// Whether somebody may have asked of whom nothing is known: then all count that were asked about. Not crates: rustc asks
    /// about each.
    pub all_asked: bool,
    /// Whether Python ran: it compares size and time of a module with what it keeps of it.
    pub modules: bool,
}

impl Shows {
    fn include(&self, path: &Path, state: &FileState, was_asked: bool) -> bool {
        self.asked.contains(&(state.stat.dev, state.stat.ino))
            || self.all_asked && was_asked && !is_crate(path)
            || self.modules && was_asked && path.extension().is_some_and(|it| it == "py")
    }
}

/// The inputs of a record as they come to be known.
pub struct Inputs<'a> {
    store: &'a Store,
    started_ns: i64,
    times: Times,
    shows: Shows,
    groups: FxHashMap<(u64, u64), u32>,
    contents: FxHashSet<CString>,
    /// What was noted so far.
    pub list: Vec<DraftInput>,
    /// When each of them was modified last, ns since the epoch.
    pub mtimes_ns: Vec<i64>,
}

impl<'a> Inputs<'a> {
    /// None yet, of a tool that started at `started_ns` (ns since the epoch). Files whose state alone was asked for count by
    /// their stamps and contents where `times` do.
    pub fn new(store: &'a Store, started_ns: i64, times: Times, shows: Shows) -> Inputs<'a> {
        Inputs {
            store,
            started_ns,
            times,
            shows,
            groups: FxHashMap::default(),
            contents: FxHashSet::default(),
            list: Vec::new(),
            mtimes_ns: Vec::new(),
        }
    }

    /// Notes an input as it is now.
    pub fn push(&mut self, path: CString, kind: u32, state: &FileState, digest: [u8; 32]) {
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let group = *self.groups.entry((state.stat.dev, state.stat.ino)).or_insert(next);
        let stamp = state.stat.stamp();
        self.mtimes_ns.push(state.stat.mtime_ns);
        self.list.push(DraftInput { path, kind, mode: state.mode, stamp, digest, group, times: 0 });
    }

    /// A record must not give anybody what the tool could not have read for him.
    fn vet(&self, state: &FileState) -> Result<(), NotStored> {
        let all_may_use = self.store.cache.access.all_may_use(state);
        if all_may_use { Ok(()) } else { Err(NotStored::PrivateInput) }
    }

    /// Whether a file that was `seen` before only got another name since, or lost one: cargo links a crate to a second name
    /// while others read it. The change time alone says that something was done to it; its content is compared.
    fn is_same(&self, path: &CStr, seen: &Stat, now: &FileState) -> bool {
        let is_shown = Stat { ctime_ns: now.stat.ctime_ns, ..*seen } != now.stat;
        let known = self.store.known_digest(seen).filter(|_| !is_shown);
        known.is_some() && known == self.store.digest_file(path, now, false)
    }

    /// Notes a file that was read, in the state in which it was `seen` then, if that is known.
    pub fn content(
        &mut self,
        files: &mut FileStates,
        path: &Path,
        seen: Option<Stat>,
        was_asked: bool,
    ) -> Result<(), NotStored> {
        let path = &*files.walker.plain(path);
        let spelled = c_path(path).ok_or(NotStored::UnrepeatableInput)?;
        let itself = raw::lstat(&spelled).map_err(|_| NotStored::InputChanged)?;
        let state = if itself.is_symlink() { raw::stat(&spelled) } else { Ok(itself) };
        let state = state.map_err(|_| NotStored::InputChanged)?;
        if !state.is_regular() {
            return Err(NotStored::UnrepeatableInput);
        }
        if seen.is_some_and(|seen| seen != state.stat && !self.is_same(&spelled, &seen, &state)) {
            return Err(NotStored::InputChanged);
        }
        // What only the kernel or the loader opened has no stamp of that moment: it must be older than the run.
        let is_older = state.stat.ctime_ns.max(state.stat.mtime_ns) < self.started_ns;
        if !files.is_reliable(&spelled, &state, self.started_ns) || seen.is_none() && !is_older {
            return Err(NotStored::InputTooNew);
        }
        self.vet(&state)?;
        let digest =
            self.store.digest_file(&spelled, &state, true).ok_or(NotStored::InputChanged)?;
        // The loader asks no link where it leads: if one leads elsewhere, the stamp is that of another file.
        let is_library = seen.is_none() && is_shared_object(path);
        let is_link = itself.is_symlink() && !is_library;
        files.walker.walk(path.parent().filter(|_| !is_link).unwrap_or(path));
        // Two spellings of one file may be the same in plain.
        if self.contents.insert(spelled.clone()) {
            let shows_state = self.shows.include(path, &state, was_asked)
                || self.times == Times::AllButPrecompiled && !is_precompiled(path);
            let kind = match shows_state {
                true => record::METADATA,
                false if is_remade(path) => record::REMADE,
                false => record::CONTENT,
            };
            self.push(spelled, kind, &state, digest);
        }
        Ok(())
    }

    /// Notes the loader's cache by what it answers for `names`; these answers, or nothing if it is not understood.
    pub fn library_cache(
        &mut self,
        files: &mut FileStates,
        names: &BTreeSet<OsString>,
    ) -> Result<Option<Vec<(CString, CString)>>, NotStored> {
        let path = Path::new(library_cache::PATH);
        let spelled = c_path(path).ok_or(NotStored::UnrepeatableInput)?;
        let Some(libraries) = Libraries::read() else { return Ok(None) };
        let names = names.iter().map(|name| name.as_bytes());
        let Some(answers) = libraries.answers(names) else { return Ok(None) };
        let state = libraries.state;
        let is_older = state.stat.ctime_ns.max(state.stat.mtime_ns) < self.started_ns;
        if !is_older || !files.is_reliable(&spelled, &state, self.started_ns) {
            return Err(NotStored::InputTooNew);
        }
        self.vet(&state)?;
        files.walker.walk(path.parent().unwrap_or(path));
        let mut hasher = blake3::Hasher::new();
        for text in answers.iter().flat_map(|(name, found)| [name, found]) {
            hasher.update(text.to_bytes_with_nul());
        }
        self.push(spelled, record::ANSWERS, &state, *hasher.finalize().as_bytes());
        Ok(Some(answers))
    }

    /// Notes a directory whose names were read.
    pub fn listing(&mut self, files: &mut FileStates, path: &Path) -> Result<(), NotStored> {
        let path = &*files.walker.plain(path);
        let spelled = c_path(path).ok_or(NotStored::UnrepeatableInput)?;
        let state = raw::stat(&spelled).map_err(|_| NotStored::InputChanged)?;
        if !files.is_reliable(&spelled, &state, self.started_ns) {
            return Err(NotStored::InputTooNew);
        }
        if state.stat.ctime_ns.max(state.stat.mtime_ns) >= self.started_ns {
            return Err(NotStored::InputChanged);
        }
        self.vet(&state)?;
        let digest = digest_listing(&spelled).ok_or(NotStored::InputChanged)?;
        files.walker.walk(path);
        self.push(spelled, record::LISTING, &state, digest);
        Ok(())
    }

    /// Notes a program that the search for the tool passed over. If its file has a name that says what it is, only the links
    /// to it count; what else may take a compiler's name (a hard link, a copy) counts by its whole stamp.
    pub fn passed(&mut self, files: &mut FileStates, path: &Path) -> Result<(), NotStored> {
        let plain = files.walker.plain(path).into_owned();
        let file = std::fs::canonicalize(path).map_err(|_| NotStored::InputChanged)?;
        let name = file.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b"ibid") || is_launcher(&file) {
            return self.existing(files, &plain);
        }
        let spelled = c_path(&plain).ok_or(NotStored::UnrepeatableInput)?;
        files.walker.walk(&plain);
        let state = raw::stat(&spelled).map_err(|_| NotStored::InputChanged)?;
        self.metadata(files, spelled, &state)
    }

    fn metadata(
        &mut self,
        files: &mut FileStates,
        path: CString,
        state: &FileState,
    ) -> Result<(), NotStored> {
        let is_older = state.stat.ctime_ns.max(state.stat.mtime_ns) < self.started_ns;
        if !is_older || !files.is_reliable(&path, state, self.started_ns) {
            return Err(NotStored::InputTooNew);
        }
        self.push(path, record::METADATA, state, [0; 32]);
        Ok(())
    }

    /// Notes the links on the way to all that was walked, and to these directories: where one leads by a link shows in what is
    /// opened there, and a tool may ask for the real path.
    pub fn links(
        &mut self,
        files: &mut FileStates,
        directories: &[DraftDirectory],
    ) -> Result<(), NotStored> {
        for directory in directories {
            files.walker.walk(path_of(&directory.path));
        }
        for (path, state) in files.walker.links() {
            let digest = digest_link(path).ok_or(NotStored::InputChanged)?;
            self.push(path.clone(), record::LINK, state, digest);
        }
        Ok(())
    }

    /// What was noted, each with the device and inode of its file.
    pub fn with_files(self) -> impl Iterator<Item = (DraftInput, (u64, u64))> {
        let files: FxHashMap<u32, _> =
            self.groups.into_iter().map(|(file, group)| (group, file)).collect();
        self.list.into_iter().filter_map(move |input| {
            let file = *files.get(&input.group)?;
            Some((input, file))
        })
    }

    /// Notes that what was written to `/dev/null` is nowhere: some have a plain file there.
    pub fn null_device(&mut self) -> Result<(), NotStored> {
        let path = c"/dev/null";
        let state = raw::lstat(path).ok().filter(FileState::is_null_device);
        let state = state.ok_or(NotStored::SpecialOutput)?;
        self.push(path.to_owned(), record::EXISTS, &state, [0; 32]);
        Ok(())
    }

    /// Notes a path of which only the state was asked for.
    pub fn existing(&mut self, files: &mut FileStates, path: &Path) -> Result<(), NotStored> {
        let spelled = c_path(path).ok_or(NotStored::UnrepeatableInput)?;
        files.walker.walk(path);
        let state = raw::lstat(&spelled).map_err(|_| NotStored::InputChanged)?;
        // What a dangling symlink says was read: the walk has noted it.
        let (kind, state) = match state.is_symlink().then(|| raw::stat(&spelled)) {
            None => (record::EXISTS, state),
            Some(Ok(behind)) => (record::LEADS, behind),
            Some(Err(_)) => return Ok(()),
        };
        if state.is_regular() && self.times != Times::Ignored {
            return self.content(files, path, None, true);
        }
        if state.is_regular() && self.shows.include(path, &state, true) {
            return self.metadata(files, spelled, &state);
        }
        self.push(spelled, kind, &state, [0; 32]);
        Ok(())
    }
}
