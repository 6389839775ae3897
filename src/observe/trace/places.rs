//! Names of files as absolute paths, and the directories that need care: those that are left out, and those into which the
//! tool writes by two names.
//!
//! A directory behind a symlink has a second name, and rustc and the linkers use both: a file that is made by one and removed
//! by the other is one file. Read next: `trace/`.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashSet;

use crate::observe::LeftOut;

/// A name: compared as bytes, which is many times faster than as a path.
pub type Key = Vec<u8>;

/// What is known of directories.
#[derive(Debug, Default)]
pub struct Places {
    cwd: PathBuf,
    private_trees: Vec<Key>,
    unlisted: Vec<Unlisted>,
    written: FxHashSet<Key>,
    /// Directories into which the tool writes, by another name than the kernel's, and that one.
    aliases: Vec<(Key, Key)>,
}

/// A directory of which one listing is left out.
#[derive(Debug, Clone)]
struct Unlisted {
    spellings: Vec<Key>,
    /// Whether that one has happened.
    was_listed: bool,
}

impl Places {
    /// Of a tool that is started in `cwd`.
    pub fn new(cwd: PathBuf) -> Places {
        Places { cwd, ..Places::default() }
    }

    /// Of the same tool, to which nothing has happened yet.
    pub fn anew(&self) -> Places {
        let Places { cwd, private_trees, unlisted, .. } = self;
        let (cwd, private_trees) = (cwd.clone(), private_trees.clone());
        let anew = |it: &Unlisted| Unlisted { was_listed: false, ..it.clone() };
        let unlisted = unlisted.iter().map(anew).collect();
        Places { cwd, private_trees, unlisted, ..Places::default() }
    }

    /// Where the tool was started.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// The trees that are left out, absolute.
    pub fn private_trees(&self) -> impl Iterator<Item = &Path> {
        self.private_trees.iter().map(|tree| Path::new(OsStr::from_bytes(tree)))
    }

    /// Says which directories are left out.
    pub fn leave_out(&mut self, left_out: LeftOut<'_>) {
        self.private_trees = self.spellings(left_out.trees);
        let unlisted = left_out.listings.iter().map(|directory| Unlisted {
            spellings: self.spellings(std::slice::from_ref(directory)),
            was_listed: false,
        });
        self.unlisted = unlisted.collect();
    }

    /// The absolute path, without empty and `.` parts; `..` stays, for it may follow a symlink. Below directories that are
    /// written to it is the kernel's.
    pub fn key(&self, path: &Path) -> Key {
        let key = self.spelled(path);
        let aliased = self.aliases.iter().filter_map(|(name, real)| {
            let rest = below(&key, name).filter(|rest| !rest.is_empty())?;
            Some((rest.len(), [real, rest].concat()))
        });
        // The nearest directory knows best.
        aliased.min_by_key(|(len, _)| *len).map_or(key, |(_, aliased)| aliased)
    }

    fn spelled(&self, path: &Path) -> Key {
        spelled(&self.cwd, path)
    }

    /// Whether a path lies in a tree that is left out.
    pub fn is_private(&self, path: &Path) -> bool {
        if self.private_trees.is_empty() || path.as_os_str().is_empty() {
            return false;
        }
        let key = self.key(path);
        self.private_trees.iter().any(|tree| below(&key, tree).is_some())
    }

    /// A directory is listed: whether that is left out. One time is, for each time that it was said; another is somebody
    /// else's, such as a proc macro's.
    pub fn leaves_out_listing(&mut self, path: &Path) -> bool {
        let key = self.key(path);
        let is_it = |it: &&mut Unlisted| !it.was_listed && it.spellings.contains(&key);
        let left_out = self.unlisted.iter_mut().find(is_it);
        left_out.map(|it| it.was_listed = true).is_some()
    }

    /// The tool writes to this path: if its directory is one of two names, which is not known yet, that one and the kernel's.
    pub fn write_to(&mut self, path: &Path) -> Option<(PathBuf, Key, Key)> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let name = self.spelled(directory);
        if !self.written.insert(name.clone()) {
            return None;
        }
        let shown = if directory.as_os_str().is_empty() { &self.cwd } else { directory };
        let real = real_path(shown)?.into_os_string().into_vec();
        // One below it is known, and that will do, or there is no second name.
        if real == name || real == self.key(directory) {
            return None;
        }
        self.aliases.push((name.clone(), real.clone()));
        Some((directory.to_owned(), name, real))
    }

    /// The absolute paths of directories, as they are spelled and as the kernel spells them.
    fn spellings(&self, directories: &[PathBuf]) -> Vec<Key> {
        let real = directories.iter().filter_map(|path| real_path(path));
        directories.iter().cloned().chain(real).map(|path| self.spelled(&path)).collect()
    }
}

/// The absolute path, without empty and `.` parts, of one that may begin in `cwd`.
pub fn spelled(cwd: &Path, path: &Path) -> Key {
    let bytes = path.as_os_str().as_bytes();
    let is_relative = bytes.first() != Some(&b'/');
    let base = if is_relative { cwd.as_os_str().as_bytes() } else { b"" };
    let mut key = Vec::with_capacity(base.len() + bytes.len() + 1);
    for path in [base, bytes] {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        // Most have nothing to be left out, and are many: they are copied whole.
        let is_plain = !path.is_empty() && !path.starts_with(b".") && !path.ends_with(b"/");
        if is_plain && !path.windows(2).any(|two| two == b"//" || two == b"/.") {
            key.push(b'/');
            key.extend_from_slice(path);
            continue;
        }
        for part in path.split(|byte| *byte == b'/') {
            if !part.is_empty() && part != b"." {
                key.push(b'/');
                key.extend_from_slice(part);
            }
        }
    }
    if key.is_empty() {
        key.push(b'/');
    }
    key
}

/// What follows a directory's name in a path that is that directory or lies below it.
pub fn below<'k>(key: &'k [u8], directory: &[u8]) -> Option<&'k [u8]> {
    key.strip_prefix(directory).filter(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The path as the kernel spells it; of its end nothing need be there.
fn real_path(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Some(real_path(parent.unwrap_or(Path::new(".")))?.join(path.file_name()?))
    })
}
