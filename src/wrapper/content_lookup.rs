//! The look-up by content: a record is true if every file has the recorded content, whatever its times.
//!
//! It serves touched files and another `PATH`. A record that proves true is delivered, and published again with today's
//! stamps, so that the next look-up is one by stamps. Read next: `store/draft.rs`, `builder/record_builder.rs`.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::builder::equal_contents::Times;
use crate::builder::file_states::{FileStates, is_shared_object, names_directory};
use crate::builder::library_answers::{Libraries, asked};
use crate::builder::path_walker::c_path;
use crate::builder::search::search;
use crate::probe::command::Command;
use crate::probe::deliver::Undelivered;
use crate::probe::judge::{self, By, Environment};
use crate::probe::{self, cold_part, hot_part};
use crate::record;
use crate::shm::raw::{self, Errno, FileState};
use crate::shm::segments::Entry;
use crate::store::Store;
use crate::store::digest::{digest_link, digest_listing};
use crate::store::draft::{Directory, Draft, Input, is_searched};

/// How a look-up by content ended.
pub enum ByContent {
    /// Delivered and counted.
    Hit,
    /// No record is true.
    Miss,
    /// One is, but could not be delivered.
    Undelivered(Undelivered),
}

/// Looks a command up by content and delivers what is found; unless `keep` is false it is published again with today's
/// stats.
pub fn look(
    store: &Store,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
    keep: bool,
) -> ByContent {
    let key = command.content_key();
    let mut outcome = ByContent::Miss;
    let mut now = Now::new(store, command, environment);
    for (_, entry) in store.cache.records(&key) {
        let Some((draft, is_reliable)) = now.judge(&entry, arena) else { continue };
        let Some((record, rest)) = hot_part(&entry, arena) else { continue };
        match probe::deliver_record(&store.cache, &record, command.creation_mask, rest, || {}) {
            Ok(()) => {
                probe::count_hit(&store.cache, &record, By::Content);
                if keep && is_reliable {
                    // Failing costs the next look-up some time, nothing else.
                    let _ = store.put_record(&draft);
                }
                return ByContent::Hit;
            }
            Err(Undelivered::Unwritable) => {
                return ByContent::Undelivered(Undelivered::Unwritable);
            }
            Err(why) => outcome = ByContent::Undelivered(why),
        }
    }
    outcome
}

/// Whether a record under the content key is true now; nothing is delivered.
pub fn is_true(
    store: &Store,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
) -> bool {
    let key = command.content_key();
    let mut now = Now::new(store, command, environment);
    store.cache.records(&key).any(|(_, entry)| now.judge(&entry, arena).is_some())
}

/// The state of files now: each file and each search is looked at once for all candidates.
struct Now<'a> {
    store: &'a Store,
    command: &'a Command<'a>,
    environment: &'a Environment,
    files: FileStates,
    searches: HashMap<CString, CString>,
    states: HashMap<(CString, bool), Option<FileState>>,
    digests: HashMap<CString, Option<[u8; 32]>>,
    libraries: OnceCell<Option<Libraries>>,
    /// Whether the record that is judged goes by stamps only.
    is_by_stamps: bool,
}

impl<'a> Now<'a> {
    fn new(store: &'a Store, command: &'a Command, environment: &'a Environment) -> Now<'a> {
        Now {
            store,
            command,
            environment,
            files: FileStates::new(store.cache.access),
            searches: HashMap::new(),
            states: HashMap::new(),
            digests: HashMap::new(),
            libraries: OnceCell::new(),
            is_by_stamps: false,
        }
    }

    /// A record that is true, with today's stamps, and whether all of these tell their content from any later one.
    fn judge(&mut self, entry: &Entry<'_>, arena: &mut [u8]) -> Option<(Draft, bool)> {
        let (record, rest) = hot_part(entry, arena)?;
        let is_this = record.command() == Some(self.command.bytes());
        if !is_this {
            return None;
        }
        self.is_by_stamps = record.has(record::STAMPS_ONLY);
        judge::judge_machine(&record, self.command).ok()?;
        let (cold, _) = cold_part(entry, &record, rest)?;
        let mut draft = Draft::decode(&record, &cold, &entry.header.key)?;
        self.refresh_searches(&draft)?;
        self.refresh_variables(&mut draft)?;
        if leads_elsewhere(&draft) {
            return None;
        }
        let mut is_reliable = true;
        let mut same = FileIdentities::default();
        for input in &mut draft.inputs {
            is_reliable &= self.refresh_input(input, &mut same)?;
        }
        for (path, errno) in &draft.absences {
            let now = raw::stat(path).err()?;
            if now.raw_os_error().cast_unsigned() != *errno {
                return None;
            }
        }
        self.refresh_directories(&mut draft, &mut same)?;
        Some((draft, is_reliable))
    }

    /// The loader's cache, read when it is asked for first.
    fn libraries(&self) -> Option<&Libraries> {
        self.libraries.get_or_init(Libraries::read).as_ref()
    }

    /// Whether all that was searched by name is found where it was.
    fn refresh_searches(&mut self, draft: &Draft) -> Option<()> {
        let environment = self.environment;
        let is_library = |(name, _): &&(CString, CString)| asked(name).is_some();
        let (libraries, programs): (Vec<_>, Vec<_>) = draft.searches.iter().partition(is_library);
        for (name, found) in programs {
            let now = self
                .searches
                .entry(name.clone())
                .or_insert_with(|| search(environment, OsStr::from_bytes(name.to_bytes())));
            if now != found {
                return None;
            }
        }
        if libraries.is_empty() {
            return Some(());
        }
        let names = libraries.iter().filter_map(|(name, _)| asked(name));
        let now = self.libraries()?.answers(names)?;
        now.iter().eq(libraries).then_some(())
    }

    /// Compares the environment, and takes over what may differ: `PATH`, since its searches are repeated; a `PWD` that
    /// did not name the working directory then and does not now, since no tool makes anything of such a one.
    fn refresh_variables(&mut self, draft: &mut Draft) -> Option<()> {
        let environment = self.environment;
        let has_text = draft.flags & record::HAS_TEXT != 0;
        for variable in &mut draft.variables {
            let value = environment.value(variable.name.to_bytes());
            let now = environment.digest(variable.name.to_bytes(), variable.flags);
            let directory = self.command.directory();
            let is_free = variable.flags & record::TEXT_ONLY != 0 && !has_text
                || !self.is_by_stamps && variable.name.to_bytes() == b"PATH"
                || !self.is_by_stamps
                    && is_searched(&variable.name)
                    && variable.flags & record::NAMES_DIRECTORY == 0
                    && !value.is_some_and(|value| names_directory(value, directory));
            if now != variable.value && !is_free {
                return None;
            }
            variable.value = now;
        }
        Some(())
    }

    fn state(&mut self, path: &CString, is_link: bool) -> Option<FileState> {
        if let Some(known) = self.states.get(&(path.clone(), is_link)) {
            return *known;
        }
        let state = if is_link { raw::lstat(path) } else { raw::stat(path) }.ok();
        self.states.insert((path.clone(), is_link), state);
        state
    }

    /// Compares an input's content, and takes over its stamp; whether that tells the content from any later one.
    fn refresh_input(&mut self, input: &mut Input, same: &mut FileIdentities) -> Option<bool> {
        let is_itself = matches!(input.kind, record::LINK | record::EXISTS);
        let state = match input.kind {
            // Its answers were compared, see `refresh_searches`.
            record::ANSWERS => self.libraries()?.state,
            _ => self.state(&input.path, is_itself)?,
        };
        if !same.agrees(input, &state) {
            return None;
        }
        let stamp = state.stat.stamp();
        if matches!(input.kind, record::EXISTS | record::LEADS) {
            input.stamp = stamp;
            return (state.mode == input.mode).then_some(true);
        }
        if stamp == input.stamp {
            return Some(true);
        }
        // Then only the loader's cache may differ.
        if self.is_by_stamps && input.kind != record::ANSWERS {
            return None;
        }
        let taken_ns = self.files.taken_ns;
        let is_reliable = self.files.is_reliable(&input.path, &state, taken_ns);
        let digest = match input.kind {
            record::CONTENT | record::REMADE if state.is_regular() => {
                self.digest(&input.path, &state, is_reliable)
            }
            record::ANSWERS => Some(input.digest),
            record::LINK if state.is_symlink() => digest_link(&input.path),
            record::LISTING if state.is_directory() => digest_listing(&input.path)
                .filter(|_| raw::stat(&input.path).map(|now| now.stat) == Ok(state.stat)),
            _ => None,
        };
        input.stamp = stamp;
        let all_may_use = self.store.cache.access.all_may_use(&state);
        (digest == Some(input.digest)).then_some(is_reliable && all_may_use)
    }

    fn digest(&mut self, path: &CString, state: &FileState, is_reliable: bool) -> Option<[u8; 32]> {
        if let Some(known) = self.digests.get(path) {
            return *known;
        }
        let digest = self.store.digest_file(path, state, is_reliable);
        self.digests.insert(path.clone(), digest);
        digest
    }

    /// Looks at every name that a directory with a reliable stat holds, and takes over the directories' stamps.
    fn refresh_directories(&mut self, draft: &mut Draft, same: &mut FileIdentities) -> Option<()> {
        let nothing_written = HashSet::new();
        for directory in std::mem::take(&mut draft.directories) {
            let path = PathBuf::from(OsStr::from_bytes(directory.path.to_bytes()));
            let shown =
                if path.as_os_str().is_empty() { c".".into() } else { directory.path.clone() };
            let state = raw::stat(&shown).ok().filter(FileState::is_directory);
            let reliable = state.and_then(|state| {
                Some((self.files.reliable_path(&path, &state, &nothing_written)?, state))
            });
            let (absent, inside) = look_at_names(&path, &directory.names)?;
            if let Some((path, state)) = reliable {
                let stamp = state.stat.stamp();
                draft.directories.push(Directory { path, stamp, names: directory.names });
                continue;
            }
            // Its stat is not reliable any longer: name by name from now on, and that it is there.
            let inside = inside.into_iter().map(|(path, state)| (path, record::EXISTS, state));
            for (path, kind, state) in inside.chain([(shown, record::LEADS, state?)]) {
                draft.inputs.push(Input {
                    path,
                    kind,
                    mode: state.mode,
                    stamp: state.stat.stamp(),
                    digest: [0; 32],
                    group: same.group_of((state.stat.dev, state.stat.ino)),
                    times: 0,
                });
            }
            let no_entry = Errno::NOENT.raw_os_error().cast_unsigned();
            draft.absences.extend(absent.into_iter().map(|path| (path, no_entry)));
        }
        Some(())
    }
}

/// The paths of names that are absent, and those of directories, as [`record::Directory::names`] wants them; `None` if
/// one is not as it should be.
#[allow(clippy::type_complexity, reason = "used once")]
fn look_at_names(
    directory: &Path,
    names: &[CString],
) -> Option<(Vec<CString>, Vec<(CString, FileState)>)> {
    let (mut absent, mut inside) = (Vec::new(), Vec::new());
    for name in names {
        let (name, is_directory) = match name.to_bytes().strip_suffix(b"/") {
            Some(name) => (name, true),
            None => (name.to_bytes(), false),
        };
        let path = c_path(&directory.join(OsStr::from_bytes(name)))?;
        match raw::lstat(&path) {
            Ok(state) if is_directory && state.is_directory() => inside.push((path, state)),
            Err(Errno::NOENT) if !is_directory => absent.push(path),
            _ => return None,
        }
    }
    Some((absent, inside))
}

/// Whether something is a symlink now that was none.
fn leads_elsewhere(draft: &Draft) -> bool {
    let is_link = |input: &&Input| input.kind == record::LINK;
    let links: HashSet<_> = draft.inputs.iter().filter(is_link).map(|input| &input.path).collect();
    // Of the loader's libraries no link was noted, see `builder/record_builder.rs`.
    let is_library =
        |path: &CString| is_shared_object(Path::new(OsStr::from_bytes(path.to_bytes())));
    let inputs = draft.inputs.iter().filter(|input| input.kind != record::LEADS);
    let paths = inputs.map(|input| &input.path).chain(draft.directories.iter().map(|d| &d.path));
    paths
        .filter(|path| !links.contains(path) && !is_library(path))
        .any(|path| raw::lstat(path).is_ok_and(|state| state.is_symlink()))
}

/// Files that were one and the same still are, and others still are others (`#pragma once`); and so it is with the times of
/// those whose times count.
#[derive(Default)]
struct FileIdentities {
    files: HashMap<u32, (u64, u64)>,
    groups: HashMap<(u64, u64), u32>,
    times: Times,
}

impl FileIdentities {
    fn agrees(&mut self, input: &Input, state: &FileState) -> bool {
        let file = (state.stat.dev, state.stat.ino);
        *self.files.entry(input.group).or_insert(file) == file
            && *self.groups.entry(file).or_insert(input.group) == input.group
            && self.times.agree(input, state.stat.mtime_ns)
    }

    /// The number of a file that is noted only now.
    fn group_of(&mut self, file: (u64, u64)) -> u32 {
        let next = self.files.keys().max().map_or(0, |last| last + 1);
        let group = *self.groups.entry(file).or_insert(next);
        self.files.entry(group).or_insert(file);
        group
    }
}

#[cfg(test)]
#[path = "content_lookup_tests.rs"]
mod tests;
