//! What the kernel asks: each call that a watched process is about to make, until we let it go on.
//!
//! Whoever holds a listener must answer as long as one watched process lives: without it their calls fail.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::filter::is_native;

/// A call that waits.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    id: u64,
    /// The thread that makes it.
    pub thread: u32,
    /// Its number; `None` if it is made as another machine's programs do.
    pub number: Option<i64>,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// What a wait came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// A call waits.
    Call,
    /// Nothing in that time.
    Nothing,
    /// The other descriptor has something.
    Stop,
    /// No watched process is left.
    Gone,
}

/// Where the kernel asks.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    pub(super) fn new(listener: OwnedFd) -> Listener {
        let flags: u64 = 1;
        // A process and we then take turns on one processor instead of waking each other on two: several times as fast.
        // Kernels that do not know it just refuse.
        // SAFETY: takes a number and touches no memory.
        unsafe {
            libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, flags)
        };
        Listener(listener)
    }

    /// Waits for a call, until `stop` has something to read, for at most `time`.
    pub fn wait(&self, stop: Option<BorrowedFd>, time: Option<&Timespec>) -> Waited {
        let own = self.0.as_fd();
        let mut both = [
            PollFd::new(&own, PollFlags::IN),
            PollFd::from_borrowed_fd(stop.unwrap_or(own), PollFlags::IN),
        ];
        let count = if stop.is_some() { 2 } else { 1 };
        let Some(fds) = both.get_mut(..count) else { return Waited::Nothing };
        if poll(fds, time).is_err() {
            return Waited::Nothing;
        }
        let told = |at: usize| fds.get(at).map_or(PollFlags::empty(), PollFd::revents);
        if told(0).contains(PollFlags::IN) {
            Waited::Call
        } else if told(0).intersects(PollFlags::HUP | PollFlags::ERR) {
            Waited::Gone
        } else if told(1).is_empty() {
            Waited::Nothing
        } else {
            Waited::Stop
        }
    }

    /// The next call; `None` if its process has died meanwhile.
    pub fn receive(&self) -> Option<Asked> {
        // SAFETY: all-zero bytes are a valid `seccomp_notif`, and the kernel demands them.
        let mut notice: libc::seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        // SAFETY: `notice` has room for what the kernel writes: this request's size is part of its number.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, &raw mut notice) };
        let number = Some(i64::from(notice.data.nr)).filter(|_| is_native(notice.data.arch));
        (answer == 0).then_some(Asked {
            id: notice.id,
            thread: notice.pid,
            number,
            arguments: notice.data.args,
        })
    }

    /// Whether the call still waits: otherwise its thread's number may be somebody else's by now.
    pub fn is_waiting(&self, asked: &Asked) -> bool {
        let request = libc::SECCOMP_IOCTL_NOTIF_ID_VALID;
        // SAFETY: the kernel reads the eight bytes of the id.
        unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, &raw const asked.id) == 0 }
    }

    /// Lets the call happen as it was asked for.
    pub fn go_on(&self, asked: &Asked) {
        let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1);
        let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error: 0, flags };
        let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
        // A process that has died needs no answer.
        // SAFETY: `answer` is a whole structure of ours.
        unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, &raw mut answer) };
    }

    /// Leaves a process behind that lets every call go on, as long as a watched process lives.
    pub fn leave_attendant(self) {
        // SAFETY: the child makes only async-signal-safe calls, allocates nothing and ends in `_exit`.
        if unsafe { libc::fork() } != 0 {
            return;
        }
        // In a session of its own no terminal and no group's signal reaches it.
        let _ = rustix::process::setsid();
        crate::os::descriptors::close_all_but([self.0.as_raw_fd()]);
        let _ = rustix::process::chdir("/");
        loop {
            match self.wait(None, None) {
                Waited::Call => {
                    if let Some(asked) = self.receive() {
                        self.go_on(&asked);
                    }
                }
                Waited::Nothing | Waited::Stop => {}
                // SAFETY: ends this process at once; nothing of it is needed any more.
                Waited::Gone => unsafe { libc::_exit(0) },
            }
        }
    }
}
