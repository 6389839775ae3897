//! Locks on single bytes of a file, each held by one process.
//!
//! The kernel releases a lock when its holder ends, however it ends, or closes the file. A process that is forked does not hold
//! its parent's (`fcntl_locking(2)`, "traditional record locks").

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// Locks the byte at `at` of a file that is open for writing; false if another process has it.
pub fn lock_byte(file: &File, at: u32) -> io::Result<bool> {
    let lock = byte(at);
    // SAFETY: the kernel reads our own value.
    let status = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) };
    if status == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// The process that has locked the byte at `at`, if it is another one; 0 is one in another pid namespace.
pub fn holder_of_byte(file: &File, at: u32) -> io::Result<Option<u32>> {
    let mut lock = byte(at);
    // SAFETY: the kernel reads and writes our own value.
    let status = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_free = i32::from(lock.l_type) == libc::F_UNLCK;
    Ok((!is_free).then(|| u32::try_from(lock.l_pid).unwrap_or(0)))
}

/// The byte at `at`, for writing.
fn byte(at: u32) -> libc::flock {
    // SAFETY: all bytes zero are a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (WRITE, FROM_START);
    lock.l_start = libc::off_t::from(at);
    lock.l_len = 1;
    lock
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the constants are small, and wider than the fields"
)]
const WRITE: libc::c_short = libc::F_WRLCK as libc::c_short;
#[allow(
    clippy::cast_possible_truncation,
    reason = "the constants are small, and wider than the fields"
)]
const FROM_START: libc::c_short = libc::SEEK_SET as libc::c_short;

#[cfg(test)]
mod tests {
    use super::{holder_of_byte, lock_byte};

    #[test]
    fn bytes_are_locked_one_by_one() {
        let file = tempfile::tempfile().expect("a file");
        assert!(lock_byte(&file, 1).expect("locked"));
        assert!(lock_byte(&file, u32::MAX).expect("locked"));
        // What a process has locked itself, it may lock again.
        assert_eq!(holder_of_byte(&file, 1).expect("asked"), None);
    }
}
