//! What came of comparing results that were made elsewhere with what the tool does here, by class of command.
//!
//! A text file beside the index, a line for each comparison: the class and what came of it. One difference counts for ever
//! (until `ibid clear`). Who compares: `wrapper/content_lookup/audit.rs`. Read next: `docs/places.md`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::files;

/// The file's name.
const NAME: &str = "audits";
/// A longer file is begun anew: what it says is found out again. Differences are written again at once.
const LEN_BYTES_MAX: u64 = 1 << 20;

const SAME: &str = "same";
const DIFFERS: &str = "differs";

/// What is known of a class of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audited {
    /// Nothing was compared yet.
    Never,
    /// What was compared was the same.
    Same,
    /// Something differed.
    Differs,
}

/// What is known of `class`, in a store's directory.
pub fn audited(directory: &Path, class: u64) -> Audited {
    let text = fs::read_to_string(directory.join(NAME)).unwrap_or_default();
    let found = |what: &str| text.lines().any(|line| line == format!("{class:016x} {what}"));
    match (found(DIFFERS), found(SAME)) {
        (true, _) => Audited::Differs,
        (false, true) => Audited::Same,
        (false, false) => Audited::Never,
    }
}

/// How many classes have shown a difference.
pub fn differing(directory: &Path) -> usize {
    let text = fs::read_to_string(directory.join(NAME)).unwrap_or_default();
    let mut classes: Vec<&str> = text.lines().filter(|line| line.ends_with(DIFFERS)).collect();
    classes.sort_unstable();
    classes.dedup();
    classes.len()
}

/// Notes what came of a comparison.
pub fn note(directory: &Path, class: u64, is_same: bool) -> io::Result<()> {
    let path = directory.join(NAME);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let is_long = text.len() as u64 > LEN_BYTES_MAX;
    let mut options = OpenOptions::new();
    options.append(!is_long).write(true).truncate(is_long);
    let mut file = files::file_to_write(&path, &mut options)?;
    let mut lines = String::new();
    for line in text.lines().filter(|line| is_long && line.ends_with(DIFFERS)) {
        lines += line;
        lines += "\n";
    }
    let what = if is_same { SAME } else { DIFFERS };
    file.write_all(format!("{lines}{class:016x} {what}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_for_ever() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        assert_eq!(audited(at, 1), Audited::Never);
        note(at, 1, true).expect("written");
        assert_eq!((audited(at, 1), audited(at, 2)), (Audited::Same, Audited::Never));
        note(at, 1, false).expect("written");
        note(at, 1, true).expect("written");
        assert_eq!((audited(at, 1), differing(at)), (Audited::Differs, 1));
        let path = at.join(NAME);
        let long = fs::read_to_string(&path).expect("it is there") + &"0 same\n".repeat(200_000);
        fs::write(&path, long).expect("written");
        note(at, 2, true).expect("written");
        assert_eq!((audited(at, 1), audited(at, 2)), (Audited::Differs, Audited::Same));
        assert!(fs::metadata(path).expect("it is there").len() < 100);
    }
}
