//! Whether the shim can live in a program that is about to be run.

use crate::elf::{self, HEAD_LEN_BYTES, Preloading, ReadAt};
use crate::link;
use crate::log_layout::{LogEntry, kind};
use crate::note;
use crate::raw::{self, AT_FDCWD, CText, EACCES};

const SCRIPT_DEPTH_MAX: usize = 5;
const SET_ID: u32 = 0o6000;

struct OpenFile(i32);

impl ReadAt for OpenFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        raw::read_at(self.0, offset, into)
    }
}

/// As `look_at`; and at the end, whether the shim is still there: it goes with the cache directory.
pub unsafe fn examine(dirfd: i32, path: CText) -> Result<(), &'static str> {
    // SAFETY: the caller's path is a C string.
    unsafe { look_at(dirfd, path) }?;
    if is_shim_there() { Ok(()) } else { Err("could not be given the shim, which is gone") }
}

/// Looks at a program's file and at the interpreters of scripts; `Err` says why the shim cannot live in it.
unsafe fn look_at(dirfd: i32, path: CText) -> Result<(), &'static str> {
    let mut head = [0; HEAD_LEN_BYTES];
    let mut place = (dirfd, path);
    let mut name;
    for _ in 0..SCRIPT_DEPTH_MAX {
        // SAFETY: the path is the caller's or the one in `name`, which ends in a zero byte.
        let Some(verdict) = (unsafe { examine_one(place.0, place.1, &mut head) }) else {
            return Ok(());
        };
        match verdict {
            Preloading::Possible | Preloading::Unknown => return Ok(()),
            Preloading::Impossible(reason) => return Err(reason),
            Preloading::Script { start, end } => {
                name = [0; 257];
                name[..end - start].copy_from_slice(&head[start..end]);
                place = (AT_FDCWD, name.as_ptr());
            }
        }
    }
    Ok(())
}

/// `None`: nothing to run here, or it is ibid.
unsafe fn examine_one(
    dirfd: i32,
    path: CText,
    head: &mut [u8; HEAD_LEN_BYTES],
) -> Option<Preloading> {
    // SAFETY: the caller's path is a C string.
    let fd = match unsafe { raw::open(dirfd, path, raw::O_RDONLY | raw::O_CLOEXEC) } {
        Ok(fd) => fd,
        // It can be run, but not looked into.
        // SAFETY: the caller's path is a C string.
        Err(EACCES) if unsafe { raw::may_run(dirfd, path) } => {
            return Some(Preloading::Impossible("cannot be read"));
        }
        Err(_) => return None,
    };
    let stat = raw::stat_fd(fd);
    let read = raw::read_at(fd, 0, head);
    let verdict = elf::preloading(&OpenFile(fd), &head[..read]);
    raw::close(fd);
    let stat = stat.filter(|stat| stat.mode & raw::S_IFMT == raw::S_IFREG)?;
    // SAFETY: as above.
    unsafe {
        note::path(
            dirfd,
            path,
            LogEntry { kind: kind::RAN, stat: Some(stat), ..LogEntry::default() },
        )
    };
    if note::log()?.is_ibid(&stat) {
        return None;
    }
    if stat.mode & SET_ID != 0 {
        return Some(Preloading::Impossible("runs as another user"));
    }
    Some(verdict)
}

/// Whether the loader of a child will find this shim.
fn is_shim_there() -> bool {
    let path = link::own_path();
    // SAFETY: the loader's names are C strings.
    !path.is_empty() && unsafe { raw::is_readable(path.as_ptr()) }
}
