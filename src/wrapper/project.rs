//! What settings say of a tool, and those of the project in which it runs as an input of its result.
//!
//! What `root` and `remap` come to is in the keys. Read next: `builder/project.rs`, `config/project.rs`.

use std::path::PathBuf;

use super::request::Request;
use super::{Invocation, Step};
use crate::builder::project;
use crate::config::ProjectFile;
use crate::observe::{Observation, SeenInput};
use crate::outcome::NotStored;
use crate::store::Store;
use crate::store::draft::Draft;

impl Invocation {
    /// Whether the settings name the tool, as it was called or by its whole path.
    pub(super) fn is_vouched_for(&self) -> bool {
        self.is_named_in(&self.config.tools)
    }

    fn is_named_in(&self, tools: &[String]) -> bool {
        let is_it = |name: &String| {
            let is_whole = name.starts_with('/')
                && self.program.canonicalize().is_ok_and(|path| path == *name);
            self.tool() == name.as_str() || is_whole
        };
        tools.iter().any(is_it)
    }

    /// Notes in a record which settings file of its project counted.
    pub(super) fn note_project(
        &self,
        store: &Store,
        draft: &mut Draft,
        request: &Request,
    ) -> Result<(), NotStored> {
        let read = self.config.project.as_ref().map(ProjectFile::stamped);
        let directory = request.command.directory();
        project::note(draft, directory, read, store.cache.access).ok_or(NotStored::InputChanged)
    }

    /// Where it is the project's file that names the tool, it is an input like any other: the result is not another's once it says
    /// something else.
    pub(super) fn add_project(&self, observation: &mut Observation, step: &Step) {
        let names_tool = |file: &&ProjectFile| self.is_named_in(&file.tools);
        let Some(file) = self.config.project.as_ref().filter(names_tool) else { return };
        let depth = |path: &[u8]| path.split(|byte| *byte == b'/').count();
        let directory = step.request.command.directory();
        let above = depth(directory) + 1 - depth(file.path.as_os_str().as_encoded_bytes());
        let mut path: PathBuf = std::iter::repeat_n("..", above).collect();
        path.push(file.path.file_name().unwrap_or_default());
        let input = SeenInput { path, stat: Some(file.state.stat), was_asked: false };
        observation.inputs.push(input);
    }
}
