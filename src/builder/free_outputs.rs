//! Whether a result says what its outputs are called. One that does not serves commands that call them otherwise: two targets that
//! compile one source with the same options.
//!
//! The names may stand where the command line gives them, and in the depfile, which is written anew. Read next: `likeness.rs`
//! (where they stand in a command), `place.rs`, `docs/places.md`.

use std::ffi::CString;

use memchr::memmem;

use super::compiled_files::scanned;
use super::likeness::{Likeness, OutputNames};
use super::path_walker::path_of;
use super::place::{Binds, is_file};
use super::record_builder::RecordBuilder;
use crate::record;
use crate::store::draft::Draft;

impl RecordBuilder<'_> {
    /// Makes a record one that serves commands with other names for their outputs, if its result is free of them; what binds it
    /// if not.
    pub(super) fn free_of_output_names(&self, draft: &mut Draft) -> Result<(), Binds> {
        let is_known = !self.runs_unknown_code() && draft.flags & record::STAMPS_ONLY == 0;
        let (_, names) = Likeness::of(self.command.bytes(), self.places, self.policy);
        let names = names.filter(|_| is_known).ok_or(Binds::Command)?;
        vet_paths(&names, draft)?;
        if self.ended.texts().any(|text| names.occur_in(text)) {
            return Err(Binds::Output(c"what was printed".into()));
        }
        for at in 0..draft.outputs.len() {
            self.vet_output(&names, draft, at)?;
        }
        draft.flags |= record::ANY_OUTPUT;
        Ok(())
    }

    /// An output is an object in which no name can be found, or a depfile that can be written anew.
    fn vet_output(&self, names: &OutputNames, draft: &mut Draft, at: usize) -> Result<(), Binds> {
        let output = &mut draft.outputs[at];
        let bound = Binds::Output(output.path.clone());
        let path = path_of(&output.path);
        if output.flags & record::REMOVED != 0 && names.is(output.path.to_bytes()) {
            return Ok(());
        }
        let bytes =
            Some(path).filter(|_| is_file(output)).and_then(scanned).ok_or(bound.clone())?;
        if output.path.to_bytes() == names.output {
            return if names.occur_in(&bytes) { Err(bound) } else { Ok(()) };
        }
        let same = |word: &[u8]| word.to_vec();
        let can_be_told = output.path.to_bytes() == names.depfile
            && self.policy.renamed_depfile(&bytes, same).as_ref() == Some(&bytes);
        if !can_be_told {
            return Err(bound);
        }
        output.flags |= record::NAMES_PLACES;
        Ok(())
    }
}

impl OutputNames {
    fn occur_in(&self, text: &[u8]) -> bool {
        let names = [&self.output, &self.depfile].into_iter().filter(|name| !name.is_empty());
        names.into_iter().any(|name| memmem::find(text, name).is_some())
    }
}

/// What is called as an output is nothing else to the tool, and an output is nothing else.
fn vet_paths(names: &OutputNames, draft: &Draft) -> Result<(), Binds> {
    let inputs = draft.inputs.iter().map(|input| &input.path);
    let absences = draft.absences.iter().map(|(path, _)| path);
    let is_output = |path: &&CString| names.is(path.to_bytes());
    if let Some(path) = inputs.chain(absences).find(is_output) {
        return Err(Binds::Path(path.clone()));
    }
    let holds_output = draft.directories.iter().find(|directory| {
        let slash: &[u8] = if directory.path.is_empty() { b"" } else { b"/" };
        let path = |name: &CString| [directory.path.to_bytes(), slash, name.to_bytes()].concat();
        directory.names.iter().any(|name| names.is(&path(name)))
    });
    match holds_output {
        Some(directory) => Err(Binds::Path(directory.path.clone())),
        None => Ok(()),
    }
}
