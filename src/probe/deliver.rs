//! Writes what a record gives: first everything is found and checked, only then the first output is touched.
//!
//! It never writes over what a tool would treat in a way of its own (a symlink, a second link, a strange mode, a
//! directory, a device): that is not delivered, and the tool runs. Read next: `mod.rs`.

use core::ffi::CStr;

use crate::record::{self, BlobRef, Output, Record};
use crate::shm::layout::Kind;
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

/// The most outputs of one record.
const OUTPUTS_MAX: usize = 256;

impl<'s> Blobs<'s> {
    /// The checked bytes of a blob.
    pub fn checked(self, blob: &BlobRef) -> Result<Entry<'s>, Undelivered> {
        let hinted =
            Place { seq: blob.hint >> 20, unit: u32::try_from(blob.hint & 0xf_ffff).unwrap_or(0) };
        let is_it = |entry: &Entry<'_>| {
            entry.header.kind() == Some(Kind::Blob)
                && entry.header.key == blob.digest
                && entry.header.body_bytes == blob.len_bytes
        };
        let entry = self
            .segments
            .entry(hinted)
            .filter(is_it)
            .or_else(|| self.segments.entry((self.find)(&blob.digest)?).filter(is_it))
            .ok_or(Undelivered::Gone)?;
        if entry.body_sum() != Some(blob.sum) {
            return Err(Undelivered::Corrupt);
        }
        Ok(entry)
    }
}

/// Delivers all outputs and texts. `ready` is called when all is checked, before the first output is touched.
pub fn deliver(
    record: &Record<'_>,
    blobs: Blobs<'_>,
    creation_mask: u32,
    ready: impl FnOnce(),
) -> Result<(), Undelivered> {
    let mut entries = [None; OUTPUTS_MAX];
    for (slot, output) in entries.iter_mut().zip(record.outputs()) {
        let output = output.ok_or(Undelivered::Corrupt)?;
        let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
        let occupied = is_occupied(path, &output)?;
        *slot = Some((path, output, occupied, blobs.checked(&output.blob)?));
    }
    if record.outputs().len() > OUTPUTS_MAX {
        return Err(Undelivered::Corrupt);
    }
    let stdout = text(blobs, &record.head.stdout)?;
    let stderr = text(blobs, &record.head.stderr)?;
    ready();
    for (at, slot) in entries.iter().enumerate() {
        let Some((path, output, occupied, entry)) = slot else { break };
        if let Err(error) = write_output(path, output, *occupied, entry, creation_mask) {
            for (path, ..) in entries.iter().take(at).flatten() {
                let _ = raw::unlink(path);
            }
            return Err(Undelivered::Failed(error));
        }
    }
    replay(stdout, Stream::Output);
    replay(stderr, Stream::Error);
    Ok(())
}

fn text<'s>(blobs: Blobs<'s>, blob: &BlobRef) -> Result<Option<Entry<'s>>, Undelivered> {
    if blob.len_bytes == 0 {
        return Ok(None);
    }
    blobs.checked(blob).map(Some)
}

/// What stands at an output's place: nothing, or a plain file such as the tool itself would have left there.
fn is_occupied(path: &CStr, output: &Output) -> Result<bool, Undelivered> {
    match raw::lstat(path) {
        Err(Errno::NOENT) => Ok(false),
        Err(_) => Err(Undelivered::Special),
        Ok(state) => {
            let is_plain = state.is_regular()
                && state.links == 1
                && state.uid == raw::user()
                && state.mode & 0o7777 == output.mode
                && output.flags & record::ONLY_IF_ABSENT == 0;
            if is_plain { Ok(true) } else { Err(Undelivered::Special) }
        }
    }
}

fn write_output(
    path: &CStr,
    output: &Output,
    occupied: bool,
    entry: &Entry<'_>,
    creation_mask: u32,
) -> Result<(), Errno> {
    if occupied {
        match raw::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    let file = match raw::create(path, output.create_mode) {
        // An identical command running at the same time was quicker: its file is as good as gone.
        Err(Errno::EXIST) => {
            raw::unlink(path)?;
            raw::create(path, output.create_mode)?
        }
        other => other?,
    };
    let mut result = entry.write_to(file.as_fd());
    if result.is_ok()
        && output.flags & record::SET_MODE != 0
        && output.mode != output.create_mode & !creation_mask
    {
        result = raw::set_mode(file.as_fd(), output.mode);
    }
    if result.is_err() {
        let _ = raw::unlink(path);
    }
    result
}

fn replay(entry: Option<Entry<'_>>, stream: Stream) {
    if let Some(entry) = entry {
        // A reader that has gone away is the user's wish; a full disk behind `2>file` loses the tool's text as well.
        let _ = entry.write_to(raw::standard(stream));
    }
}
