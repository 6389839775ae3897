//! The project's own settings, `ibid.toml`: those that cannot make anything trusted that is not.
//!
//! What else stands there is a problem, in one line. Read next: `probe/project.rs` (where it is).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Value};

use super::{Config, Origin, Setting, SettingKind, nearest, toml_problem, values};
use crate::probe::command::PATH_BYTES_MAX;
use crate::probe::project::{self, Seen};
use crate::shm::raw::{self, FileState};
use crate::shm::stat::Stat;

/// What a project may say for itself.
pub const KEYS: &[&str] = &["root", "remap", "tools"];

/// A project's settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectFile {
    /// Its path.
    pub path: PathBuf,
    /// What `stat` said before it was read.
    pub state: FileState,
    /// The tools that it names, as they are called, and that the user's settings do not name.
    pub tools: Vec<String>,
}

impl ProjectFile {
    /// Its path, and what `stat` said of it.
    pub fn stamped(&self) -> (&Path, Stat) {
        (&self.path, self.state.stat)
    }
}

/// The file of the project in which this process runs.
fn find() -> Option<ProjectFile> {
    let mut directory = vec![0; PATH_BYTES_MAX];
    let len = raw::working_directory(&mut directory)?;
    let mut found = None;
    let mut buffer = vec![0; PATH_BYTES_MAX + 16];
    project::find(&directory[..len], &mut buffer, |path, seen| {
        if let Seen::File(state) = seen {
            let path = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
            found = Some(ProjectFile { path, state, tools: Vec::new() });
        }
    });
    found
}

impl Config {
    pub(super) fn apply_project(&mut self) {
        let Some(mut file) = find() else { return };
        if let Err(problem) = self.apply_project_file(&mut file) {
            self.problems.push(problem);
        }
        file.tools.retain(|tool| !self.tools.contains(tool));
        self.tools.extend(file.tools.iter().cloned());
        self.project = Some(file);
    }

    fn apply_project_file(&mut self, file: &mut ProjectFile) -> Result<(), String> {
        let path = file.path.clone();
        if !file.state.is_regular() {
            return Err(format!("{}: is no file", path.display()));
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
        let document =
            text.parse::<DocumentMut>().map_err(|error| toml_problem(&path, &text, &error))?;
        for (key, item) in document.iter() {
            if let Err(problem) = self.apply_project_item(file, key, item) {
                self.problem(path.display(), &problem);
            }
        }
        Ok(())
    }

    fn apply_project_item(
        &mut self,
        file: &mut ProjectFile,
        key: &str,
        item: &Item,
    ) -> Result<(), String> {
        if key == "tools" {
            file.tools = values::tools(item)?;
            return Ok(());
        }
        let setting = Setting::find(key).copied();
        let Some(setting) = setting.filter(|setting| KEYS.contains(&setting.key)) else {
            return Err(match setting {
                Some(_) => format!("`{key}` is not for a project to say, only {}", list()),
                None => format!("unknown key `{key}`; is it `{}`?", nearest(key, KEYS)),
            });
        };
        let Some(Value::String(text)) = item.as_value() else {
            return Err(format!("{key}: not a string"));
        };
        let mut value = PathBuf::from(text.value());
        if setting.kind == SettingKind::Root {
            value = file.path.parent().unwrap_or(&value).join(&value);
            if !value.is_dir() {
                return Err(format!("{key}: {} is no directory", value.display()));
            }
        }
        self.apply(setting, value.as_os_str()).map_err(|problem| format!("{key}: {problem}"))?;
        self.origins[setting.at()] = Origin::Project;
        Ok(())
    }
}

fn list() -> String {
    KEYS.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
