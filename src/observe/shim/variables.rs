//! The arrays of variables of this process, and how the shim takes itself out of them.
//!
//! Read next: `child_environment.rs` (how it is put in again, for a program that is run).

use crate::link::{self, Slot};
use crate::raw::{self, CText, Texts};

pub const PRELOAD: &[u8] = b"LD_PRELOAD=";
pub const OBSERVED: &[u8] = b"IBID_OBSERVED=";

/// The environment that the kernel gave; null if it cannot be found.
pub fn first_environment() -> *const *const u8 {
    static STACK_END: Slot = Slot::new();
    let variable = STACK_END.variable(b"__libc_stack_end") as *const *const usize;
    if variable.is_null() {
        return core::ptr::null();
    }
    // SAFETY: the loader's variable points to the argument count, the arguments, a null, the environment.
    let stack = unsafe { *variable };
    // SAFETY: as above.
    let arguments = unsafe { *stack };
    stack.wrapping_add(arguments + 2).cast()
}

/// What follows `name=` in an environment.
///
/// # Safety
/// `environment` is null or an array of C strings that ends in a null.
pub unsafe fn find_variable(environment: *const *const u8, name: &[u8]) -> Option<*const u8> {
    let mut at = environment;
    // SAFETY: the caller's promise.
    while let Some(text) = unsafe { at.as_ref() }.filter(|text| !text.is_null()) {
        // SAFETY: as above.
        if unsafe { raw::bytes(*text) }.starts_with(name) {
            return Some(text.wrapping_add(name.len()));
        }
        at = at.wrapping_add(1);
    }
    None
}

/// The text at a place of such an array; `None` at its end.
///
/// # Safety
/// `texts` is null or an array of C strings that ends in a null, and `index` is not past that.
pub unsafe fn text_at(texts: Texts, index: usize) -> Option<CText> {
    if texts.is_null() {
        return None;
    }
    // SAFETY: indices count up to the null that ends the array.
    Some(unsafe { *texts.wrapping_add(index) }).filter(|text| !text.is_null())
}

/// libc's variable `environ`; null if it cannot be found.
pub fn environ() -> *mut Texts {
    static ENVIRON: Slot = Slot::new();
    ENVIRON.variable(b"environ") as *mut Texts
}

/// The process's own environment now.
pub fn own_environment() -> Texts {
    let variable = environ();
    // SAFETY: libc's variable `environ`.
    if variable.is_null() { core::ptr::null() } else { unsafe { *variable } }
}

/// Takes ourselves out of the environment that the program was given, so that it sees the one that it would have without
/// us; each program that it runs gets the variables again.
///
/// # Safety
/// `given` is null or the array that the kernel made; nobody else uses it or `environ`.
pub unsafe fn hide(given: *mut CText) {
    // SAFETY: the caller's promise.
    unsafe { hide_in(given) };
    let own = own_environment().cast_mut();
    if own != given {
        // SAFETY: an earlier constructor has changed a variable; it has made an array like the first.
        unsafe { hide_in(own) };
    }
}

pub unsafe fn hide_in(array: *mut CText) {
    let (mut from, mut to) = (0, 0);
    // SAFETY: the caller gives null or an array of C strings that ends in a null.
    while let Some(text) = unsafe { text_at(array, from) } {
        from += 1;
        // SAFETY: as above.
        let bytes = unsafe { raw::bytes(text) };
        let is_ours = match bytes.strip_prefix(PRELOAD) {
            // SAFETY: the kernel's strings may be written.
            Some(value) => unsafe {
                remove_shim(text.wrapping_add(PRELOAD.len()).cast_mut(), value)
            },
            None => bytes.starts_with(OBSERVED),
        };
        if !is_ours {
            // SAFETY: `to` is no further than `from`.
            unsafe { array.wrapping_add(to).write(text) };
            to += 1;
        }
    }
    if to < from {
        // SAFETY: as above.
        unsafe { array.wrapping_add(to).write(core::ptr::null()) };
    }
}

/// Takes the shim out of a list of preloads where it stands, with the colon by which it was appended; what the user had
/// stays as it was. Says whether nothing else was there.
unsafe fn remove_shim(list: *mut u8, value: &[u8]) -> bool {
    let shim = link::own_path();
    if value == shim {
        return true;
    }
    if let Some(rest) = value.strip_suffix(shim).and_then(|rest| rest.strip_suffix(b":")) {
        // SAFETY: inside the string.
        unsafe { list.wrapping_add(rest.len()).write(0) };
    }
    false
}
