//! `ibid install [DIR]`: symlinks to ibid that are named like the compilers and archivers on `PATH`; `ibid uninstall [DIR]` removes them.
//!
//! With `--cargo` or `--cmake` they set up these instead (`install/builds.rs`).
//!
//! Neither replaces or removes anything that is not a symlink to ibid. Read next: docs/set-up.md.

mod builds;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::args::{Install, Uninstall};
use super::on_path;
use super::texts::wrapped;
use crate::builder::search;
use crate::compilers::{compiles_c, copies_objects, is_launched, is_launcher};
use crate::env;

/// The compilers that builds call by default.
pub const COMPILERS: &[&str] = &["cc", "c++", "gcc", "g++", "clang", "clang++"];

/// Makes the symlinks and prints the line for the shell's profile.
pub fn run(asked: &Install, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    if asked.cargo {
        return builds::cargo(asked.yes, stdout, stderr);
    }
    if asked.cmake {
        return builds::cmake(stdout);
    }
    let Some(dir) = asked.dir.clone().or_else(default_dir) else {
        writeln!(stderr, "ibid: no place for the symlinks: HOME is not set, name a directory")?;
        return Ok(1);
    };
    let ibid = std::env::current_exe()?;
    fs::create_dir_all(&dir).map_err(|error| cannot_make(&dir, &error))?;
    let dir = fs::canonicalize(&dir).map_err(|error| in_words(&dir, &error))?;
    let names = programs_on_path(&dir, &ibid, is_compiler);
    if names.is_empty() {
        let _ = fs::remove_dir(&dir);
        writeln!(stderr, "ibid: no compiler was found on PATH: install one, such as gcc")?;
        return Ok(1);
    }
    let mut left_alone = 0_u8;
    let mut made = Vec::new();
    for name in names {
        let link = dir.join(&name);
        if place(&link, &ibid).map_err(|error| in_words(&link, &error))? {
            made.push(name);
        } else {
            left_alone = 1;
            writeln!(stderr, "ibid: {}: is there already, left alone", link.display())?;
        }
    }
    writeln!(stdout, "links to ibid in {}:", dir.display())?;
    show_names(&made, stdout)?;
    show_lines(&dir, &ibid, stdout)?;
    if let Some((cache, place)) = other_cache(&dir) {
        writeln!(
            stdout,
            "\nNote: {cache}'s links in {} are on PATH, too. What comes first wins: put the\n\
             line behind the one that adds them.",
            place.display()
        )?;
    }
    Ok(left_alone)
}

/// The names of the links, as many to a line as fit.
fn show_names(names: &[OsString], stdout: &mut dyn Write) -> io::Result<()> {
    const INDENT: usize = 4;
    for line in wrapped(names.iter().map(|name| name.to_string_lossy()), INDENT) {
        writeln!(stdout, "{:INDENT$}{line}", "")?;
    }
    Ok(())
}

/// The lines for the profiles of the shells, and for cargo.
fn show_lines(dir: &Path, ibid: &Path, stdout: &mut dyn Write) -> io::Result<()> {
    let (dir, ibid) = (quoted(dir), quoted(ibid));
    writeln!(stdout, "\nbash (~/.bashrc), zsh (~/.zshrc):\n\n    export PATH={dir}:\"$PATH\"")?;
    writeln!(stdout, "\nfish (~/.config/fish/config.fish):\n\n    set -gx PATH {dir} $PATH")?;
    if !on_path("cargo") {
        return Ok(());
    }
    writeln!(stdout, "\nrustc is not linked: cargo calls ibid if it is told to, by a variable")?;
    writeln!(stdout, "\n    export RUSTC_WRAPPER={ibid}")?;
    writeln!(stdout, "\nor by `rustc-wrapper` in its own settings: `ibid install --cargo`.")
}

/// Another cache's link of a compiler's name that comes before `dir` on `PATH`, or would if `dir` came last; and where it is.
fn other_cache(dir: &Path) -> Option<(String, PathBuf)> {
    let path = env::get(env::PATH)?;
    let before = std::env::split_paths(&path).take_while(|place| place != dir);
    let links = before.flat_map(|place| COMPILERS.iter().map(move |name| place.join(name)));
    let link = links.into_iter().find(|link| link.is_file() && search::is_cache(link))?;
    Some((cache_of(&link), link.parent()?.to_path_buf()))
}

/// The name of the cache that a link leads to.
pub fn cache_of(link: &Path) -> String {
    let mut at = link.to_path_buf();
    for _ in 0..40 {
        let Ok(target) = std::fs::read_link(&at) else { break };
        at = at.parent().unwrap_or(Path::new("")).join(target);
        if is_launcher(&at) {
            break;
        }
    }
    let name = if is_launcher(&at) { at.file_name() } else { None };
    name.and_then(OsStr::to_str).unwrap_or("another cache").to_owned()
}

/// Removes the symlinks to ibid, and their directory if nothing else is in it.
pub fn uninstall(
    asked: &Uninstall,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    if asked.cargo {
        return builds::without_cargo(asked.yes, stdout, stderr);
    }
    let Some(dir) = asked.dir.clone().or_else(default_dir) else {
        writeln!(stderr, "ibid: HOME is not set, name the directory of the symlinks")?;
        return Ok(1);
    };
    let dir = std::path::absolute(dir)?;
    let ibid = std::env::current_exe()?;
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            writeln!(stdout, "nothing to remove: {} is not there", dir.display())?;
            return Ok(0);
        }
        Err(error) => return Err(in_words(&dir, &error)),
    };
    let mut links: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    links.retain(|link| fs::read_link(link).is_ok_and(|target| is_ours(&target, &ibid)));
    if links.is_empty() {
        writeln!(stdout, "nothing to remove: no links to ibid in {}", dir.display())?;
        return Ok(0);
    }
    links.sort();
    for link in &links {
        fs::remove_file(link).map_err(|error| in_words(link, &error))?;
    }
    let _ = fs::remove_dir(&dir);
    let names: Vec<_> =
        links.iter().filter_map(|link| Some(link.file_name()?.to_owned())).collect();
    writeln!(stdout, "links removed from {}:", dir.display())?;
    show_names(&names, stdout)?;
    writeln!(stdout, "\nTake {} out of your shell's profile as well.", dir.display())?;
    if env::get_nonempty("RUSTC_WRAPPER").is_some() {
        writeln!(stdout, "RUSTC_WRAPPER is set: unset it where that is done.")?;
    }
    Ok(0)
}

/// Whether a link's target is ibid, now or before it moved.
fn is_ours(target: &Path, ibid: &Path) -> bool {
    target == ibid || target.file_name() == ibid.file_name()
}

fn default_dir() -> Option<PathBuf> {
    Some(PathBuf::from(env::get_nonempty(env::HOME)?).join(".local/lib/ibid"))
}

fn in_words(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn cannot_make(dir: &Path, error: &io::Error) -> io::Error {
    let advice = "name another directory";
    io::Error::new(error.kind(), format!("cannot make {}: {error}; {advice}", dir.display()))
}

/// Whether `link` now leads to `ibid`; `false` if something else is there.
fn place(link: &Path, ibid: &Path) -> io::Result<bool> {
    match symlink(ibid, link) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let Ok(target) = fs::read_link(link) else { return Ok(false) };
            if target == ibid {
                return Ok(true);
            }
            if !is_ours(&target, ibid) {
                return Ok(false);
            }
            // An ibid that has moved since.
            fs::remove_file(link)?;
            symlink(ibid, link)?;
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// The names of programs on `PATH`, outside of `dir`, that `is_wanted`.
fn programs_on_path(dir: &Path, ibid: &Path, is_wanted: fn(&str) -> bool) -> BTreeSet<OsString> {
    let path = env::get(env::PATH).unwrap_or_default();
    let mut names = BTreeSet::new();
    for place in std::env::split_paths(&path).filter(|place| place.is_absolute() && place != dir) {
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(is_wanted) && is_program(&entry.path(), ibid) {
                names.insert(name);
            }
        }
    }
    names
}

/// The compilers of C and C++ on `PATH`, first those that builds call by default.
pub fn compilers() -> Vec<String> {
    let is_one = |name: &str| is_compiler(name) && compiles_c(OsStr::new(name));
    let ibid = std::env::current_exe().unwrap_or_default();
    let names = programs_on_path(Path::new(""), &ibid, is_one);
    let mut names: Vec<String> =
        names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names
        .sort_by_key(|name| COMPILERS.iter().position(|known| known == name).unwrap_or(usize::MAX));
    names
}

/// Whether a name is a C or C++ compiler's, an archiver's or a copier's of objects: also with a version (`gcc-12`) or a target (`x86_64-linux-gnu-gcc-12`).
fn is_compiler(name: &str) -> bool {
    let is_whole = name.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '+');
    let name = OsStr::new(name);
    is_whole && (compiles_c(name) || copies_objects(name) || is_launched(name))
}

/// Whether `path` can be run and is not ourselves.
fn is_program(path: &Path, ibid: &Path) -> bool {
    let executable = fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
    executable && fs::canonicalize(path).ok() != fs::canonicalize(ibid).ok()
}

/// `dir` as one word of a shell.
fn quoted(dir: &Path) -> String {
    let text = dir.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::{is_compiler, quoted};
    use std::path::Path;

    #[test]
    fn names() {
        for name in [
            "gcc",
            "gcc-12",
            "clang++-14",
            "c++",
            "c89",
            "c99",
            "c99-gcc",
            "x86_64-linux-gnu-gcc",
            "x86_64-linux-gnu-g++-12",
            "aarch64-linux-gnu-clang",
            "x86_64-w64-mingw32-gcc-posix",
            "ar",
            "llvm-ar-14",
            "x86_64-linux-gnu-strip",
            "objcopy",
            "clang-tidy-14",
        ] {
            assert!(is_compiler(name), "{name}");
        }
        for name in [
            "gcc-ar",
            "ld",
            "ld.lld",
            "ranlib",
            "gcc-",
            "clang-format",
            "ccache",
            "cccc",
            "rustc",
            "x86_64-linux-gnu-gcc-ar-12",
            "x86_64-linux-gnu-cpp",
        ] {
            assert!(!is_compiler(name), "{name}");
        }
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(quoted(Path::new("/a/b-c")), "/a/b-c");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
