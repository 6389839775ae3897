//! One process from spawn to exit: how long it took, how often it faulted, how many system calls it made.
//!
//! All that can be made ready before the clock starts is; `vfork` semantics, so that our own size does not count.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr;
use std::time::{Duration, Instant};

/// A process to start; its directory is ours.
#[derive(Debug, Clone)]
pub struct Call {
    /// The file to run.
    pub program: PathBuf,
    /// Its arguments, its own name first.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// What one process took.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// From spawn to exit.
    pub wall: Duration,
    /// Page faults without input or output, of it and of its children.
    pub minor_faults: u64,
}

/// Starts processes with all three standard streams at `/dev/null`.
pub struct Starter {
    actions: libc::posix_spawn_file_actions_t,
    _null: File,
}

impl Starter {
    /// Opens `/dev/null`.
    pub fn new() -> io::Result<Starter> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let mut actions = MaybeUninit::uninit();
        // SAFETY: it writes the value that it is given the place of.
        done(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: just initialised.
        let mut actions = unsafe { actions.assume_init() };
        for stream in 0..3 {
            // SAFETY: initialised, and the descriptor lives as long as the starter.
            done(unsafe {
                libc::posix_spawn_file_actions_adddup2(&raw mut actions, null.as_raw_fd(), stream)
            })?;
        }
        Ok(Starter { actions, _null: null })
    }

    /// Runs it to its end; an error if it did not exit with 0.
    pub fn run(&self, call: &Call) -> io::Result<Sample> {
        let program = c_string(call.program.as_os_str());
        let args: Vec<CString> = call.args.iter().map(|arg| c_string(arg)).collect();
        let entry = |(name, value): &(OsString, OsString)| {
            c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
        };
        let environment: Vec<CString> = call.environment.iter().map(entry).collect();
        let (argv, envp) = (row(&args), row(&environment));
        let (mut pid, mut status) = (0, 0);
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        let start = Instant::now();
        // SAFETY: all strings and both rows, which end in NULL, outlive the call.
        done(unsafe {
            libc::posix_spawn(
                &raw mut pid,
                program.as_ptr(),
                &raw const self.actions,
                ptr::null(),
                argv.as_ptr(),
                envp.as_ptr(),
            )
        })?;
        // SAFETY: our own child, and places to write to.
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        let wall = start.elapsed();
        if ended != pid {
            return Err(io::Error::last_os_error());
        }
        if status != 0 {
            return Err(io::Error::other(format!(
                "{:?} ended with wait status {status}",
                call.args
            )));
        }
        // SAFETY: zeroed, which is a value, and then written.
        let usage = unsafe { usage.assume_init() };
        Ok(Sample { wall, minor_faults: u64::try_from(usage.ru_minflt).unwrap_or(0) })
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        // SAFETY: initialised, and used by nobody any more.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.actions) };
    }
}

/// How many system calls it makes, by `strace`; `None` where there is none.
pub fn count_calls(call: &Call, strace: Option<&Path>, log: &Path) -> Option<u64> {
    let mut command = Command::new(strace?);
    command.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(log).arg(&call.program);
    command.args(call.args.iter().skip(1)).env_clear().envs(call.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().ok().filter(std::process::ExitStatus::success)?;
    let text = fs::read_to_string(log).ok()?;
    let is_call = |line: &&str| line.contains('(') && !line.contains("resumed>");
    Some(text.lines().filter(is_call).count() as u64)
}

fn done(errno: libc::c_int) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

fn c_string(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).expect("the bench makes no string with a NUL")
}

fn row(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}
