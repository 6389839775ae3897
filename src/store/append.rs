//! Appending to segments: reserve by one atomic add, write, and let `publish` make it findable.
//!
//! Nothing that was published is ever written again, and no file is ever cut. A process that is killed in
//! between leaves a hole to which nothing refers. Read next: `rotate.rs`, `docs/store.md`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bytemuck::Zeroable;
use rustix::fs::{Mode, OFlags, openat};

use super::{Store, files};
use crate::error::StoreError;
use crate::outcome::InternalError;
use crate::record::BlobRef;
use crate::shm::fault;
use crate::shm::layout::{
    Checked, Control, ENTRY_BYTES_MAX, ENTRY_MAGIC, EntryHeader, Kind, SEGMENT_BYTES,
    SEGMENT_BYTES_MIN, SEGMENT_MAGIC, SegmentHeader, UNIT_BYTES, segment_name,
};
use crate::shm::map::was_bridged;
use crate::shm::segments::Place;

/// An entry to append.
pub(super) struct NewEntry<'a> {
    pub(super) kind: Kind,
    pub(super) key: [u8; 32],
    pub(super) hot_bytes: u32,
    /// Seconds since the epoch.
    pub(super) stored_s: u32,
    pub(super) sum: [u8; 16],
    pub(super) identity: [u8; 16],
    pub(super) circumstances: u64,
    pub(super) body: &'a [&'a [u8]],
}

impl<'a> NewEntry<'a> {
    /// A blob with these bytes.
    pub(super) fn blob(blob: &BlobRef, body: &'a [&'a [u8]]) -> NewEntry<'a> {
        NewEntry {
            kind: Kind::Blob,
            key: blob.digest,
            hot_bytes: 0,
            stored_s: now_s(),
            sum: blob.sum,
            identity: [0; 16],
            circumstances: 0,
            body,
        }
    }

    /// What another cache had with this header.
    pub(super) fn of(header: &EntryHeader, body: &'a [&'a [u8]]) -> Option<NewEntry<'a>> {
        Some(NewEntry {
            kind: header.kind()?,
            key: header.key,
            hot_bytes: header.hot_bytes,
            stored_s: header.stored_s,
            sum: header.sum,
            identity: header.identity,
            circumstances: header.circumstances,
            body,
        })
    }

    /// Its header at `place` of the cache with identity `uuid`.
    pub(super) fn header_at(&self, place: Place, body_bytes: u64, uuid: [u8; 16]) -> EntryHeader {
        EntryHeader {
            magic: ENTRY_MAGIC,
            kind: self.kind.number(),
            seq: u32::try_from(place.seq & 0xffff_ffff).unwrap_or(0),
            unit: place.unit,
            uuid,
            key: self.key,
            body_bytes,
            hot_bytes: self.hot_bytes,
            stored_s: self.stored_s,
            sum: self.sum,
            identity: self.identity,
            circumstances: self.circumstances,
            ..EntryHeader::zeroed()
        }
        .sealed()
    }
}

impl Store {
    pub(super) fn control(&self) -> Result<&Control, StoreError> {
        self.index()?.control().ok_or_else(|| StoreError::Corrupt(self.directory.join("index")))
    }

    /// The length of an entry; one thing must not drive out much of what else is there.
    pub(super) fn entry_bytes(&self, body_bytes: u64) -> Result<u64, StoreError> {
        let bytes = body_bytes + size_of::<EntryHeader>() as u64;
        if bytes > self.max_bytes / 8 { Err(StoreError::TooLarge(bytes)) } else { Ok(bytes) }
    }

    /// Appends an entry; it cannot be found before it is published.
    pub(super) fn append(&self, entry: &NewEntry<'_>) -> Result<Place, StoreError> {
        let body_bytes: u64 = entry.body.iter().map(|part| part.len() as u64).sum();
        let bytes = self.entry_bytes(body_bytes)?;
        if bytes > ENTRY_BYTES_MAX {
            return Err(StoreError::TooLarge(bytes));
        }
        let (place, file) = self.reserve_in_file(bytes.div_ceil(UNIT_BYTES))?;
        let header = entry.header_at(place, body_bytes, self.cache.index.header().uuid);
        let path = self.segment_path(place.seq);
        let write = || -> io::Result<()> {
            let mut at = place.offset() as u64 + size_of::<EntryHeader>() as u64;
            for part in entry.body {
                file.write_all_at(part, at)?;
                fault::point("entry: a part of the body written");
                at += part.len() as u64;
            }
            file.write_all_at(bytemuck::bytes_of(&header), place.offset() as u64)
        };
        write().map_err(StoreError::io("cannot write", &path, InternalError::Append))?;
        fault::point("entry: header written");
        Ok(place)
    }

    /// Reserves units in a segment whose file is as it was made; one that is cut, gone or something else is left.
    fn reserve_in_file(&self, units: u64) -> Result<(Place, File), StoreError> {
        self.renew_epoch()?;
        let control = self.control()?;
        let window = control.window();
        if window.newest < window.oldest {
            // Nonsense, under which nothing that is appended would be found.
            self.evict();
        }
        let open = |seq, end| self.open_for_append(seq, end);
        let mut has_left = false;
        let leave = |seq, unit| {
            has_left = true;
            self.rotate(seq, unit, units)
        };
        let reserved = control.reserve(units, open, leave);
        if has_left {
            self.evict();
        }
        let reserved = reserved?;
        if was_bridged() {
            return Err(StoreError::Corrupt(self.directory.join("index")));
        }
        reserved.ok_or(StoreError::Busy)
    }

    /// A segment that entries share, if it has units up to `end`.
    fn open_for_append(&self, seq: u64, end: u64) -> Option<File> {
        let (file, bytes) = self.open_segment(seq)?;
        (bytes <= SEGMENT_BYTES && end * UNIT_BYTES <= bytes).then_some(file)
    }

    /// A segment whose length and header are right, and its length: a larger one holds one large entry.
    pub(super) fn open_segment(&self, seq: u64) -> Option<(File, u64)> {
        // What somebody put in the segment's place must not hold us (a FIFO), nor be written to (behind a symlink).
        let access = if self.is_read_only() { OFlags::RDONLY } else { OFlags::RDWR };
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let (directory, name) = (self.cache.segments.directory(), segment_name(seq));
        let file =
            File::from(openat(directory, &name[..name.len() - 1], flags, Mode::empty()).ok()?);
        let state = file.metadata().ok().filter(fs::Metadata::is_file)?;
        let mut header = SegmentHeader::zeroed();
        file.read_exact_at(bytemuck::bytes_of_mut(&mut header), 0).ok()?;
        let is_ours = header.magic == SEGMENT_MAGIC
            && header.uuid == self.cache.index.header().uuid
            && header.seq == seq
            && header.segment_bytes == state.len()
            && header.is_intact();
        is_ours.then_some((file, header.segment_bytes))
    }

    pub(super) fn segment_path(&self, seq: u64) -> PathBuf {
        self.directory.join(format!("seg-{seq:016x}"))
    }

    /// Begins a new segment where the machine was started anew, or the cache was copied, since the last append:
    /// pages reach the disk in any order, so what the cursor says of an older time may lie behind what was published.
    pub(super) fn renew_epoch(&self) -> Result<(), StoreError> {
        if self.has_epoch.get() {
            return Ok(());
        }
        let path = self.directory.join("index");
        let state = fs::metadata(&path).map_err(StoreError::io(
            "cannot use",
            &path,
            InternalError::Index,
        ))?;
        let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut text = boot;
        text.extend(state.dev().to_le_bytes());
        text.extend(state.ino().to_le_bytes());
        // Numbers of files that are removed are given out again.
        let made = state.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        text.extend(made.map_or(0, |made| made.as_nanos()).to_le_bytes());
        let epoch = xxhash_rust::xxh3::xxh3_64(&text) | 1;
        let control = self.control()?;
        if control.is_of(epoch) {
            self.has_epoch.set(true);
            return Ok(());
        }
        // Held for the few milliseconds in which a segment is made; results that come meanwhile wait for it.
        let _lock = files::lock(&self.directory, "lock", true)?;
        fault::point("epoch: locked");
        if control.is_of(epoch) {
            return Ok(());
        }
        let last = files::segments(&self.directory).last().map_or(0, |(seq, _)| *seq);
        let seq = last.max(control.window().newest) + 1;
        self.make_segment(seq, SEGMENT_BYTES_MIN)?;
        control.begin(seq, epoch);
        self.has_rotated.set(true);
        fault::point("epoch: begun");
        self.give_back_before(seq);
        self.gather_use_now();
        self.evict();
        Ok(())
    }
}

/// The time, in seconds since the epoch, as an entry keeps it.
pub(super) fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

/// Lets the segment that is appended to be full.
#[cfg(test)]
pub(super) fn fill(store: &Store) {
    use crate::shm::layout::SEGMENT_UNITS;
    use crate::shm::words::{Ordering, Shared};
    let control = store.control().expect("it is mapped");
    control.cursor.set(control.window().newest << 32 | u64::from(SEGMENT_UNITS), Ordering::Relaxed);
}

/// Opens a segment for tests that damage it.
#[cfg(test)]
pub(super) fn open_segment(store: &Store, seq: u64) -> File {
    store.open_segment(seq).expect("the segment is there").0
}
