//! Writes what a record gives: first everything is found, only then the first output is touched.
//!
//! A blob is copied to private memory, and what is written is that copy: other processes may change what is mapped.
//! It never writes over what a tool would treat in a way of its own (a symlink, a second link, a strange mode, a
//! directory, a device): that is not delivered, and the tool runs. Read next: `mod.rs`.

use core::ffi::CStr;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::record::{self, BlobRef, Output, Record};
use crate::shm::clock;
use crate::shm::digests::DigestTable;
use crate::shm::layout::Kind;
use crate::shm::map::was_bridged;
use crate::shm::raw::{self, AsFd, Errno, Limited, Stream};
use crate::shm::segments::{Entry, Place, Segments};

/// Finds the entry of a blob that is not where the record's hint says.
pub type FindBlob<'s> = dyn Fn(&[u8; 32]) -> Option<Place> + 's;

/// The segments, and how to find a blob in them.
#[derive(Clone, Copy)]
pub struct Blobs<'s> {
    /// The segments.
    pub segments: &'s Segments,
    /// The index look-up by digest.
    pub find: &'s FindBlob<'s>,
    /// Where the digests of what is written are noted.
    pub digests: DigestTable<'s>,
}

/// Why nothing, or not all, was delivered. Whatever it was, the tool can run as if we had not been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// A blob has gone.
    Gone,
    /// A blob is damaged, or the record is.
    Corrupt,
    /// An output's place is taken by something that only the tool knows how to treat.
    Special,
    /// The text to replay is longer than the memory at hand.
    NoRoom,
    /// A file would be longer than this process may make one (`ulimit -f`).
    OverLimit,
    /// An output could not be written; what had been created is removed again.
    Failed(Errno),
}

/// A smaller file that is no library is seldom read again, and then quickly.
const NOTED_BYTES_MIN: u64 = 64 << 10;
/// How much of a large blob is copied, checked and written at a time: fits the second-level cache.
const PIECE_BYTES: usize = 64 << 10;
/// The most outputs of one record.
const OUTPUTS_MAX: usize = 256;

impl<'s> Blobs<'s> {
    /// The entry of a blob, by the record's hint or by the index.
    fn find(self, blob: &BlobRef) -> Option<Entry<'s>> {
        let hinted =
            Place { seq: blob.hint >> 20, unit: u32::try_from(blob.hint & 0xf_ffff).unwrap_or(0) };
        let is_it = |entry: &Entry<'_>| {
            entry.header.kind() == Some(Kind::Blob)
                && entry.header.key == blob.digest
                && entry.header.body_bytes == blob.len_bytes
        };
        self.segments
            .entry(hinted)
            .filter(is_it)
            .or_else(|| self.segments.entry((self.find)(&blob.digest)?).filter(is_it))
    }

    /// The entry of a blob; `None` for an empty one, which is not stored.
    fn entry(self, blob: &BlobRef) -> Result<Option<Entry<'s>>, Undelivered> {
        if blob.len_bytes == 0 {
            return Ok(None);
        }
        self.find(blob).map(Some).ok_or(Undelivered::Gone)
    }
}

/// A blob's bytes, copied into `scratch` and checked there, and what is left of it.
fn copy<'a>(
    entry: Option<Entry<'_>>,
    blob: &BlobRef,
    scratch: &'a mut [u8],
) -> Result<(&'a [u8], &'a mut [u8]), Undelivered> {
    let len = usize::try_from(blob.len_bytes).map_err(|_| Undelivered::NoRoom)?;
    let (bytes, rest) = scratch.split_at_mut_checked(len).ok_or(Undelivered::NoRoom)?;
    if let Some(entry) = entry {
        let is_right = entry.copy_out(0, bytes).is_some()
            && xxh3_128(bytes).to_le_bytes() == blob.sum
            && !was_bridged();
        if !is_right {
            return Err(Undelivered::Corrupt);
        }
    }
    Ok((bytes, rest))
}

/// Writes a large blob piece by piece; what is written is what is checked, and the last piece tells whether all of it
/// was right.
fn pour(
    entry: &Entry<'_>,
    blob: &BlobRef,
    file: raw::BorrowedFd<'_>,
    scratch: &mut [u8],
) -> Result<(), Undelivered> {
    let mut hasher = Xxh3::new();
    let mut done = 0;
    while done < blob.len_bytes {
        let left = usize::try_from(blob.len_bytes - done).unwrap_or(usize::MAX);
        let piece = scratch.get_mut(..PIECE_BYTES.min(left)).ok_or(Undelivered::NoRoom)?;
        entry.copy_out(done, piece).ok_or(Undelivered::Corrupt)?;
        hasher.update(piece);
        raw::write_all(file, piece).map_err(Undelivered::Failed)?;
        done += piece.len() as u64;
    }
    let is_right = hasher.digest128().to_le_bytes() == blob.sum && !was_bridged();
    if is_right { Ok(()) } else { Err(Undelivered::Corrupt) }
}

/// Delivers all outputs and texts by way of `scratch`. `delivered` is called when all outputs are there, before any text
/// is written; from then on it cannot fail.
pub fn deliver(
    record: &Record<'_>,
    blobs: Blobs<'_>,
    creation_mask: u32,
    scratch: &mut [u8],
    delivered: impl FnOnce(),
) -> Result<(), Undelivered> {
    let mut occupied = [false; OUTPUTS_MAX];
    let limit_bytes = raw::limit(Limited::FileBytes);
    if record.outputs().len() > OUTPUTS_MAX {
        return Err(Undelivered::Corrupt);
    }
    for (slot, output) in occupied.iter_mut().zip(record.outputs()) {
        let output = output.ok_or(Undelivered::Corrupt)?;
        let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
        *slot = is_occupied(path, &output)?;
        blobs.entry(&output.blob)?;
        if output.blob.len_bytes > limit_bytes {
            return Err(Undelivered::OverLimit);
        }
    }
    let (stdout, stderr) = (&record.head.stdout, &record.head.stderr);
    for (text, stream) in [(stdout, Stream::Output), (stderr, Stream::Error)] {
        if raw::outgrows(limit_bytes, raw::standard(stream), text.len_bytes) {
            return Err(Undelivered::OverLimit);
        }
    }
    let (stdout, scratch) = copy(blobs.entry(stdout)?, stdout, scratch)?;
    let (stderr, scratch) = copy(blobs.entry(stderr)?, stderr, scratch)?;
    for (at, output) in record.outputs().flatten().enumerate() {
        let occupied = occupied.get(at).copied().unwrap_or(true);
        if let Err(why) = write_output(record, &output, occupied, blobs, creation_mask, scratch) {
            for output in record.outputs().flatten().take(at) {
                let _ = record.string(output.path).map(raw::unlink);
            }
            return Err(why);
        }
    }
    delivered();
    for (text, stream) in [(stdout, Stream::Output), (stderr, Stream::Error)] {
        // A reader that has gone away is the user's wish; a full disk behind `2>file` loses the tool's text as well.
        let _ = raw::write_all(raw::standard(stream), text);
    }
    Ok(())
}

/// What stands at an output's place: nothing, or a plain file such as the tool itself would have left there.
fn is_occupied(path: &CStr, output: &Output) -> Result<bool, Undelivered> {
    let appends = output.flags & record::ONLY_IF_ABSENT != 0;
    match raw::lstat(path) {
        // The tool would append to a piece that we had written before a fault.
        Err(Errno::NOENT) if appends && output.blob.len_bytes > PIECE_BYTES as u64 => {
            Err(Undelivered::Special)
        }
        Err(Errno::NOENT) if output.flags & record::ONLY_IF_PRESENT == 0 => Ok(false),
        Err(_) => Err(Undelivered::Special),
        Ok(state) => {
            let is_ours = state.is_regular() && state.uid == raw::user();
            let is_plain = state.links == 1 && state.mode & 0o7777 == output.mode && !appends;
            // Tools that replace refuse to do so where they could not write.
            let is_replaced = output.flags & record::REPLACES != 0 && state.mode & 0o200 != 0;
            if is_ours && (is_plain || is_replaced) { Ok(true) } else { Err(Undelivered::Special) }
        }
    }
}

fn write_output(
    record: &Record<'_>,
    output: &Output,
    occupied: bool,
    blobs: Blobs<'_>,
    creation_mask: u32,
    scratch: &mut [u8],
) -> Result<(), Undelivered> {
    let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
    let blob = &output.blob;
    let entry = blobs.entry(blob)?;
    let large = entry.as_ref().filter(|_| blob.len_bytes > PIECE_BYTES as u64);
    // What fits is checked before anything is touched: a page that is gone shows here, not between creating a file and
    // filling it.
    let small = match large {
        Some(_) => &[],
        None => copy(entry, blob, &mut *scratch)?.0,
    };
    let file = create(path, output.create_mode, occupied).map_err(Undelivered::Failed)?;
    let mut result = match large {
        Some(entry) => pour(entry, blob, file.as_fd(), scratch),
        None => raw::write_all(file.as_fd(), small).map_err(Undelivered::Failed),
    };
    let is_other_mode =
        output.flags & record::SET_MODE != 0 && output.mode != output.create_mode & !creation_mask;
    if result.is_ok() && is_other_mode {
        result = raw::set_mode(file.as_fd(), output.mode).map_err(Undelivered::Failed);
    }
    match result {
        Ok(()) => note_digest(&file, output, blobs.digests),
        Err(_) => {
            let _ = raw::unlink(path);
        }
    }
    result
}

/// Notes the digest of a library or another large output, so that the look-up by content of what is made from it need not
/// read it again.
fn note_digest(file: &raw::Handle, output: &Output, digests: DigestTable<'_>) {
    let is_noted = output.flags & record::LIBRARY != 0 || output.blob.len_bytes >= NOTED_BYTES_MIN;
    if is_noted
        && let Ok(state) = raw::stat_fd(file.as_fd())
        && clock::tells_changes_apart(file.as_fd())
    {
        digests.enter(&state.stat.stamp(), &output.blob.digest);
    }
}

fn create(path: &CStr, mode: u32, occupied: bool) -> Result<raw::Handle, Errno> {
    if occupied {
        match raw::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    match raw::create(path, mode) {
        // An identical command running at the same time was quicker: its file is as good as gone.
        Err(Errno::EXIST) => {
            raw::unlink(path)?;
            raw::create(path, mode)
        }
        other => other,
    }
}
