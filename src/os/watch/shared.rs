//! Where the call that was received last stands: memory that we share with the attendant.
//!
//! The kernel writes a call there, with the number under which it waits for its answer. If we die before we give that,
//! the attendant does.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// What the kernel calls the machine for whose programs ibid was built.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const ARCHITECTURE: u32 = 0;

/// Whether a call was made as our own machine's programs make it.
fn is_native(architecture: u32) -> bool {
    architecture == ARCHITECTURE
}

/// A call that waits.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub(super) id: u64,
    /// The thread that makes it.
    pub thread: u32,
    /// Its number; `None` if it is made as another machine's programs do.
    pub number: Option<i64>,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Memory for one call, shared with all processes that are forked from this one.
#[derive(Debug)]
pub struct Notice(NonNull<libc::seccomp_notif>);

// SAFETY: the memory belongs to this value alone in this process, whichever thread has it. The attendant, a process of its
// own, reads it only when this one is gone.
unsafe impl Send for Notice {}

const LEN_BYTES: usize = size_of::<libc::seccomp_notif>();

impl Notice {
    /// Empty.
    pub fn new() -> io::Result<Notice> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, at a place of the kernel's choice.
        let at = unsafe { libc::mmap(ptr::null_mut(), LEN_BYTES, access, kind, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast()).map(Notice).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Receives the next call; says whether there was one: its process may have died meanwhile. Async-signal-safe.
    pub fn receive(&self, listener: BorrowedFd) -> bool {
        // SAFETY: it is large enough for one; all-zero bytes are a valid `seccomp_notif`, and the kernel demands them.
        unsafe { self.0.as_ptr().write_bytes(0, 1) };
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        // SAFETY: what the kernel writes fits: this request's size is part of its number.
        unsafe { libc::ioctl(listener.as_raw_fd(), request as _, self.0.as_ptr()) == 0 }
    }

    /// The call that was received last.
    pub fn asked(&self) -> Asked {
        // SAFETY: any bytes that the kernel writes are a valid structure; nothing changes it now.
        let notice = unsafe { self.0.read() };
        let number = Some(i64::from(notice.data.nr)).filter(|_| is_native(notice.data.arch));
        Asked { id: notice.id, thread: notice.pid, number, arguments: notice.data.args }
    }

    /// Lets the call that was received last happen, if it still waits. Async-signal-safe.
    pub fn go_on(&self, listener: BorrowedFd) {
        let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1);
        let id = self.asked().id;
        let mut answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
        let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
        // A process that has died needs no answer.
        // SAFETY: `answer` is a whole structure of ours.
        unsafe { libc::ioctl(listener.as_raw_fd(), request as _, &raw mut answer) };
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and not used afterwards.
        unsafe { libc::munmap(self.0.as_ptr().cast(), LEN_BYTES) };
    }
}
