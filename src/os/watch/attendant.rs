//! The attendant: a small process that holds a listener beside us and lets every call go on when we are gone.
//!
//! Without a listener the watched calls fail (ENOSYS) in what is left of the tool. The attendant sleeps as long as
//! we live. It never reads what a call asks, and it ends when no watched process is left.
//! Read next: `listener.rs`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::process::{kill_process, pidfd_open, pidfd_send_signal, waitpid};

use super::shared::Notice;

/// Not our own name: a signal to all processes of that name must not reach it along with us.
const NAME: &std::ffi::CStr = c"attendant";

/// How we hold the attendant; dropped, it lets calls go on until no watched process is left.
#[derive(Debug)]
pub struct Attendant {
    /// Closed when we end, however that happens.
    life: OwnedFd,
    process: Pid,
    handle: OwnedFd,
}

impl Attendant {
    /// Starts one for a listener. `notice` is where every call that is received is written.
    pub fn begin(listener: BorrowedFd, notice: &Notice) -> io::Result<Attendant> {
        let (life, its_end) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // SAFETY: the child makes only async-signal-safe calls, allocates nothing and ends in `_exit`.
        let process = match unsafe { libc::fork() } {
            0 => attend(its_end.as_raw_fd(), listener, notice),
            child => Pid::from_raw(child).filter(|_| child > 0),
        };
        let process = process.ok_or_else(io::Error::last_os_error)?;
        drop(its_end);
        // It holds what we hold until it says that it has closed that; the tool must not end before.
        let mut ready = [0];
        let is_ready = rustix::io::read(&life, &mut ready) == Ok(1);
        match pidfd_open(process, PidfdFlags::empty()) {
            Ok(handle) if is_ready => Ok(Attendant { life, process, handle }),
            _ => {
                // It must not answer beside us. As long as nobody has waited for it, the number is its own.
                let _ = kill_process(process, Signal::KILL);
                let _ = waitpid(Some(process), WaitOptions::empty());
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    /// What has something to read when the attendant has died.
    pub fn death(&self) -> BorrowedFd<'_> {
        self.life.as_fd()
    }

    /// Ends it: no watched process is left.
    pub fn dismiss(self) {
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        let _ = waitpid(Some(self.process), WaitOptions::empty());
    }

    /// Forgets one that has died, or is about to: its descriptors are closed a moment before.
    pub fn bury(self) {
        let _ = waitpid(Some(self.process), WaitOptions::empty());
    }
}

/// The attendant's whole life. Async-signal-safe.
fn attend(life: RawFd, listener: BorrowedFd, notice: &Notice) -> ! {
    // In a session of its own no terminal and no group's signal reaches it; others are blocked.
    block_signals();
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(NAME);
    crate::os::descriptors::close_all_but([life, listener.as_raw_fd()]);
    let _ = rustix::process::chdir("/");
    // SAFETY: it was kept open, and nobody else in this process uses it.
    let life = unsafe { BorrowedFd::borrow_raw(life) };
    let _ = rustix::io::write(life, &[0]);
    let mut gone = [0];
    // Nothing is ever written to it: this returns at our end.
    while rustix::io::read(life, &mut gone) == Err(rustix::io::Errno::INTR) {}
    // What we had received and not answered waits for its answer still.
    notice.go_on(listener);
    loop {
        let mut fds = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
        let _ = poll(&mut fds, None);
        let happened = fds.first().map_or(PollFlags::empty(), PollFd::revents);
        if happened.contains(PollFlags::IN) {
            if notice.receive(listener) {
                notice.go_on(listener);
            }
        } else if happened.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            // SAFETY: ends this process at once; nothing of it is needed.
            unsafe { libc::_exit(0) };
        }
    }
}

fn block_signals() {
    // SAFETY: an all-zero `sigset_t` is a valid set.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of ours.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: `all` is a valid set, and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
}
