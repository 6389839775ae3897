//! Reads an export from its beginning to its end, verifies all of it, and believes nothing of it.
//!
//! It stores nothing. Read next: `export_format.rs`, `import.rs`.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh3::Xxh3;

use super::decode::{decode_record, is_whole};
use super::draft::{blobs_of, is_of_use_elsewhere};
use super::export_format::{FileHeader, MAGIC, TRAILER_DIGEST_OFFSET, TRAILER_MAGIC, Trailer};
use crate::error::StoreError;
use crate::record::BlobRef;
use crate::shm::layout::{Checked, DIRECTORY, ENTRY_BYTES_MAX, ENTRY_MAGIC, EntryHeader, Kind};

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;
pub(super) const HEADER_BYTES: u64 = size_of::<EntryHeader>() as u64;

/// Why nothing was imported, or not all.
#[derive(Debug)]
pub enum ImportError {
    /// The file cannot be read.
    Read(io::Error),
    /// It cannot be copied into the cache's directory, from where it is read again.
    Copy(io::Error),
    /// It is something else.
    NotAnExport,
    /// Another version of ibid wrote it.
    Layout(String),
    /// It ends before the trailer.
    CutShort,
    /// What stands at this offset is not what was written.
    Damaged(u64),
    /// A record names a blob that is neither in the file nor in the cache.
    NoBlob(u64),
    /// It is no longer what was verified.
    Changed,
    /// The cache cannot take it.
    Store(StoreError),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Read(error) => write!(f, "cannot be read: {error}"),
            ImportError::Copy(error) => write!(f, "cannot be copied into the cache: {error}"),
            ImportError::NotAnExport => write!(f, "is not an export of ibid"),
            ImportError::Layout(layout) => write!(
                f,
                "was written by another version of ibid (layout {layout}, here {DIRECTORY}); nothing is imported"
            ),
            ImportError::CutShort => write!(f, "is cut short; nothing is imported"),
            ImportError::Damaged(at) => write!(f, "is damaged at byte {at}; nothing is imported"),
            ImportError::NoBlob(at) => {
                write!(f, "lacks what its record at byte {at} gives; nothing is imported")
            }
            ImportError::Changed => write!(f, "was changed while it was read"),
            ImportError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ImportError {}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> ImportError {
        ImportError::Store(error)
    }
}

/// An entry of the file that is no blob.
pub(super) struct Item {
    pub(super) header: EntryHeader,
    /// Where its body begins.
    pub(super) at: u64,
    /// What it names.
    pub(super) blobs: Vec<BlobRef>,
}

impl Item {
    pub(super) fn is_record(&self) -> bool {
        self.header.kind() == Some(Kind::Record)
    }

    /// What tells it from entries that say something else.
    pub(super) fn identity(&self) -> Identity {
        identity(&self.header)
    }
}

/// Kind, key under which it is found by content, and what it says.
pub(super) type Identity = (u32, [u8; 16], [u8; 16]);

pub(super) fn identity(header: &EntryHeader) -> Identity {
    let is_record = header.kind() == Some(Kind::Record);
    let says = if is_record { header.identity } else { header.sum };
    (header.kind, key_by_content(header), says)
}

/// The key of the index under which an entry is found whatever the times of files are.
pub(super) fn key_by_content(header: &EntryHeader) -> [u8; 16] {
    let (first, second) = header.key.split_at(16);
    let key = if header.kind() == Some(Kind::Record) { second } else { first };
    key.try_into().unwrap_or_default()
}

/// A blob that is whole, in the file or in the cache.
#[derive(Clone, Copy)]
pub(super) struct Whole<At> {
    pub(super) at: At,
    pub(super) len_bytes: u64,
    pub(super) sum: [u8; 16],
}

impl<At> Whole<At> {
    pub(super) fn is(&self, blob: &BlobRef) -> bool {
        self.len_bytes == blob.len_bytes && self.sum == blob.sum
    }
}

/// What a file holds, in its order.
#[derive(Default)]
pub(super) struct ExportContents {
    /// By digest, with where their bytes begin.
    pub(super) blobs: HashMap<[u8; 32], Whole<u64>>,
    pub(super) items: Vec<Item>,
}

/// Reads a file from the beginning to its end, and believes nothing of it.
pub(super) struct Reader<'r> {
    from: &'r mut dyn Read,
    copy: Option<&'r File>,
    tell: &'r mut dyn FnMut(u64),
    digest: blake3::Hasher,
    at: u64,
    chunk: Vec<u8>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(
        from: &'r mut dyn Read,
        copy: Option<&'r File>,
        tell: &'r mut dyn FnMut(u64),
    ) -> Reader<'r> {
        let chunk = vec![0; CHUNK_BYTES];
        Reader { from, copy, tell, digest: blake3::Hasher::new(), at: 0, chunk }
    }

    /// Fills `into`, of which the first `hashed` bytes count for the file's digest.
    fn fill(&mut self, into: &mut [u8], hashed: usize) -> Result<(), ImportError> {
        self.from.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ImportError::CutShort,
            _ => ImportError::Read(error),
        })?;
        self.digest.update(&into[..hashed]);
        if let Some(copy) = self.copy {
            copy.write_all_at(into, self.at).map_err(ImportError::Copy)?;
        }
        self.at += into.len() as u64;
        (self.tell)(self.at);
        Ok(())
    }

    /// Fills `into`, all of which counts for the file's digest.
    fn fill_whole(&mut self, into: &mut [u8]) -> Result<(), ImportError> {
        self.fill(into, into.len())
    }

    pub(super) fn contents(mut self) -> Result<ExportContents, ImportError> {
        self.file_header()?;
        let mut contents = ExportContents::default();
        let (mut entries, mut blobs) = (0, 0);
        loop {
            let at = self.at;
            let mut head = [0; size_of::<EntryHeader>()];
            self.fill(&mut head, 0)?;
            let magic = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            if magic == TRAILER_MAGIC {
                self.trailer(&bytemuck::pod_read_unaligned(&head), (entries, blobs, at))?;
                return Ok(contents);
            }
            self.digest.update(&head);
            let header: EntryHeader = bytemuck::pod_read_unaligned(&head);
            let is_right = magic == ENTRY_MAGIC
                && header.is_intact()
                && u64::from(header.hot_bytes) <= header.body_bytes;
            let kind = header.kind().filter(|_| is_right).ok_or(ImportError::Damaged(at))?;
            entries += 1;
            if kind == Kind::Blob {
                blobs += 1;
                self.blob(&header, &mut contents)?;
            } else {
                contents.items.push(self.item(header)?);
            }
        }
    }

    fn file_header(&mut self) -> Result<(), ImportError> {
        let mut bytes = [0; size_of::<FileHeader>()];
        let (magic, rest) = bytes.split_at_mut(MAGIC.len());
        match self.fill_whole(magic) {
            Err(ImportError::CutShort) => return Err(ImportError::NotAnExport),
            filled => filled?,
        }
        if *magic != MAGIC {
            return Err(ImportError::NotAnExport);
        }
        self.fill_whole(rest)?;
        let header: FileHeader = bytemuck::pod_read_unaligned(&bytes);
        if !header.is_intact() || header.reserved != 0 {
            return Err(ImportError::Damaged(0));
        }
        if header.layout() == DIRECTORY {
            Ok(())
        } else {
            Err(ImportError::Layout(header.layout()))
        }
    }

    fn trailer(
        &mut self,
        trailer: &Trailer,
        (entries, blobs, at): (u64, u64, u64),
    ) -> Result<(), ImportError> {
        self.digest.update(&bytemuck::bytes_of(trailer)[..TRAILER_DIGEST_OFFSET]);
        let is_right = *self.digest.finalize().as_bytes() == trailer.digest
            && (trailer.entries, trailer.blobs, trailer.bytes) == (entries, blobs, at);
        if !is_right {
            return Err(ImportError::Damaged(at));
        }
        match self.fill(&mut [0], 0) {
            Err(ImportError::CutShort) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(ImportError::Damaged(self.at - 1)),
        }
    }

    fn blob(&mut self, header: &EntryHeader, into: &mut ExportContents) -> Result<(), ImportError> {
        let at = self.at;
        let (mut sum, mut digest) = (Xxh3::new(), blake3::Hasher::new());
        let mut chunk = std::mem::take(&mut self.chunk);
        let mut left = header.body_bytes;
        while left > 0 {
            let part = &mut chunk[..usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)];
            self.fill_whole(part)?;
            sum.update(part);
            digest.update(part);
            left -= part.len() as u64;
        }
        self.chunk = chunk;
        let is_right = sum.digest128().to_le_bytes() == header.sum
            && *digest.finalize().as_bytes() == header.key;
        if !is_right {
            return Err(ImportError::Damaged(at));
        }
        let blob = Whole { at, len_bytes: header.body_bytes, sum: header.sum };
        into.blobs.insert(header.key, blob);
        Ok(())
    }

    fn item(&mut self, header: EntryHeader) -> Result<Item, ImportError> {
        let at = self.at;
        let damaged = ImportError::Damaged(at);
        if header.body_bytes > ENTRY_BYTES_MAX {
            return Err(damaged);
        }
        let mut body = vec![0; usize::try_from(header.body_bytes).unwrap_or(0)];
        self.fill_whole(&mut body)?;
        if header.kind() != Some(Kind::Record) {
            let item = Item { header, at, blobs: Vec::new() };
            let is_right = header.kind() == Some(Kind::PathSet) && is_whole(&header, &body);
            return if is_right { Ok(item) } else { Err(damaged) };
        }
        let Some(draft) = decode_record(&header, &body).filter(is_of_use_elsewhere) else {
            return Err(damaged);
        };
        if draft.identity() != header.identity {
            return Err(damaged);
        }
        Ok(Item { header, at, blobs: blobs_of(&draft).collect() })
    }
}
