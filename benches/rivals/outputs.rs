//! What a step left.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::step::Step;

/// What the bare compiler wrote.
pub type Originals = HashMap<Identity, Vec<u8>>;
/// See `Step::identity`.
pub type Identity = (PathBuf, String);

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
