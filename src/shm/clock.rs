//! Which file systems give every change of a file a time of its own, so that a stamp is reliable at once.
//!
//! Linux 6.13 ("multigrain timestamps"): a file that somebody has looked at gets a new change time with every change.
//! Decided by kernel version and file system type, never by a trial.

use core::ffi::CStr;

use linux_raw_sys::general::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC};

use super::raw::BorrowedFd;

/// ext, xfs, btrfs, tmpfs.
pub const FINE_GRAINED: [u64; 4] =
    [EXT4_SUPER_MAGIC as u64, XFS_SUPER_MAGIC as u64, BTRFS_SUPER_MAGIC as u64, TMPFS_MAGIC as u64];

/// Whether this kernel has them at all.
pub fn kernel_has_fine_times() -> bool {
    kernel_is_at_least((6, 13))
}

/// Whether the kernel is this version or a later one.
pub fn kernel_is_at_least(wanted: (u32, u32)) -> bool {
    version(rustix::system::uname().release()) >= wanted
}

/// Whether every change of this open file has a time of its own.
pub fn tells_changes_apart(file: BorrowedFd<'_>) -> bool {
    let is_fine_grained =
        |fs: rustix::fs::StatFs| FINE_GRAINED.contains(&(fs.f_type.cast_unsigned() & 0xffff_ffff));
    rustix::fs::fstatfs(file).is_ok_and(is_fine_grained) && kernel_has_fine_times()
}

/// The first two numbers of a kernel's release.
fn version(release: &CStr) -> (u32, u32) {
    let mut numbers = release.to_bytes().split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0u32, |number, digit| {
            number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
        })
    });
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(version(c"6.13.0-rc1+"), (6, 13));
        assert_eq!(version(c"5.15.0-91-generic"), (5, 15));
        assert!(version(c"6.9.1") < (6, 13) && version(c"odd") == (0, 0));
    }
}
