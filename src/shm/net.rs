//! The net below the probe: a fault in it resumes at a place of the caller's, as if nothing had happened.
//!
//! It is armed for the few hundred microseconds of a probe, before any thread or library exists.
//! Source: `rt_sigaction(2)`.

use core::cell::UnsafeCell;
use core::mem::transmute;

use linux_raw_sys::ctypes::{c_int, c_ulong};
use linux_raw_sys::general::{
    __NR_rt_sigaction, SA_NODEFER, SA_RESTORER, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV,
    kernel_sigaction as Action, kernel_sigset_t,
};

use super::{mask, syscall};

const NO_SIGNALS: kernel_sigset_t = kernel_sigset_t { sig: [0] };
const NOTHING: Action =
    Action { sa_handler_kernel: None, sa_flags: 0, sa_restorer: None, sa_mask: NO_SIGNALS };
const SIGNALS: [u32; 5] = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT];

/// What resumes at `handler`: it never returns, so nothing may stay blocked.
fn resuming_at(handler: unsafe extern "C" fn()) -> Action {
    // SAFETY: the kernel jumps to it with the signal's number in a register, which it does not read.
    let entered =
        unsafe { transmute::<unsafe extern "C" fn(), unsafe extern "C" fn(c_int)>(handler) };
    Action {
        sa_handler_kernel: Some(entered),
        sa_flags: c_ulong::from(SA_NODEFER | SA_RESTORER),
        sa_restorer: Some(handler),
        sa_mask: NO_SIGNALS,
    }
}

struct Saved(UnsafeCell<[Action; 5]>);
// SAFETY: used only while the process has one thread, before libc starts.
unsafe impl Sync for Saved {}
static SAVED: Saved = Saved(UnsafeCell::new([NOTHING; 5]));

fn sigaction(signal: u32, new: *const Action, old: *mut Action) {
    let set_bytes = size_of::<kernel_sigset_t>();
    let args = [signal as usize, new as usize, old as usize, set_bytes, 0];
    // SAFETY: both pointers are null or name an `Action`.
    let _ = unsafe { syscall::call(__NR_rt_sigaction, args) };
}

/// Lets faults resume at `handler`, which must call [`disarm`] and must never return.
///
/// # Safety
/// The process must have one thread only, and `handler` must keep its word.
pub unsafe fn arm(handler: unsafe extern "C" fn()) {
    let action = resuming_at(handler);
    for (i, signal) in SIGNALS.into_iter().enumerate() {
        sigaction(signal, &raw const action, SAVED.0.get().cast::<Action>().wrapping_add(i));
    }
}

/// Lets faults end the process in `end`, which must never return: once all is done that was asked for.
///
/// # Safety
/// The process must have one thread only, and `end` must keep its word.
pub unsafe fn arm_for_the_end(end: unsafe extern "C" fn()) {
    let action = resuming_at(end);
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
