//! What is larger than a segment: each such blob is a segment of its own, copied straight from its file.
//!
//! It is never in memory as a whole. Until it is linked under its number nobody else knows of it. Read next: `rotate.rs`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::append::NewEntry;
use super::{Store, files};
use crate::error::StoreError;
use crate::outcome::InternalError;
use crate::record::BlobRef;
use crate::shm::fault;
use crate::shm::layout::{ENTRY_BYTES_MAX, EntryHeader, SEGMENT_FIRST_UNIT, large_segment_bytes};
use crate::shm::segments::Place;

/// How much is copied at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What is tried where the file itself gives an error, and not the cache.
pub(super) const READING: &str = "cannot read";

impl Store {
    /// Stores the content of a file once; gives the name by which a record refers to it.
    pub fn put_file(&self, file: &File) -> Result<BlobRef, StoreError> {
        let failed = || StoreError::io(READING, &self.directory, InternalError::Append);
        let len_bytes = file.metadata().map_err(failed())?.len();
        self.put_part(file, 0, len_bytes)
    }

    /// The same of the `len_bytes` from `from`.
    pub(super) fn put_part(
        &self,
        file: &File,
        from: u64,
        len_bytes: u64,
    ) -> Result<BlobRef, StoreError> {
        let failed = || StoreError::io(READING, &self.directory, InternalError::Append);
        let entry_bytes = self.entry_bytes(len_bytes)?;
        if entry_bytes > ENTRY_BYTES_MAX {
            return self.put_large(file, from, len_bytes, large_segment_bytes(entry_bytes));
        }
        let mut bytes = vec![0; usize::try_from(len_bytes).unwrap_or(0)];
        file.read_exact_at(&mut bytes, from).map_err(failed())?;
        self.put_blob(&bytes)
    }

    fn put_large(
        &self,
        file: &File,
        from: u64,
        len_bytes: u64,
        segment_bytes: u64,
    ) -> Result<BlobRef, StoreError> {
        self.renew_epoch()?;
        let beside = self.segment_path(0);
        let failed = || StoreError::io("cannot write", &beside, InternalError::Append);
        let (path, copy) = files::temporary_file(&beside).map_err(failed())?;
        let temporary = Temporary(path);
        fault::point("large segment: temporary file made");
        files::reserve(&copy, segment_bytes).map_err(failed())?;
        fault::point("large segment: space reserved");
        let mut blob = copy_hashed((file, from), &copy, len_bytes).map_err(failed())?;
        self.once(&mut blob, |blob| self.link_large(&temporary.0, &copy, blob, segment_bytes))?;
        Ok(blob)
    }

    fn link_large(
        &self,
        temporary: &Path,
        copy: &File,
        blob: &BlobRef,
        segment_bytes: u64,
    ) -> Result<Place, StoreError> {
        let entry = NewEntry::blob(blob, &[]);
        let uuid = self.cache.index.header().uuid;
        let headed = |seq| {
            let place = Place { seq, unit: SEGMENT_FIRST_UNIT };
            let header = entry.header_at(place, blob.len_bytes, uuid);
            copy.write_all_at(bytemuck::bytes_of(&header), place.offset() as u64)
        };
        let seq = self.link_segment((temporary, copy), segment_bytes, headed)?;
        Ok(Place { seq, unit: SEGMENT_FIRST_UNIT })
    }
}

/// A file that goes away with its owner; a name that was linked to it stays.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        fault::point("large segment: temporary name removed");
    }
}

/// What the content of a file is called as a blob.
pub fn name_file(file: &File) -> io::Result<BlobRef> {
    hashed((file, 0), file.metadata()?.len(), |_, _| Ok(()))
}

/// Copies a part of a file to where the body of a large segment's entry begins; what it is called as a blob.
fn copy_hashed(from: (&File, u64), to: &File, len_bytes: u64) -> io::Result<BlobRef> {
    let body = Place { seq: 0, unit: SEGMENT_FIRST_UNIT }.offset() + size_of::<EntryHeader>();
    hashed(from, len_bytes, |part, at| {
        to.write_all_at(part, body as u64 + at)?;
        fault::point("large segment: a part written");
        Ok(())
    })
}

/// What a part of a file is called as a blob; `take` is given its bytes one after the other, and where they stand in it.
fn hashed(
    (file, from): (&File, u64),
    len_bytes: u64,
    mut take: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<BlobRef> {
    let (mut sum, mut digest) = (Xxh3::new(), blake3::Hasher::new());
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < len_bytes {
        let left = usize::try_from(len_bytes - at).unwrap_or(usize::MAX);
        let part = &mut chunk[..CHUNK_BYTES.min(left)];
        file.read_exact_at(part, from + at)?;
        sum.update(part);
        digest.update(part);
        take(part, at)?;
        at += part.len() as u64;
    }
    Ok(BlobRef {
        digest: *digest.finalize().as_bytes(),
        sum: sum.digest128().to_le_bytes(),
        len_bytes,
        hint: 0,
    })
}
