//! Whether a result says where it was made. One that does not serves every directory in which its inputs are the same.
//!
//! A result is free of its place if nothing that reached the tool named the place (arguments, variables, files by their spelling,
//! links), and the policy says that this class of output does not hold the working directory, which even a plain compile
//! asks for. That the place does not occur in the outputs either is no proof (a hash of a name shows no name), but a veto.
//! Read next: `docs/places.md`, `wrapper/content_lookup/relocate.rs` (the same result elsewhere).

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::compiled_files::{holds_intermediate_code, is_system, scanned};
use super::path_walker::path_of;
use super::places::{Places, hidden_digest, is_at_or_below};
use super::record_builder::RecordBuilder;
use crate::compilers::{ShowsDirectory, holds_options};
use crate::outcome::NotStored;
use crate::record;
use crate::shm::raw;
use crate::store::draft::{Draft, DraftInput, DraftOutput, DraftVariable};
use crate::store::path_set::PathSet;

/// What binds a result to its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binds {
    /// With these options, or this tool, the working directory may be in the outputs.
    Command,
    /// The place's name is so short, or so strange, that it cannot be looked for.
    Name,
    /// An argument names it.
    Argument(CString),
    /// A variable names it, or adds options.
    Variable(CString),
    /// `PWD` names the working directory in another way.
    LogicalDirectory,
    /// A file was reached by it, or one that holds options was read.
    Path(CString),
    /// A file that was read holds it.
    Content(CString),
    /// An output, or what was printed, holds it.
    Output(CString),
}

impl fmt::Display for Binds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |text: &CStr| path_of(text).display().to_string();
        match self {
            Binds::Command => write!(f, "the working directory may be in what this command writes"),
            Binds::Name => {
                write!(f, "the directory's name is too short, or has strange characters")
            }
            Binds::Argument(text) => write!(f, "argument {} names it", show(text)),
            Binds::Variable(name) => write!(f, "variable {} names it, or adds options", show(name)),
            Binds::LogicalDirectory => write!(f, "PWD has another name for it"),
            Binds::Path(path) => write!(f, "{} was reached by it, or holds options", show(path)),
            Binds::Content(path) | Binds::Output(path) => write!(f, "{} holds it", show(path)),
        }
    }
}

/// A directory, and the one so many steps above it out of which no relative path leads.
struct OwnPlace<'a> {
    directory: &'a [u8],
    base: &'a [u8],
    /// The base.
    places: Places,
}

impl<'a> OwnPlace<'a> {
    fn new(directory: &'a [u8], climb: u32) -> Result<OwnPlace<'a>, Binds> {
        let base = above(directory, climb).ok_or(Binds::Name)?;
        let places = Places::new(vec![base.to_vec()]).ok_or(Binds::Name)?;
        Ok(OwnPlace { directory, base, places })
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.places.occur_in(text)
    }
}

/// The directory so many steps above.
pub fn above(directory: &[u8], climb: u32) -> Option<&[u8]> {
    let mut base = directory;
    for _ in 0..climb {
        let at = base.iter().rposition(|byte| *byte == b'/')?;
        base = &base[..at];
    }
    Some(base)
}

impl RecordBuilder<'_> {
    /// Gives a record the key under which it is found by content, in this place or, if it is free of it, in every place; its
    /// path set goes into the store, unless it is only noted.
    pub(super) fn set_result_key(&self, draft: &mut Draft) -> Result<(), NotStored> {
        let free = if self.places.is_empty() {
            self.free_of_place(draft)
        } else {
            self.free_of_places(draft)
        };
        let place = match free {
            Ok(()) => &[][..],
            Err(binds) => {
                (self.log)(format_args!("bound to this directory: {binds}"));
                let may_hide = self.places.is_empty() && self.policy.takes_maps;
                let hint = if may_hide { " (IBID_REMAP=auto may hide it)" } else { "" };
                draft.places = CString::new(format!("{binds}{hint}")).unwrap_or_default();
                self.command.place()
            }
        };
        if self.policy.outputs_may_be_renamed
            && let Err(binds) = self.free_of_output_names(draft)
        {
            (self.log)(format_args!("bound to the names of its outputs: {binds}"));
        }
        let (set, contents) = PathSet::of(draft, |variable| {
            let DraftVariable { name, flags, value } = variable;
            if flags & record::VALUE_NAMES_PLACES == 0 {
                *value
            } else {
                hidden_digest(self.environment, name, *flags, self.places)
            }
        });
        let Some(set) = self.places.hide_in(set) else {
            (self.log)(format_args!("found by stamps only: its names cannot be told from others"));
            return Ok(());
        };
        draft.result_key = set.result_key(&self.content_key, place, &contents);
        if self.only_names() {
            return Ok(());
        }
        let put = self.store.put_path_set(&self.content_key, &set, &draft.result_key);
        put.map_err(|error| error.not_stored())
    }

    /// Makes a record one for every place, if its result is free of this one; what binds it if not.
    fn free_of_place(&self, draft: &mut Draft) -> Result<(), Binds> {
        let is_known = self.policy.shows_directory == ShowsDirectory::Never
            && self.knows_what_runs()
            && draft.flags & record::STAMPS_ONLY == 0;
        if !is_known {
            return Err(Binds::Command);
        }
        let climb = relative_paths(draft).map(steps_up).max().unwrap_or(0);
        let place = OwnPlace::new(self.command.directory(), climb)?;
        self.vet_request(&place)?;
        vet_paths(&place, draft, self.policy.only_links())?;
        self.vet_linked(draft)?;
        self.vet_results(&place, draft)?;
        draft.flags |= record::ANYWHERE;
        draft.places = place.places.joined();
        Ok(())
    }

    /// What is linked holds no intermediate code: compiling that may show the directory.
    pub(super) fn vet_linked(&self, draft: &Draft) -> Result<(), Binds> {
        if !self.policy.links {
            return Ok(());
        }
        let compiles = |image: &PathBuf| {
            image.file_name().is_some_and(|name| name == "lto1" || name == "lto-wrapper")
        };
        if self.observation.images.iter().any(compiles) {
            return Err(Binds::Command);
        }
        let read = draft.inputs.iter().filter(|input| input.kind == record::CONTENT);
        for input in read.filter(|input| !is_system(input.path.to_bytes())) {
            if holds_intermediate_code(path_of(&input.path)) {
                return Err(Binds::Content(input.path.clone()));
            }
        }
        Ok(())
    }

    fn vet_request(&self, place: &OwnPlace) -> Result<(), Binds> {
        let mut args = self.command.start().args().skip(self.command.call().first);
        let tool = self.command.call().tool;
        let named = std::iter::once(tool).chain(&mut args).find(|arg| place.is_in(arg.to_bytes()));
        if let Some(arg) = named {
            return Err(Binds::Argument(arg.to_owned()));
        }
        self.vet_environment(&place.places)
    }

    fn vet_results(&self, place: &OwnPlace, draft: &Draft) -> Result<(), Binds> {
        if self.ended.texts().any(|text| place.places.occur_in_any_encoding(text)) {
            return Err(Binds::Output(c"what was printed".into()));
        }
        for output in draft.outputs.iter().filter(|output| is_file(output)) {
            let bytes = scanned(path_of(&output.path));
            if bytes.is_none_or(|bytes| place.places.occur_in_any_encoding(&bytes)) {
                return Err(Binds::Output(output.path.clone()));
            }
        }
        Ok(())
    }
}

/// Whether an output is a file that is there.
pub(super) fn is_file(output: &DraftOutput) -> bool {
    output.flags & (record::DIRECTORY | record::REMOVED) == 0
}

/// All paths of a record that are relative.
fn relative_paths(draft: &Draft) -> impl Iterator<Item = &Path> {
    let inputs = draft.inputs.iter().map(|input| &input.path);
    let directories = draft.directories.iter().map(|directory| &directory.path);
    let absences = draft.absences.iter().map(|(path, _)| path);
    let outputs = draft.outputs.iter().map(|output| &output.path);
    inputs
        .chain(directories)
        .chain(absences)
        .chain(outputs)
        .map(|path| path_of(path))
        .filter(|path| path.is_relative())
}

/// How far above its start a relative path leads, at most.
fn steps_up(path: &Path) -> u32 {
    let ups = path.components().filter(|part| *part == Component::ParentDir).count();
    u32::try_from(ups).unwrap_or(u32::MAX)
}

/// Whether no path names the place, but for what a tool comes upon when it asks where it is, or where a relative name really
/// leads: directories on the way to the place or in it, and that files are there which it also reached by relative names; what it
/// removes when it fails; and of a linker libraries by the names that the command line gives them (`-lc`).
fn vet_paths(place: &OwnPlace, draft: &Draft, only_links: bool) -> Result<(), Binds> {
    let is_relative = |input: &&DraftInput| !input.path.to_bytes().starts_with(b"/");
    let relative: HashSet<u32> =
        draft.inputs.iter().filter(is_relative).map(|input| input.group).collect();
    let removed = draft.outputs.iter().filter(|output| output.flags & record::REMOVED != 0);
    let removed: HashSet<&[u8]> = removed.map(|output| output.path.to_bytes()).collect();
    let is_own = |path: &[u8]| {
        let name = path.strip_prefix(place.directory).and_then(|rest| rest.strip_prefix(b"/"));
        name.is_some_and(|name| only_links && name.starts_with(b"-l") || removed.contains(path))
    };
    let bound = |path: &CString| Err(Binds::Path(path.clone()));
    for input in &draft.inputs {
        let path = input.path.to_bytes();
        if holds_options(path_of(&input.path)) || leads_to_place(place, input) {
            return bound(&input.path);
        }
        let is_found_by_name = !is_directory(input) && !relative.contains(&input.group);
        let is_here = is_at_or_below(path, place.base)
            && matches!(input.kind, record::EXISTS | record::LEADS)
            && !is_found_by_name;
        if place.is_in(path) && !is_here {
            return bound(&input.path);
        }
        // What lies beside the way to the place may have been looked for from there.
        if is_found_by_name && lies_on_the_way(place.base, path) {
            return bound(&input.path);
        }
    }
    for directory in &draft.directories {
        let path = directory.path.to_bytes();
        let is_above = path.starts_with(b"/") && is_at_or_below(place.base, path);
        let (is_named, is_below) = (place.is_in(path), is_at_or_below(path, place.base));
        let counts = |name: &CString| {
            !name.to_bytes().ends_with(b"/") && !is_own(&[path, b"/", name.to_bytes()].concat())
        };
        let has_absences = directory.names.iter().any(counts);
        if (is_above || is_named) && has_absences || is_named && !is_below {
            return bound(&directory.path);
        }
    }
    let absences = draft.absences.iter().map(|(path, _)| path);
    let outputs = draft.outputs.iter().map(|output| &output.path);
    for path in absences.chain(outputs).filter(|path| !is_own(path.to_bytes())) {
        if place.is_in(path.to_bytes()) || lies_on_the_way(place.base, path.to_bytes()) {
            return bound(path);
        }
    }
    match draft.searches.iter().find(|(_, found)| place.is_in(found.to_bytes())) {
        Some((_, found)) => bound(found),
        None => Ok(()),
    }
}

pub(super) fn is_directory(input: &DraftInput) -> bool {
    matches!(input.kind, record::EXISTS | record::LEADS)
        && input.mode & raw::TYPE_MASK == raw::DIRECTORY
}

/// Whether a path's parent is a directory above the place (and not `/`).
pub(super) fn lies_on_the_way(place: &[u8], path: &[u8]) -> bool {
    let parent = path.iter().rposition(|byte| *byte == b'/').map(|at| &path[..at]);
    parent.is_some_and(|parent| {
        !parent.is_empty() && parent != place && is_at_or_below(place, parent)
    })
}

/// Whether an input is a link with the place in it.
fn leads_to_place(place: &OwnPlace, input: &DraftInput) -> bool {
    let target = || fs::read_link(path_of(&input.path)).ok();
    input.kind == record::LINK
        && target().is_none_or(|target| place.is_in(target.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_can_be_looked_for() {
        for (directory, climb, base) in [
            ("/srv/me/a/build", 0, Some("/srv/me/a/build")),
            ("/srv/me/a/build", 2, Some("/srv/me")),
            ("/srv/me/a/build", 3, None),
            ("/srv/me", 5, None),
            ("/src", 0, None),
            ("/", 0, None),
            ("/srv/a b", 0, None),
            ("/srv/\u{e4}", 0, None),
        ] {
            let place = OwnPlace::new(directory.as_bytes(), climb);
            assert_eq!(
                place.ok().map(|place| place.base),
                base.map(str::as_bytes),
                "{directory} {climb}"
            );
        }
    }

    #[test]
    fn what_lies_where() {
        assert_eq!(
            ["a/../../x", "../x", "a/x", ".."].map(|path| steps_up(Path::new(path))),
            [2, 1, 0, 1]
        );
        let place = b"/srv/me/a";
        assert!(lies_on_the_way(place, b"/srv/x") && lies_on_the_way(place, b"/srv/me/x"));
        assert!(!lies_on_the_way(place, b"/x") && !lies_on_the_way(place, b"/usr/include/x"));
        assert!(!lies_on_the_way(place, b"/srv/me/a/x"));
    }
}
