//! The signal mask while a hit is delivered.
//!
//! A signal that would end the process waits until no output is half written. Signals of faults are never blocked: the
//! kernel kills a process that blocks them. The mask belongs to the calling thread; deliveries run in the only thread.
//! Source: `rt_sigprocmask(2)`, `rt_sigpending(2)`, `rt_sigtimedwait(2)`. Read next: `net.rs`, `probe/deliver.rs`.

use linux_raw_sys::general::{__NR_rt_sigpending, __NR_rt_sigprocmask, __NR_rt_sigtimedwait};

use super::syscall;
use super::words::{Ordering, Word};

/// A set of signals: bit `n - 1` is signal `n`.
type Set = u64;

const fn set(signals: &[u32]) -> Set {
    let (mut set, mut at) = (0, 0);
    while at < signals.len() {
        set |= 1 << (signals[at] - 1);
        at += 1;
    }
    set
}

/// SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
const FAULTS: Set = set(&[4, 5, 7, 8, 11, 31]);
/// SIGCHLD, SIGCONT, SIGURG, SIGWINCH: they end nothing.
const HARMLESS: Set = set(&[17, 18, 23, 28]);
/// SIGTSTP, SIGTTIN, SIGTTOU: they end nothing either, but a process that stops with half an output is in the way.
const STOPS: Set = set(&[20, 21, 22]);
/// SIGPIPE, SIGXFSZ: the process's own writes raise them.
const OF_WRITES: Set = set(&[13, 25]);

/// `SIG_SETMASK`.
const SET: usize = 2;
/// The kernel's length of a set.
const SET_BYTES: usize = size_of::<Set>();

/// Whether a mask of ours is in force, and the mask that was there before.
static IS_HELD: Word = Word::new(0);
static BEFORE: Word = Word::new(0);

fn change(new: Set) -> Option<Set> {
    let mut old: Set = 0;
    // SAFETY: both sets are ours and of the length that is given.
    let result = unsafe {
        let (new, old) = (&raw const new as usize, &raw mut old as usize);
        syscall::call(__NR_rt_sigprocmask, [SET, new, old, SET_BYTES, 0])
    };
    (result == 0).then_some(old)
}

/// Lets all signals wait that could end or stop the process, until [`release`].
pub fn hold() {
    if IS_HELD.load(Ordering::Relaxed) == 0
        && let Some(old) = change(!(FAULTS | HARMLESS))
    {
        // What was blocked before stays blocked.
        BEFORE.store(old, Ordering::Relaxed);
        IS_HELD.store(1, Ordering::Relaxed);
    }
}

/// Lets only those signals wait that the process's own writes raise; the others come now.
pub fn hold_those_of_writes() {
    hold();
    if IS_HELD.load(Ordering::Relaxed) != 0 {
        change(BEFORE.load(Ordering::Relaxed) | OF_WRITES);
    }
}

/// Puts the mask back that was there before [`hold`]. What waited comes now, and may end the process.
pub fn release() {
    if IS_HELD.load(Ordering::Relaxed) != 0 {
        change(BEFORE.load(Ordering::Relaxed));
        IS_HELD.store(0, Ordering::Relaxed);
    }
}

/// Whether a signal waits that may end the process.
pub fn is_end_waiting() -> bool {
    let mut waiting: Set = 0;
    // SAFETY: the set is ours and of the length that is given.
    let result = unsafe {
        let waiting = &raw mut waiting as usize;
        syscall::call(__NR_rt_sigpending, [waiting, SET_BYTES, 0, 0, 0])
    };
    let held = !(BEFORE.load(Ordering::Relaxed) | STOPS | OF_WRITES);
    result == 0 && IS_HELD.load(Ordering::Relaxed) != 0 && waiting & held != 0
}

/// Forgets the signal that a failed write has raised; call it while it waits.
pub fn forget_those_of_writes() {
    let set = OF_WRITES & !BEFORE.load(Ordering::Relaxed);
    let at_once = [0u64; 2];
    // SAFETY: the set and the time are ours; no information about the signal is asked for.
    let take = || unsafe {
        let (set, at_once) = (&raw const set as usize, &raw const at_once as usize);
        syscall::call(__NR_rt_sigtimedwait, [set, 0, at_once, SET_BYTES, 0])
    };
    while IS_HELD.load(Ordering::Relaxed) != 0 && take() > 0 {}
}
