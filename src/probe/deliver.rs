//! Writes what a record gives: first everything is found, only then the first output is touched.
//!
//! A blob is copied to private memory, and what is written is that copy: other processes may change what is mapped.
//! It never writes over what a tool would treat in a way of its own (a symlink, a second link, a strange mode, a
//! directory, a device): that is not delivered, and the tool runs. Signals wait meanwhile: nothing that is half written
//! stands under an output's name when the process ends. Read next: `mod.rs`, `shm/mask.rs`.

use core::ffi::CStr;

use bytemuck::{Pod, Zeroable};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::record::{self, BlobRef, Output, Record};
use crate::shm::clock;
use crate::shm::digests::DigestTable;
use crate::shm::layout::Kind;
use crate::shm::map::was_bridged;
use crate::shm::raw::{self, AsFd, Errno, Limited, Stream};
use crate::shm::segments::{Entry, Place, Segments};
use crate::shm::{mask, text};

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
    /// A text cannot be written where it is to go: what comes of that, only the tool knows. Looking for another record is in
    /// vain.
    Unwritable,
    /// A text is not to be shown (see [`Terms::may_show`]); nor is that of another record.
    Unwanted,
    /// A signal came while outputs were written, but did not end the process.
    Interrupted,
}

impl Undelivered {
    /// Whether looking for another record is in vain.
    pub fn is_final(self) -> bool {
        matches!(self, Undelivered::Unwritable | Undelivered::Unwanted)
    }
}

/// A smaller file that is no library is seldom read again, and then quickly.
const NOTED_BYTES_MIN: u64 = 64 << 10;
/// How much of a large blob is copied, checked and written at a time: fits the second-level cache.
const PIECE_BYTES: usize = 64 << 10;

impl<'s> Blobs<'s> {
    /// The entry of a blob, by the record's hint or by the index.
    fn find(self, blob: &BlobRef) -> Option<Entry<'s>> {
        let is_it = |entry: &Entry<'_>| {
            entry.header.kind() == Some(Kind::Blob)
                && entry.header.key == blob.digest
                && entry.header.body_bytes == blob.len_bytes
        };
        self.segments
            .entry(blob.place())
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
        if mask::is_end_waiting() {
            return Err(Undelivered::Interrupted);
        }
    }
    let is_right = hasher.digest128().to_le_bytes() == blob.sum && !was_bridged();
    if is_right { Ok(()) } else { Err(Undelivered::Corrupt) }
}

/// What is known of an output's place.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Spot {
    /// Whether something stood there (0 or 1).
    is_occupied: u64,
    /// The file that was delivered there, by device and inode; both 0 before.
    device: u64,
    inode: u64,
}

/// A text to replay, and where to.
type ReplayText<'t> = (&'t [u8], Stream);

/// What of the invocation counts for a delivery.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The file mode creation mask.
    pub creation_mask: u32,
    /// Whether a text may be shown; `None`: any.
    pub may_show: Option<fn(&[u8]) -> bool>,
}

/// Delivers all outputs and texts by way of `scratch`. `delivered` is called when all of them are written. After an error
/// the tool can run: what had been made where nothing was is removed again, what took the place of a file stays.
pub fn deliver(
    record: &Record<'_>,
    blobs: Blobs<'_>,
    terms: Terms,
    scratch: &mut [u8],
    delivered: impl FnOnce(),
) -> Result<(), Undelivered> {
    let (spots, scratch) = spots(record.outputs().len(), scratch).ok_or(Undelivered::NoRoom)?;
    let limit_bytes = raw::limit(Limited::FileBytes);
    look_at_places(record, blobs, limit_bytes, spots)?;
    let (stdout, stderr) = (&record.head.stdout, &record.head.stderr);
    for (text, stream) in [(stdout, Stream::Output), (stderr, Stream::Error)] {
        let len_bytes = text.len_bytes;
        if raw::outgrows(limit_bytes, raw::standard(stream), len_bytes) {
            return Err(Undelivered::OverLimit);
        }
        if len_bytes > 0 && !text::can_take(raw::standard(stream), len_bytes) {
            return Err(Undelivered::Unwritable);
        }
    }
    let (stdout, scratch) = copy(blobs.entry(stdout)?, stdout, scratch)?;
    let (stderr, scratch) = copy(blobs.entry(stderr)?, stderr, scratch)?;
    if terms.may_show.is_some_and(|may_show| !may_show(stdout) || !may_show(stderr)) {
        return Err(Undelivered::Unwanted);
    }
    mask::hold();
    let result = write_outputs(record, spots, blobs, terms.creation_mask, scratch)
        .and_then(|()| write_texts([(stdout, Stream::Output), (stderr, Stream::Error)]));
    if result.is_err() {
        mask::forget_those_of_writes();
        remove_outputs(record, spots);
    }
    mask::release();
    if result.is_ok() {
        delivered();
    }
    result
}

/// Takes a table for so many outputs from `scratch`.
fn spots(len: usize, scratch: &mut [u8]) -> Option<(&mut [Spot], &mut [u8])> {
    let bytes = len.checked_mul(size_of::<Spot>())?.checked_add(align_of::<Spot>())?;
    let (table, rest) = scratch.split_at_mut_checked(bytes)?;
    let (_, spots, _) = bytemuck::pod_align_to_mut::<u8, Spot>(table);
    Some((spots.get_mut(..len)?, rest))
}

/// Looks at everything that may keep an output from being delivered; nothing is touched.
fn look_at_places(
    record: &Record<'_>,
    blobs: Blobs<'_>,
    limit_bytes: u64,
    spots: &mut [Spot],
) -> Result<(), Undelivered> {
    for (spot, output) in spots.iter_mut().zip(record.outputs()) {
        let output = output.ok_or(Undelivered::Corrupt)?;
        let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
        let is_occupied = u64::from(is_occupied(path, &output)?);
        *spot = Spot { is_occupied, device: 0, inode: 0 };
        blobs.entry(&output.blob)?;
        if output.blob.len_bytes > limit_bytes {
            return Err(Undelivered::OverLimit);
        }
    }
    Ok(())
}

fn write_outputs(
    record: &Record<'_>,
    spots: &mut [Spot],
    blobs: Blobs<'_>,
    creation_mask: u32,
    scratch: &mut [u8],
) -> Result<(), Undelivered> {
    for (at, (spot, output)) in spots.iter_mut().zip(record.outputs().flatten()).enumerate() {
        if at > 0 && mask::is_end_waiting() {
            return Err(Undelivered::Interrupted);
        }
        let is_occupied = spot.is_occupied != 0;
        if output.flags & record::DIRECTORY != 0 {
            if !is_occupied {
                make_directory(record, &output)?;
            }
            continue;
        }
        if output.flags & record::REMOVED != 0 {
            if is_occupied {
                remove(record, &output)?;
            }
            continue;
        }
        (spot.device, spot.inode) =
            write_output(record, &output, is_occupied, blobs, creation_mask, &mut *scratch)?;
    }
    Ok(())
}

/// Makes a directory; one that an identical command has made meanwhile is as good. It stays if the delivery fails: the tool
/// makes it, too.
fn make_directory(record: &Record<'_>, output: &Output) -> Result<(), Undelivered> {
    let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
    match raw::make_directory(path, output.create_mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(Undelivered::Failed(error)),
    }
}

/// Removes what the tool removes. It stays so if the delivery fails: the tool removes it, too.
fn remove(record: &Record<'_>, output: &Output) -> Result<(), Undelivered> {
    let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
    match raw::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Undelivered::Failed(error)),
    }
}

/// Writes the texts. What waits of signals comes before: a stream may take its time.
fn write_texts(texts: [ReplayText<'_>; 2]) -> Result<(), Undelivered> {
    if texts.iter().all(|(text, _)| text.is_empty()) {
        return Ok(());
    }
    mask::hold_those_of_writes();
    let mut written = [0; 2];
    for (at, (text, stream)) in texts.into_iter().enumerate() {
        let result;
        (written[at], result) = raw::write_counted(raw::standard(stream), text);
        if result.is_err() {
            // The tool says all of it again.
            for ((_, stream), written) in texts.into_iter().zip(written) {
                text::take_back(raw::standard(stream), written);
            }
            return Err(Undelivered::Unwritable);
        }
    }
    Ok(())
}

/// Removes what was delivered where nothing had been.
fn remove_outputs(record: &Record<'_>, spots: &[Spot]) {
    for (spot, output) in spots.iter().zip(record.outputs().flatten()) {
        if spot.is_occupied == 0
            && spot.inode != 0
            && let Some(path) = record.string(output.path)
        {
            raw::unlink_if(path, (spot.device, spot.inode));
        }
    }
}

/// What stands at an output's place: nothing, or a plain file such as the tool itself would have left there.
fn is_occupied(path: &CStr, output: &Output) -> Result<bool, Undelivered> {
    let appends = output.flags & record::ONLY_IF_ABSENT != 0;
    if output.flags & record::REMOVED != 0 {
        // Some tools cut a file before they remove it, which a second name would show.
        let is_plain = |state: &raw::FileState| {
            let is_ours = state.is_regular() && state.uid == raw::user();
            is_ours && state.links == 1 && state.mode & 0o200 != 0
        };
        return match raw::lstat(path) {
            Err(Errno::NOENT) => Ok(false),
            Ok(state) if is_plain(&state) && !appends => Ok(true),
            _ => Err(Undelivered::Special),
        };
    }
    if output.flags & record::DIRECTORY != 0 {
        // Where a link leads shows in what the tool writes.
        return match raw::lstat(path) {
            Err(Errno::NOENT) => Ok(false),
            Ok(state) if state.is_directory() => Ok(true),
            _ => Err(Undelivered::Special),
        };
    }
    match raw::lstat(path) {
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

/// Writes an output; its device and inode.
fn write_output(
    record: &Record<'_>,
    output: &Output,
    is_occupied: bool,
    blobs: Blobs<'_>,
    creation_mask: u32,
    scratch: &mut [u8],
) -> Result<(u64, u64), Undelivered> {
    let path = record.string(output.path).ok_or(Undelivered::Corrupt)?;
    let blob = &output.blob;
    let entry = blobs.entry(blob)?;
    // What fits is checked before anything is touched: a page that is gone shows here, not between creating a file and
    // filling it.
    let (bytes, scratch) = match entry {
        Some(entry) if blob.len_bytes > PIECE_BYTES as u64 => (Bytes::Large(entry), scratch),
        entry => copy(entry, blob, scratch).map(|(bytes, rest)| (Bytes::Small(bytes), rest))?,
    };
    let sets_mode =
        output.flags & record::SET_MODE != 0 && output.mode != output.create_mode & !creation_mask;
    let new = New { path, output, bytes, sets_mode, is_occupied };
    // What takes more than one `write` gets its name when it is whole, too: a process that is killed leaves no part of it.
    let is_large = blob.len_bytes > PIECE_BYTES as u64;
    let whole = match output.flags & (record::NAMED_WHOLE | record::ONLY_IF_ABSENT) {
        0 if !is_large => None,
        _ => new.write_whole(scratch)?,
    };
    let file = match whole {
        Some(file) => file,
        None => new.write_in_place(scratch)?,
    };
    let state = raw::stat_fd(file.as_fd()).map_err(Undelivered::Failed)?;
    note_digest(&file, &state, output, blobs.digests);
    let id = (state.stat.dev, state.stat.ino);
    file.close().map_err(|error| {
        raw::unlink_if(path, id);
        Undelivered::Failed(error)
    })?;
    Ok(id)
}

/// An output's bytes.
enum Bytes<'b> {
    /// Copied and checked.
    Small(&'b [u8]),
    /// Still in their entry.
    Large(Entry<'b>),
}

/// An output that is to be written.
struct New<'n> {
    path: &'n CStr,
    output: &'n Output,
    bytes: Bytes<'n>,
    sets_mode: bool,
    is_occupied: bool,
}

impl New<'_> {
    /// Under its name from the beginning; removed again if not all of it could be written.
    fn write_in_place(&self, scratch: &mut [u8]) -> Result<raw::Handle, Undelivered> {
        let (flags, len_bytes) = (self.output.flags, self.output.blob.len_bytes);
        if flags & record::ONLY_IF_ABSENT != 0 && len_bytes > PIECE_BYTES as u64 {
            // After a fault the tool would append to what is there.
            return Err(Undelivered::Special);
        }
        let file = create(self.path, self.output.create_mode, self.is_occupied)
            .map_err(Undelivered::Failed)?;
        self.fill(&file, scratch).inspect_err(|_| {
            if let Ok(state) = raw::stat_fd(file.as_fd()) {
                raw::unlink_if(self.path, (state.stat.dev, state.stat.ino));
            }
        })?;
        Ok(file)
    }

    /// As a file that gets its name when it is whole; `None` where the system has no such files.
    fn write_whole(&self, scratch: &mut [u8]) -> Result<Option<raw::Handle>, Undelivered> {
        let (directory, scratch) = directory_of(self.path, scratch).ok_or(Undelivered::NoRoom)?;
        let Ok(file) = raw::create_unnamed(directory, self.output.create_mode) else {
            return Ok(None);
        };
        self.fill(&file, scratch)?;
        let mut named = Err(Errno::EXIST);
        if !self.is_occupied {
            named = raw::give_name(file.as_fd(), self.path);
        }
        if named == Err(Errno::EXIST) {
            let _ = raw::unlink(self.path);
            named = raw::give_name(file.as_fd(), self.path);
        }
        Ok(named.is_ok().then_some(file))
    }

    fn fill(&self, file: &raw::Handle, scratch: &mut [u8]) -> Result<(), Undelivered> {
        match &self.bytes {
            Bytes::Small(bytes) => {
                raw::write_all(file.as_fd(), bytes).map_err(Undelivered::Failed)?;
            }
            Bytes::Large(entry) => pour(entry, &self.output.blob, file.as_fd(), scratch)?,
        }
        if self.sets_mode {
            raw::set_mode(file.as_fd(), self.output.mode).map_err(Undelivered::Failed)?;
        }
        Ok(())
    }
}

/// The directory of `path`, written to `scratch`, and what is left of that.
fn directory_of<'a>(path: &CStr, scratch: &'a mut [u8]) -> Option<(&'a CStr, &'a mut [u8])> {
    let path = path.to_bytes();
    let directory = match path.iter().rposition(|byte| *byte == b'/') {
        None => b".",
        // The root's slash belongs to it.
        Some(at) => path.get(..at.max(1))?,
    };
    let (bytes, rest) = scratch.split_at_mut_checked(directory.len() + 1)?;
    bytes.get_mut(..directory.len())?.copy_from_slice(directory);
    *bytes.last_mut()? = 0;
    Some((CStr::from_bytes_with_nul(bytes).ok()?, rest))
}

/// Notes the digest of a library or another large output, so that the look-up by content of what is made from it need not
/// read it again.
fn note_digest(
    file: &raw::Handle,
    state: &raw::FileState,
    output: &Output,
    digests: DigestTable<'_>,
) {
    let is_noted = output.flags & record::LIBRARY != 0 || output.blob.len_bytes >= NOTED_BYTES_MIN;
    if is_noted && clock::tells_changes_apart(file.as_fd()) {
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
