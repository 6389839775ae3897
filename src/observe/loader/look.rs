//! What is now at a path that the loader or libc looked up unseen.

use std::fs;
use std::path::Path;

use crate::observe::trace::Trace;

const ENOENT: i32 = 2;

/// The path is read if it is there, and looked for in vain if not. Says which.
pub fn read_if_there(trace: &mut Trace, path: &Path) -> bool {
    let is_there = !is_absent(trace, path);
    if is_there {
        trace.read(path, None);
    }
    is_there
}

/// Whether a path is not there; then it was looked for in vain.
pub fn is_absent(trace: &mut Trace, path: &Path) -> bool {
    let is_absent = fs::metadata(path).is_err();
    if is_absent {
        trace.look(path, ENOENT);
    }
    is_absent
}
