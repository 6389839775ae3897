//! Where replayed text goes: whether it can be written there, and taking back what a failed write left.
//!
//! It writes nothing by itself. Read next: `raw.rs`, `probe/deliver.rs`.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, SeekFrom};

use super::raw::{BorrowedFd, CHARACTER_DEVICE, REGULAR, TYPE_MASK, is_terminal, stat_fd};

/// A pipe.
const PIPE: u32 = 0o010_000;
/// A socket.
const SOCKET: u32 = 0o140_000;
/// A file needs more room than its bytes: blocks, and what a file system keeps about them.
const SLACK_BYTES: u64 = 64 << 10;

/// Whether so many bytes can be written to `file`, as far as that can be known before. False for what only the tool knows
/// how to treat: a pipe or socket without a reader, a full disk, a device (`/dev/full`), a file that is open for reading
/// only. (Quotas cannot be known.)
pub fn can_take(file: BorrowedFd<'_>, len_bytes: u64) -> bool {
    let Ok(state) = stat_fd(file) else { return false };
    let is_writable = rustix::fs::fcntl_getfl(file)
        .is_ok_and(|flags| matches!(flags & OFlags::ACCMODE, OFlags::WRONLY | OFlags::RDWR));
    is_writable
        && match state.mode & TYPE_MASK {
            REGULAR => has_room(file, len_bytes),
            CHARACTER_DEVICE if state.is_null_device() => true,
            CHARACTER_DEVICE => is_terminal(file) && has_reader(file),
            PIPE | SOCKET => has_reader(file),
            _ => false,
        }
}

/// Whether somebody is at the other end.
fn has_reader(file: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(file, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    poll(&mut asked, Some(&at_once)).is_ok()
        && asked.iter().all(|answer| !answer.revents().intersects(gone))
}

/// Whether the file system of a regular file has room. One that does not say how large it is has.
fn has_room(file: BorrowedFd<'_>, len_bytes: u64) -> bool {
    let needed_bytes = len_bytes.saturating_add(SLACK_BYTES);
    rustix::fs::fstatfs(file).is_ok_and(|fs| {
        let block_bytes = u64::try_from(fs.f_bsize).unwrap_or(0);
        fs.f_blocks == 0 || fs.f_bavail.saturating_mul(block_bytes) >= needed_bytes
    })
}

/// Takes back the last so many bytes that this process wrote to `file`, if it is a regular one: the tool writes them anew.
pub fn take_back(file: BorrowedFd<'_>, written_bytes: usize) {
    let Ok(state) = stat_fd(file) else { return };
    let back = i64::try_from(written_bytes).unwrap_or(0);
    if !state.is_regular() || back == 0 {
        return;
    }
    let Ok(begin) = rustix::fs::seek(file, SeekFrom::Current(-back)) else { return };
    // What others have appended since stays.
    if begin.saturating_add(back.cast_unsigned()) == state.stat.size {
        let _ = rustix::fs::ftruncate(file, begin);
    }
}
