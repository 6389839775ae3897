//! The log of an observer further out, as a nested ibid maps it.
//!
//! With the log's layout the only file of ours here with `unsafe`: a log is memory that other processes write.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::IBID_OBSERVED;
use super::log_layout::{self as layout, MappedLog};
use crate::env;

/// The log that `IBID_OBSERVED` leads to, if it is one.
pub fn open() -> Option<MappedLog> {
    let observed = env::get_nonempty(IBID_OBSERVED)?.into_vec();
    let nonce = u64::from_str_radix(std::str::from_utf8(observed.get(..16)?).ok()?, 16).ok()?;
    let path = observed.get(16..)?.strip_prefix(b":")?;
    let file = OpenOptions::new().read(true).write(true).open(OsStr::from_bytes(path)).ok()?;
    if file.metadata().ok()?.len() != layout::LOG_LEN_BYTES as u64 {
        return None;
    }
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a fresh mapping at an address that the kernel chooses; it is never unmapped.
    let base = unsafe {
        rustix::mm::mmap(std::ptr::null_mut(), layout::LOG_LEN_BYTES, protection, flags, &file, 0)
    }
    .ok()?;
    // SAFETY: just mapped as `at` demands.
    unsafe { MappedLog::at(base.cast(), nonce) }
}

/// Makes pages of a log present; whether that could be done.
pub fn populate(address: *mut u8, len: usize) -> bool {
    // SAFETY: the advice changes no content; the pages are those of a mapped log.
    unsafe { rustix::mm::madvise(address.cast(), len, Advice::LinuxPopulateWrite) }.is_ok()
}
