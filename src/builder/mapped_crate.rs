//! What of a crate's compilation may name places: the search path of libraries, `OUT_DIR` as a part of paths, files that
//! cargo made. Proc macros must have asked for nothing that names one.
//!
//! Read next: `mapped.rs`, `docs/places.md`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use memchr::memmem;

use super::compiled_files::text_of;
use super::path_walker::path_of;
use super::place::{Binds, is_file};
use super::places::holds_holder;
use super::record_builder::RecordBuilder;
use crate::compilers::{is_crate, reads_variables_by_name};
use crate::observe::Fact;
use crate::os::elf;
use crate::probe::command::{REMAP, fields};
use crate::record;
use crate::store::draft::{Draft, DraftInput, DraftOutput};

/// The variable in which cargo names the directory of what a build script has made.
const OUT_DIR: &str = "OUT_DIR";
/// All ways in which a source may use it, without blanks: as the beginning of a path that is included.
const INCLUDES: [&str; 3] = [
    "include!(concat!(env!(\"OUT_DIR\"),\"/",
    "include_str!(concat!(env!(\"OUT_DIR\"),\"/",
    "include_bytes!(concat!(env!(\"OUT_DIR\"),\"/",
];

impl RecordBuilder<'_> {
    /// Whether no code ran but rustc's, its linker's and that of macros, all of whose questions were seen.
    pub(super) fn only_runs_macros(&self) -> bool {
        let facts = &self.observation.facts;
        let asks_where = self.has_foreign_code() && facts.contains(&Fact::PluginDirectory);
        let mut plugins = self.observation.plugins.iter();
        let is_unseen = self.loads_unseen_macros()
            || self.walks_environment()
            || plugins.any(|it| !reads_variables_by_name(it) && may_read_arguments(it));
        self.policy.driver.is_none() && !(asks_where || is_unseen || self.runs_unknown_programs())
    }

    /// Whether a variable that was asked for may name places.
    pub(super) fn may_name_places(&self, name: &[u8], value: &[u8]) -> bool {
        let is_clean = !self.places.is_empty()
            && !holds_holder(value)
            && !self.places.occur_in(&self.places.hide(value));
        let is_one = match name {
            b"LD_LIBRARY_PATH" => true,
            name if name == OUT_DIR.as_bytes() && self.is_remapped() => {
                !self.observation.plugin_variables.contains(OsStr::from_bytes(name))
            }
            _ => false,
        };
        self.policy.loads_macros() && is_clean && is_one
    }

    /// Whether the tool was given maps.
    fn is_remapped(&self) -> bool {
        fields(self.command.bytes()).nth(REMAP).is_some_and(|setting| !setting.is_empty())
    }

    /// Without maps a crate serves others only as a library that nothing was included in from a place.
    fn vet_unmapped_crate(&self, draft: &Draft) -> Result<(), Binds> {
        let is_library = |output: &DraftOutput| {
            let extension = path_of(&output.path).extension();
            extension.is_some_and(|it| it == "rlib" || it == "rmeta" || it == "d")
        };
        if !draft.outputs.iter().filter(|output| is_file(output)).all(is_library) {
            return Err(Binds::Command);
        }
        let in_place = |input: &&DraftInput| {
            let path = &input.path;
            self.places.of(path.to_bytes()).is_some() && !is_crate(path_of(path))
        };
        let mut read = draft.inputs.iter().filter(|input| input.kind == record::CONTENT);
        match read.find(in_place) {
            Some(input) => Err(Binds::Path(input.path.clone())),
            None => Ok(()),
        }
    }

    /// Of a crate: `OUT_DIR`, if it was asked for, is only the beginning of paths, in its sources and, as each question was for
    /// another file, in macros of other crates; and a crate with proc macros has read nothing in a place by an absolute name
    /// but crates and what lies in `OUT_DIR`.
    pub(super) fn vet_crate(&self, draft: &Draft) -> Result<(), Binds> {
        if !self.policy.loads_macros() {
            return Ok(());
        }
        if !self.is_remapped() {
            self.vet_unmapped_crate(draft)?;
        }
        let questions = self.observation.questions.iter();
        let asked = questions.filter(|((name, _), _)| name == OUT_DIR).map(|(_, times)| *times);
        let asked = asked.sum::<u32>() as usize;
        let out_dir = self.environment.value(OUT_DIR.as_bytes()).unwrap_or_default();
        let is_made = |path: &Path| {
            !out_dir.is_empty() && path.starts_with(Path::new(OsStr::from_bytes(out_dir)))
        };
        let seen = &self.observation.inputs;
        if asked > 0 && seen.iter().filter(|input| is_made(&input.path)).count() != asked {
            return Err(Binds::Variable(c"OUT_DIR".into()));
        }
        for input in draft.inputs.iter().filter(|input| input.kind != record::LINK) {
            let path = path_of(&input.path);
            let is_file = matches!(input.kind, record::CONTENT | record::REMADE);
            if is_file && asked > 0 && !is_crate(path) && !out_dir_is_a_path_in(path) {
                return Err(Binds::Variable(c"OUT_DIR".into()));
            }
            let is_read = is_file || input.kind == record::METADATA;
            if is_read
                && self.has_foreign_code()
                && path.is_absolute()
                && self.places.of(input.path.to_bytes()).is_some()
                && !(is_crate(path) || is_made(path))
            {
                return Err(Binds::Path(input.path.clone()));
            }
        }
        Ok(())
    }

    /// Marks the variables that name places.
    pub(super) fn mark_variables(&self, draft: &mut Draft) {
        let names_places = |name: &[u8]| {
            self.environment.value(name).is_some_and(|value| self.places.occur_in(value))
        };
        for variable in &mut draft.variables {
            let is_marked = if variable.flags & record::LOADER != 0 {
                names_places(b"LD_LIBRARY_PATH")
            } else {
                variable.name.to_bytes() == OUT_DIR.as_bytes() && names_places(OUT_DIR.as_bytes())
            };
            variable.flags |= if is_marked { record::VALUE_NAMES_PLACES } else { 0 };
        }
    }
}

/// Whether a macro may read the arguments of the process, which std knows in each library: it holds the function for that, or
/// has no symbols.
fn may_read_arguments(library: &Path) -> bool {
    let bytes = fs::read(library).unwrap_or_default();
    let names = elf::section(&bytes, b".strtab");
    let holds = |name: &[u8]| names.is_none_or(|names| memmem::find(names, name).is_some());
    holds(b"3env4args") || holds(b"3env7args_os")
}

/// Whether a source names `OUT_DIR` only as the beginning of paths that are included.
fn out_dir_is_a_path_in(path: &Path) -> bool {
    !text_of(path).may_have(|text| {
        let text: Vec<u8> = text.iter().filter(|it| !it.is_ascii_whitespace()).copied().collect();
        let count = |name: &str| memmem::find_iter(&text, name.as_bytes()).count();
        count(OUT_DIR) != INCLUDES.iter().map(|include| count(include)).sum::<usize>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_out_dir() {
        let scratch = tempfile::tempdir().expect("a directory");
        for (name, text, is_a_path) in [
            ("a.rs", "include!(concat!(env!(\"OUT_DIR\"), \"/x.rs\"));", true),
            ("b.rs", "static X: &str = include_str!(\n concat!(env!(\"OUT_DIR\"), \"/x\"));", true),
            ("c.rs", "const D: &str = env!(\"OUT_DIR\");", false),
            (
                "d.rs",
                "include!(concat!(env!(\"OUT_DIR\"), \"/x.rs\")); const D: &str = env!(\"OUT_DIR\");",
                false,
            ),
            ("e.rs", "fn main() {}", true),
        ] {
            let path = scratch.path().join(name);
            fs::write(&path, text).expect("written");
            assert_eq!(out_dir_is_a_path_in(&path), is_a_path, "{name}");
        }
    }
}
