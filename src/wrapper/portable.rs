//! The look-up by content: a record is true if every file still says what it said, whatever its times.
//!
//! It serves touched files and another `PATH`. A record that proves true is delivered, and learnt anew with today's
//! stamps, so that the next look-up is one by stamps. Read next: `store/draft.rs`, `learn.rs`.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::learn::search;
use super::world::{World, now_ns};
use crate::probe::command::Command;
use crate::probe::deliver::Undelivered;
use crate::probe::judge::{self, Environment};
use crate::probe::{self, cold_part, hot_part};
use crate::record;
use crate::shm::counters::Counter;
use crate::shm::raw::{self, Errno, FileState};
use crate::shm::segments::Entry;
use crate::store::Store;
use crate::store::digest::{digest_link, digest_listing};
use crate::store::draft::{Draft, Input, is_searched};

/// How a look-up by content ended.
pub enum Portable {
    /// Delivered and counted.
    Hit,
    /// No record is true.
    Miss,
    /// One is, but could not be delivered.
    Undelivered(Undelivered),
}

/// Looks a command up by content and delivers what is found; unless `keep` is false it is learnt anew.
pub fn look(
    store: &Store,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
    keep: bool,
) -> Portable {
    let key = command.portable_key();
    let mut outcome = Portable::Miss;
    for (_, entry) in store.cache.records(&key) {
        let Some(seen) = judge_entry(store, &entry, command, environment, arena) else { continue };
        let Some((record, _)) = hot_part(&entry, arena) else { continue };
        match probe::deliver_record(&store.cache, &record, command.creation_mask, || {}) {
            Ok(()) => {
                probe::count_hit(&store.cache, &record, &key, Counter::PORTABLE_HITS);
                if keep && seen.vouches {
                    // Failing costs the next look-up some time, nothing else.
                    let _ = store.put_record(&seen.draft);
                }
                return Portable::Hit;
            }
            Err(why) => outcome = Portable::Undelivered(why),
        }
    }
    outcome
}

/// Whether a record under the portable key is true of the world; nothing is delivered.
pub fn is_true(
    store: &Store,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
) -> bool {
    let key = command.portable_key();
    store
        .cache
        .records(&key)
        .any(|(_, entry)| judge_entry(store, &entry, command, environment, arena).is_some())
}

/// A record that is true, with today's stamps.
struct Seen {
    draft: Draft,
    /// Whether all stamps tell their content from any later one.
    vouches: bool,
}

fn judge_entry(
    store: &Store,
    entry: &Entry<'_>,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
) -> Option<Seen> {
    let (record, rest) = hot_part(entry, arena)?;
    if record.has(record::STAMPS_ONLY) || !record.command().is_some_and(|bytes| command.is(bytes)) {
        return None;
    }
    judge::judge_machine(&record).ok()?;
    let cold = cold_part(entry, &record, rest)?;
    let mut draft = Draft::decode(&record, &cold, &entry.header.key)?;
    refresh_variables(&mut draft, command, environment)?;
    let mut judging =
        Judging { store, world: World::default(), files: Files::default(), vouches: true };
    if leads_elsewhere(&draft.inputs) {
        return None;
    }
    for input in &mut draft.inputs {
        judging.refresh(input)?;
    }
    for (path, errno) in &draft.absences {
        let now = raw::stat(path).err()?;
        if now.raw_os_error().cast_unsigned() != *errno {
            return None;
        }
    }
    judging.refresh_absences(&mut draft)?;
    Some(Seen { draft, vouches: judging.vouches })
}

/// Compares the environment, and takes over what may differ: `PATH`, since its searches are repeated; a `PWD` that did
/// not name the working directory then and does not now, since no tool makes anything of such a one.
fn refresh_variables(
    draft: &mut Draft,
    command: &Command,
    environment: &Environment,
) -> Option<()> {
    for (name, found) in &draft.searches {
        if search(environment, OsStr::from_bytes(name.to_bytes())) != *found {
            return None;
        }
    }
    let has_text = draft.flags & record::HAS_TEXT != 0;
    for variable in &mut draft.variables {
        let value = environment.value(variable.name.to_bytes());
        let now = if variable.flags & record::WHOLE_ENVIRONMENT != 0 {
            Some(environment.whole())
        } else {
            value.map(|value| xxh3_128(value).to_le_bytes())
        };
        let is_free = variable.flags & record::TEXT_ONLY != 0 && !has_text
            || variable.name.to_bytes() == b"PATH"
            || is_searched(&variable.name)
                && variable.flags & record::NAMES_DIRECTORY == 0
                && !value.is_some_and(|value| names_directory(value, command.directory()));
        if now != variable.value && !is_free {
            return None;
        }
        variable.value = now;
    }
    Some(())
}

/// Whether a value of `PWD` leads to the working directory, by whatever way.
pub fn names_directory(value: &[u8], directory: &[u8]) -> bool {
    let state = |path: &[u8]| {
        let path = CString::new(path).ok()?;
        raw::stat(&path).ok().map(|state| (state.stat.dev, state.stat.ino))
    };
    value == directory || state(value).is_some_and(|there| Some(there) == state(directory))
}

struct Judging<'a> {
    store: &'a Store,
    world: World,
    files: Files,
    vouches: bool,
}

/// Which file, by device and inode, each of a record's groups is now.
#[derive(Default)]
struct Files {
    of_group: HashMap<u32, (u64, u64)>,
    groups: HashMap<(u64, u64), u32>,
}

impl Files {
    /// Files that were one and the same still are, and others are not (`#pragma once`).
    fn agree(&mut self, group: u32, file: (u64, u64)) -> bool {
        *self.of_group.entry(group).or_insert(file) == file
            && *self.groups.entry(file).or_insert(group) == group
    }
}

/// Whether something is a symlink now that was none.
fn leads_elsewhere(inputs: &[Input]) -> bool {
    let is_link = |input: &&Input| input.kind == record::LINK;
    let links: HashSet<_> = inputs.iter().filter(is_link).map(|input| &input.path).collect();
    inputs.iter().any(|input| {
        !links.contains(&input.path) && raw::lstat(&input.path).is_ok_and(|s| s.is_symlink())
    })
}

impl Judging<'_> {
    /// Compares an input's content, and takes over its stamp.
    fn refresh(&mut self, input: &mut Input) -> Option<()> {
        let state = match input.kind {
            record::LINK | record::PLACE => raw::lstat(&input.path),
            _ => raw::stat(&input.path),
        }
        .ok()?;
        if !self.files.agree(input.group, (state.stat.dev, state.stat.ino)) {
            return None;
        }
        let stamp = state.stat.stamp();
        let agrees = match input.kind {
            record::EXISTS => state.mode == input.mode,
            record::PLACE => state.is_directory(),
            _ if stamp == input.stamp => true,
            record::CONTENT => self.has_content(input, &state),
            record::LINK => state.is_symlink() && digest_link(&input.path) == Some(input.digest),
            record::LISTING => {
                let vouches = self.world.vouches(&input.path, &state, now_ns());
                self.vouches &= vouches;
                state.is_directory()
                    && digest_listing(&input.path) == Some(input.digest)
                    && raw::stat(&input.path).map(|now| now.stat) == Ok(state.stat)
            }
            _ => false,
        };
        input.stamp = stamp;
        agrees.then_some(())
    }

    fn has_content(&mut self, input: &Input, state: &FileState) -> bool {
        let vouches = self.world.vouches(&input.path, state, now_ns());
        self.vouches &= vouches;
        state.is_regular()
            && self.store.digest_file(&input.path, state, vouches) == Some(input.digest)
    }

    /// Looks at every name that must be absent, and takes over the directories' stamps.
    fn refresh_absences(&mut self, draft: &mut Draft) -> Option<()> {
        let nothing_written = HashSet::new();
        for directory in std::mem::take(&mut draft.directories) {
            let path = PathBuf::from(OsStr::from_bytes(directory.path.to_bytes()));
            let state = self.world.vouching(&path, &nothing_written);
            for name in &directory.names {
                let full = CString::new(
                    path.join(OsStr::from_bytes(name.to_bytes())).as_os_str().as_bytes(),
                );
                if raw::lstat(&full.ok()?) != Err(Errno::NOENT) {
                    return None;
                }
            }
            match state {
                Some((path, state)) => draft.directories.push(crate::store::draft::Directory {
                    path,
                    stamp: state.stat.stamp(),
                    names: directory.names,
                }),
                // A directory that has gone, or whose stamp vouches no more: name by name from now on.
                None => draft.absences.extend(hot_absences(&path, &directory.names)?),
            }
        }
        Some(())
    }
}

fn hot_absences(directory: &Path, names: &[CString]) -> Option<Vec<(CString, u32)>> {
    names
        .iter()
        .map(|name| {
            let path = super::world::c_path(&directory.join(OsStr::from_bytes(name.to_bytes())))?;
            Some((path, Errno::NOENT.raw_os_error().cast_unsigned()))
        })
        .collect()
}
