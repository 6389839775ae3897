//! A record that is true by content, with today's stamps: the next look-up finds it by these.
//!
//! Only what the judge has accepted is refreshed.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::evidence::FileIdentities;
use super::file_contents::FileContents;
use crate::builder::path_walker::c_path;
use crate::record;
use crate::shm::raw::{self, Errno, FileState};
use crate::store::draft::{Draft, DraftDirectory, DraftInput};

impl FileContents<'_> {
    /// Takes over today's stamps and variables; whether all stamps tell their content from any later one, and may be shown
    /// to all who use the cache. `is_moved` says whether the record comes from another directory. `None` if something has
    /// changed since it was judged.
    pub fn refresh(&mut self, draft: &mut Draft, is_moved: bool) -> Option<bool> {
        draft.direct_key = self.command.direct_key();
        for variable in &mut draft.variables {
            variable.value = self.environment.digest(variable.name.to_bytes(), variable.flags);
        }
        let mut is_reliable = true;
        let mut same = FileIdentities::default();
        for input in &mut draft.inputs {
            let state = self.state_of_input(&input.path, input.kind)?;
            same.agrees(input, &state).then_some(())?;
            let stamp = state.stat.stamp();
            let is_by_mode = matches!(input.kind, record::EXISTS | record::LEADS);
            if !is_by_mode && stamp != input.stamp {
                let all_may_use = self.store.cache.access.all_may_use(&state);
                is_reliable &= all_may_use && self.is_reliable(&input.path, &state);
            }
            input.stamp = stamp;
        }
        self.refresh_directories(draft, &mut same)?;
        if is_moved {
            self.note_way(draft, &mut same)?;
        }
        Some(is_reliable)
    }

    /// Notes the directories that lead to the working directory, as the walk of a path that names it does.
    fn note_way(&mut self, draft: &mut Draft, same: &mut FileIdentities) -> Option<()> {
        let directory = self.command.directory();
        let ends = directory.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        for end in ends.map(|(at, _)| at).chain([directory.len()]) {
            let path = CString::new(&directory[..end]).ok()?;
            if draft.inputs.iter().any(|input| input.path == path) {
                continue;
            }
            let state = self.state(&path, true).ok().filter(FileState::is_directory)?;
            draft.inputs.push(existing(path, &state, same));
        }
        Some(())
    }

    /// Takes over the directories' stamps, each taken before its names are looked at. If one is not reliable any longer, its
    /// names are noted one by one.
    fn refresh_directories(&mut self, draft: &mut Draft, same: &mut FileIdentities) -> Option<()> {
        let nothing_written = HashSet::new();
        let no_entry = Errno::NOENT.raw_os_error().cast_unsigned();
        for mut directory in std::mem::take(&mut draft.directories) {
            let path = PathBuf::from(OsStr::from_bytes(directory.path.to_bytes()));
            let shown =
                if path.as_os_str().is_empty() { c".".into() } else { directory.path.clone() };
            let state = raw::stat(&shown).ok().filter(FileState::is_directory)?;
            let reliable = self.files.reliable_path(&path, &state, &nothing_written);
            let (absent, inside) = look_at_names(&path, &directory.names)?;
            // What a link that leads nowhere comes to lead to does not change the directory that holds the link.
            directory.names.retain(|name| !is_link_in(&path, name));
            let links = absent.iter().filter(|path| raw::lstat(path).is_ok()).cloned();
            if let Some(path) = reliable {
                draft.absences.extend(links.map(|path| (path, no_entry)));
                let stamp = state.stat.stamp();
                draft.directories.push(DraftDirectory { path, stamp, names: directory.names });
                continue;
            }
            for (path, state) in inside {
                draft.inputs.push(existing(path, &state, same));
            }
            let there = existing(shown, &state, same);
            draft.inputs.push(DraftInput { kind: record::LEADS, ..there });
            draft.absences.extend(absent.into_iter().map(|path| (path, no_entry)));
        }
        Some(())
    }
}

/// Whether a name in a directory is that of a link.
fn is_link_in(directory: &Path, name: &CString) -> bool {
    let path = c_path(&directory.join(OsStr::from_bytes(name.to_bytes())));
    path.is_some_and(|path| raw::lstat(&path).is_ok_and(|state| state.is_symlink()))
}

/// A path of which counts that it is there.
fn existing(path: CString, state: &FileState, same: &mut FileIdentities) -> DraftInput {
    DraftInput {
        path,
        kind: record::EXISTS,
        mode: state.mode,
        stamp: state.stat.stamp(),
        digest: [0; 32],
        group: same.group_of((state.stat.dev, state.stat.ino)),
        times: 0,
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
        if is_directory {
            let state = raw::lstat(&path).ok().filter(FileState::is_directory)?;
            inside.push((path, state));
        } else if raw::stat(&path) == Err(Errno::NOENT) {
            absent.push(path);
        } else {
            return None;
        }
    }
    Some((absent, inside))
}
