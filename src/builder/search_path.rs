//! The directories of `PATH` in a record. They count for a look-up by stamps. One by content repeats the searches, so that they
//! may be gone (another user has another home), and notes today's.
//!
//! Read next: `search.rs`, `inputs.rs`.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustc_hash::FxHashSet;

use super::file_states::{Absences, Absent, FileStates};
use super::inputs::{Inputs, Shows};
use super::path_walker::{bare_directory, c_path, path_of, split};
use super::search::{candidates, search};
use crate::compilers::Times;
use crate::observe::Observation;
use crate::probe::judge::Environment;
use crate::record;
use crate::shm::raw::{self, FileState};
use crate::store::Store;
use crate::store::digest::digest_link;
use crate::store::draft::{Draft, DraftInput};

/// What only searches in `PATH` looked at.
pub struct Searched<'d> {
    programs: FxHashSet<&'d [u8]>,
    directories: FxHashSet<&'d [u8]>,
}

impl<'d> Searched<'d> {
    /// Of these searches of a record.
    pub fn of(searches: &'d [(CString, CString)]) -> Searched<'d> {
        let names = || searches.iter().map(|(name, _)| name.to_bytes());
        Searched {
            programs: names().filter(|name| !name.contains(&b'/')).collect(),
            directories: names().filter(|name| name.starts_with(b"/")).collect(),
        }
    }

    /// Whether `path` is a directory of `PATH`, or one on the way to it, or a program's name there.
    pub fn includes(&self, path: &[u8]) -> bool {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        self.directories.contains(path)
            || split(Path::new(OsStr::from_bytes(path))).is_some_and(|(parent, name)| {
                self.directories.contains(parent.as_os_str().as_bytes())
                    && self.programs.contains(name.as_bytes())
            })
    }
}

/// What the tool, found under a name in `PATH` if it is given, and what it ran were searched by, as a record holds it: programs'
/// names with what they were found to be, and directories that count for these searches alone, which are found nowhere.
pub fn searches(
    environment: &Environment,
    observation: &Observation,
    tool: Option<(&CStr, &Path)>,
    files: &mut FileStates,
) -> Option<Vec<(CString, CString)>> {
    let mut searches = Vec::new();
    for name in programs(environment, observation) {
        searches.push((CString::new(name.as_bytes()).ok()?, search(environment, name)));
    }
    if let Some((name, path)) = tool {
        searches.push((name.to_owned(), c_path(path)?));
    }
    let directories = directories(environment, observation, files).into_iter();
    searches.extend(directories.map(|path| (path, CString::default())));
    Some(searches)
}

/// Names that libc searched for in `PATH`, and those that were looked for in its directories: gcc's `collect2` and clang go
/// through them themselves.
fn programs<'n>(environment: &Environment, seen: &'n Observation) -> BTreeSet<&'n OsStr> {
    let value = environment.value(b"PATH").unwrap_or_default();
    let listed: HashSet<_> =
        value.split(|byte| *byte == b':').map(|path| Path::new(OsStr::from_bytes(path))).collect();
    let absent = seen.absences.iter().map(|absence| &absence.path);
    let read = seen.inputs.iter().map(|input| &input.path);
    let looked_for = absent.chain(read).chain(&seen.existing);
    let in_path = looked_for
        .filter(|path| path.parent().is_some_and(|parent| listed.contains(parent)))
        .filter_map(|path| path.file_name());
    seen.path_searches.iter().map(OsString::as_os_str).chain(in_path).collect()
}

/// The directories of `PATH` and those on the way to them, but for those of which the tool asked itself.
fn directories(
    environment: &Environment,
    observation: &Observation,
    files: &mut FileStates,
) -> BTreeSet<CString> {
    let made = observation.directories.iter().map(|made| &made.path);
    let asked = observation.existing.iter().chain(&observation.listings).chain(made);
    let asked: HashSet<_> = asked.map(|path| files.walker.plain(path)).collect();
    let value = environment.value(b"PATH").unwrap_or_default();
    let each = value.split(|byte| *byte == b':').map(|path| Path::new(OsStr::from_bytes(path)));
    each.filter(|path| path.is_absolute())
        .flat_map(Path::ancestors)
        .filter(|path| path.parent().is_some() && !asked.contains(*path))
        .filter_map(|path| c_path(bare_directory(path)))
        .collect()
}

/// Whether a record holds a search for a program under this name.
pub fn is_program(name: &CStr) -> bool {
    !name.to_bytes().contains(&b'/')
}

/// Notes in `draft` what the searches for its programs meet in today's `PATH`. New inputs are numbered by `group_of`, which is
/// given device and inode. `None` if it changes just now, or cannot be noted.
pub fn note(
    store: &Store,
    files: &mut FileStates,
    environment: &Environment,
    draft: &mut Draft,
    mut group_of: impl FnMut((u64, u64)) -> u32,
) -> Option<()> {
    let mut inputs = Inputs::new(store, files.taken_ns, Times::Ignored, Shows::default());
    let mut absent = Vec::new();
    for (name, _) in draft.searches.iter().filter(|(name, _)| is_program(name)) {
        let found = candidates(environment, OsStr::from_bytes(name.to_bytes()));
        for (path, _) in &found.absent {
            match files.look(path) {
                Absent::There => {
                    let plain = files.walker.plain(path).into_owned();
                    inputs.existing(files, &plain).ok()?;
                }
                nowhere => absent.push(nowhere),
            }
        }
        for path in &found.passed {
            inputs.passed(files, path).ok()?;
        }
    }
    let absences = files.absences(absent, &HashSet::new())?;
    for directory in &absences.directories {
        files.walker.walk(path_of(&directory.path));
    }
    for (path, state) in files.walker.links() {
        inputs.push(path.clone(), record::LINK, state, digest_link(path)?);
    }
    for (path, state) in files.walker.places(&FxHashSet::default()) {
        inputs.push(path, record::EXISTS, &state, [0; 32]);
    }
    add_absences(draft, absences)?;
    let known: FxHashSet<_> = draft.inputs.iter().map(|it| (it.kind, it.path.clone())).collect();
    for input in inputs.list {
        if !known.contains(&(input.kind, input.path.clone())) {
            let file = state_of(&input)?;
            let group = group_of((file.stat.dev, file.stat.ino));
            draft.inputs.push(DraftInput { group, ..input });
        }
    }
    Some(())
}

/// The state by which an input is judged, if it is still that one.
fn state_of(input: &DraftInput) -> Option<FileState> {
    let is_itself = matches!(input.kind, record::EXISTS | record::LINK);
    let of: fn(&CStr) -> _ = if is_itself { raw::lstat } else { raw::stat };
    of(&input.path).ok().filter(|now| now.mode == input.mode)
}

fn add_absences(draft: &mut Draft, absences: Absences) -> Option<()> {
    for new in absences.directories {
        match draft.directories.iter_mut().find(|known| known.path == new.path) {
            Some(known) => {
                (known.stamp == new.stamp).then_some(())?;
                let names = new.names.into_iter().filter(|name| !known.names.contains(name));
                known.names.extend(names.collect::<Vec<_>>());
            }
            None => draft.directories.push(new),
        }
    }
    let hot = absences.hot.into_iter().filter(|absence| !draft.absences.contains(absence));
    draft.absences.extend(hot.collect::<Vec<_>>());
    Some(())
}
