//! Finding a tool on `PATH` as `execvp` does, past what the caller wants to pass over: ourselves and other caches.
//!
//! It only looks: nothing is run. Read next: `exec.rs`.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;

/// Where `execvp` looks if `PATH` is not set (`confstr(_CS_PATH)` of glibc).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What a search found, and what it met on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The tool, with a `/` in it; `None` if there is none.
    pub path: Option<PathBuf>,
    /// Candidates before it that were passed over.
    pub passed: Vec<PathBuf>,
    /// Candidates before it that could not be run, each with the error number that running it would give.
    pub absent: Vec<(PathBuf, i32)>,
}

/// Looks for `name`; with a `/` in it, it is taken as it is, unless it is to be passed over.
pub fn find_tool(name: &OsStr, path: Option<&OsStr>, is_passed: &dyn Fn(&Path) -> bool) -> Found {
    let mut found = Found::default();
    if name.is_empty() {
        return found;
    }
    let candidates: Vec<PathBuf> = if name.as_bytes().contains(&b'/') {
        vec![name.into()]
    } else {
        let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
        path.as_bytes().split(|&byte| byte == b':').map(|dir| join(dir, name)).collect()
    };
    for candidate in candidates {
        match can_run(&candidate) {
            Err(error) => found.absent.push((candidate, error.raw_os_error())),
            Ok(()) if is_passed(&candidate) => found.passed.push(candidate),
            Ok(()) => {
                found.path = Some(candidate);
                break;
            }
        }
    }
    found
}

/// An empty directory is the working directory.
fn join(dir: &[u8], name: &OsStr) -> PathBuf {
    let mut joined = OsString::from(OsStr::from_bytes(if dir.is_empty() { b"." } else { dir }));
    joined.push("/");
    joined.push(name);
    joined.into()
}

/// The most symlinks that are followed.
const LINKS_MAX: usize = 40;

/// A file: its device and inode.
pub type FileId = (u64, u64);

/// The programs of these names in the directories of `search_path`.
pub fn programs(names: &[&str], search_path: Option<&OsStr>) -> Vec<FileId> {
    let directories = search_path.map(std::env::split_paths).into_iter().flatten();
    let paths = directories.flat_map(|dir| names.iter().map(move |name| dir.join(name)));
    paths.filter_map(|path| std::fs::metadata(path).ok()).map(|it| (it.dev(), it.ino())).collect()
}

/// Whether `path` has a program behind it of which `is_named` says so, which it is not called itself: by a symlink, or as a hard
/// link of one of `known`.
pub fn leads_to<'k>(
    path: &Path,
    is_named: fn(&Path) -> bool,
    known: impl FnOnce() -> &'k [FileId],
) -> bool {
    if is_named(path) {
        return false;
    }
    let mut at = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        let Ok(target) = std::fs::read_link(&at) else { break };
        at = at.parent().unwrap_or(Path::new("")).join(target);
        if is_named(&at) {
            return true;
        }
    }
    let Some(file) = std::fs::metadata(&at).ok().filter(|file| file.nlink() > 1) else {
        return false;
    };
    known().contains(&(file.dev(), file.ino()))
}

fn can_run(candidate: &Path) -> Result<(), Errno> {
    let found = stat(candidate)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    // As the user that we act as, not as the one who called us.
    accessat(CWD, candidate, Access::EXEC_OK, AtFlags::EACCESS)
        .or_else(|_| accessat(CWD, candidate, Access::EXEC_OK, AtFlags::empty()))
}

/// Our own executable, to recognise it under other names.
#[derive(Debug)]
pub struct Ourselves {
    exe: Option<Metadata>,
}

impl Default for Ourselves {
    fn default() -> Self {
        Ourselves { exe: std::fs::metadata(OURSELVES).ok() }
    }
}

const OURSELVES: &str = "/proc/self/exe";

impl Ourselves {
    /// Whether `path` is this executable: by a symlink, a hard link, or as a copy with the same bytes.
    pub fn is(&self, path: &Path) -> bool {
        let (Some(exe), Ok(other)) = (&self.exe, std::fs::metadata(path)) else { return false };
        (exe.dev(), exe.ino()) == (other.dev(), other.ino())
            || exe.len() == other.len() && has_our_bytes(path).unwrap_or(false)
    }
}

fn has_our_bytes(path: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(OURSELVES)?, File::open(path)?);
    let (mut ours, mut theirs) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let len = one.read(&mut ours)?;
        let (ours, theirs) = (ours.get(..len), theirs.get_mut(..len));
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(false) };
        other.read_exact(theirs)?;
        if len == 0 || ours != theirs {
            return Ok(len == 0);
        }
    }
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
