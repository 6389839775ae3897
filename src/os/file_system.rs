//! Which file system a file is on, and what may be relied on there.
//!
//! Only what is known to work is trusted; everything else is the caller's to refuse. Source: `statfs(2)`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::OnceLock;

use linux_raw_sys::general::{
    BTRFS_SUPER_MAGIC, CEPH_SUPER_MAGIC, CIFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC,
    FUSE_SUPER_MAGIC, MSDOS_SUPER_MAGIC, NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC as OVERLAY,
    RAMFS_MAGIC, SMB2_SUPER_MAGIC, TMPFS_MAGIC, V9FS_MAGIC, XFS_SUPER_MAGIC,
};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::shm::clock;

/// A type of file system on which mappings are shared by all processes, and a new name in a directory changes the
/// directory's stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    magic: u32,
    /// Its name.
    pub name: &'static str,
}

/// Those without a name here are in no header of the kernel's.
const KNOWN: [FileSystem; 8] = [
    FileSystem { magic: EXT4_SUPER_MAGIC, name: "ext" },
    FileSystem { magic: XFS_SUPER_MAGIC, name: "xfs" },
    FileSystem { magic: BTRFS_SUPER_MAGIC, name: "btrfs" },
    FileSystem { magic: TMPFS_MAGIC, name: "tmpfs" },
    FileSystem { magic: OVERLAY, name: "overlayfs" },
    FileSystem { magic: F2FS_SUPER_MAGIC, name: "f2fs" },
    FileSystem { magic: 0x2fc1_2fc1, name: "zfs" },
    FileSystem { magic: 0xca45_1a4e, name: "bcachefs" },
];

/// Others, to be named where they are refused.
const REFUSED: [(u32, &str); 8] = [
    (NFS_SUPER_MAGIC, "NFS"),
    (V9FS_MAGIC, "9p"),
    (FUSE_SUPER_MAGIC, "FUSE"),
    (CIFS_SUPER_MAGIC, "CIFS"),
    (SMB2_SUPER_MAGIC, "SMB"),
    (CEPH_SUPER_MAGIC, "Ceph"),
    (MSDOS_SUPER_MAGIC, "FAT"),
    (RAMFS_MAGIC, "ramfs"),
];

/// How much is written at a time where space cannot be reserved otherwise.
const ZEROS_BYTES: usize = 1 << 20;

/// Reserves the first `bytes` of a new, empty file. Where that call is refused, by a sandbox or a file system, it is filled
/// with zeros.
pub fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Err(Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => {}
        done => return Ok(done?),
    }
    let zeros = vec![0; ZEROS_BYTES.min(usize::try_from(bytes).unwrap_or(ZEROS_BYTES))];
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        file.write_all_at(&zeros[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

/// Whether so many bytes can be written to files in `directory` now; nothing is left there.
pub fn has_room(directory: &Path, bytes: u64) -> bool {
    let flags = OFlags::TMPFILE.bits().cast_signed();
    let file = OpenOptions::new().write(true).mode(0o600).custom_flags(flags).open(directory);
    if let Ok(file) = file {
        return reserve(&file, bytes).is_ok();
    }
    // Not all have files without a name; what they say of themselves knows no quota.
    rustix::fs::statvfs(directory).is_ok_and(|state| {
        let has_names = state.f_favail > 0 || state.f_files == 0;
        has_names && state.f_bavail.saturating_mul(state.f_frsize) >= bytes
    })
}

/// How large the file system of `directory` is.
pub fn size(directory: &Path) -> u64 {
    let size = rustix::fs::statvfs(directory)
        .map_or(0, |state| state.f_blocks.saturating_mul(state.f_frsize));
    // Some do not say.
    if size == 0 { u64::MAX } else { size }
}

impl FileSystem {
    /// Whether its change times are as fine as they are shown, once somebody has looked.
    pub fn has_fine_times(self) -> bool {
        static KERNEL: OnceLock<bool> = OnceLock::new();
        clock::FINE_GRAINED.contains(&u64::from(self.magic))
            && *KERNEL.get_or_init(clock::kernel_has_fine_times)
    }

    /// That of an open file; the inner error says what it is instead of one that is known.
    pub fn of(file: impl AsFd) -> io::Result<Result<FileSystem, String>> {
        Ok(FileSystem::find(rustix::fs::fstatfs(file)?.f_type))
    }

    /// That of the file at `path`.
    pub fn at(path: &Path) -> io::Result<Result<FileSystem, String>> {
        Ok(FileSystem::find(rustix::fs::statfs(path)?.f_type))
    }

    fn find(magic: impl TryInto<i64>) -> Result<FileSystem, String> {
        let magic = magic.try_into().unwrap_or(0).cast_unsigned() & 0xffff_ffff;
        let named = |(number, name): &(u32, &str)| {
            (u64::from(*number) == magic).then(|| (*name).to_owned())
        };
        let known = KNOWN.into_iter().find(|known| u64::from(known.magic) == magic);
        known.ok_or_else(|| {
            REFUSED.iter().find_map(named).unwrap_or_else(|| format!("type {magic:#x}"))
        })
    }

    /// Whether a file that comes from a lower layer is another one once somebody has opened it for writing.
    pub fn copies_up(self) -> bool {
        self.magic == OVERLAY
    }
}

#[cfg(test)]
mod tests {
    use super::FileSystem;

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        assert_eq!(FileSystem::find(0xef53_i64).map(|known| known.name), Ok("ext"));
        assert_eq!(FileSystem::find(0x6969_i64), Err("NFS".to_owned()));
        assert_eq!(FileSystem::find(0x1234_i64), Err("type 0x1234".to_owned()));
        // A magic number whose highest bit is set, as a 32-bit kernel gives it.
        assert!(FileSystem::find(i64::from(0x9123_683e_u32.cast_signed())).is_ok());
        let proc = FileSystem::at(std::path::Path::new("/proc")).expect("asked");
        assert!(proc.is_err(), "{proc:?}");
    }
}
