//! What the operating system says of a file, and its folded form, the stamp.
//!
//! No tolerance anywhere: a stamp is equal in all bits or it is another one.

use bytemuck::{Pod, Zeroable};
use xxhash_rust::xxh3::xxh3_128;

/// The part of `statx` that changes whenever the content may have changed. 40 bytes, without padding.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Stat {
    /// Device, `major << 32 | minor`.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last modification, ns since the epoch.
    pub mtime_ns: i64,
    /// Time of the last change of the inode, ns since the epoch.
    pub ctime_ns: i64,
}

/// A [`Stat`] folded to 128 bits.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Stamp(pub [u8; 16]);

impl Stat {
    /// Folds all 40 bytes with XXH3-128.
    pub fn stamp(&self) -> Stamp {
        Stamp(xxh3_128(bytemuck::bytes_of(self)).to_le_bytes())
    }
}
