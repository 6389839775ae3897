//! Processes from spawn to exit: how long they took, how often they faulted, which system calls one of them made.
//!
//! All that can be made ready before the clock starts is; `vfork` semantics, so that our own size does not count.
#![allow(clippy::disallowed_types, reason = "the flag of a signal handler is shared with nobody")]

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// What was measured at once.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// From the first spawn to the last exit.
    pub wall: Duration,
    /// Processor time, in the programs and in the kernel, of all processes and of their children.
    pub cpu: Duration,
    /// Page faults without input or output, of all processes and of their children.
    pub minor_faults: u64,
}

/// Somebody wants us to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Starts processes with all three standard streams at `/dev/null`. A signal to end makes the next run an error, so that
/// daemons and directories go the usual way.
pub struct Starter {
    actions: libc::posix_spawn_file_actions_t,
    _null: File,
}

impl Starter {
    /// Opens `/dev/null`, and takes the signals to end.
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
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            let handler = interrupt as extern "C" fn(libc::c_int);
            // SAFETY: the handler only stores to an atomic.
            unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        }
        Ok(Starter { actions, _null: null })
    }

    /// Runs all of them to their ends, `jobs` at a time; an error if one did not exit with 0.
    pub fn run(&self, calls: &[Call], jobs: usize) -> io::Result<Sample> {
        let ready: Vec<Ready> = calls.iter().map(Ready::new).collect();
        let (mut minor_faults, mut cpu, mut failed) = (0, Duration::ZERO, None);
        let mut take = |ended: Ended| {
            minor_faults += ended.minor_faults;
            cpu += ended.cpu;
            failed = failed.or(ended.failure);
        };
        let mut running = 0;
        let start = Instant::now();
        for ready in &ready {
            if running == jobs {
                take(wait()?);
                running -= 1;
            }
            self.spawn(ready)?;
            running += 1;
        }
        for _ in 0..running {
            take(wait()?);
        }
        let wall = start.elapsed();
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match failed {
            None => Ok(Sample { wall, cpu, minor_faults }),
            Some(status) => {
                let words = calls.first().map(|call| call.args.as_slice()).unwrap_or_default();
                let words = &words[..words.len().min(6)];
                Err(io::Error::other(format!("{words:?} … ended with wait status {status}")))
            }
        }
    }

    fn spawn(&self, ready: &Ready) -> io::Result<()> {
        let (args, environment) = (row(&ready.args), row(&ready.environment));
        let mut pid = 0;
        // SAFETY: all strings and both rows, which end in NULL, outlive the call.
        done(unsafe {
            libc::posix_spawn(
                &raw mut pid,
                ready.program.as_ptr(),
                &raw const self.actions,
                ptr::null(),
                args.as_ptr(),
                environment.as_ptr(),
            )
        })
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        // SAFETY: initialised, and used by nobody any more.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.actions) };
    }
}

/// A call as the kernel takes it.
struct Ready {
    program: CString,
    args: Vec<CString>,
    environment: Vec<CString>,
}

impl Ready {
    fn new(call: &Call) -> Ready {
        let entry = |(name, value): &(OsString, OsString)| {
            c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
        };
        Ready {
            program: c_string(call.program.as_os_str()),
            args: call.args.iter().map(|arg| c_string(arg)).collect(),
            environment: call.environment.iter().map(entry).collect(),
        }
    }
}

/// A child that has ended.
struct Ended {
    minor_faults: u64,
    cpu: Duration,
    /// Its wait status, if that is not an exit with 0.
    failure: Option<libc::c_int>,
}

/// Waits for any child.
fn wait() -> io::Result<Ended> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: places to write to.
    if unsafe { libc::wait4(-1, &raw mut status, 0, usage.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, which is a value, and then written.
    let usage = unsafe { usage.assume_init() };
    let minor_faults = u64::try_from(usage.ru_minflt).unwrap_or(0);
    let took = |time: libc::timeval| {
        Duration::from_micros(u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).unwrap_or(0))
    };
    let cpu = took(usage.ru_utime) + took(usage.ru_stime);
    Ok(Ended { minor_faults, cpu, failure: (status != 0).then_some(status) })
}

/// The system calls of one process and its children.
#[derive(Debug, Clone, Default)]
pub struct SystemCalls {
    /// How many there are.
    pub count: u64,
    /// The paths of those that are `statx`.
    pub statx: Vec<PathBuf>,
    /// What was opened to be read, or run: each path once.
    pub opened: BTreeSet<PathBuf>,
}

/// Asks `strace`; `None` where there is none.
pub fn system_calls(call: &Call, strace: Option<&Path>, log: &Path) -> Option<SystemCalls> {
    let mut command = Command::new(strace?);
    command.args(["-f", "-qq", "-s", "4096", "-e", "signal=none", "-o"]).arg(log);
    command.arg(&call.program).args(call.args.iter().skip(1));
    command.env_clear().envs(call.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().ok().filter(std::process::ExitStatus::success)?;
    let text = String::from_utf8_lossy(&fs::read(log).ok()?).into_owned();
    let mut found = SystemCalls::default();
    for line in text.lines().filter(|line| line.contains('(') && !line.contains("resumed>")) {
        found.count += 1;
        let path = line.split_once("statx(").and_then(|(_, rest)| rest.split('"').nth(1));
        found.statx.extend(path.filter(|path| !path.is_empty()).map(PathBuf::from));
        found.opened.extend(opened(line).map(PathBuf::from));
    }
    Some(found)
}

/// What a line of `strace` says was opened to be read, or run. A call that another process interrupts says nothing.
fn opened(line: &str) -> Option<&str> {
    let is_opening = ["open(", "openat(", "execve("].iter().any(|name| line.contains(name));
    let is_written = ["O_WRONLY", "O_RDWR", "O_DIRECTORY"].iter().any(|flag| line.contains(flag));
    let has_worked = line.rsplit_once(" = ").is_some_and(|(_, result)| !result.starts_with('-'));
    line.split('"').nth(1).filter(|_| is_opening && !is_written && has_worked)
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
