//! Which directories are the places of a command: the project's root, and the working directory if it lies elsewhere.
//!
//! It looks for repositories; it decides nothing about results. Read next: `places.rs`, `docs/places.md`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::places::Places;
use crate::env;

/// The places of a command that compiles `source` in `directory`. The root is the one that was `set`, else that of the
/// repository in which the source lies, else the lowest directory above both source and working directory; never `/`,
/// the home directory or one above it. `None` if there is none.
pub fn places(set: &[u8], directory: &[u8], source: &Path) -> Option<Places> {
    let directory = Path::new(OsStr::from_bytes(directory));
    let source = plain(&directory.join(source));
    let root = if set.is_empty() {
        let root = repository(source.parent()?).or_else(|| common(directory, source.parent()?))?;
        Some(root).filter(|root| !is_above_home(root))?
    } else {
        let set = Path::new(OsStr::from_bytes(set));
        let holds_both = |root: &Path| directory.starts_with(root) || source.starts_with(root);
        Some(set.to_path_buf())
            .filter(|root| holds_both(root))
            .or_else(|| set.canonicalize().ok().filter(|root| holds_both(root)))?
    };
    let elsewhere = Some(directory).filter(|directory| !directory.starts_with(&root));
    let list = std::iter::once(root.as_path()).chain(elsewhere);
    Places::new(list.map(|place| place.as_os_str().as_bytes().to_vec()).collect())
}

/// A path without steps up and dots, as its text says.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// The root of the repository, or of its worktree, in which a directory lies; a submodule belongs to the one around it.
fn repository(directory: &Path) -> Option<PathBuf> {
    let is_root = |directory: &&Path| {
        let git = directory.join(".git");
        match fs::symlink_metadata(&git) {
            Ok(found) if found.is_dir() => true,
            Ok(_) => fs::read_to_string(&git).is_ok_and(|text| {
                text.strip_prefix("gitdir:").is_some_and(|leads| !leads.contains("/modules/"))
            }),
            Err(_) => false,
        }
    };
    directory.ancestors().find(is_root).map(Path::to_path_buf)
}

/// The lowest directory above both.
fn common(one: &Path, other: &Path) -> Option<PathBuf> {
    one.ancestors().find(|directory| other.starts_with(directory)).map(Path::to_path_buf)
}

fn is_above_home(root: &Path) -> bool {
    let home = env::get_nonempty("HOME").map(PathBuf::from);
    let real = home.as_deref().and_then(|home| home.canonicalize().ok());
    root == Path::new("/") || [home, real].iter().flatten().any(|home| home.starts_with(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots() {
        let scratch = tempfile::tempdir().expect("a directory");
        let top = scratch.path().canonicalize().expect("it is there");
        for (file, text) in [
            ("repo/.git/HEAD", ""),
            ("repo/sub/.git", "gitdir: ../.git/modules/sub\n"),
            ("repo/inner/.git/HEAD", ""),
            ("tree/.git", "gitdir: /x/repo/.git/worktrees/tree\n"),
            ("odd/.git", "no gitdir\n"),
        ] {
            let file = top.join(file);
            fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            fs::write(file, text).expect("written");
        }
        let found = |set: &str, directory: &str, source: &str| {
            let at = |name: &str| top.join(name).as_os_str().as_bytes().to_vec();
            let set = if set.is_empty() { Vec::new() } else { at(set) };
            let source = source.strip_prefix('/').map_or_else(|| source.into(), |it| top.join(it));
            let places = places(&set, &at(directory), &source)?;
            let below = |it: &[u8]| {
                let it = Path::new(OsStr::from_bytes(it)).strip_prefix(&top).expect("below");
                it.display().to_string()
            };
            Some(places.iter().map(below).collect::<Vec<_>>().join(" "))
        };
        for (set, directory, source, expected) in [
            ("", "repo", "a.c", "repo"),
            ("", "repo/build", "../src/a.c", "repo"),
            ("", "repo/sub/x", "a.c", "repo"),
            ("", "repo/inner", "a.c", "repo/inner"),
            ("", "tree/build", "/tree/a.c", "tree"),
            ("", "build", "/repo/a.c", "repo build"),
            ("", "plain/build", "../src/a.c", "plain"),
            ("", "plain/build", "/plain/src/a.c", "plain"),
            ("", "odd/x", "a.c", "odd/x"),
            ("repo", "repo/inner", "a.c", "repo"),
            ("", "repo/inner", "/repo/a.c", "repo"),
        ] {
            assert_eq!(
                found(set, directory, source).as_deref(),
                Some(expected),
                "{set} {directory} {source}"
            );
        }
        assert_eq!(found("other", "repo", "a.c"), None);
        assert_eq!(places(b"", b"/", Path::new("usr/x.c")), None);
    }

    #[test]
    fn home_is_no_root() {
        let Some(home) = env::get_nonempty("HOME") else { return };
        assert!(is_above_home(Path::new("/")) && is_above_home(Path::new(&home)));
        assert!(!is_above_home(&Path::new(&home).join("project")));
    }
}
