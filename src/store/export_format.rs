//! The bytes of an export: a header, entries, a trailer. It only knows what they look like.
//!
//! An entry is its header as it stands in a segment, without the place and the cache's identity, and its body. Blobs come
//! before all that names them. Read next: `export.rs`, `import.rs`, `docs/store.md`.

use bytemuck::{Pod, Zeroable};

use crate::shm::layout::{Checked, DIRECTORY, EntryHeader};

/// First bytes of an export.
pub(super) const MAGIC: [u8; 8] = *b"ibidEXP1";
/// First bytes of the trailer; those of an entry are `ENTRY_MAGIC`.
pub(super) const TRAILER_MAGIC: u32 = 0x6962_6574;

/// The head of the file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct FileHeader {
    /// [`MAGIC`].
    pub(super) magic: [u8; 8],
    /// [`DIRECTORY`] of the ibid that wrote it, filled up with zeros: entries of another layout say other things.
    pub(super) layout: [u8; 32],
    /// When it was written, seconds since the epoch.
    pub(super) created_s: u64,
    /// Zero.
    pub(super) reserved: u64,
    /// XXH3-64 of all bytes before.
    pub(super) check: u64,
}

/// The end of the file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Trailer {
    /// [`TRAILER_MAGIC`].
    pub(super) magic: u32,
    /// Zero.
    pub(super) reserved: u32,
    /// How many entries come before.
    pub(super) entries: u64,
    /// How many of them are blobs.
    pub(super) blobs: u64,
    /// The length of all that comes before.
    pub(super) bytes: u64,
    /// Zero.
    pub(super) spare: [u64; 8],
    /// BLAKE3 of all bytes before, the trailer's included.
    pub(super) digest: [u8; 32],
}

/// Where [`Trailer::digest`] begins.
pub(super) const TRAILER_DIGEST_OFFSET: usize = core::mem::offset_of!(Trailer, digest);

const _: () = assert!(size_of::<FileHeader>() == 64);
/// A reader takes so many bytes, and sees by the first four what they are.
const _: () = assert!(size_of::<Trailer>() == size_of::<EntryHeader>());
const _: () = assert!(TRAILER_DIGEST_OFFSET == 96);

impl Checked for FileHeader {
    const CHECK_OFFSET: usize = core::mem::offset_of!(FileHeader, check);
    fn check(&self) -> u64 {
        self.check
    }
}

impl FileHeader {
    /// The head of an export that is written now.
    pub(super) fn new(created_s: u64) -> FileHeader {
        let mut layout = [0; 32];
        layout[..DIRECTORY.len()].copy_from_slice(DIRECTORY.as_bytes());
        let mut header = FileHeader { magic: MAGIC, layout, created_s, reserved: 0, check: 0 };
        header.check = header.expected_check();
        header
    }

    /// The layout's name.
    pub(super) fn layout(&self) -> String {
        let name = self.layout.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_this_layout() {
        let header = FileHeader::new(7);
        assert_eq!(header.layout(), DIRECTORY);
        assert_eq!(header.check, header.expected_check());
        assert_ne!(header.check, FileHeader { created_s: 8, ..header }.expected_check());
    }

    #[test]
    fn the_format_is_pinned() {
        use core::mem::offset_of;
        let places = [
            offset_of!(FileHeader, layout),
            offset_of!(FileHeader, created_s),
            offset_of!(FileHeader, check),
            offset_of!(Trailer, entries),
            offset_of!(Trailer, blobs),
            offset_of!(Trailer, bytes),
            TRAILER_DIGEST_OFFSET,
        ];
        assert_eq!(places, [8, 40, 56, 8, 16, 24, 96], "another one needs another `MAGIC`");
    }
}
