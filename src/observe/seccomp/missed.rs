//! What the system calls show and the shim did not see: the measure of whether it can be trusted with a program.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::observe::Observation;
use crate::observe::shim::log::{Event, What};
use crate::observe::trace::places::{Places, spelled};

/// Links that are followed, one behind the other.
const LINKS_MAX: usize = 40;

/// What was seen among the system calls, and not by the shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// What was done, in words.
    pub what: &'static str,
    /// The path.
    pub path: PathBuf,
    /// The image that did it; empty if it is not known.
    pub by: PathBuf,
}

impl Missed {
    /// What all misses of this sort have in common: what was done, in which directory.
    pub fn sort(&self) -> String {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        format!("{} {}", self.what, directory.display())
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.path.display())
    }
}

/// What is in the whole truth and not in what the shim saw, nor follows from that, nor lies on the way to what is left out.
pub fn missed(places: &Places, whole: &Observation, shim: &Observation) -> Vec<Missed> {
    let mut known = Knowledge::of(places.cwd(), shim);
    places.private_trees().for_each(|tree| known.add_way(tree));
    let mut missed = Vec::new();
    let mut check = |what, path: &Path, is_known: bool| {
        if !is_known {
            missed.push(Missed { what, path: path.to_owned(), by: PathBuf::new() });
        }
    };
    for input in &whole.inputs {
        check("read", &input.path, known.has(&input.path, &[Known::Read, Known::Written]));
    }
    for absence in &whole.absences {
        check("looked in vain for", &absence.path, known.lacks(&absence.path));
    }
    for path in &whole.existing {
        check("looked at", path, known.is_there(path));
    }
    for path in &whole.listings {
        check("listed", path, known.has(path, &[Known::Listed]));
    }
    for directory in &whole.directories {
        check("made", &directory.path, known.is_there(&directory.path));
    }
    let cwd = places.cwd();
    for removed in whole.removed.iter().filter(|removed| removed.was_there) {
        let is_same = |path: &Path| spelled(cwd, path) == spelled(cwd, &removed.path);
        let is_known = shim.removed.iter().any(|seen| seen.was_there && is_same(&seen.path));
        check("removed", &removed.path, is_known);
    }
    for output in &whole.outputs {
        check("wrote", &output.path, known.is_written(&output.path));
    }
    missed
}

/// Says which image did what was missed.
pub fn attribute(missed: &mut [Missed], events: &[Event], cwd: &Path) {
    let mut images: HashMap<u32, &Path> = HashMap::new();
    for Event { pid, what } in events {
        let path = match what {
            What::Start { image, .. } => {
                images.insert(*pid, image);
                continue;
            }
            What::Ran { path, .. }
            | What::Look { path, .. }
            | What::Open { path, .. }
            | What::List { path, .. }
            | What::Make { path, .. }
            | What::Remove { path, .. }
            | What::Rename { to: path, .. }
            | What::Link { to: path, .. } => path,
            _ => continue,
        };
        let Some(image) = images.get(pid) else { continue };
        let nameless = missed.iter_mut().filter(|missed| missed.by.as_os_str().is_empty());
        for missed in nameless.filter(|missed| spelled(cwd, &missed.path) == spelled(cwd, path)) {
            (*image).clone_into(&mut missed.by);
        }
    }
}

/// What is known of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Absent,
    Exists,
    Listed,
    Read,
    Written,
}

struct Knowledge<'a> {
    cwd: &'a Path,
    paths: HashMap<Vec<u8>, Vec<Known>>,
    /// What is, or is missing, on the way to something that is known: a record holds this, too.
    on_the_way: HashSet<Vec<u8>>,
    /// What was written, as the kernel spells it: a tool may use two names of a directory.
    written: HashSet<PathBuf>,
}

impl<'a> Knowledge<'a> {
    fn of(cwd: &'a Path, seen: &Observation) -> Knowledge<'a> {
        let (paths, on_the_way, written) = (HashMap::new(), HashSet::new(), HashSet::new());
        let mut known = Knowledge { cwd, paths, on_the_way, written };
        seen.absences.iter().for_each(|absence| known.add(&absence.path, Known::Absent));
        seen.existing.iter().for_each(|path| known.add(path, Known::Exists));
        seen.listings.iter().for_each(|path| known.add(path, Known::Listed));
        seen.inputs.iter().for_each(|input| known.add(&input.path, Known::Read));
        seen.outputs.iter().for_each(|output| known.add(&output.path, Known::Written));
        seen.directories.iter().for_each(|made| known.add(&made.path, Known::Exists));
        known
    }

    fn add(&mut self, path: &Path, what: Known) {
        let key = spelled(self.cwd, path);
        self.add_way(Path::new(OsStr::from_bytes(&key)));
        if what == Known::Written {
            self.written.insert(real(self.cwd, path));
        }
        self.paths.entry(key).or_default().push(what);
    }

    /// All that is on the way to an absolute path, with itself.
    fn add_way(&mut self, path: &Path) {
        self.on_the_way.extend(path.ancestors().map(|above| above.as_os_str().as_bytes().to_vec()));
        self.walk(path, LINKS_MAX);
    }

    fn walk(&mut self, path: &Path, links_max: usize) {
        let mut prefix = PathBuf::new();
        let mut rest = path.components();
        while let Some(part) = rest.next() {
            if part == Component::ParentDir {
                prefix = std::fs::canonicalize(&prefix).unwrap_or(prefix);
                prefix.pop();
                continue;
            }
            prefix.push(part);
            self.on_the_way.insert(prefix.as_os_str().as_bytes().to_vec());
            if let (Ok(target), 1..) = (std::fs::read_link(&prefix), links_max) {
                let target = prefix.parent().unwrap_or(Path::new("/")).join(target);
                let target = spelled(self.cwd, &target.join(rest.as_path()));
                return self.walk(Path::new(OsStr::from_bytes(&target)), links_max - 1);
            }
        }
    }

    fn has(&self, path: &Path, enough: &[Known]) -> bool {
        let all = self.paths.get(&spelled(self.cwd, path));
        all.is_some_and(|all| all.iter().any(|one| enough.contains(one)))
    }

    fn is_written(&self, path: &Path) -> bool {
        self.has(path, &[Known::Written]) || self.written.contains(&real(self.cwd, path))
    }

    /// What is absent has nothing below it; of a path in a directory that is absent, that is what counts.
    fn lacks(&self, path: &Path) -> bool {
        self.has(path, &[Known::Read, Known::Written])
            || self.on_the_way.contains(&spelled(self.cwd, path))
            || path.ancestors().any(|above| self.has(above, &[Known::Absent]))
    }

    fn is_there(&self, path: &Path) -> bool {
        self.has(path, &[Known::Exists, Known::Listed, Known::Read, Known::Written])
            || self.on_the_way.contains(&spelled(self.cwd, path))
    }
}

/// A path with its directory as the kernel spells it.
fn real(cwd: &Path, path: &Path) -> PathBuf {
    let path = cwd.join(path);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    directory.join(path.file_name().unwrap_or_default())
}
