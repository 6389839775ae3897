//! What the kernel asks: each call that a watched process is about to make, until we let it go on.
//!
//! The process that holds a listener must answer as long as one watched process lives: without it their calls fail.
//! Should we die, the attendant does so. Read next: `attendant.rs`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::attendant::Attendant;
use super::shared::{Asked, Notice};

/// How many attendants one listener gets, one after the other: they are small, and somebody who kills so many means it.
const ATTENDANTS_MAX: usize = 8;

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

/// Where the kernel asks. Dropped, it is left to the attendant, as it is if we are killed.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    notice: Notice,
    attendant: Option<Attendant>,
    attendants: usize,
}

impl Listener {
    /// With an attendant, if one can be had.
    pub(super) fn new(fd: OwnedFd, notice: Notice) -> Listener {
        let flags: u64 = 1;
        // A process and we then take turns on one processor instead of waking each other on two: several times as fast.
        // Kernels that do not know it just refuse.
        // SAFETY: takes a number and touches no memory.
        unsafe { libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, flags) };
        let mut listener = Listener { fd, notice, attendant: None, attendants: 0 };
        listener.find_attendant();
        listener
    }

    /// Starts an attendant in the place of one that has died, or of none.
    fn find_attendant(&mut self) {
        if let Some(dead) = self.attendant.take() {
            dead.bury();
        }
        while self.attendant.is_none() && self.attendants < ATTENDANTS_MAX {
            self.attendants += 1;
            self.attendant = Attendant::begin(self.fd.as_fd(), &self.notice).ok();
        }
    }

    /// Waits for a call, until `stop` has something to read, for at most `time`.
    pub fn wait(&mut self, stop: Option<BorrowedFd>, time: Option<&Timespec>) -> Waited {
        let own = self.fd.as_fd();
        let death = self.attendant.as_ref().map(Attendant::death);
        // In the place of one that is not there stands the listener once more.
        let watched = |fd: Option<BorrowedFd<'_>>| fd.unwrap_or(own).as_raw_fd();
        let mut fds = [own.as_raw_fd(), watched(stop), watched(death)].map(|fd| {
            // SAFETY: all are open as long as `self` and `stop` are borrowed.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            PollFd::from_borrowed_fd(fd, PollFlags::IN)
        });
        if poll(&mut fds, time).is_err() {
            return Waited::Nothing;
        }
        let [call, stopped, died] = fds.map(|fd| fd.revents());
        if death.is_some() && !died.is_empty() {
            self.find_attendant();
        }
        if call.contains(PollFlags::IN) {
            Waited::Call
        } else if call.intersects(PollFlags::HUP | PollFlags::ERR) {
            Waited::Gone
        } else if stop.is_none() || stopped.is_empty() {
            Waited::Nothing
        } else {
            Waited::Stop
        }
    }

    /// The next call; `None` if its process has died meanwhile.
    pub fn receive(&self) -> Option<Asked> {
        self.notice.receive(self.fd.as_fd()).then(|| self.notice.asked())
    }

    /// Whether the call still waits: otherwise its thread's number may be somebody else's by now.
    pub fn is_waiting(&self, asked: &Asked) -> bool {
        let request = libc::SECCOMP_IOCTL_NOTIF_ID_VALID;
        // SAFETY: the kernel reads the eight bytes of the id.
        unsafe { libc::ioctl(self.fd.as_raw_fd(), request as _, &raw const asked.id) == 0 }
    }

    /// Lets the call that was received last happen as it was asked for.
    pub fn go_on(&self) {
        self.notice.go_on(self.fd.as_fd());
    }

    /// No watched process is left, so nothing will be asked.
    pub fn end(mut self) {
        if let Some(attendant) = self.attendant.take() {
            attendant.dismiss();
        }
    }

    /// Leaves what is left of the tool to the attendant.
    pub fn leave(mut self) {
        if self.attendant.is_none() {
            self.attendants = 0;
            self.find_attendant();
        }
    }
}
