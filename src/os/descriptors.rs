//! Open descriptors of the processes that we leave behind.

/// Closes every descriptor but those (a negative one is none): a process that we leave behind must hold nothing that the
/// tool did not. For a forked process only, in which nothing else runs; async-signal-safe.
pub(super) fn close_all_but<const N: usize>(needed: [i32; N]) {
    let mut needed = needed.map(|fd| u32::try_from(fd).unwrap_or(u32::MAX));
    needed.sort_unstable();
    let mut first = 0;
    for fd in needed.into_iter().chain([u32::MAX]) {
        if fd > first {
            // SAFETY: these descriptors are used by nothing that still runs in this forked process.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = fd.saturating_add(1);
    }
}
