//! The few system calls that rustix does not offer without an allocator or a libc.
//!
//! Nothing here knows what the calls mean; `raw.rs` and `net.rs` do. Source: the kernel's syscall tables and the System V
//! and AAPCS64 calling conventions.

/// `getcwd(buf, len)`.
#[cfg(target_arch = "x86_64")]
pub(super) const GETCWD: usize = 79;
/// `getcwd(buf, len)`.
#[cfg(target_arch = "aarch64")]
pub(super) const GETCWD: usize = 17;
/// `statx(dir, path, flags, mask, buf)`.
#[cfg(target_arch = "x86_64")]
pub(super) const STATX: usize = 332;
/// `statx(dir, path, flags, mask, buf)`.
#[cfg(target_arch = "aarch64")]
pub(super) const STATX: usize = 291;
/// `getgroups(count, list)`.
#[cfg(target_arch = "x86_64")]
pub(super) const GETGROUPS: usize = 115;
/// `getgroups(count, list)`.
#[cfg(target_arch = "aarch64")]
pub(super) const GETGROUPS: usize = 158;
/// `rt_sigaction(sig, new, old, set_len)`.
#[cfg(target_arch = "x86_64")]
pub(super) const RT_SIGACTION: usize = 13;
/// `rt_sigaction(sig, new, old, set_len)`.
#[cfg(target_arch = "aarch64")]
pub(super) const RT_SIGACTION: usize = 134;
/// `prlimit64(pid, resource, new, old)`.
#[cfg(target_arch = "x86_64")]
pub(super) const PRLIMIT64: usize = 302;
/// `prlimit64(pid, resource, new, old)`.
#[cfg(target_arch = "aarch64")]
pub(super) const PRLIMIT64: usize = 261;
/// `exit_group(status)`.
#[cfg(target_arch = "x86_64")]
pub(super) const EXIT_GROUP: usize = 231;
/// `exit_group(status)`.
#[cfg(target_arch = "aarch64")]
pub(super) const EXIT_GROUP: usize = 94;

/// `close(fd)`.
#[cfg(target_arch = "x86_64")]
pub(super) const CLOSE: usize = 3;
/// `close(fd)`.
#[cfg(target_arch = "aarch64")]
pub(super) const CLOSE: usize = 57;
/// `rt_sigprocmask(how, new, old, set_len)`.
#[cfg(target_arch = "x86_64")]
pub(super) const RT_SIGPROCMASK: usize = 14;
/// `rt_sigprocmask(how, new, old, set_len)`.
#[cfg(target_arch = "aarch64")]
pub(super) const RT_SIGPROCMASK: usize = 135;
/// `rt_sigpending(set, set_len)`.
#[cfg(target_arch = "x86_64")]
pub(super) const RT_SIGPENDING: usize = 127;
/// `rt_sigpending(set, set_len)`.
#[cfg(target_arch = "aarch64")]
pub(super) const RT_SIGPENDING: usize = 136;
/// `rt_sigtimedwait(set, info, timeout, set_len)`.
#[cfg(target_arch = "x86_64")]
pub(super) const RT_SIGTIMEDWAIT: usize = 128;
/// `rt_sigtimedwait(set, info, timeout, set_len)`.
#[cfg(target_arch = "aarch64")]
pub(super) const RT_SIGTIMEDWAIT: usize = 137;

/// One system call; the result is negative on error.
///
/// # Safety
/// The arguments must be what call `number` takes; pointers among them must be valid for what the call does with them.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) unsafe fn call(number: usize, args: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the kernel changes rax, rcx, r11 and what the pointers name.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number.cast_signed() => result,
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
pub(super) unsafe fn call(number: usize, args: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the kernel changes x0 and what the pointers name.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") args[0].cast_signed() => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4],
            options(nostack),
        );
    }
    result
}
/// `madvise(addr, len, advice)`.
#[cfg(target_arch = "x86_64")]
pub(super) const MADVISE: usize = 28;
/// `madvise(addr, len, advice)`.
#[cfg(target_arch = "aarch64")]
pub(super) const MADVISE: usize = 233;
