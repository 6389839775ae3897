//! Programs that go on when we are gone: in a session of their own, with nothing of ours open.
//!
//! A build waits for every process that holds its pipes, and a shell for its children: such a program is neither. Read
//! next: `run.rs`.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::descriptors::close_all_but;
use crate::env;

/// A program to start.
#[derive(Debug, Clone, Copy)]
pub struct Detached<'a> {
    /// The file to run.
    pub program: &'a Path,
    /// The name by which it sees itself.
    pub name: &'a OsStr,
    /// The arguments after its name.
    pub args: &'a [&'a str],
    /// What its environment has in place of ours.
    pub env: &'a [(String, OsString)],
    /// Variables of ours that begin so are left out.
    pub env_prefix: Option<&'a str>,
    /// Where its standard error goes, if anywhere.
    pub stderr: Option<BorrowedFd<'a>>,
}

/// Starts it. An error means that it was not; a program that cannot be run says so on its standard error.
pub fn spawn(spec: &Detached) -> io::Result<()> {
    let own = |text: &[u8]| CString::new(text).map_err(io::Error::from);
    let program = own(spec.program.as_os_str().as_bytes())?;
    let args = [spec.name].into_iter().chain(spec.args.iter().map(OsStr::new));
    let args = args.map(|arg| own(arg.as_bytes())).collect::<io::Result<Vec<_>>>()?;
    let is_kept = |(name, _): &(OsString, OsString)| {
        let begins = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        !spec.env_prefix.is_some_and(begins) && spec.env.iter().all(|(other, _)| name != &**other)
    };
    let ours = env::all().filter(is_kept);
    let more = spec.env.iter().map(|(name, value)| (OsString::from(name), value.clone()));
    let joined = |(name, value): (OsString, OsString)| {
        own(&[name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let env = ours.chain(more).map(joined).collect::<io::Result<Vec<_>>>()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let streams =
        [null.as_raw_fd(), null.as_raw_fd(), spec.stderr.unwrap_or(null.as_fd()).as_raw_fd()];
    let pointers = |all: &[CString]| -> Vec<_> {
        all.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(&args), pointers(&env));
    // SAFETY: the child makes only async-signal-safe calls, allocates nothing and ends in `_exit` or another program.
    let child = unsafe { libc::fork() };
    match child {
        0 => leave(&program, &args, &env, streams),
        child if child < 0 => Err(io::Error::last_os_error()),
        child => {
            let child = rustix::process::Pid::from_raw(child);
            // It only starts the other one.
            rustix::process::waitpid(child, rustix::process::WaitOptions::empty())?;
            Ok(())
        }
    }
}

/// The life of the two children. Async-signal-safe.
fn leave(
    program: &CString,
    args: &[*const libc::c_char],
    env: &[*const libc::c_char],
    streams: [RawFd; 3],
) -> ! {
    let _ = rustix::process::setsid();
    // SAFETY: as above; the second child does not lead the session, so no terminal can become its own.
    if unsafe { libc::fork() } != 0 {
        // SAFETY: ends this process at once; nothing of it is needed.
        unsafe { libc::_exit(0) };
    }
    // The streams may have any numbers, also each other's: first all come above the standard ones.
    let above = streams.map(|fd| {
        // SAFETY: a plain call on a number.
        unsafe { libc::fcntl(fd, libc::F_DUPFD, 3) }
    });
    for (at, fd) in (0..).zip(above) {
        // SAFETY: a plain call on numbers.
        unsafe { libc::dup2(fd, at) };
    }
    close_all_but([0, 1, 2]);
    let _ = rustix::process::chdir("/");
    // SAFETY: an all-zero `sigset_t` is an empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is a valid set, and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    // SAFETY: both lists end in a null pointer, and what they point to is alive in this copy of our memory.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    let said = c"it cannot be run\n";
    // SAFETY: the bytes are there; standard error is the one that was made above.
    unsafe { libc::write(2, said.as_ptr().cast(), said.to_bytes().len()) };
    // SAFETY: ends this process at once.
    unsafe { libc::_exit(127) }
}
