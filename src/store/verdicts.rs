//! What was found out about programs: which observer sees all that they do.
//!
//! A text file beside the index, a line for each finding; the last one about an image counts, as long as the image and
//! the libraries that it wants are the files that they were. Read next: `wrapper/trust.rs` (who finds out).

use std::ffi::{CString, OsStr};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::create;
use crate::shm::raw;

const NAME: &str = "programs";
/// A longer file is begun anew: what it says is found out again.
const LEN_BYTES_MAX: u64 = 1 << 20;

/// Who may be trusted with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The shim: it saw all that the system calls showed.
    Preload,
    /// Only the system calls show all.
    Seccomp,
    /// The shim sees all that it does itself; the system calls, what is done by programs in which the shim cannot be.
    Both,
    /// Not known: its next run is to be watched by both.
    Open,
    /// Not known, and cannot be found out here: the system calls cannot be watched.
    Unproven,
}

const NAMES: [(Trust, &str); 5] = [
    (Trust::Preload, "preload"),
    (Trust::Seccomp, "seccomp"),
    (Trust::Both, "both"),
    (Trust::Open, "open"),
    (Trust::Unproven, "unproven"),
];

impl Trust {
    /// As it stands in the file.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(trust, _)| *trust == self).map_or("open", |(_, name)| name)
    }
}

/// A finding about a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The file that the kernel runs, or the script.
    pub image: PathBuf,
    /// The libraries that it wants.
    pub libraries: Vec<PathBuf>,
    /// Who may be trusted with it.
    pub trust: Trust,
    /// Why, in one line.
    pub reason: String,
}

/// All findings.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<(String, Verdict)>);

impl Verdicts {
    /// Those of a store (`Store::directory`); none if the file cannot be read.
    pub fn read(directory: &Path) -> Verdicts {
        let text = fs::read(directory.join(NAME)).unwrap_or_default();
        Verdicts(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
    }

    /// What is known of an image as it is today.
    pub fn of(&self, image: &Path) -> Option<&Verdict> {
        let (stamp, verdict) = self.0.iter().rev().find(|(_, known)| known.image == image)?;
        (verdict.stamp().as_ref() == Some(stamp)).then_some(verdict)
    }

    /// The last finding about each image that still is what it was, in the order of the first ones.
    pub fn current(&self) -> Vec<&Verdict> {
        let mut images: Vec<&Path> = Vec::new();
        for (_, verdict) in &self.0 {
            if !images.contains(&verdict.image.as_path()) {
                images.push(&verdict.image);
            }
        }
        images.into_iter().filter_map(|image| self.of(image)).collect()
    }
}

impl Verdict {
    /// Appends it to the findings of a store.
    pub fn record(&self, directory: &Path) -> io::Result<()> {
        let stamp = self.stamp().ok_or(io::ErrorKind::NotFound)?;
        let name = self.trust.name();
        let plain = |text: &[u8]| -> Vec<u8> {
            text.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }).collect()
        };
        let mut line =
            [stamp.as_bytes(), name.as_bytes(), &plain(self.reason.as_bytes())].join(&b'\t');
        for path in [&self.image].into_iter().chain(&self.libraries) {
            line.push(b'\t');
            // One with a tab or a newline will not be found again.
            line.extend(plain(path.as_os_str().as_bytes()));
        }
        line.push(b'\n');
        let path = directory.join(NAME);
        let is_long = fs::metadata(&path).is_ok_and(|found| found.len() > LEN_BYTES_MAX);
        let mut options = OpenOptions::new();
        options.append(!is_long).write(true).truncate(is_long);
        create::file_to_write(&path, &mut options)?.write_all(&line)
    }

    /// The stamps of its files, folded.
    fn stamp(&self) -> Option<String> {
        let mut hash = Xxh3::new();
        for path in [&self.image].into_iter().chain(&self.libraries) {
            let path = CString::new(path.as_os_str().as_bytes()).ok()?;
            hash.update(&raw::stat(&path).ok()?.stat.stamp().0);
        }
        Some(format!("{:032x}", hash.digest128()))
    }
}

fn parse(line: &[u8]) -> Option<(String, Verdict)> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (stamp, name, reason) = (text()?.to_owned(), text()?, text()?.to_owned());
    let (trust, _) = NAMES.iter().find(|(_, known)| *known == name)?;
    let mut paths = fields.map(|path| PathBuf::from(OsStr::from_bytes(path)));
    let image = paths.next()?;
    Some((stamp, Verdict { image, libraries: paths.collect(), trust: *trust, reason }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Trust, Verdict, Verdicts};

    #[test]
    fn the_last_finding_counts_until_a_file_changes() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (image, library) = (place.path().join("tool"), place.path().join("lib.so"));
        fs::write(&image, "1").expect("a file");
        fs::write(&library, "1").expect("a file");
        let verdict = |trust| Verdict {
            image: image.clone(),
            libraries: vec![library.clone()],
            trust,
            reason: "because\nof this".to_owned(),
        };
        assert_eq!(Verdicts::read(place.path()).of(&image), None);
        verdict(Trust::Open).record(place.path()).expect("a file");
        verdict(Trust::Preload).record(place.path()).expect("a file");
        let known = Verdicts::read(place.path());
        assert_eq!(known.of(&image).map(|known| known.trust), Some(Trust::Preload));
        assert_eq!(known.current().len(), 1);
        assert_eq!(known.current()[0].reason, "because of this");
        fs::write(&library, "22").expect("a file");
        assert_eq!(known.of(&image), None);
        fs::write(place.path().join("programs"), b"no such line\n\xff\t\t\t\n").expect("a file");
        assert_eq!(Verdicts::read(place.path()).current(), [] as [&Verdict; 0]);
    }
}
