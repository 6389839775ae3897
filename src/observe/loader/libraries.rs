//! The shared objects that a program wants, among the files that were read.
//!
//! It reads what is there now. Read next: `mod.rs`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::observe::Observation;
use crate::os::elf::{self, Tag};

/// The objects that an image wants, and those that they want, among the files that were read.
pub fn libraries(image: &Path, seen: &Observation) -> Vec<PathBuf> {
    let (mut found, mut wanted) = (Vec::new(), needed(image));
    let mut next = 0;
    while let Some(name) = wanted.get(next).cloned() {
        next += 1;
        let paths = seen.inputs.iter().map(|input| &input.path);
        for path in paths.filter(|path| path.file_name() == Some(&name) && path.is_absolute()) {
            for name in needed(path) {
                if !wanted.contains(&name) {
                    wanted.push(name);
                }
            }
            found.push(path.clone());
        }
    }
    found
}

/// The names of the libraries that an image wants, as it says.
pub fn needed(path: &Path) -> Vec<OsString> {
    let mut names = Vec::new();
    elf::inspect(path, |elf| {
        elf.strings(|tag, name| {
            if tag == Tag::Needed {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            true
        });
    });
    names
}
