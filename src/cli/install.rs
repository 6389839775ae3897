//! `ibid install [DIR]`: symlinks to ibid that are named like the compilers and archivers on `PATH`.
//!
//! It never replaces anything that is not a symlink to ibid. Read next: README.md, "Masquerade".

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::args::Install;
use super::on_path;
use crate::compilers::{compiles_c, copies_objects};
use crate::env;

/// The compilers that `doctor` looks for.
pub const COMPILERS: &[&str] = &["cc", "c++", "gcc", "g++", "clang", "clang++"];

/// Makes the symlinks and prints the line for the shell's profile.
pub fn run(asked: &Install, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let Some(dir) = asked.dir.clone().or_else(default_dir) else {
        writeln!(stderr, "ibid: no place for the symlinks: HOME is not set, name a directory")?;
        return Ok(1);
    };
    let dir = std::path::absolute(dir)?;
    let ibid = std::env::current_exe()?;
    let names = compilers_on_path(&dir, &ibid);
    if names.is_empty() {
        writeln!(stderr, "ibid: no compiler was found on PATH")?;
        return Ok(1);
    }
    fs::create_dir_all(&dir).map_err(|error| in_words(&dir, &error))?;
    let mut left_alone = 0_u8;
    for name in names {
        let link = dir.join(&name);
        if place(&link, &ibid).map_err(|error| in_words(&link, &error))? {
            writeln!(stdout, "{}", link.display())?;
        } else {
            left_alone = 1;
            writeln!(stderr, "ibid: {}: is there already, left alone", link.display())?;
        }
    }
    writeln!(stdout, "\nFor your shell's profile:\n\n    export PATH={}:\"$PATH\"", quoted(&dir))?;
    if on_path("cargo") {
        writeln!(stdout, "    export RUSTC_WRAPPER={}", quoted(&ibid))?;
    }
    Ok(left_alone)
}

fn default_dir() -> Option<PathBuf> {
    Some(PathBuf::from(env::get_nonempty(env::HOME)?).join(".local/lib/ibid"))
}

fn in_words(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
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
            if target.file_name() != ibid.file_name() {
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

fn compilers_on_path(dir: &Path, ibid: &Path) -> BTreeSet<OsString> {
    let path = env::get(env::PATH).unwrap_or_default();
    let mut names = BTreeSet::new();
    for place in std::env::split_paths(&path).filter(|place| place.is_absolute() && place != dir) {
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(is_compiler) && is_program(&entry.path(), ibid) {
                names.insert(name);
            }
        }
    }
    names
}

/// Whether a name is a C or C++ compiler's, an archiver's or a copier's of objects: also with a version (`gcc-12`) or a target (`x86_64-linux-gnu-gcc-12`).
fn is_compiler(name: &str) -> bool {
    let is_whole = name.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '+');
    let name = OsStr::new(name);
    is_whole && (compiles_c(name) || copies_objects(name))
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
            "clang-tidy-14",
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
