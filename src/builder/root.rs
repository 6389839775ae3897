//! Which directories are the places of a command: the project's root, the working directory if it lies elsewhere, and the directory
//! that CMake has made for a trial.
//!
//! It looks for repositories; it decides nothing about results. Read next: `places.rs`, `docs/places.md`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use memchr::memmem;

use super::places::{Places, is_at_or_below};
use crate::env;
use crate::probe::command::{DIRECTORY, TOOL, fields};

/// The places of a command that compiles `source` in `directory`. The root is the one that was `set`, else that of the
/// repository in which the source lies, else the lowest directory above both source and working directory; never `/`,
/// the home directory or one above it. `None` if there is none.
pub fn places(set: &[u8], directory: &[u8], source: &Path) -> Option<Places> {
    let directory = Path::new(OsStr::from_bytes(directory));
    let root = root(set, directory, &plain(&directory.join(source)))?;
    let elsewhere = Some(directory).filter(|directory| !directory.starts_with(&root));
    let trial = trial(directory).filter(|trial| *trial != root && Some(*trial) != elsewhere);
    as_places(std::iter::once(root.as_path()).chain(elsewhere).chain(trial))
}

/// The directory, with a name that was drawn, in which CMake (since 3.25) tries something out.
fn trial(directory: &Path) -> Option<&Path> {
    let is_trial = |directory: &&Path| {
        let name = directory.file_name().map_or(&b""[..], OsStr::as_bytes);
        let is_above = directory.parent().is_some_and(|it| it.ends_with("CMakeFiles/CMakeScratch"));
        name.starts_with(b"TryCompile-") && is_above
    };
    directory.ancestors().find(is_trial)
}

/// The name that CMake has drawn for the program that it tries to make, if the command is such a trial's.
pub fn drawn_name(command: &[u8]) -> Option<Vec<u8>> {
    const START: &[u8] = b"cmTC_";
    const DIGITS: usize = 5;
    let directory = fields(command).nth(DIRECTORY)?;
    memmem::find(directory, b"/CMakeFiles/CMake")?;
    let name_in = |arg: &[u8]| {
        let name = arg.get(memmem::find(arg, START)?..)?.get(..START.len() + DIGITS)?;
        let are_digits = name[START.len()..].iter().all(u8::is_ascii_hexdigit);
        are_digits.then(|| name.to_vec())
    };
    fields(command).skip(TOOL + 1).find_map(name_in)
}

/// The places of a command that compiles a crate to `output_directory`: also cargo's target directory, and of a crate that
/// cargo has downloaded only that.
pub fn places_of_crate(
    set: &[u8],
    directory: &[u8],
    source: &Path,
    output_directory: &Path,
) -> Option<Places> {
    let directory = Path::new(OsStr::from_bytes(directory));
    let source = plain(&directory.join(source));
    let is_tagged = |directory: &&Path| directory.join("CACHEDIR.TAG").is_file();
    let output_directory = plain(&directory.join(output_directory));
    let target = output_directory.ancestors().find(is_tagged);
    let root = if is_of_registry(&source) { None } else { Some(root(set, directory, &source)?) };
    let elsewhere = root.as_ref().filter(|root| !directory.starts_with(root)).map(|_| directory);
    as_places(root.as_deref().into_iter().chain(elsewhere).chain(target))
}

fn as_places<'p>(list: impl Iterator<Item = &'p Path>) -> Option<Places> {
    let list: Vec<_> = list.map(|place| place.as_os_str().as_bytes().to_vec()).collect();
    Places::new(list).filter(|places| !places.is_empty())
}

fn root(set: &[u8], directory: &Path, source: &Path) -> Option<PathBuf> {
    if set.is_empty() {
        let parent = source.parent()?;
        let root = repository(parent).or_else(|| common(directory, parent))?;
        return Some(root).filter(|root| !is_above_home(root));
    }
    let set = plain(Path::new(OsStr::from_bytes(set)));
    let real = set.canonicalize().ok();
    let holds_one = |root: &PathBuf| directory.starts_with(root) || source.starts_with(root);
    Some(set).into_iter().chain(real).find(holds_one)
}

/// Whether a source of a command that runs in `directory` is of a crate that cargo has downloaded.
pub fn is_downloaded(directory: &[u8], source: &Path) -> bool {
    is_of_registry(&plain(&Path::new(OsStr::from_bytes(directory)).join(source)))
}

fn is_of_registry(source: &Path) -> bool {
    let home = env::get_nonempty("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::get_nonempty("HOME")?).join(".cargo")));
    let homes = [home.as_deref().and_then(|home| home.canonicalize().ok()), home];
    let is_in =
        |home: &PathBuf| ["registry", "git"].iter().any(|it| source.starts_with(home.join(it)));
    homes.iter().flatten().any(is_in)
}

/// Where a repository would be the root instead of the place in which `source` lies: between that and the source.
pub fn nearer_repositories(places: &Places, directory: &[u8], source: &Path) -> Vec<PathBuf> {
    let source = plain(&Path::new(OsStr::from_bytes(directory)).join(source));
    let above = source.ancestors().skip(1);
    let is_below = |path: &&Path| {
        let bytes = path.as_os_str().as_bytes();
        places.directories().any(|place| place != bytes && is_at_or_below(bytes, place))
    };
    above.take_while(is_below).map(|directory| directory.join(".git")).collect()
}

/// A path without steps up and dots, as its text says.
pub fn plain(path: &Path) -> PathBuf {
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

/// Whether a directory is the user's home, or lies above it.
pub fn is_above_home(root: &Path) -> bool {
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
            ("repo/", "repo/inner", "a.c", "repo"),
            ("./repo/x/..", "repo/inner", "a.c", "repo"),
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
    fn repositories_that_would_be_nearer() {
        let places = Places::new(vec![b"/srv/me".to_vec()]).expect("a place");
        for (directory, source, expected) in [
            ("/srv/me", "a.c", ""),
            ("/srv/me/b", "../src/x/a.c", "/srv/me/src/x/.git /srv/me/src/.git"),
            ("/elsewhere", "/usr/src/a.c", ""),
        ] {
            let found = nearer_repositories(&places, directory.as_bytes(), Path::new(source));
            let found = found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            assert_eq!(found.join(" "), expected, "{source}");
        }
    }

    #[test]
    fn home_is_no_root() {
        let Some(home) = env::get_nonempty("HOME") else { return };
        assert!(is_above_home(Path::new("/")) && is_above_home(Path::new(&home)));
        assert!(!is_above_home(&Path::new(&home).join("project")));
    }
}
