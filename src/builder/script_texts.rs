//! Texts of scripts, and what may be known of those that ran.
//!
//! It reads and decides nothing. Read next: `scripts.rs`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::compilers::shells;

/// What is known of all scripts that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// One of them may show what its interpreter asks for.
    None,
    /// None does, but one may compare the times of files.
    Plain,
    /// None does either.
    Whole,
}

/// The text of a script, if it is one; of a long one, the beginning.
pub(super) fn script(path: &Path) -> Option<Vec<u8>> {
    // Opening a pipe would wait.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let mut file = File::open(path).ok()?;
    let mut text = vec![0; 2];
    file.read_exact(&mut text).ok()?;
    if text != b"#!" {
        return None;
    }
    file.take(shells::SCRIPT_BYTES_MAX as u64).read_to_end(&mut text).ok()?;
    Some(text)
}
