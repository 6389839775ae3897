//! A path as a watched process means it: how it is spelled in the log, and what is there, seen from here.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::arguments::word;
use crate::observe::shim::log_layout::FileStat;
use crate::shm::raw::{self, Errno, FileState};

/// A path of a watched process.
#[derive(Debug, Clone)]
pub struct WatchedPath {
    /// As it stands in the log: as spelled if it is relative to where the tool was started, else absolute.
    pub spelled: PathBuf,
    /// The same for our own calls.
    here: CString,
}

/// Directories of a process that its paths may be relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Its working directory.
    Working,
    /// That of a descriptor.
    Descriptor(i32),
}

impl Base {
    /// Of a call's argument.
    pub fn of(argument: u64) -> Base {
        match word(argument).cast_signed() {
            libc::AT_FDCWD => Base::Working,
            fd => Base::Descriptor(fd),
        }
    }

    /// Where it is now.
    pub fn path(self, thread: u32) -> Option<PathBuf> {
        let link = match self {
            Base::Working => format!("/proc/{thread}/cwd"),
            Base::Descriptor(fd) => format!("/proc/{thread}/fd/{fd}"),
        };
        let path = std::fs::read_link(link).ok()?;
        let is_gone = path.as_os_str().as_bytes().ends_with(b" (deleted)") && !path.exists();
        (path.is_absolute() && !is_gone).then_some(path)
    }
}

impl WatchedPath {
    /// Where `text` leads from `base`; `None` if that has no path. `start` is where the tool was started.
    pub fn of(thread: u32, base: Base, text: &[u8], start: &Path) -> Option<WatchedPath> {
        let text = OsStr::from_bytes(text);
        let spelled = if text.as_bytes().first() == Some(&b'/') {
            PathBuf::from(text)
        } else {
            match base.path(thread)? {
                at if base == Base::Working && at == start => PathBuf::from(text),
                at => at.join(text),
            }
        };
        Some(WatchedPath::at(thread, spelled, start))
    }

    /// The place of a path that is absolute or relative to where the tool was started.
    pub fn at(thread: u32, spelled: PathBuf, start: &Path) -> WatchedPath {
        let here = seen_from_here(thread, start.join(&spelled));
        let here = CString::new(here.into_os_string().into_vec()).unwrap_or_default();
        WatchedPath { spelled, here }
    }

    /// What is there, links followed.
    pub fn stat(&self) -> Result<FileStat, i32> {
        file_stat(raw::stat(&self.here))
    }

    /// What is there; a link is not followed.
    pub fn lstat(&self) -> Result<FileStat, i32> {
        file_stat(raw::lstat(&self.here))
    }

    /// The path for our own calls.
    pub fn here(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.here.to_bytes()))
    }
}

/// What `fstat` would say of a descriptor of a process, and whether that may be written.
pub fn descriptor(thread: u32, fd: i32) -> Option<(FileStat, bool)> {
    let path = CString::new(format!("/proc/{thread}/fd/{fd}")).ok()?;
    let link = raw::lstat(&path).ok()?;
    Some((file_stat(raw::stat(&path)).ok()?, link.mode & 0o200 != 0))
}

/// Paths that lead each process to something of its own.
fn seen_from_here(thread: u32, path: PathBuf) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let own = [
        ("/proc/self", ""),
        ("/proc/thread-self", ""),
        ("/dev/fd", "/fd"),
        ("/dev/stdin", "/fd/0"),
        ("/dev/stdout", "/fd/1"),
        ("/dev/stderr", "/fd/2"),
    ];
    for (name, place) in own {
        if let Some(rest) = bytes.strip_prefix(name.as_bytes())
            && matches!(rest.first(), None | Some(b'/'))
        {
            let mut moved = OsString::from(format!("/proc/{thread}{place}"));
            moved.push(OsStr::from_bytes(rest));
            return moved.into();
        }
    }
    path
}

fn file_stat(answer: Result<FileState, Errno>) -> Result<FileStat, i32> {
    let state = answer.map_err(Errno::raw_os_error)?;
    Ok(FileStat {
        dev: state.stat.dev,
        ino: state.stat.ino,
        size: state.stat.size,
        mtime_ns: state.stat.mtime_ns,
        ctime_ns: state.stat.ctime_ns,
        mode: state.mode,
        links: state.links,
    })
}
