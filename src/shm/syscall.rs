//! The few system calls that rustix does not offer without an allocator or a libc.
//!
//! Nothing here knows what the calls mean; `raw.rs` and `net.rs` do, and take their numbers from `linux-raw-sys`. Source:
//! the System V and AAPCS64 calling conventions.

/// One system call; the result is negative on error.
///
/// # Safety
/// The arguments must be what call `number` takes; pointers among them must be valid for what the call does with them.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) unsafe fn call(number: u32, args: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the arguments are the caller's promise; the kernel changes rax, rcx, r11 and what the pointers name.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") (number as usize).cast_signed() => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// One system call; the result is negative on error.
///
/// # Safety
/// The arguments must be what call `number` takes; pointers among them must be valid for what the call does with them.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(super) unsafe fn call(number: u32, args: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the arguments are the caller's promise; the kernel changes x0 and what the pointers name.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") args[0].cast_signed() => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4],
            options(nostack),
        );
    }
    result
}
