//! One raw system call.

use core::arch::asm;

/// A system call; a negative error number on failure.
///
/// # Safety
/// The call's own: pointers are what the kernel expects.
#[inline]
pub unsafe fn call(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel keeps all registers but rax, rcx and r11; what it writes to is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number.cast_signed() => result, in("rdi") args[0], in("rsi") args[1],
             in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel keeps all registers but x0; what it writes to is the caller's promise.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0].cast_signed() => result, in("x1") args[1],
             in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5], options(nostack));
    }
    result
}
