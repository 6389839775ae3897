//! Which descriptors may have been written.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::raw::{self, O_ACCMODE, O_PATH, O_RDONLY};

const REMEMBERED: usize = 8192;
/// A bit for each descriptor that may have been written.
static WRITTEN: [AtomicU64; REMEMBERED / 64] = [const { AtomicU64::new(0) }; REMEMBERED / 64];
/// One more than the highest descriptor with a bit.
static WRITTEN_END: AtomicI32 = AtomicI32::new(0);

fn bit(fd: i32) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    Some((WRITTEN.get(fd / 64)?, 1 << (fd % 64)))
}

/// Remembers a descriptor; whether there is a bit for it, or it is none.
pub fn remember(fd: i32) -> bool {
    match bit(fd) {
        Some((word, mask)) => {
            word.fetch_or(mask, Ordering::Relaxed);
            WRITTEN_END.fetch_max(fd + 1, Ordering::Relaxed);
            true
        }
        None => fd < 0,
    }
}

/// Forgets a descriptor; whether it was remembered.
pub fn forget(fd: i32) -> bool {
    bit(fd).is_some_and(|(word, mask)| word.fetch_and(!mask, Ordering::Relaxed) & mask != 0)
}

/// Whether a descriptor is remembered.
pub fn is_remembered(fd: i32) -> bool {
    bit(fd).is_some_and(|(word, mask)| word.load(Ordering::Relaxed) & mask != 0)
}

/// Remembers the low descriptors with which the program was started, a shell's redirections for instance.
pub fn inherit() {
    for fd in 0..10 {
        if raw::open_flags(fd)
            .is_some_and(|flags| flags & O_ACCMODE != O_RDONLY && flags & O_PATH == 0)
        {
            remember(fd);
        }
    }
}

/// One more than the highest descriptor that was remembered.
pub fn end() -> i32 {
    WRITTEN_END.load(Ordering::Relaxed)
}

/// All descriptors that are remembered.
pub fn all_remembered() -> impl Iterator<Item = i32> {
    (0..end()).filter(|fd| is_remembered(*fd))
}
