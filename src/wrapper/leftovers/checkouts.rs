//! Which records were made in a directory, and which in a checkout that is removed.
//!
//! A directory that is missing may be one that a build has made, in a checkout that is still there: in doubt a record stays.
//! Read next: `docs/store.md`.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, OsStr};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::builder::root::{is_above_home, is_downloaded, plain};
use crate::probe::command::{DIRECTORY, ROOT, TOOL, fields};
use crate::record;
use crate::store::draft::Draft;
use crate::wrapper::sources::names_a_source;

/// What lies in a directory that is a project's, or a part of one.
const MARKS: [&str; 19] = [
    ".git",
    ".hg",
    ".svn",
    ".jj",
    "Cargo.toml",
    "CACHEDIR.TAG",
    "CMakeLists.txt",
    "CMakeCache.txt",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "configure",
    "config.status",
    "build.ninja",
    "meson.build",
    "WORKSPACE",
    "MODULE.bazel",
    "package.json",
    "pyproject.toml",
];

/// Where a record was made.
struct Origin {
    directory: PathBuf,
    /// The root that was set, if one was.
    root: Option<PathBuf>,
    sources: Vec<PathBuf>,
}

impl Origin {
    fn of(draft: &Draft) -> Origin {
        let path = |field: &[u8]| PathBuf::from(OsStr::from_bytes(field));
        let field = |at: usize| fields(&draft.command).nth(at).map(path).unwrap_or_default();
        let directory = field(DIRECTORY);
        let words = fields(&draft.command).skip(TOOL + 1).filter(|word| names_a_source(word));
        let sources = words.map(|word| plain(&directory.join(path(word)))).collect();
        let root = Some(field(ROOT)).filter(|root| root.is_absolute());
        Origin { directory, root, sources }
    }
}

/// Whether a record was made in `directory`: its command ran there or compiled a source from there, or that was its root.
pub fn is_of(draft: &Draft, directories: &[PathBuf]) -> bool {
    let Origin { directory, root, sources } = Origin::of(draft);
    let places = std::iter::once(&directory).chain(&root).chain(&sources);
    places.into_iter().any(|place| directories.iter().any(|of| place.starts_with(of)))
}

/// A directory as it is named, and as it is.
pub fn names_of(directory: &Path) -> Vec<PathBuf> {
    let named = std::path::absolute(directory).map(|path| plain(&path));
    let real = fs::canonicalize(directory);
    named.into_iter().chain(real).collect()
}

/// The checkouts that are missing, as far as the records of a cache tell.
#[derive(Default)]
pub struct Missing {
    /// Of each directory that was asked for, the highest one above it, or itself, that is missing.
    highest: HashMap<PathBuf, Option<PathBuf>>,
    /// Of those, the ones that are or may be parts of something that is there.
    parts: HashSet<PathBuf>,
}

impl Missing {
    /// The highest directory that is missing on the way to `directory`; `None` if nothing is, or if that cannot be said.
    fn highest(&mut self, directory: &Path) -> Option<PathBuf> {
        if !self.highest.contains_key(directory) {
            let found = highest_missing(directory);
            if let Some(missing) = found.as_deref().filter(|missing| is_in_doubt(missing)) {
                self.parts.insert(missing.to_path_buf());
            }
            self.highest.insert(directory.to_path_buf(), found);
        }
        self.highest.get(directory).cloned().flatten()
    }

    /// Notes what a record says of the directory in which it was made; to be called with all, before any is asked about.
    pub fn note(&mut self, draft: &Draft) {
        let origin = Origin::of(draft);
        let Some(missing) = self.highest(&origin.directory) else { return };
        if !self.parts.contains(&missing) && is_part(&missing, &origin, draft) {
            self.parts.insert(missing);
        }
    }

    /// Whether a record is of use only in a checkout that is removed.
    pub fn has(&mut self, draft: &Draft) -> bool {
        let origin = Origin::of(draft);
        let Some(missing) = self.highest(&origin.directory) else { return false };
        draft.flags & record::ANYWHERE == 0
            && !self.parts.contains(&missing)
            && !origin.sources.iter().any(|source| is_near(source))
    }
}

fn highest_missing(directory: &Path) -> Option<PathBuf> {
    let mut missing = None;
    for path in directory.ancestors().filter(|path| path.is_absolute()) {
        match fs::metadata(path) {
            Ok(_) => return missing,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                missing = Some(path.to_path_buf());
            }
            // What cannot be looked at may be there.
            Err(_) => return None,
        }
    }
    None
}

/// Whether a missing directory may be part of something that is there: of a project, or of a disk that is not mounted.
fn is_in_doubt(missing: &Path) -> bool {
    let Some(parent) = missing.parent() else { return true };
    let is_empty = fs::read_dir(parent).map_or(true, |mut entries| entries.next().is_none());
    is_empty || is_downloaded(b"/", missing) || is_in_project(parent)
}

/// Whether a directory that is there belongs to a project: one of its own, or one around it.
pub fn is_in_project(directory: &Path) -> bool {
    let has_mark = |directory: &Path| MARKS.iter().any(|mark| directory.join(mark).exists());
    let has_source = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| names_a_source(entry.file_name().as_bytes()))
    };
    let above = directory.ancestors().take_while(|directory| !is_above_home(directory));
    above.into_iter().any(has_mark) || !is_above_home(directory) && has_source(directory)
}

/// Whether the record shows that its missing directory is part of a project that is there: the root that was set, a source
/// or another file of it, which lies outside of what is missing.
fn is_part(missing: &Path, origin: &Origin, draft: &Draft) -> bool {
    let is_outside = |path: &Path| !path.starts_with(missing);
    let root_is_there = origin.root.iter().any(|root| is_outside(root) && root.exists());
    if root_is_there || origin.sources.iter().any(|it| is_outside(it) && is_near(it)) {
        return true;
    }
    // A neighbour is as likely to be shared by several checkouts: then nothing goes that could.
    let Some(parent) = missing.parent().filter(|parent| *parent != Path::new("/")) else {
        return false;
    };
    let is_neighbour = |path: &CStr| {
        let path = plain(&origin.directory.join(OsStr::from_bytes(path.to_bytes())));
        let below = path.strip_prefix(parent).ok().filter(|_| is_outside(&path));
        let first = below.and_then(|below| below.components().next());
        first.is_some_and(|first| !first.as_os_str().as_bytes().starts_with(b".")) && path.is_file()
    };
    let inputs = draft.inputs.iter().filter(|input| input.kind == record::CONTENT);
    inputs.into_iter().any(|input| is_neighbour(&input.path))
}

/// Whether the directory of a file is there, or may be.
fn is_near(file: &Path) -> bool {
    file.parent().is_none_or(|parent| highest_missing(parent).is_none())
}
