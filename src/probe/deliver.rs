//! Writes what a record gives: first everything is found and checked, only then the first output is touched.
//!
//! It never writes over what a tool would treat in a way of its own (a symlink, a second link, a strange mode, a
//! directory, a device): that is not delivered, and the tool runs. Read next: `mod.rs`.

use core::ffi::CStr;

use crate::record::{self, BlobRef, Output, Record};
use crate::shm::clock;
use crate::shm::digests::DigestTable;
use crate::shm::layout::Kind;
use crate::shm::map::was_bridged;
use crate::shm::raw::{self, AsFd, Errno, Stream};
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
    /// An output could not be written; what had been created is removed again.
    Failed(Errno),
}

/// Reading a smaller file costs no more than noting its digest.
const NOTED_BYTES_MIN: u64 = 64 << 10;
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

    /// The entry of a blob, all of whose bytes were checked; `None` for an empty one, which is not stored.
    fn checked(self, blob: &BlobRef) -> Result<Option<Entry<'s>>, Undelivered> {
        if blob.len_bytes == 0 {
            return Ok(None);
        }
        let entry = self.find(blob).ok_or(Undelivered::Gone)?;
        if entry.body_sum() != Some(blob.sum) {
            return Err(Undelivered::Corrupt);
        }
        Ok(Some(entry))
    }
}

/// Delivers all outputs and texts. `delivered` is called when all outputs are there, before any text is written; from then
/// on it cannot fail.
pub fn deliver(
    record: &Record<'_>,
    blobs: Blobs<'_>,
    creation_mask: u32,
    delivered: impl FnOnce(),
) -> Result<(), Undelivered> {
    let mut occupied = [false; OUTPUTS_MAX];
    if record.outputs().len() > OUTPUTS_MAX {
        return Err(Undelivered::Corrupt);
    }
    for (slot, output) in occupied.iter_mut().zip(record.outputs()) {
        let output = output.ok_or(Undelivered::Corrupt)?;
        let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
        *slot = is_occupied(path, &output)?;
        blobs.checked(&output.blob)?;
    }
    let stdout = blobs.checked(&record.head.stdout)?;
    let stderr = blobs.checked(&record.head.stderr)?;
    for (at, output) in record.outputs().flatten().enumerate() {
        let occupied = occupied.get(at).copied().unwrap_or(true);
        if let Err(why) = write_output(record, &output, occupied, blobs, creation_mask) {
            for output in record.outputs().flatten().take(at) {
                let _ = record.string(output.path).map(raw::unlink);
            }
            return Err(why);
        }
    }
    delivered();
    replay(stdout, Stream::Output);
    replay(stderr, Stream::Error);
    Ok(())
}

/// What stands at an output's place: nothing, or a plain file such as the tool itself would have left there.
fn is_occupied(path: &CStr, output: &Output) -> Result<bool, Undelivered> {
    match raw::lstat(path) {
        Err(Errno::NOENT) if output.flags & record::ONLY_IF_PRESENT == 0 => Ok(false),
        Err(_) => Err(Undelivered::Special),
        Ok(state) => {
            let is_ours = state.is_regular() && state.uid == raw::user();
            let is_plain = state.links == 1
                && state.mode & 0o7777 == output.mode
                && output.flags & record::ONLY_IF_ABSENT == 0;
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
) -> Result<(), Undelivered> {
    let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
    // Found before anything is touched: a page that is gone shows here, not between creating a file and filling it.
    let entry = blobs.find(&output.blob);
    if was_bridged() {
        return Err(Undelivered::Corrupt);
    }
    let file = create(path, output.create_mode, occupied).map_err(Undelivered::Failed)?;
    let is_other_mode =
        output.flags & record::SET_MODE != 0 && output.mode != output.create_mode & !creation_mask;
    let mut result = match entry {
        Some(entry) => entry.write_to(file.as_fd()).map_err(Undelivered::Failed),
        None if output.blob.len_bytes == 0 => Ok(()),
        None => Err(Undelivered::Gone),
    };
    if result.is_ok() && is_other_mode {
        result = raw::set_mode(file.as_fd(), output.mode).map_err(Undelivered::Failed);
    }
    match result {
        Ok(()) => note_digest(&file, &output.blob, blobs.digests),
        Err(_) => {
            let _ = raw::unlink(path);
        }
    }
    result
}

/// Notes the digest of a large output, so that the look-up by content of what uses it (a library, by all that is linked
/// with it) need not read it again.
fn note_digest(file: &raw::Handle, blob: &BlobRef, digests: DigestTable<'_>) {
    if blob.len_bytes >= NOTED_BYTES_MIN
        && let Ok(state) = raw::stat_fd(file.as_fd())
        && clock::tells_changes_apart(file.as_fd())
    {
        digests.enter(&state.stat.stamp(), &blob.digest);
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

fn replay(entry: Option<Entry<'_>>, stream: Stream) {
    if let Some(entry) = entry {
        // A reader that has gone away is the user's wish; a full disk behind `2>file` loses the tool's text as well.
        let _ = entry.write_to(raw::standard(stream));
    }
}
