//! What a tool can read without naming it: standard input, and other descriptors that were open when we were started.
//!
//! No observer sees a read. Compilers do not read these; of programs that are not known, what can be read must be the same
//! each time, or must have been left alone. Read next: `builder/record_builder.rs`.

use std::fs;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::fs::{FileType, OFlags, SeekFrom, fcntl_getfl, fstat, seek};
use rustix::io::{FdFlags, fcntl_getfd, ioctl_fionread};

use crate::shm::raw::{self, Stream};

/// What waits in standard input before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdinState {
    kind: Option<FileType>,
    /// Where the next byte of a file is read.
    position: Option<u64>,
    /// How many bytes a pipe holds.
    held: Option<u64>,
    is_drained: bool,
}

impl StdinState {
    /// Asks.
    pub fn now() -> StdinState {
        let file = raw::standard(Stream::Input);
        let kind = fstat(file).ok().map(|stat| FileType::from_raw_mode(stat.st_mode));
        StdinState {
            kind,
            position: seek(file, SeekFrom::Current(0)).ok(),
            held: ioctl_fionread(file).ok(),
            is_drained: raw::is_drained(file),
        }
    }

    /// Whether nothing was read from it since. For a terminal that is unknown: what is typed into a compile is nobody's wish
    /// to cache.
    pub fn is_untouched(self) -> bool {
        let is_terminal = raw::is_terminal(raw::standard(Stream::Input));
        let shows_reads = matches!(self.kind, Some(FileType::RegularFile | FileType::Fifo));
        is_terminal || shows_reads && self == StdinState::now()
    }
}

/// Whether a tool inherits a file or a pipe from which it could read, beside the standard streams and those that are known.
pub fn has_inherited_input(is_known: impl Fn(RawFd) -> bool) -> bool {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return true };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<RawFd>().ok();
    let inherited = entries.flatten().filter_map(number).filter(|number| *number > 2);
    inherited.filter(|number| !is_known(*number)).any(is_readable_by_children)
}

fn is_readable_by_children(number: RawFd) -> bool {
    // SAFETY: it is only asked about, and an answer that it is closed is fine.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    let is_kept = fcntl_getfd(file).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC));
    let is_readable = fcntl_getfl(file).is_ok_and(|flags| !flags.contains(OFlags::WRONLY));
    let is_content = fstat(file).is_ok_and(|stat| {
        matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::RegularFile | FileType::Fifo | FileType::Directory
        )
    });
    is_kept && is_readable && is_content
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd as _;

    use rustix::io::fcntl_setfd;

    use super::*;

    #[test]
    fn a_file_that_children_inherit() {
        let file = File::open("/proc/self/exe").expect("the test itself");
        // Others may be there: the job server of the process that runs the tests.
        let others = |number| number != file.as_raw_fd();
        assert!(!has_inherited_input(others));
        fcntl_setfd(&file, FdFlags::empty()).expect("an open file");
        assert!(has_inherited_input(others));
    }
}
