//! Walks paths: the symlinks and directories on each, and paths without needless steps up.
//!
//! It looks and remembers what it saw. Who asks: `file_states.rs`, `record_builder.rs`.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::shm::raw::{self, FileState};

/// How deep symlinks may nest, as in the kernel.
const LINKS_MAX: usize = 40;

/// What was met on the paths that were walked.
#[derive(Debug, Default)]
pub struct PathWalker {
    // By spelling: hashing a path part by part takes several times as long.
    walked: FxHashMap<OsString, Met>,
    plain: FxHashMap<OsString, PathBuf>,
    links: Vec<(CString, FileState)>,
    places: Vec<(CString, FileState)>,
}

/// What was met on the way to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Directory,
    Link,
    Other,
}

impl Met {
    fn of(state: Option<&FileState>) -> Met {
        match state {
            Some(state) if state.is_symlink() => Met::Link,
            Some(state) if state.is_directory() => Met::Directory,
            _ => Met::Other,
        }
    }
}

impl PathWalker {
    /// Notes every symlink and every directory on the way to `path`, those behind links too; `path` itself only if it is
    /// one of the two. Compilers ask where a path really leads, and write that into depfiles and debug information.
    pub fn walk(&mut self, path: &Path) {
        // What is walked was reached by all that is before it. Most inputs lie where others do.
        if !self.walked.contains_key(path.as_os_str()) {
            self.walk_at(path, 0);
        }
    }

    /// `path` without the steps up (`x/..`) that only lead back: where x is a directory and no symlink, which is noted.
    /// gcc and clang name most of their files in such a way.
    pub fn plain<'p>(&mut self, path: &'p Path) -> Cow<'p, Path> {
        self.plain_at(path, 0)
    }

    fn plain_at<'p>(&mut self, path: &'p Path, depth: usize) -> Cow<'p, Path> {
        let bytes = path.as_os_str().as_bytes();
        if !bytes.windows(3).any(|part| part == b"/..") {
            return Cow::Borrowed(path);
        }
        if bytes.ends_with(b"/..") {
            let plain = self.plain_directory(path, depth);
            return Cow::Owned(if plain.as_os_str().is_empty() { ".".into() } else { plain });
        }
        match split(path) {
            Some((parent, name)) => Cow::Owned(self.plain_directory(parent, depth).join(name)),
            None => Cow::Borrowed(path),
        }
    }

    /// As [`PathWalker::plain`], of a directory; empty for the working directory.
    fn plain_directory(&mut self, directory: &Path, depth: usize) -> PathBuf {
        if let Some(known) = self.plain.get(directory.as_os_str()) {
            return known.clone();
        }
        let mut plain = PathBuf::new();
        for part in directory.components() {
            match part {
                Component::ParentDir if self.is_directory(&plain, depth) => {
                    plain.pop();
                }
                part => plain.push(part),
            }
        }
        self.plain.insert(directory.as_os_str().to_owned(), plain.clone());
        plain
    }

    /// Whether `path` is a directory and no symlink; it is noted.
    fn is_directory(&mut self, path: &Path, depth: usize) -> bool {
        if !self.walked.contains_key(path.as_os_str()) {
            self.walk_at(path, depth);
        }
        self.walked.get(path.as_os_str()) == Some(&Met::Directory)
    }

    fn walk_at(&mut self, path: &Path, depth: usize) {
        let mut prefix = PathBuf::new();
        for part in path.components() {
            prefix.push(part);
            if !matches!(part, Component::Normal(_)) || self.walked.contains_key(prefix.as_os_str())
            {
                continue;
            }
            let Some(spelled) = c_path(&prefix) else { return };
            let state = raw::lstat(&spelled);
            let met = Met::of(state.as_ref().ok());
            self.walked.insert(prefix.as_os_str().to_owned(), met);
            let Ok(state) = state else { return };
            match met {
                Met::Link => self.links.push((spelled, state)),
                Met::Directory => self.places.push((spelled, state)),
                Met::Other => {}
            }
            if met != Met::Link {
                continue;
            }
            if let Ok(target) = std::fs::read_link(&prefix)
                && depth < LINKS_MAX
            {
                let from = prefix.parent().unwrap_or(Path::new(""));
                let target = from.join(target);
                let target = self.plain_at(&target, depth + 1);
                self.walk_at(&target, depth + 1);
            }
        }
    }

    /// All symlinks that were met.
    pub fn links(&self) -> &[(CString, FileState)] {
        &self.links
    }

    /// All directories that were met and are no symlinks, but for those of `judged`.
    pub fn places(&self, judged: &FxHashSet<OsString>) -> Vec<(CString, FileState)> {
        let is_judged = |path: &CStr| judged.contains(OsStr::from_bytes(path.to_bytes()));
        self.places.iter().filter(|(path, _)| !is_judged(path)).cloned().collect()
    }
}

/// A path for a system call; `None` if it has a NUL inside.
pub fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

/// A path that was made for a system call.
pub fn path_of(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

/// A path's directory and its last name, as `Path::parent` and `Path::file_name` give them but in fewer steps; `None` if it
/// does not end in a plain name.
pub fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'/');
    let name = &bytes[at.map_or(0, |at| at + 1)..];
    if matches!(name, b"" | b"." | b"..") {
        return None;
    }
    let mut parent = &bytes[..at.unwrap_or(0)];
    while let Some(shorter) = parent.strip_suffix(b"/") {
        parent = shorter;
    }
    if at.is_some() && parent.is_empty() {
        parent = b"/";
    }
    Some((Path::new(OsStr::from_bytes(parent)), OsStr::from_bytes(name)))
}

/// A directory without the `/` or `/.` at its end, which change nothing.
pub fn bare_directory(path: &Path) -> &Path {
    let mut bytes = path.as_os_str().as_bytes();
    while let Some(shorter) = bytes.strip_suffix(b"/.").or_else(|| bytes.strip_suffix(b"/")) {
        if shorter.is_empty() {
            break;
        }
        bytes = shorter;
    }
    Path::new(OsStr::from_bytes(bytes))
}

/// Whether the directory of `path` gives new files a mode of its own (an access control list for what is made in it).
pub fn has_default_acl(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    rustix::fs::getxattr(parent, c"system.posix_acl_default", &mut [0u8; 0]).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn steps_up_out_of_directories_are_left_out_and_others_are_not() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let root = scratch.path().canonicalize().expect("it is there");
        fs::create_dir_all(root.join("a/b")).expect("made");
        fs::create_dir_all(root.join("far/b")).expect("made");
        symlink("far/b", root.join("link")).expect("made");
        for (path, plain) in [
            ("a/../x.h", "x.h"),
            ("a/b/../../x.h", "x.h"),
            ("a/./b//../x.h", "a/x.h"),
            ("a/b/..", "a"),
            ("link/../x.h", "link/../x.h"),
            ("a/../link/../x.h", "link/../x.h"),
            ("nowhere/../x.h", "nowhere/../x.h"),
            ("a/x.h", "a/x.h"),
            ("a/..x.h", "a/..x.h"),
        ] {
            let mut walker = PathWalker::default();
            assert_eq!(walker.plain(&root.join(path)), root.join(plain), "{path}");
        }
        let _turn = crate::env::WORKING_DIRECTORY.lock();
        assert_eq!(PathWalker::default().plain(Path::new("src/../x.h")), Path::new("x.h"));
        assert_eq!(PathWalker::default().plain(Path::new("src/..")), Path::new("."));
        assert_eq!(
            PathWalker::default().plain(Path::new("../src/../x.h")),
            Path::new("../src/../x.h")
        );
    }

    #[test]
    fn what_was_left_out_is_noted() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let root = scratch.path().canonicalize().expect("it is there");
        fs::create_dir_all(root.join("a/b")).expect("made");
        let mut walker = PathWalker::default();
        let _ = walker.plain(&root.join("a/b/../x.h"));
        let places = walker.places(&FxHashSet::default());
        assert!(places.iter().any(|(path, _)| path_of(path) == root.join("a/b")));
    }

    #[test]
    fn circles_of_symlinks_end() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let root = scratch.path().canonicalize().expect("it is there");
        symlink("two/../one/x", root.join("one")).expect("made");
        symlink("one/../two/x", root.join("two")).expect("made");
        let path = root.join("one/../x.h");
        assert_eq!(PathWalker::default().plain(&path), path);
    }
}
