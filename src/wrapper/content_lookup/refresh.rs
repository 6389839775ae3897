//! A record that is true by content, with today's stamps: the next look-up finds it by these.
//!
//! Only what the judge has accepted is refreshed.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::evidence::FileIdentities;
use super::file_contents::FileContents;
use crate::builder::path_walker::c_path;
use crate::builder::places::Places;
use crate::builder::search_path::{self, Searched};
use crate::record;
use crate::shm::raw::{self, Errno, FileState};
use crate::store::draft::{Draft, DraftDirectory, DraftInput};

impl FileContents<'_> {
    /// Takes over today's stamps and variables; whether all stamps tell their content from any later one, and may be shown
    /// to all who use the cache. `is_moved` says whether the record comes from another directory. `None` if something has
    /// changed since it was judged.
    pub fn refresh(&mut self, draft: &mut Draft, is_moved: bool) -> Option<bool> {
        draft.direct_key = self.command.direct_key();
        let mut is_path_other = is_moved;
        let mut asked = None;
        for variable in &mut draft.variables {
            let value = self.environment.digest(variable.name.to_bytes(), variable.flags);
            is_path_other |= variable.name.as_c_str() == c"PATH" && variable.value != value;
            if variable.name.as_c_str() == c"PWD" && (variable.value != value || is_moved) {
                let now = self.environment.value(b"PWD").unwrap_or_default();
                asked = Some(Path::new(OsStr::from_bytes(now))).filter(|path| path.is_absolute());
            }
            variable.value = value;
        }
        is_path_other |= self.leave_out_missing(draft);
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
        if is_path_other || asked.is_some() {
            let group_of = |file| same.group_of(file);
            let Self { store, files, environment, .. } = self;
            search_path::note(store, files, environment, draft, asked, group_of)?;
        }
        Some(is_reliable)
    }

    /// Leaves out where programs were searched and where nothing is any more; whether there was such a place.
    fn leave_out_missing(&mut self, draft: &mut Draft) -> bool {
        let searched = Searched::of(&draft.searches);
        let mut found = false;
        // `errno` is what it was then, if nothing was there.
        let mut stays = |path: &CStr, errno: Option<u32>| {
            let is_gone = searched.includes(path.to_bytes())
                && self.is_missing(path)
                && errno
                    != self.state(path, false).err().map(|it| it.raw_os_error().cast_unsigned());
            found |= is_gone;
            !is_gone
        };
        draft.inputs.retain(|it| it.kind != record::EXISTS || stays(&it.path, None));
        draft.directories.retain(|it| stays(&it.path, None));
        draft.absences.retain(|(path, errno)| stays(path, Some(*errno)));
        for directory in &mut draft.directories {
            let above = Path::new(OsStr::from_bytes(directory.path.to_bytes()));
            directory.names.retain(|name| {
                let Some(name) = name.to_bytes().strip_suffix(b"/") else { return true };
                let path = c_path(&above.join(OsStr::from_bytes(name)));
                path.is_none_or(|path| stays(&path, None))
            });
        }
        found
    }

    /// Notes the directories that lead to the place and to the working directory, as the walk of a path that names it does.
    fn note_way(&mut self, draft: &mut Draft, same: &mut FileIdentities) -> Option<()> {
        let places = Places::read(draft.places.to_bytes());
        for directory in places.directories().chain([self.command.directory()]) {
            self.note_way_to(directory, draft, same)?;
        }
        Some(())
    }

    fn note_way_to(
        &mut self,
        directory: &[u8],
        draft: &mut Draft,
        same: &mut FileIdentities,
    ) -> Option<()> {
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
        for directory in std::mem::take(&mut draft.directories) {
            let path = PathBuf::from(OsStr::from_bytes(directory.path.to_bytes()));
            let shown =
                if path.as_os_str().is_empty() { c".".into() } else { directory.path.clone() };
            let state = raw::stat(&shown).ok().filter(FileState::is_directory)?;
            // Names that were missing in it still are.
            if state.stat.stamp() == directory.stamp {
                draft.directories.push(directory);
                continue;
            }
            let reliable = self.files.reliable_path(&path, &state, &nothing_written);
            let NamesNow { names, absent, links, inside } = look_at_names(&path, directory.names)?;
            // What a link that leads nowhere comes to lead to does not change the directory that holds the link.
            draft.absences.extend(links.into_iter().map(|path| (path, no_entry)));
            if let Some(path) = reliable {
                draft.directories.push(DraftDirectory { path, stamp: state.stat.stamp(), names });
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

/// What the recorded names of a directory are now.
#[derive(Default)]
struct NamesNow {
    /// Those of which the directory's stamp tells, as [`record::Directory::names`] has them.
    names: Vec<CString>,
    /// Paths at which nothing is.
    absent: Vec<CString>,
    /// Paths of links that lead nowhere.
    links: Vec<CString>,
    /// Directories.
    inside: Vec<(CString, FileState)>,
}

/// Looks at each name; `None` if one is not as it should be.
fn look_at_names(directory: &Path, recorded: Vec<CString>) -> Option<NamesNow> {
    let mut now = NamesNow::default();
    for name in recorded {
        let bytes = name.to_bytes();
        let is_directory = bytes.ends_with(b"/");
        let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
        let path = c_path(&directory.join(OsStr::from_bytes(bytes)))?;
        match raw::lstat(&path) {
            Ok(state) if is_directory && state.is_directory() => now.inside.push((path, state)),
            Err(Errno::NOENT) if !is_directory => now.absent.push(path),
            Ok(_) if !is_directory && raw::stat(&path) == Err(Errno::NOENT) => {
                now.links.push(path);
                continue;
            }
            _ => return None,
        }
        now.names.push(name);
    }
    Some(now)
}
