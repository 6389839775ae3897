//! The state of a file where a sandbox knows no `statx`.
//!
//! Read next: `raw.rs`.

use crate::call::call;
use crate::log_layout::FileStat;

/// "Operation not permitted".
pub const EPERM: u16 = 1;

#[cfg(target_arch = "x86_64")]
const NEWFSTATAT: usize = 262;
#[cfg(target_arch = "aarch64")]
const NEWFSTATAT: usize = 79;

/// What `statx` says, by the call that was there before it.
///
/// # Safety
/// `path` ends in a zero byte.
#[cold]
pub unsafe fn old_stat(dirfd: usize, path: *const u8, flags: i32) -> Result<FileStat, u16> {
    // Device, inode, two words with links, mode and owners, and two of no interest; size, two more; then the times of
    // access, modification and change, in seconds and nanoseconds.
    let mut words = [0_u64; 18];
    let args = [dirfd, path as usize, words.as_mut_ptr() as usize, flags as usize, 0, 0];
    // SAFETY: the kernel writes one `stat`, of at most 144 bytes; the caller answers for the path.
    let result = unsafe { call(NEWFSTATAT, args) };
    if result < 0 {
        return Err(-result as u16);
    }
    let (mode, links) = if cfg!(target_arch = "x86_64") {
        (words[3] as u32, words[2] as u32)
    } else {
        (words[2] as u32, (words[2] >> 32) as u32)
    };
    let major = words[0] >> 8 & 0xfff | words[0] >> 32 & 0xffff_f000;
    let minor = words[0] & 0xff | words[0] >> 12 & 0xffff_ff00;
    let time = |at: usize| {
        let seconds = words[at].cast_signed();
        seconds.wrapping_mul(1_000_000_000).wrapping_add(words[at + 1].cast_signed())
    };
    Ok(FileStat {
        dev: major << 32 | minor,
        ino: words[1],
        size: words[6],
        mtime_ns: time(11),
        ctime_ns: time(13),
        mode,
        links,
    })
}
