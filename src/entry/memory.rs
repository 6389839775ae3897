//! The memory functions that compiled code calls by itself: before libc has relocated itself, its own are not there.
//!
//! They serve the whole program. They must not be compiled into calls of themselves, so the work is done by
//! instructions. Source: C11 7.24 for what they do; Intel's optimisation manual for `rep movsb`.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "each function is one operation, its caller vouches for it"
)]

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller vouches for both ranges.
    unsafe { copy_forward(to, from, len) };
    to
}

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= len {
        // SAFETY: the destination does not begin inside the source, so copying forward reads before it writes.
        unsafe { copy_forward(to, from, len) };
    } else {
        // SAFETY: the destination begins inside the source, so copying backward reads before it writes.
        unsafe { copy_backward(to, from, len) };
    }
    to
}

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY: the caller vouches for the range.
    unsafe { fill(to, byte.to_le_bytes()[0], len) };
    to
}

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    let mut at = 0;
    while at + 8 <= len {
        // SAFETY: `at + 8 <= len`.
        let (x, y) = unsafe {
            (a.add(at).cast::<u64>().read_unaligned(), b.add(at).cast::<u64>().read_unaligned())
        };
        if x != y {
            return if x.swap_bytes() < y.swap_bytes() { -1 } else { 1 };
        }
        at += 8;
    }
    while at < len {
        // SAFETY: `at < len`.
        let (x, y) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
        at += 1;
    }
    0
}

/// As `memcmp`, for equality.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: the caller vouches for both ranges.
    unsafe { memcmp(a, b, len) }
}

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut len = 0;
    // SAFETY: the caller vouches for a NUL; the read is volatile so that the loop is not turned into `strlen`.
    while unsafe { string.add(len).read_volatile() } != 0 {
        len += 1;
    }
    len
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_forward(to: *mut u8, from: *const u8, len: usize) {
    if len <= 32 {
        // SAFETY: the caller vouches for both ranges.
        return unsafe { copy_short(to, from, len) };
    }
    // SAFETY: the direction flag is clear by the ABI; the caller vouches for both ranges.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Up to 32 bytes, all read before any is written: `rep movsb` takes about 30 cycles to start.
#[cfg(target_arch = "x86_64")]
unsafe fn copy_short(to: *mut u8, from: *const u8, len: usize) {
    macro_rules! pair {
        ($t:ty) => {{
            let last = len - size_of::<$t>();
            let a = from.cast::<$t>().read_unaligned();
            let b = from.add(last).cast::<$t>().read_unaligned();
            to.cast::<$t>().write_unaligned(a);
            to.add(last).cast::<$t>().write_unaligned(b);
        }};
    }
    // SAFETY: each pair reads and writes the first and last bytes of ranges that are at least as long as one of them.
    unsafe {
        match len {
            0 => {}
            1 => to.write(from.read()),
            2..4 => pair!(u16),
            4..8 => pair!(u32),
            8..16 => pair!(u64),
            _ => pair!(u128),
        }
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_backward(to: *mut u8, from: *const u8, len: usize) {
    if len <= 32 {
        // SAFETY: the caller vouches for both ranges; all is read before any is written.
        return unsafe { copy_short(to, from, len) };
    }
    // SAFETY: the caller vouches for both ranges; the direction flag is cleared again.
    unsafe {
        core::arch::asm!(
            "std", "rep movsb", "cld",
            inout("rcx") len => _, inout("rdi") to.add(len - 1) => _, inout("rsi") from.add(len - 1) => _,
            options(nostack)
        );
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn fill(to: *mut u8, byte: u8, len: usize) {
    // SAFETY: the direction flag is clear by the ABI; the caller vouches for the range.
    unsafe {
        core::arch::asm!(
            "rep stosb",
            inout("rcx") len => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn copy_forward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller vouches for both ranges.
    unsafe {
        core::arch::asm!(
            "cbz {n}, 3f",
            "2:", "ldrb {b:w}, [{f}], #1", "strb {b:w}, [{t}], #1", "subs {n}, {n}, #1", "b.ne 2b", "3:",
            n = inout(reg) len => _, t = inout(reg) to => _, f = inout(reg) from => _, b = out(reg) _,
            options(nostack)
        );
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn copy_backward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller vouches for both ranges.
    unsafe {
        core::arch::asm!(
            "cbz {n}, 3f",
            "2:", "ldrb {b:w}, [{f}, #-1]!", "strb {b:w}, [{t}, #-1]!", "subs {n}, {n}, #1", "b.ne 2b", "3:",
            n = inout(reg) len => _, t = inout(reg) to.add(len) => _, f = inout(reg) from.add(len) => _,
            b = out(reg) _,
            options(nostack)
        );
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn fill(to: *mut u8, byte: u8, len: usize) {
    // SAFETY: the caller vouches for the range.
    unsafe {
        core::arch::asm!(
            "cbz {n}, 3f",
            "2:", "strb {b:w}, [{t}], #1", "subs {n}, {n}, #1", "b.ne 2b", "3:",
            n = inout(reg) len => _, t = inout(reg) to => _, b = in(reg) u32::from(byte),
            options(nostack)
        );
    }
}
