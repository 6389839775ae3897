//! The directories of `PATH` in a record. They count for a look-up by stamps. One by content repeats the searches, so that they
//! may be gone (another user has another home), and notes today's.
//!
//! Read next: `search.rs`, `inputs.rs`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use memchr::memmem;
use rustc_hash::{FxHashMap, FxHashSet};

use super::file_states::{Absences, Absent, FileStates};
use super::inputs::{Inputs, Shows};
use super::path_walker::{bare_directory, c_path, split};
use super::search::candidates;
use crate::compilers::Times;
use crate::observe::Observation;
use crate::os::path::Found;
use crate::os::run::Text;
use crate::outcome::NotStored;
use crate::probe::judge::Environment;
use crate::record;
use crate::store::Store;
use crate::store::draft::{Draft, DraftInput};

/// What only searches in `PATH` looked at.
pub struct Searched<'d> {
    programs: FxHashSet<&'d [u8]>,
    directories: FxHashSet<&'d [u8]>,
}

impl<'d> Searched<'d> {
    /// Of these searches of a record.
    pub fn of(searches: &'d [(CString, CString)]) -> Searched<'d> {
        let programs =
            searches.iter().filter(|(name, found)| is_program(name) && !found.is_empty());
        let directories = searches.iter().filter(|(name, _)| name.to_bytes().starts_with(b"/"));
        Searched {
            programs: programs.map(|(name, _)| name.to_bytes()).collect(),
            directories: directories.map(|(name, _)| name.to_bytes()).collect(),
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
    tool: Option<(&CStr, &Found)>,
    files: &mut FileStates,
) -> Result<Vec<(CString, CString)>, NotStored> {
    let programs = programs(environment, observation);
    let tool = tool.map(|(name, found)| (OsStr::from_bytes(name.to_bytes()), found));
    let mut searches = Vec::new();
    for (name, found) in programs.iter().map(|(name, found)| (*name, found)).chain(tool) {
        // Another user, or the same one after a change of its owner, may run it.
        if found.absent.iter().any(|(path, _)| is_program_of_others(path)) {
            return Err(NotStored::PrivateInput);
        }
        let path = found.path.as_deref().and_then(c_path).unwrap_or_default();
        let name = CString::new(name.as_bytes()).map_err(|_| NotStored::ObservationIncomplete)?;
        searches.push((name, path));
    }
    let directories = directories(environment, observation, &programs, files).into_iter();
    searches.extend(directories.map(|path| (path, CString::default())));
    Ok(searches)
}

/// The directories of today's `PATH`, as it spells them.
fn listed(environment: &Environment) -> impl Iterator<Item = &Path> {
    let value = environment.value(b"PATH").unwrap_or_default();
    value.split(|byte| *byte == b':').map(|path| Path::new(OsStr::from_bytes(path)))
}

/// The programs for which libc searched in `PATH`, and those for which gcc's `collect2` and clang did, which go through it
/// themselves: what they found in it, and what is in none of its directories.
fn programs<'n>(environment: &Environment, seen: &'n Observation) -> BTreeMap<&'n OsStr, Found> {
    let listed: BTreeSet<_> = listed(environment).collect();
    // Few directories hold all of the names, and comparing paths part by part takes long.
    let mut known: FxHashMap<&OsStr, bool> = FxHashMap::default();
    let mut in_path = |path: &'n Path| {
        split(path).is_some_and(|(parent, _)| {
            *known.entry(parent.as_os_str()).or_insert_with(|| listed.contains(parent))
        })
    };
    let mut programs = BTreeMap::new();
    let read = seen.inputs.iter().map(|input| &*input.path);
    let there = read.chain(seen.existing.iter().map(|path| &**path));
    for path in there.filter(|path| in_path(path)) {
        let name = path.file_name().unwrap_or_default();
        let found = candidates(environment, name);
        if found.path.as_deref() == Some(path) {
            programs.insert(name, found);
        }
    }
    let mut absent: BTreeMap<&OsStr, BTreeSet<&Path>> = BTreeMap::new();
    for path in seen.absences.iter().map(|absence| &*absence.path).filter(|path| in_path(path)) {
        let (name, parent) = (path.file_name(), path.parent());
        absent.entry(name.unwrap_or_default()).or_default().extend(parent);
    }
    let in_none = absent.into_iter().filter(|(_, in_vain)| listed.len() > 1 && *in_vain == listed);
    let searched = seen.path_searches.iter().map(OsString::as_os_str);
    for name in in_none.map(|(name, _)| name).chain(searched) {
        programs.entry(name).or_insert_with(|| candidates(environment, name));
    }
    programs
}

/// The directories of `PATH` and those on the way to them, but for those of which the tool asked itself, and those on the way to
/// what else than these programs it looked for in vain.
fn directories(
    environment: &Environment,
    seen: &Observation,
    programs: &BTreeMap<&OsStr, Found>,
    files: &mut FileStates,
) -> BTreeSet<CString> {
    let listed: FxHashSet<_> = listed(environment).filter(|path| path.is_absolute()).collect();
    let made = seen.directories.iter().map(|made| &made.path);
    let asked = seen.existing.iter().chain(&seen.listings).chain(made);
    let asked: HashSet<_> = asked.map(|path| files.walker.plain(path)).collect();
    let is_program = |path: &Path| {
        split(path)
            .is_some_and(|(parent, name)| programs.contains_key(name) && listed.contains(parent))
    };
    let absent = seen.absences.iter().map(|absence| &*absence.path);
    let absent: FxHashSet<OsString> = absent
        .filter(|path| !is_program(path))
        .map(|path| files.walker.plain(path).into_owned().into_os_string())
        .collect();
    // Few directories hold all of the names.
    let above: FxHashSet<&OsStr> = absent
        .iter()
        .map(|path| split(Path::new(path)).map_or(&**path, |(parent, _)| parent.as_os_str()))
        .collect();
    let is_on_the_way = |directory: &Path| {
        absent.contains(directory.as_os_str())
            || above.iter().any(|path| {
                let below = path.as_bytes().strip_prefix(directory.as_os_str().as_bytes());
                matches!(below, Some([] | [b'/', ..]))
            })
    };
    let all = listed.iter().flat_map(|path| path.ancestors()).map(bare_directory);
    all.filter(|path| path.parent().is_some() && !asked.contains(*path) && !is_on_the_way(path))
        .filter_map(c_path)
        .collect()
}

/// Whether a record holds a search for a program under this name.
pub fn is_program(name: &CStr) -> bool {
    !name.to_bytes().contains(&b'/')
}

/// Whether the tool's text shows the value of `PATH`.
pub fn is_said(environment: &Environment, text: Option<&Text>) -> bool {
    let value = environment.value(b"PATH").filter(|value| !value.is_empty());
    let texts = text.into_iter().flat_map(|text| [&text.stdout, &text.stderr]);
    value.is_some_and(|value| texts.into_iter().any(|text| memmem::find(text, value).is_some()))
}

/// Whether `path` is a program that we may not run, and others may.
fn is_program_of_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Notes in `draft` what the searches for its programs meet in today's `PATH`, and what is at the path `asked`. New inputs are
/// numbered by `group_of`, which is given device and inode. `None` if it changes just now, or cannot be noted.
pub fn note(
    store: &Store,
    files: &mut FileStates,
    environment: &Environment,
    draft: &mut Draft,
    asked: Option<&Path>,
    mut group_of: impl FnMut((u64, u64)) -> u32,
) -> Option<()> {
    let mut inputs = Inputs::new(store, files.taken_ns, Times::Ignored, Shows::default());
    let mut absent = Vec::new();
    for (name, _) in draft.searches.iter().filter(|(name, _)| is_program(name)) {
        let found = candidates(environment, OsStr::from_bytes(name.to_bytes()));
        for (path, _) in &found.absent {
            match files.look(path) {
                Absent::There if is_program_of_others(path) => return None,
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
    if let Some(path) = asked {
        match files.look(path) {
            Absent::There => inputs.existing(files, path).ok()?,
            nowhere => absent.push(nowhere),
        }
    }
    let absences = files.absences(absent, &HashSet::new())?;
    inputs.links(files, &absences.directories).ok()?;
    for (path, state) in files.walker.places(&FxHashSet::default()) {
        inputs.push(path, record::EXISTS, &state, [0; 32]);
    }
    add_absences(draft, absences)?;
    let known: FxHashSet<_> = draft.inputs.iter().map(|it| (it.kind, it.path.clone())).collect();
    for (input, file) in inputs.with_files() {
        if !known.contains(&(input.kind, input.path.clone())) {
            draft.inputs.push(DraftInput { group: group_of(file), ..input });
        }
    }
    Some(())
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
