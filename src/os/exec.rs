//! Becoming the tool, and ending as a tool ended.
//!
//! Nothing here returns after a success. Read next: `run.rs`.
#![allow(clippy::disallowed_methods, reason = "this module starts processes")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::signals::{inherited, set_disposition};
use super::status::Status;

/// A change to the environment: a name, and its new value or `None` to remove it.
pub type EnvChange = (OsString, Option<OsString>);

/// Replaces this process by `program`, with the signal dispositions and descriptors that we were given.
///
/// A script without `#!` is run by the shell, as `execvp` does. Comes back only with an error.
pub fn exec(program: &Path, arg0: &OsStr, args: &[OsString], env: &[EnvChange]) -> io::Error {
    command(program, arg0, args, env).exec()
}

/// A command that starts with the signals, limits and descriptors that we were given; its standard descriptors are ours until set.
pub(super) fn command(
    program: &Path,
    arg0: &OsStr,
    args: &[OsString],
    env: &[EnvChange],
) -> Command {
    let mut command = Command::new(program);
    command.arg0(arg0).args(args);
    for (name, value) in env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let inherited = inherited();
    // std gives every child a default SIGPIPE. A closure makes it fork instead of posix_spawn, so only where needed.
    if !inherited.is_usual() {
        let restore = move || {
            inherited.restore();
            Ok(())
        };
        // SAFETY: `restore` makes only async-signal-safe calls and allocates nothing.
        unsafe { command.pre_exec(restore) };
    }
    command
}

/// The exit code of the tool; if a signal killed it, this does not return: the same signal kills us, without a core.
pub fn end_like(status: Status) -> u8 {
    if let Some(number) = status.signal() {
        die_of(number);
        return u8::try_from(128 + number).unwrap_or(u8::MAX);
    }
    status.code().unwrap_or(1)
}

fn die_of(number: i32) {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    set_disposition(number, libc::SIG_DFL);
    unblock(number);
    // SAFETY: its handler is the default one; sending a signal touches no memory. (rustix has no real-time signals.)
    unsafe { libc::raise(number) };
}

fn unblock(number: i32) {
    // SAFETY: an all-zero `sigset_t` is a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid set of ours; a bad number is an error without effect.
    unsafe { libc::sigaddset(&raw mut set, number) };
    // SAFETY: `set` is valid and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
}
