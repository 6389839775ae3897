//! What a workload consists of: steps, and in which order they run cold and warm.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::stage::Stage;

/// What is timed at once.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Where the commands run.
    pub directory: PathBuf,
    /// A file that is written anew before each run, as `configure` does, and its text.
    pub rewritten: Option<(PathBuf, String)>,
    /// The commands, the tool's name first.
    pub commands: Vec<Vec<String>>,
    /// How many of them run at a time.
    pub jobs: usize,
    /// What they leave in the directory; removed before each run.
    pub outputs: Vec<PathBuf>,
    /// Variables besides the stage's.
    pub environment: Vec<(OsString, OsString)>,
    /// The command is a build tool, which is told to use the cache and starts compilers itself.
    pub is_build: bool,
}

impl Step {
    /// What tells an output from those of other steps, which may have its name: its path and what it is made from.
    pub fn identity(&self, output: &Path) -> (PathBuf, String) {
        let source = self.rewritten.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
        (self.directory.join(output), source)
    }

    /// Goes to its directory and takes away what it will write.
    pub fn make_ready(&self) -> io::Result<()> {
        std::env::set_current_dir(&self.directory)?;
        for output in &self.outputs {
            let removed =
                if output.is_dir() { fs::remove_dir_all(output) } else { fs::remove_file(output) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match &self.rewritten {
            Some((path, text)) => fs::write(path, text),
            None => Ok(()),
        }
    }
}

/// All that a workload does.
#[derive(Debug, Default)]
pub struct Plan {
    /// What nobody has seen, each step run once by each tool.
    pub cold: Vec<Step>,
    /// The first steps of `cold` that are not measured.
    pub unmeasured: usize,
    /// What every cache should have then: the steps of a round, taken in turn.
    pub warm: Vec<Vec<Step>>,
}

impl Plan {
    /// Steps that are the same in each round.
    pub fn again_and_again(steps: Vec<Step>) -> Plan {
        Plan { cold: steps.clone(), unmeasured: 0, warm: vec![steps] }
    }
}

/// A crate of somebody's that is built.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where it is.
    pub directory: PathBuf,
    /// cargo's profile.
    pub profile: String,
}

impl Subject {
    /// What it is called in tables.
    pub fn name(&self) -> String {
        let name = self.directory.file_name().unwrap_or_default();
        format!("crate {} {}", name.display(), self.profile)
    }
}

/// Where a workload is laid out, and how large it is to be.
pub struct Site<'a> {
    /// For the rest of the tools.
    pub stage: &'a Stage,
    /// A directory of its own.
    pub directory: PathBuf,
    /// The first of the workload's compilers that is there.
    pub compiler: &'static str,
    /// How many files.
    pub files: usize,
    /// How many warm rounds, those that are not measured included.
    pub rounds: usize,
    /// The crate that is to be built, if it is not ours.
    pub subject: Option<&'a Subject>,
}
