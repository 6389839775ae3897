//! Whether a result of which the tool was given maps of its places' names is free of them.
//!
//! With maps the tool writes the same for each place, as long as a name of a place reaches it as a path, and not as a value. So
//! the names may stand in arguments that are paths, in what was opened or looked for, in the depfile and in diagnostics, which are
//! written anew for another place. Anything else binds the result. That no output holds a name is a veto, and no proof.
//! Read next: `place.rs` (results without maps), `places.rs`, `docs/places.md`.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::compiled_files::{is_searchable, is_system, scanned, text_of};
use super::file_states::names_otherwise;
use super::path_walker::path_of;
use super::place::{Binds, is_directory, is_file, lies_on_the_way};
use super::places::Places;
use super::record_builder::RecordBuilder;
use super::root::nearer_repositories;
use crate::compilers::{adds_options, holds_options};
use crate::probe::judge::may_count;
use crate::record;
use crate::store::draft::{Draft, DraftInput};

impl RecordBuilder<'_> {
    /// Makes a record one for every place, if its result is free of these; what binds it if not.
    pub(super) fn free_of_places(&self, draft: &mut Draft) -> Result<(), Binds> {
        let runs_known_code = if self.policy.loads_macros() {
            self.only_runs_macros()
        } else {
            self.knows_what_runs()
        };
        if !runs_known_code || draft.flags & record::STAMPS_ONLY != 0 {
            return Err(Binds::Command);
        }
        self.vet_arguments()?;
        self.vet_environment(self.places)?;
        self.vet_spellings()?;
        self.vet_draft(draft)?;
        self.vet_linked(draft)?;
        vet_contents(self.places, draft)?;
        self.vet_crate(draft)?;
        self.vet_texts(draft)?;
        self.vet_outputs(draft)?;
        self.mark_variables(draft);
        draft.flags |= record::ANYWHERE | record::MAPPED;
        draft.places = self.places.joined();
        Ok(())
    }

    /// Where nothing is, and a repository would be another root.
    pub(super) fn nearer_repositories(&self) -> Vec<PathBuf> {
        let (directory, source) = (self.command.directory(), self.policy.first_input());
        let nearer =
            source.into_iter().flat_map(|it| nearer_repositories(self.places, directory, it));
        nearer.filter(|path| !path.exists()).collect()
    }

    /// Arguments name places only as the beginning of a path.
    fn vet_arguments(&self) -> Result<(), Binds> {
        let tool = self.command.call().tool;
        let mut before = tool;
        for arg in self.command.start().args().skip(self.command.call().first) {
            let bytes = arg.to_bytes();
            let is_path = || {
                self.policy
                    .path_at(before.to_bytes(), bytes)
                    .and_then(|at| bytes.get(at..))
                    .is_some_and(|path| is_plain_path(self.places, path) && !self.leaves(path))
            };
            if self.places.occur_in(bytes) && !is_path() {
                return Err(Binds::Argument(arg.to_owned()));
            }
            before = arg;
        }
        if self.places.occur_in(tool.to_bytes()) {
            return Err(Binds::Argument(tool.to_owned()));
        }
        Ok(())
    }

    /// `PWD` does not name the working directory otherwise than the kernel does, and no variable that was asked for names a place.
    pub(super) fn vet_environment(&self, places: &Places) -> Result<(), Binds> {
        let walks = self.walks_environment();
        for entry in self.command.start().environment().map(CStr::to_bytes) {
            let Some(at) = entry.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&entry[..at], &entry[at + 1..]);
            let was_asked = || {
                let names = &self.observation.variables;
                name.starts_with(b"LD_")
                    || names.contains(OsStr::from_bytes(name))
                    || walks && may_count(name)
            };
            // rustc asks the kernel.
            let counts = || !self.policy.loads_macros() || was_asked();
            if name == b"PWD" && counts() && names_otherwise(value, self.command.directory()) {
                return Err(Binds::LogicalDirectory);
            }
            // The searches in `PATH` are in the record with what they found.
            let is_vetted = !matches!(name, b"PWD" | b"PATH") && was_asked();
            let names_place = || places.occur_in(value) && !self.may_name_places(name, value);
            if is_vetted && (adds_options(name) || names_place()) {
                return Err(Binds::Variable(CString::new(name).unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// No path that was spelled leads out of a place by steps up: in another place it would lead elsewhere.
    fn vet_spellings(&self) -> Result<(), Binds> {
        let seen = self.observation;
        let inputs = seen.inputs.iter().map(|input| &input.path);
        let absences = seen.absences.iter().map(|absence| &absence.path);
        let outputs = seen.outputs.iter().map(|output| &output.path);
        let directories = seen.directories.iter().map(|made| &made.path);
        let others = seen.existing.iter().chain(&seen.listings);
        let all = inputs.chain(absences).chain(outputs).chain(directories).chain(others);
        match all.map(|path| path.as_os_str().as_bytes()).find(|path| self.leaves(path)) {
            Some(path) => Err(Binds::Path(CString::new(path).unwrap_or_default())),
            None => Ok(()),
        }
    }

    /// Whether a path begins in a place and leads out of it.
    fn leaves(&self, path: &[u8]) -> bool {
        let climbs_out = |path: &[u8]| {
            let rest = self.places.below(path);
            rest.is_some_and(|rest| climbs(Path::new(OsStr::from_bytes(rest))))
        };
        if path.starts_with(b"/") {
            climbs_out(path)
        } else {
            climbs_out(&[self.command.directory(), b"/", path].concat())
        }
    }

    /// No path names a place but by lying in it, and nothing counts that lies in a directory above one.
    fn vet_draft(&self, draft: &Draft) -> Result<(), Binds> {
        let places = self.places;
        let bound = |path: &CString| Err(Binds::Path(path.clone()));
        let is_odd = |path: &[u8]| !is_plain_path(places, path);
        let is_beside = |path: &[u8]| {
            places.of(path).is_none() && places.directories().any(|it| lies_on_the_way(it, path))
        };
        for input in &draft.inputs {
            let path = input.path.to_bytes();
            if holds_options(path_of(&input.path))
                || is_odd(path)
                || !is_directory(input) && is_beside(path)
                || input.kind == record::LINK && self.leads_away(input)
            {
                return bound(&input.path);
            }
        }
        for directory in &draft.directories {
            let path = directory.path.to_bytes();
            let has_absences = directory.names.iter().any(|name| !name.to_bytes().ends_with(b"/"));
            if is_odd(path) || places.are_below(path) && has_absences {
                return bound(&directory.path);
            }
        }
        let absences = draft.absences.iter().map(|(path, _)| path);
        let outputs = draft.outputs.iter().map(|output| &output.path);
        for path in absences.chain(outputs) {
            if is_odd(path.to_bytes()) || is_beside(path.to_bytes()) {
                return bound(path);
            }
        }
        match draft.searches.iter().find(|(_, found)| places.occur_in(found.to_bytes())) {
            Some((_, found)) => bound(found),
            None => Ok(()),
        }
    }

    /// Whether a link is on the way to a place, or leads out of one by a relative name, or names one.
    fn leads_away(&self, input: &DraftInput) -> bool {
        let path = input.path.to_bytes();
        let Ok(target) = fs::read_link(path_of(&input.path)) else { return true };
        let is_on_the_way =
            self.places.are_below(path) || self.places.iter().any(|place| place == path);
        let beside = path_of(&input.path).with_file_name(&target);
        is_on_the_way
            || self.leaves(beside.as_os_str().as_bytes())
            || self.places.occur_in(target.as_os_str().as_bytes())
    }

    /// What was printed names places only as paths, and not where a terminal's width may have broken its lines.
    fn vet_texts(&self, draft: &mut Draft) -> Result<(), Binds> {
        for text in self.ended.texts() {
            if !self.places.occur_in_any_encoding(text) {
                continue;
            }
            let is_clean = self.places.are_paths_in(text)
                && !self.places.occur_in_any_encoding(&self.places.hide(text));
            if draft.columns != 0 || !is_clean {
                return Err(Binds::Output(c"what was printed".into()));
            }
            draft.flags |= record::TEXT_NAMES_PLACES;
        }
        Ok(())
    }

    /// Outputs are objects in which no place can be found, or depfiles that can be written anew.
    fn vet_outputs(&self, draft: &mut Draft) -> Result<(), Binds> {
        for output in draft.outputs.iter_mut().filter(|output| is_file(output)) {
            let path = path_of(&output.path);
            let bytes = scanned(path).ok_or_else(|| Binds::Output(output.path.clone()))?;
            let is_free = if self.policy.is_text_output(path) {
                let same = |word: &[u8]| word.to_vec();
                let is_named = self.places.occur_in(&bytes);
                output.flags |= if is_named { record::NAMES_PLACES } else { 0 };
                !is_named
                    || self.places.are_paths_in(&bytes)
                        && self.policy.renamed_depfile(&bytes, same).as_ref() == Some(&bytes)
            } else {
                is_searchable(&bytes) && !self.places.occur_in_any_encoding(&bytes)
            };
            if !is_free {
                return Err(Binds::Output(output.path.clone()));
            }
        }
        Ok(())
    }
}

/// Whether a relative path leads above where it begins.
fn climbs(path: &Path) -> bool {
    let mut depth = 0;
    path.components().any(|part| {
        depth += match part {
            Component::ParentDir => -1,
            Component::Normal(_) => 1,
            _ => 0,
        };
        depth < 0
    })
}

/// Whether a path names a place only by lying at or below one, but for drawn names.
fn is_plain_path(places: &Places, path: &[u8]) -> bool {
    let path = places.hide_drawn(path);
    !places.occur_in(places.below(&path).unwrap_or(&path))
}

/// No file that was read, outside of the system's, holds the name of a place: what it says of it may be a value, or may lead
/// back to it from another one.
fn vet_contents(places: &Places, draft: &Draft) -> Result<(), Binds> {
    let is_vetted = |path: &[u8]| places.of(path).is_some() || !is_system(path);
    let read = draft.inputs.iter().filter(|input| input.kind == record::CONTENT);
    for input in read.filter(|input| is_vetted(input.path.to_bytes())) {
        if text_of(path_of(&input.path)).may_have(|text| places.occur_in(text)) {
            return Err(Binds::Content(input.path.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_out_of_a_place() {
        for (path, climbs_out) in [
            ("", false),
            ("/a/../b", false),
            ("/../x", true),
            ("/a/../../x", true),
            ("/a/b", false),
        ] {
            assert_eq!(climbs(Path::new(path)), climbs_out, "{path}");
        }
        let places = Places::new(vec![b"/srv/me".to_vec()]).expect("a place");
        for (path, is_plain) in [
            ("/srv/me/a", true),
            ("/srv/me", true),
            ("/srv/me2", false),
            ("/srv/me/srv/me/a", false),
            ("/usr/include", true),
        ] {
            assert_eq!(is_plain_path(&places, path.as_bytes()), is_plain, "{path}");
        }
    }
}
