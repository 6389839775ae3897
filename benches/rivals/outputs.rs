//! What a step left, and whether a cache left the same as the bare compiler.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::runner::Runner;
use super::step::Step;
use super::tools::{IBID, IDEAL};

/// What the bare compiler wrote.
pub type Originals = HashMap<Identity, Vec<u8>>;
/// See `Step::identity`.
type Identity = (PathBuf, String);

/// The files that a step has left; of a build, what cargo puts in the place where people look for it.
pub fn outputs(step: &Step) -> io::Result<Originals> {
    let mut paths = Vec::new();
    for output in &step.outputs {
        if output.is_dir() {
            results(output, &mut paths)?;
        } else {
            paths.push(output.clone());
        }
    }
    paths.into_iter().map(|path| Ok((step.identity(&path), fs::read(path)?))).collect()
}

/// The programs and libraries in a target directory, without what cargo keeps for itself.
fn results(directory: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    const KEPT: [&str; 5] = ["build", "deps", "examples", "incremental", ".fingerprint"];
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind, mode) = (entry.path(), entry.file_type()?, entry.metadata()?.mode());
        if kind.is_dir() && !KEPT.iter().any(|name| entry.file_name() == *name) {
            results(&path, paths)?;
        }
        let is_library = path
            .extension()
            .is_some_and(|end| ["a", "rlib", "so"].iter().any(|library| end == *library));
        if kind.is_file() && (is_library || mode & 0o111 != 0) {
            paths.push(path);
        }
    }
    Ok(())
}

/// Sees whether a cache gave what the compiler gave. ibid must, but that two builds of a crate are alike is the crate's matter;
/// without it the ideal wrapper's time says nothing.
pub fn compare(runner: &mut Runner<'_>, step: &Step, originals: &Originals) -> io::Result<()> {
    let left = outputs(step)?;
    let is_other = |key: &&Identity| originals.get(*key).is_some_and(|bytes| *bytes != left[*key]);
    let is_lacking = |key: &&Identity| step.is_build && !left.contains_key(*key);
    let other = left.keys().find(is_other).or_else(|| originals.keys().find(is_lacking));
    let Some((path, _)) = other else { return Ok(()) };
    runner.warm.differs = true;
    let error = io::Error::other(format!("other bytes than bare: {}", path.display()));
    match runner.tool.name {
        IBID if !step.is_build => Err(error),
        IDEAL => {
            runner.leave_out(&error);
            Ok(())
        }
        _ => Ok(()),
    }
}
