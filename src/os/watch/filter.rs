//! The filter that the tool gets between fork and exec, and the way on which its listener comes to us.
//!
//! Read next: `listener.rs`.
#![allow(clippy::disallowed_methods, reason = "this module starts processes")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::sock_filter;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::listener::Listener;
use super::shared::{ARCHITECTURE, Notice};
use crate::shm::clock::kernel_is_at_least;

/// Before Linux 5.5 a call that was reported could not be let go on.
const LETS_CALLS_GO_ON: (u32, u32) = (5, 5);

/// Whether the tool may be run with "no new privileges", which the kernel demands of those who are not root: no program
/// that it starts can become another user then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// If there is no other way to a filter.
    MayRenounce,
    /// Rather no filter.
    Keep,
}

/// A filter for a tool that is about to be started.
#[derive(Debug)]
pub struct Filter {
    program: Vec<sock_filter>,
    privileges: Privileges,
    way: OwnedFd,
}

/// Where the filter's listener will come out.
#[derive(Debug)]
pub struct Door {
    way: OwnedFd,
    notice: Notice,
}

/// A filter that lets `harmless` calls pass unseen, and the place where its listener is waited for.
pub fn prepare(harmless: &[i64], privileges: Privileges) -> io::Result<(Filter, Door)> {
    if !kernel_is_at_least(LETS_CALLS_GO_ON) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (way, door) = socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
    let door = Door { way: door, notice: Notice::new()? };
    Ok((Filter { program: program(harmless), privileges, way }, door))
}

impl Filter {
    /// Has the command install the filter in its child, which dies if the thread that starts it does. A child that gets no
    /// filter runs without.
    pub(crate) fn install_in(&self, command: &mut Command) -> io::Result<()> {
        let (program, privileges) = (self.program.clone(), self.privileges);
        let way = self.way.try_clone()?;
        let parent = getpid();
        let install = move || {
            die_with(parent)?;
            install_and_tell(&program, privileges, way.as_fd());
            Ok(())
        };
        // SAFETY: `install` makes system calls only and allocates nothing.
        unsafe { command.pre_exec(install) };
        Ok(())
    }
}

impl Door {
    /// Waits until the tool is about to be run; an error says that it has no filter.
    pub fn wait(self) -> io::Result<Listener> {
        let mut errno = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(&self.way, &mut [IoSliceMut::new(&mut errno)], &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message
                && let Some(listener) = descriptors.next()
            {
                return Ok(Listener::new(listener, self.notice));
            }
        }
        match i32::from_le_bytes(errno) {
            0 => Err(io::Error::other("the tool was not started")),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Should the parent be killed, so is this process. What it starts is not: see `attendant.rs`.
fn die_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Between fork and exec: system calls only.
fn install_and_tell(program: &[sock_filter], privileges: Privileges, way: BorrowedFd) {
    let installed = install(program, privileges);
    let errno = installed.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(0));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let listener = installed.as_ref().ok().map(AsFd::as_fd);
    let descriptors: &[BorrowedFd] = listener.as_slice();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let _ = sendmsg(way, &[IoSlice::new(&errno.to_le_bytes())], &mut control, SendFlags::NOSIGNAL);
}

fn install(program: &[sock_filter], privileges: Privileges) -> io::Result<OwnedFd> {
    let killable = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    match load(program, killable) {
        // An older kernel.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => load(program, 0),
        Err(error)
            if error.raw_os_error() == Some(libc::EACCES)
                && privileges == Privileges::MayRenounce =>
        {
            rustix::thread::set_no_new_privs(true)?;
            install(program, Privileges::Keep)
        }
        loaded => loaded,
    }
}

fn load(program: &[sock_filter], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` and the instructions behind it live during the call, which only reads them.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    match i32::try_from(answer) {
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const FIRST_ARGUMENT_AT: u32 = 16;

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// `clone` of a process or thread is harmless, unless it is to live among other files.
const NAMESPACES: u32 = 0x7e02_0080;

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// The filter's program. The kernel itself remembers which numbers it lets pass with any arguments.
fn program(harmless: &[i64]) -> Vec<sock_filter> {
    const LET: sock_filter = step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
    const ASK: sock_filter = step(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0);
    let mut harmless: Vec<u32> =
        harmless.iter().filter_map(|number| u32::try_from(*number).ok()).collect();
    harmless.sort_unstable();
    let clone = u32::try_from(libc::SYS_clone).unwrap_or(u32::MAX);
    let mut steps = vec![
        step(LOAD, ARCHITECTURE_AT, 0, 0),
        step(IF_EQUAL, ARCHITECTURE, 1, 0),
        ASK,
        step(LOAD, NUMBER_AT, 0, 0),
        step(IF_EQUAL, clone, 0, 4),
        step(LOAD, FIRST_ARGUMENT_AT, 0, 0),
        step(IF_ANY_BIT, NAMESPACES, 0, 1),
        ASK,
        LET,
    ];
    // Runs of numbers in rising order: those up to the last of a run that have come so far are in it.
    let mut next = 0;
    let mut at = 0;
    while let Some(first) = harmless.get(at).copied() {
        let mut last = first;
        while harmless.get(at).is_some_and(|number| *number <= last + 1) {
            last = last.max(harmless.get(at).copied().unwrap_or(last));
            at += 1;
        }
        if first > next {
            steps.extend([step(IF_GREATER, first - 1, 1, 0), ASK]);
        }
        steps.extend([step(IF_GREATER, last, 1, 0), LET]);
        next = last + 1;
    }
    steps.push(ASK);
    steps
}

#[cfg(test)]
mod tests {
    use super::{ARCHITECTURE, IF_ANY_BIT, IF_EQUAL, IF_GREATER, LOAD, RETURN, program};

    /// What a program answers to a call.
    fn run(program: &[libc::sock_filter], number: u32, architecture: u32, argument: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            let jump = |taken| usize::from(if taken { step.jt } else { step.jf });
            at += 1;
            match step.code {
                LOAD => {
                    loaded = match step.k {
                        0 => number,
                        4 => architecture,
                        16 => argument,
                        other => panic!("no field at {other}"),
                    }
                }
                IF_EQUAL => at += jump(loaded == step.k),
                IF_GREATER => at += jump(loaded > step.k),
                IF_ANY_BIT => at += jump(loaded & step.k != 0),
                RETURN => return step.k,
                other => panic!("no such step: {other}"),
            }
        }
    }

    #[test]
    fn what_is_not_harmless_is_asked() {
        let program = program(&[9, 0, 1, 3, 8, 10, 400]);
        for number in 0..1000 {
            let is_let =
                [0, 1, 3, 8, 9, 10, 400].contains(&number) || i64::from(number) == libc::SYS_clone;
            let expected =
                if is_let { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_USER_NOTIF };
            assert_eq!(run(&program, number, ARCHITECTURE, 0), expected, "{number}");
            assert_eq!(run(&program, number, 0x4000_0003, 0), libc::SECCOMP_RET_USER_NOTIF);
            let x32 = number | 0x4000_0000;
            assert_eq!(run(&program, x32, ARCHITECTURE, 0), libc::SECCOMP_RET_USER_NOTIF);
        }
        let clone = u32::try_from(libc::SYS_clone).expect("small");
        for flag in [libc::CLONE_NEWNS, libc::CLONE_NEWUSER, libc::CLONE_NEWPID] {
            let answer = run(&program, clone, ARCHITECTURE, flag.cast_unsigned() | 0x11);
            assert_eq!(answer, libc::SECCOMP_RET_USER_NOTIF);
        }
    }
}
