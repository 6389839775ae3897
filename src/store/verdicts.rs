//! What was found out about programs: which observer sees all that they do.
//!
//! A text file beside the index, a line for each finding. A finding holds in the circumstances in which it was made (see
//! `observe/loader/circumstances.rs`), for the commands that it names, as long as the image and the libraries that it wants are the
//! files that they were, and one that costs something ends after a week. Read next: `wrapper/trust.rs` (who finds out).

use std::ffi::{CString, OsStr};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

use super::files;
use crate::shm::raw;

/// The file's name.
pub const NAME: &str = "programs";
/// A longer file is begun anew: what it says is found out again.
const LEN_BYTES_MAX: u64 = 1 << 20;
/// How long a program is watched at a price because of what it did once or twice.
pub const DISTRUST_S_MAX: u64 = 7 * 24 * 60 * 60;

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
    /// The shim missed something in one run: later ones are watched by both.
    Doubt,
    /// Not known, and cannot be found out here: the system calls cannot be watched.
    Unproven,
}

const NAMES: [(Trust, &str); 6] = [
    (Trust::Preload, "preload"),
    (Trust::Seccomp, "seccomp"),
    (Trust::Both, "both"),
    (Trust::Open, "open"),
    (Trust::Doubt, "doubt"),
    (Trust::Unproven, "unproven"),
];

impl Trust {
    /// As it stands in the file.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(trust, _)| *trust == self).map_or("open", |(_, name)| name)
    }

    /// Whether the program's runs take longer because of it.
    pub fn is_slow(self) -> bool {
        matches!(self, Trust::Seccomp | Trust::Both | Trust::Doubt)
    }
}

/// Which runs of a program a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The circumstances.
    pub circumstances: String,
    /// The command, or the kind of commands; empty: all.
    pub part: String,
}

/// A finding about a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The file that the kernel runs, or the script.
    pub image: PathBuf,
    /// The libraries that it wants.
    pub libraries: Vec<PathBuf>,
    /// The runs that it is about.
    pub scope: Scope,
    /// Who may be trusted with it.
    pub trust: Trust,
    /// Why, in one line.
    pub reason: String,
}

/// A line of the file.
#[derive(Debug)]
struct FindingLine {
    written_s: u64,
    stamp: String,
    verdict: Verdict,
}

/// All findings.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<FindingLine>);

impl Verdicts {
    /// Those of a store (`Store::directory`); none if the file cannot be read.
    pub fn read(directory: &Path) -> Verdicts {
        let text = fs::read(directory.join(NAME)).unwrap_or_default();
        Verdicts(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
    }

    /// What is known of an image as it is today, in these runs.
    pub fn of(&self, image: &Path, scope: &Scope) -> Option<&Verdict> {
        let is_it =
            |line: &&FindingLine| line.verdict.image == image && line.verdict.scope == *scope;
        let line = self.0.iter().rev().find(is_it)?;
        line.holds().then_some(&line.verdict)
    }

    /// The runs in which the shim saw all that an image did, in this scope, as far as its files are what they were.
    pub fn proven(&self, image: &Path, scope: &Scope) -> impl Iterator<Item = &Verdict> {
        let is_it = |line: &&FindingLine| {
            let verdict = &line.verdict;
            let is_about = verdict.image == image && verdict.scope == *scope;
            is_about && verdict.trust == Trust::Preload && line.holds()
        };
        self.0.iter().filter(is_it).map(|line| &line.verdict).collect::<Vec<_>>().into_iter()
    }

    /// What was doubtful about an image in these circumstances, in whichever runs.
    pub fn doubts(&self, image: &Path, circumstances: &str) -> impl Iterator<Item = &Verdict> {
        let is_it = move |line: &&FindingLine| {
            let verdict = &line.verdict;
            verdict.trust == Trust::Doubt
                && verdict.image == image
                && verdict.scope.circumstances == circumstances
                && line.holds()
        };
        self.0.iter().filter(is_it).map(|line| &line.verdict)
    }

    /// The last finding about each image in each scope that still holds, in the order of the first ones, and for how many
    /// seconds it has.
    pub fn current(&self) -> Vec<(&Verdict, u64)> {
        let mut known: Vec<(&Path, &Scope)> = Vec::new();
        for FindingLine { verdict, .. } in &self.0 {
            if !known.contains(&(&verdict.image, &verdict.scope)) {
                known.push((&verdict.image, &verdict.scope));
            }
        }
        let last = |(image, scope): &(&Path, &Scope)| {
            let is_it =
                |line: &&FindingLine| line.verdict.image == *image && line.verdict.scope == **scope;
            self.0.iter().rev().find(is_it).filter(|line| line.holds())
        };
        let lines = known.iter().filter_map(last);
        lines.map(|line| (&line.verdict, age_s(line.written_s))).collect()
    }
}

impl FindingLine {
    /// Its files are what they were, and it is not too old.
    fn holds(&self) -> bool {
        let is_over = self.verdict.trust.is_slow() && age_s(self.written_s) > DISTRUST_S_MAX;
        !is_over && self.verdict.stamp().as_ref() == Some(&self.stamp)
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn age_s(written_s: u64) -> u64 {
    now_s().saturating_sub(written_s)
}

impl Verdict {
    /// Appends it to the findings of a store.
    pub fn record(&self, directory: &Path) -> io::Result<()> {
        let stamp = self.stamp().ok_or(io::ErrorKind::NotFound)?;
        let plain = |text: &[u8]| -> Vec<u8> {
            text.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }).collect()
        };
        let Scope { circumstances, part } = &self.scope;
        let fields = [&stamp, self.trust.name(), circumstances, part, &self.reason];
        let mut line = now_s().to_string().into_bytes();
        let paths = [&self.image].into_iter().chain(&self.libraries);
        // A path with a tab or a newline will not be found again.
        for field in
            fields.map(str::as_bytes).into_iter().chain(paths.map(|it| it.as_os_str().as_bytes()))
        {
            line.push(b'\t');
            line.extend(plain(field));
        }
        line.push(b'\n');
        let path = directory.join(NAME);
        let is_long = fs::metadata(&path).is_ok_and(|found| found.len() > LEN_BYTES_MAX);
        let mut options = OpenOptions::new();
        options.append(!is_long).write(true).truncate(is_long);
        files::file_to_write(&path, &mut options)?.write_all(&line)
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

fn parse(line: &[u8]) -> Option<FindingLine> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let written_s = text()?.parse().ok()?;
    let (stamp, name) = (text()?.to_owned(), text()?);
    let scope = Scope { circumstances: text()?.to_owned(), part: text()?.to_owned() };
    let reason = text()?.to_owned();
    let (trust, _) = NAMES.iter().find(|(_, known)| *known == name)?;
    let mut paths = fields.map(|path| PathBuf::from(OsStr::from_bytes(path)));
    let image = paths.next()?;
    let libraries = paths.collect();
    let verdict = Verdict { image, libraries, scope, trust: *trust, reason };
    Some(FindingLine { written_s, stamp, verdict })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{DISTRUST_S_MAX, Scope, Trust, Verdict, Verdicts, now_s};

    fn scope(circumstances: &str, part: &str) -> Scope {
        Scope { circumstances: circumstances.to_owned(), part: part.to_owned() }
    }

    #[test]
    fn the_last_finding_counts_until_a_file_changes() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (image, library) = (place.path().join("tool"), place.path().join("lib.so"));
        fs::write(&image, "1").expect("a file");
        fs::write(&library, "1").expect("a file");
        let verdict = |trust| Verdict {
            image: image.clone(),
            libraries: vec![library.clone()],
            scope: scope("here", ""),
            trust,
            reason: "because\nof this".to_owned(),
        };
        let here = scope("here", "");
        assert_eq!(Verdicts::read(place.path()).of(&image, &here), None);
        verdict(Trust::Open).record(place.path()).expect("a file");
        verdict(Trust::Preload).record(place.path()).expect("a file");
        let known = Verdicts::read(place.path());
        assert_eq!(known.of(&image, &here).map(|known| known.trust), Some(Trust::Preload));
        assert_eq!(known.of(&image, &scope("there", "")), None);
        assert_eq!(known.of(&image, &scope("here", "part")), None);
        assert_eq!(known.current().len(), 1);
        assert_eq!(known.current()[0].0.reason, "because of this");
        fs::write(&library, "22").expect("a file");
        assert_eq!(known.of(&image, &here), None);
        fs::write(place.path().join("programs"), b"no such line\n\xff\t\t\t\n").expect("a file");
        assert_eq!(Verdicts::read(place.path()).current(), []);
    }

    #[test]
    fn distrust_ends_and_trust_does_not() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let image = place.path().join("tool");
        fs::write(&image, "1").expect("a file");
        let trusts = [Trust::Preload, Trust::Seccomp, Trust::Both, Trust::Doubt];
        for trust in trusts {
            let (scope, reason) = (scope("here", trust.name()), String::new());
            let verdict =
                Verdict { image: image.clone(), libraries: Vec::new(), scope, trust, reason };
            verdict.record(place.path()).expect("a file");
        }
        let file = place.path().join(super::NAME);
        let known = |image: &Path| {
            let known = Verdicts::read(place.path());
            trusts.map(|trust| known.of(image, &scope("here", trust.name())).is_some())
        };
        assert_eq!(known(&image), [true; 4]);
        let text = fs::read_to_string(&file).expect("a file");
        let aged = |line: &str| {
            let (_, rest) = line.split_once('\t').expect("a time");
            format!("{}\t{rest}\n", now_s() - DISTRUST_S_MAX - 1)
        };
        fs::write(&file, text.lines().map(aged).collect::<String>()).expect("a file");
        assert_eq!(known(&image), [true, false, false, false]);
        assert_eq!(Verdicts::read(place.path()).doubts(&image, "here").count(), 0);
    }
}
