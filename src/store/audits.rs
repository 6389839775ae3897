//! What came of comparing results that were made elsewhere with what the tool does here, by class of command; and which
//! compilers take maps of names.
//!
//! A text file beside the index, a line for each comparison or trial: a hash and what came of it. One difference counts for ever
//! (until `ibid clear`). Who compares: `wrapper/content_lookup/audit.rs`; who tries: `wrapper/remap.rs`. Read next: `docs/places.md`.

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
const TAKES_MAPS: &str = "maps";
const TAKES_NO_MAPS: &str = "no-maps";

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
    match found(directory, class, [DIFFERS, SAME]) {
        [true, _] => Audited::Differs,
        [false, true] => Audited::Same,
        [false, false] => Audited::Never,
    }
}

/// Whether a compiler's image takes maps of names; `None` if that was not tried.
pub fn takes_maps(directory: &Path, image: u64) -> Option<bool> {
    let [takes, takes_not] = found(directory, image, [TAKES_MAPS, TAKES_NO_MAPS]);
    (takes || takes_not).then_some(!takes_not)
}

/// Which of these lines stand there about a hash.
fn found(directory: &Path, hash: u64, lines: [&str; 2]) -> [bool; 2] {
    let text = fs::read_to_string(directory.join(NAME)).unwrap_or_default();
    lines.map(|what| text.lines().any(|line| line == format!("{hash:016x} {what}")))
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
    write(directory, class, if is_same { SAME } else { DIFFERS })
}

/// Notes whether an image takes maps.
pub fn note_maps(directory: &Path, image: u64, takes: bool) -> io::Result<()> {
    write(directory, image, if takes { TAKES_MAPS } else { TAKES_NO_MAPS })
}

fn write(directory: &Path, hash: u64, what: &str) -> io::Result<()> {
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
    file.write_all(format!("{lines}{hash:016x} {what}\n").as_bytes())
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
        assert_eq!(takes_maps(at, 3), None);
        note_maps(at, 3, true).expect("written");
        note_maps(at, 4, false).expect("written");
        assert_eq!([3, 4].map(|image| takes_maps(at, image)), [Some(true), Some(false)]);
        note(at, 2, true).expect("written");
        assert_eq!((audited(at, 1), audited(at, 2)), (Audited::Differs, Audited::Same));
        assert!(fs::metadata(path).expect("it is there").len() < 100);
    }
}
