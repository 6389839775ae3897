//! The net below the probe: a fault in it resumes at a place of the caller's, as if nothing had happened.
//!
//! It is armed for the few hundred microseconds of a probe, before any thread or library exists.
//! Source: `rt_sigaction(2)`; the kernel's `struct sigaction` of x86-64 and aarch64.

use core::cell::UnsafeCell;

use super::{mask, syscall};

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

const NOTHING: Action = Action { handler: 0, flags: 0, restorer: 0, mask: 0 };
/// SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT.
const SIGNALS: [usize; 5] = [11, 7, 4, 8, 6];
/// `SA_NODEFER | SA_RESTORER`: the handler never returns, so nothing may stay blocked.
const FLAGS: usize = 0x4000_0000 | 0x0400_0000;

struct Saved(UnsafeCell<[Action; 5]>);
// SAFETY: used only while the process has one thread, before libc starts.
unsafe impl Sync for Saved {}
static SAVED: Saved = Saved(UnsafeCell::new([NOTHING; 5]));

fn sigaction(signal: usize, new: *const Action, old: *mut Action) {
    // SAFETY: both pointers are null or name an `Action`; 8 is the length of the kernel's signal set.
    let _ =
        unsafe { syscall::call(syscall::RT_SIGACTION, [signal, new as usize, old as usize, 8, 0]) };
}

/// Lets faults resume at `handler`, which must call [`disarm`] and must never return.
///
/// # Safety
/// The process must have one thread only, and `handler` must keep its word.
pub unsafe fn arm(handler: unsafe extern "C" fn()) {
    let action =
        Action { handler: handler as usize, flags: FLAGS, restorer: handler as usize, mask: 0 };
    for (i, signal) in SIGNALS.into_iter().enumerate() {
        sigaction(signal, &raw const action, SAVED.0.get().cast::<Action>().wrapping_add(i));
    }
}

/// Lets faults end the process in `end`, which must never return: once all is done that was asked for.
///
/// # Safety
/// The process must have one thread only, and `end` must keep its word.
pub unsafe fn arm_for_the_end(end: unsafe extern "C" fn()) {
    let action = Action { handler: end as usize, flags: FLAGS, restorer: end as usize, mask: 0 };
    for signal in SIGNALS {
        sigaction(signal, &raw const action, core::ptr::null_mut());
    }
}

/// Puts back the dispositions that were there before [`arm`], and the signal mask if the fault came while signals waited.
///
/// # Safety
/// The process must have one thread only, and [`arm`] must have been called.
pub unsafe fn disarm() {
    for (i, signal) in SIGNALS.into_iter().enumerate() {
        sigaction(signal, SAVED.0.get().cast::<Action>().wrapping_add(i), core::ptr::null_mut());
    }
    mask::release();
}
