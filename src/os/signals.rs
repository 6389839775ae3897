//! Signals and descriptors as they were inherited, and the forwarding of signals while a tool runs.
//!
//! `begin` ignores SIGPIPE and opens closed standard descriptors, as Rust's runtime does, so both are looked at earlier.
//! Read next: `run.rs`.
#![allow(
    clippy::disallowed_types,
    reason = "a signal handler can only leave word in atomics, and these are this process's own"
)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};

use rustix::process::{Signal, getpid, kill_process, pidfd_send_signal};

/// What our parent gave us and Rust's runtime (or we) changed for ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inherited {
    /// SIGPIPE was ignored: it must stay so for the tool.
    pub sigpipe_ignored: bool,
    /// SIGCHLD was ignored: it must stay so for the tool.
    pub sigchld_ignored: bool,
    /// Which of the descriptors 0, 1 and 2 were closed.
    pub closed: [bool; 3],
}

static INHERITED: OnceLock<Inherited> = OnceLock::new();

extern "C" fn look_early() {
    let _ = INHERITED.set(Inherited::look());
}

// SAFETY: the section holds pointers to functions that the C runtime calls once, before `main` and with no other thread.
#[unsafe(link_section = ".init_array")]
#[used]
static LOOK_EARLY: extern "C" fn() = look_early;

/// What we were given, as it was before `main`.
pub fn inherited() -> Inherited {
    INHERITED.get().copied().unwrap_or_default()
}

impl Inherited {
    fn look() -> Self {
        Inherited {
            sigpipe_ignored: is_ignored(libc::SIGPIPE),
            sigchld_ignored: is_ignored(libc::SIGCHLD),
            closed: [0, 1, 2].map(is_closed),
        }
    }

    /// Whether a child that std starts with its defaults gets the same signals.
    pub fn is_usual(self) -> bool {
        self == Inherited::default()
    }

    /// Puts everything back; async-signal-safe, to be called between fork and exec.
    pub fn restore(self) {
        if self.sigpipe_ignored {
            set_disposition(libc::SIGPIPE, libc::SIG_IGN);
        }
        if self.sigchld_ignored {
            set_disposition(libc::SIGCHLD, libc::SIG_IGN);
        }
        for (fd, closed) in (0..).zip(self.closed) {
            if closed {
                // SAFETY: nobody owns this number: what is open there was put there by `begin` or by Rust's runtime.
                unsafe { libc::close(fd) };
            }
        }
    }
}

fn is_closed(fd: c_int) -> bool {
    // SAFETY: F_GETFD touches no memory and takes any number.
    unsafe { libc::fcntl(fd, libc::F_GETFD) == -1 }
}

fn is_ignored(signal: c_int) -> bool {
    action(signal).is_some_and(|action| action.sa_sigaction == libc::SIG_IGN)
}

fn action(signal: c_int) -> Option<libc::sigaction> {
    let mut now = MaybeUninit::uninit();
    // SAFETY: a null new action only asks; `now` has room for the answer.
    let answer = unsafe { libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) };
    // SAFETY: sigaction succeeded, so it has written the whole structure.
    (answer == 0).then(|| unsafe { now.assume_init() })
}

/// Sets what `signal` does; false if the system refuses. Async-signal-safe.
pub fn set_action(signal: c_int, action: &libc::sigaction) -> bool {
    // SAFETY: `action` is a whole structure whose handler, if it has one, is async-signal-safe (all in this file are).
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) == 0 }
}

/// Sets `signal` to SIG_DFL or SIG_IGN. Async-signal-safe.
pub fn set_disposition(signal: c_int, disposition: libc::sighandler_t) {
    set_action(signal, &new_action(disposition, 0));
}

fn new_action(handler: libc::sighandler_t, flags: c_int) -> libc::sigaction {
    // SAFETY: all-zero bytes are a valid `sigaction`: SIG_DFL, an empty mask, no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    action
}

/// What std takes for granted: writing to a pipe without a reader is an error, and what is opened later is none of the
/// descriptors 0, 1 and 2. And see [`bridge_missing_pages`] and
/// [`outlive_file_limit`].
pub fn begin() {
    set_disposition(libc::SIGPIPE, libc::SIG_IGN);
    for _ in inherited().closed.iter().filter(|closed| **closed) {
        // SAFETY: the path is a string; the descriptor, the lowest that is free, stays open until the end.
        unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
    }
    bridge_missing_pages();
    outlive_file_limit();
}

/// What is cut from a file of the cache while we have it mapped reads as zeros from now on, instead of killing us. The
/// look-up before libc has a net of its own.
fn bridge_missing_pages() {
    let is_default =
        |old: &libc::sigaction| old.sa_sigaction != libc::SIG_IGN && old.sa_sigaction != on_fault();
    if action(libc::SIGBUS).as_ref().is_some_and(is_default) {
        set_action(libc::SIGBUS, &new_action(on_fault(), libc::SA_SIGINFO));
    }
}

/// What would make a file longer than it may become is an error for us, and not the end (SIGXFSZ). A handler and not
/// "ignored", because the tool must not inherit it.
fn outlive_file_limit() {
    let is_default = |old: &libc::sigaction| old.sa_sigaction == libc::SIG_DFL;
    if action(libc::SIGXFSZ).as_ref().is_some_and(is_default) {
        let handler = on_file_limit as *const () as libc::sighandler_t;
        set_action(libc::SIGXFSZ, &new_action(handler, libc::SA_RESTART));
    }
}

extern "C" fn on_file_limit(_signal: c_int) {}

fn on_fault() -> libc::sighandler_t {
    on_missing_page as *const () as libc::sighandler_t
}

/// Async-signal-safe: system calls and atomics only.
extern "C" fn on_missing_page(signal: c_int, from: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid structure.
    let from = unsafe { &*from };
    let code = from.si_code;
    // SAFETY: the field is there in every `siginfo_t`; for other codes than that of a fault it is not looked at.
    let address = unsafe { from.si_addr() } as usize;
    if code == libc::BUS_ADRERR && crate::shm::map::bridge(address) {
        return;
    }
    // Back at the instruction, it does what it would have done without us; what somebody sent is sent again.
    set_disposition(signal, libc::SIG_DFL);
    if code <= 0 {
        let _ = kill_process(getpid(), Signal::BUS);
    }
}

/// The tool's pidfd, or -1 while no tool runs.
static TOOL: AtomicI32 = AtomicI32::new(-1);
/// Signals (bit n: signal n) that came while there was no tool to take them.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// Whether the terminal's size changed since it was last asked.
static RESIZED: AtomicBool = AtomicBool::new(false);

const FORWARDED: [c_int; 10] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTSTP,
    libc::SIGCONT,
    libc::SIGWINCH,
];

/// Async-signal-safe: system calls and atomics only.
extern "C" fn on_signal(signal: c_int, from: *mut libc::siginfo_t, _context: *mut c_void) {
    if signal == libc::SIGWINCH {
        RESIZED.store(true, SeqCst);
        return;
    }
    // SAFETY: with SA_SIGINFO the kernel passes a valid structure.
    let code = unsafe { (*from).si_code };
    let tool = TOOL.load(SeqCst);
    // What the kernel sends for a terminal goes to the whole process group, so the tool has it already; but a timer
    // that was inherited is ours alone.
    let by_terminal = code == libc::SI_KERNEL && signal != libc::SIGALRM;
    let has_it_already = tool >= 0 && by_terminal;
    if !has_it_already && !send(tool, signal) {
        PENDING.fetch_or(1 << signal, SeqCst);
    }
    if signal == libc::SIGTSTP {
        let _ = kill_process(getpid(), Signal::STOP);
    }
}

fn send(tool: c_int, signal: c_int) -> bool {
    if tool < 0 {
        return false;
    }
    // SAFETY: a number that is not -1 belongs to the `Forwarding` that put it there and takes it back before it closes.
    let tool = unsafe { BorrowedFd::borrow_raw(tool) };
    Signal::from_named_raw(signal).is_some_and(|signal| pidfd_send_signal(tool, signal).is_ok())
}

/// While it lives, signals that are sent to us alone reach the tool; afterwards everything is as before.
#[derive(Debug)]
pub struct Forwarding {
    before: Vec<(c_int, libc::sigaction)>,
    tool: Option<OwnedFd>,
}

impl Forwarding {
    /// Catches the signals; those that come before there is a tool wait for it.
    pub fn begin() -> Self {
        let mut before = Vec::with_capacity(FORWARDED.len() + 1);
        // The function's address is what `sigaction` takes.
        let handler = on_signal as *const () as libc::sighandler_t;
        let caught = new_action(handler, libc::SA_SIGINFO | libc::SA_RESTART);
        for signal in FORWARDED {
            // An ignored signal stays ignored, for the tool as well: a handler of ours would undo that at exec.
            let old = action(signal).filter(|old| old.sa_sigaction != libc::SIG_IGN);
            if let Some(old) = old
                && set_action(signal, &caught)
            {
                before.push((signal, old));
            }
        }
        // With SIGCHLD ignored, the kernel would not keep the tool's status for us.
        if let Some(old) = action(libc::SIGCHLD).filter(|old| old.sa_sigaction == libc::SIG_IGN) {
            set_disposition(libc::SIGCHLD, libc::SIG_DFL);
            before.push((libc::SIGCHLD, old));
        }
        Forwarding { before, tool: None }
    }

    /// From now on the signals go to this process, those that waited first.
    pub fn forward_to(&mut self, tool: OwnedFd) {
        TOOL.store(tool.as_raw_fd(), SeqCst);
        let waiting = PENDING.swap(0, SeqCst);
        for signal in FORWARDED.into_iter().filter(|signal| waiting & (1 << signal) != 0) {
            send(tool.as_raw_fd(), signal);
        }
        self.tool = Some(tool);
    }

    /// The tool to which signals go.
    pub fn tool(&self) -> Option<BorrowedFd<'_>> {
        self.tool.as_ref().map(OwnedFd::as_fd)
    }
}

/// Starts a thread that gets no signals: their handlers wake the thread that waits for the tool.
pub fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    // SAFETY: an all-zero `sigset_t` is a valid set.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
    // SAFETY: a set of ours.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: both are sets of ours.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    let started = start();
    // SAFETY: the mask that was there before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    started
}

/// Whether the terminal's size changed since the last call.
pub fn take_resized() -> bool {
    RESIZED.swap(false, SeqCst)
}

/// Tells the tool that runs that the size of its terminal changed.
pub fn tell_resized() {
    send(TOOL.load(SeqCst), libc::SIGWINCH);
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        TOOL.store(-1, SeqCst);
        for (signal, old) in self.before.drain(..) {
            set_action(signal, &old);
        }
        // What came too late for the tool was meant for us.
        let late = PENDING.swap(0, SeqCst);
        for signal in FORWARDED.into_iter().filter(|signal| late & (1 << signal) != 0) {
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _ = kill_process(getpid(), signal);
            }
        }
    }
}
