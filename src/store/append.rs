//! Appending to segments: reserve by one atomic add, write, and let `publish` make it findable; rotation and eviction.
//!
//! Nothing that was published is ever written again, and no file is ever cut. Whatever kills a process in between
//! leaves a hole that nobody refers to. Read next: "What a crash leaves behind" in `ARCHITECTURE.md`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use bytemuck::Zeroable;

use super::{Store, create};
use crate::error::StoreError;
use crate::index;
use crate::outcome::InternalError;
use crate::shm::counters::Counter;
use crate::shm::layout::{
    Checked, Control, ENTRY_BYTES_MAX, ENTRY_MAGIC, EntryHeader, Kind, SEGMENT_BYTES,
    SEGMENT_FIRST_UNIT, SEGMENT_MAGIC, SEGMENT_UNITS, SegmentHeader, UNIT_BYTES,
};
use crate::shm::map::was_bridged;
use crate::shm::raw::{self, AsFd};
use crate::shm::segments::Place;
use crate::shm::words::Ordering;

/// An entry to append.
pub(super) struct NewEntry<'a> {
    pub(super) kind: Kind,
    pub(super) key: [u8; 32],
    pub(super) hot_bytes: u64,
    pub(super) sum: [u8; 16],
    pub(super) identity: [u8; 16],
    pub(super) circumstances: u64,
    pub(super) body: &'a [&'a [u8]],
}

/// How often a full segment is left for the next one before giving up.
const ROTATIONS_MAX: usize = 3;

impl Store {
    fn control(&self) -> Result<&Control, StoreError> {
        self.index.control().ok_or_else(|| StoreError::Corrupt(self.directory.join("index")))
    }

    /// Appends an entry; it cannot be found before it is published.
    pub(super) fn append(&self, entry: &NewEntry<'_>) -> Result<Place, StoreError> {
        let body_bytes: u64 = entry.body.iter().map(|part| part.len() as u64).sum();
        let bytes = body_bytes + size_of::<EntryHeader>() as u64;
        if bytes > ENTRY_BYTES_MAX.min(self.max_bytes / 8) {
            return Err(StoreError::TooLarge(bytes));
        }
        let (place, file) = self.reserve_in_file(bytes.div_ceil(UNIT_BYTES))?;
        let header = EntryHeader {
            magic: ENTRY_MAGIC,
            kind: entry.kind.number(),
            seq: u32::try_from(place.seq & 0xffff_ffff).unwrap_or(0),
            unit: place.unit,
            uuid: self.cache.index.header().uuid,
            key: entry.key,
            body_bytes,
            hot_bytes: entry.hot_bytes,
            sum: entry.sum,
            identity: entry.identity,
            circumstances: entry.circumstances,
            ..EntryHeader::zeroed()
        }
        .sealed();
        let path = self.segment_path(place.seq);
        let write = || -> io::Result<()> {
            let mut at = place.offset() as u64 + size_of::<EntryHeader>() as u64;
            for part in entry.body {
                file.write_all_at(part, at)?;
                at += part.len() as u64;
            }
            file.write_all_at(bytemuck::bytes_of(&header), place.offset() as u64)
        };
        write().map_err(StoreError::io("cannot write", &path, InternalError::Append))?;
        Ok(place)
    }

    /// Reserves units in a segment whose file is as it was made; one that is cut, gone or something else is left.
    fn reserve_in_file(&self, units: u64) -> Result<(Place, File), StoreError> {
        for _ in 0..=ROTATIONS_MAX {
            let place = self.reserve(units)?;
            if was_bridged() {
                break;
            }
            match self.open_for_append(place.seq) {
                Some(file) => return Ok((place, file)),
                None => self.rotate(place.seq)?,
            }
        }
        Err(StoreError::Corrupt(self.directory.join("index")))
    }

    pub(super) fn open_for_append(&self, seq: u64) -> Option<File> {
        // What somebody put in the segment's place must not hold us (a FIFO), nor be written to (behind a symlink).
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.segment_path(seq))
            .ok()?;
        let state = file.metadata().ok()?;
        if !state.is_file() || state.len() != SEGMENT_BYTES {
            return None;
        }
        let mut header = SegmentHeader::zeroed();
        file.read_exact_at(bytemuck::bytes_of_mut(&mut header), 0).ok()?;
        let is_ours = header.magic == SEGMENT_MAGIC
            && header.uuid == self.cache.index.header().uuid
            && header.seq == seq
            && header.is_intact();
        is_ours.then_some(file)
    }

    pub(super) fn segment_path(&self, seq: u64) -> PathBuf {
        self.directory.join(format!("seg-{seq:016x}"))
    }

    /// Reserves units for one entry; nobody else gets them.
    fn reserve(&self, units: u64) -> Result<Place, StoreError> {
        self.renew_epoch()?;
        let cursor = &self.control()?.cursor;
        for _ in 0..=ROTATIONS_MAX {
            let got = cursor.fetch_add(units, Ordering::Relaxed);
            let (seq, unit) = (got >> 32, got & 0xffff_ffff);
            if seq > 0 && unit + units <= u64::from(SEGMENT_UNITS) {
                return Ok(Place { seq, unit: u32::try_from(unit).unwrap_or(0) });
            }
            self.rotate(seq)?;
        }
        Err(StoreError::Busy)
    }

    /// Begins a new segment where the machine was started anew, or the cache was copied, since the last append:
    /// pages reach the disk in any order, so what the cursor says of an older time may lie behind what was published.
    fn renew_epoch(&self) -> Result<(), StoreError> {
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
        let epoch = xxhash_rust::xxh3::xxh3_64(&text) | 1;
        let stored = &self.control()?.epoch;
        if stored.load(Ordering::Acquire) == epoch {
            self.has_epoch.set(true);
            return Ok(());
        }
        // Held for the few milliseconds in which a segment is made; results that come meanwhile wait for it.
        let _lock = create::lock(&self.directory, "lock", true)?;
        if stored.load(Ordering::Acquire) == epoch {
            return Ok(());
        }
        let cursor = &self.control()?.cursor;
        let last = create::segment_numbers(&self.directory).into_iter().max().unwrap_or(0);
        let seq = last.max(cursor.load(Ordering::Relaxed) >> 32) + 1;
        self.make_segment(seq)?;
        let oldest = &self.control()?.oldest;
        if oldest.load(Ordering::Relaxed) == 0 {
            oldest.store(seq, Ordering::Release);
        }
        cursor.store(seq << 32 | u64::from(SEGMENT_FIRST_UNIT), Ordering::Relaxed);
        stored.store(epoch, Ordering::Release);
        Ok(())
    }

    /// Whether the index that we have mapped is the one that new processes open: after `clear` both would go on to a
    /// segment of the same name.
    fn is_current(&self) -> bool {
        raw::open_read_at(self.cache.segments.directory(), index::NAME)
            .and_then(|file| raw::stat_fd(file.as_fd()))
            .is_ok_and(|state| (state.stat.dev, state.stat.ino) == self.index_file)
    }

    /// Leaves segment `seq` for the next one; any process may help, and all but one find it done.
    fn rotate(&self, seq: u64) -> Result<(), StoreError> {
        if !self.is_current() {
            return Err(StoreError::Busy);
        }
        self.make_segment(seq + 1)?;
        let cursor = &self.control()?.cursor;
        let next = (seq + 1) << 32 | u64::from(SEGMENT_FIRST_UNIT);
        let mut seen = cursor.load(Ordering::Relaxed);
        while seen >> 32 == seq {
            match cursor.compare_exchange(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        self.evict();
        Ok(())
    }

    /// Makes a segment file with its space reserved; that somebody else has made it is as good.
    fn make_segment(&self, seq: u64) -> Result<(), StoreError> {
        let path = self.segment_path(seq);
        if fs::symlink_metadata(&path).is_ok() {
            return Ok(());
        }
        let header = SegmentHeader {
            magic: SEGMENT_MAGIC,
            uuid: self.cache.index.header().uuid,
            seq,
            segment_bytes: SEGMENT_BYTES,
            check: 0,
        }
        .sealed();
        let make = || -> io::Result<()> {
            let (temporary, file) = create::temporary_file(&path)?;
            let made = reserve_and_head(&file, bytemuck::bytes_of(&header)).and_then(|()| {
                match fs::hard_link(&temporary, &path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    other => other,
                }
            });
            fs::remove_file(&temporary)?;
            made
        };
        make().map_err(StoreError::io("cannot create", &path, InternalError::Segment))
    }

    /// Gives the oldest segments up while there are more than may be. Whoever is at it already does it for all.
    fn evict(&self) {
        let Ok(_lock) = create::lock(&self.directory, "lock-evict", false) else { return };
        let Ok(Control { oldest, .. }) = self.control() else { return };
        let segments_max = (self.max_bytes / SEGMENT_BYTES).max(2);
        // Both numbers may be nonsense: nothing here counts from one to the other.
        let first = (self.window().newest + 1).saturating_sub(segments_max);
        if first > oldest.load(Ordering::Relaxed) {
            oldest.store(first, Ordering::Release);
        }
        for number in create::segment_numbers(&self.directory) {
            if number < first && fs::remove_file(self.segment_path(number)).is_ok() {
                self.count(Counter::EVICTIONS);
            }
        }
    }
}

fn reserve_and_head(file: &File, head: &[u8]) -> io::Result<()> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES)?;
    let mut file = file;
    file.write_all(head)
}

/// Bytes of all entries, the unused rest of sealed segments included.
pub(super) fn bytes_used(store: &Store) -> u64 {
    let Ok(Control { cursor, .. }) = store.control() else { return 0 };
    let cursor = cursor.load(Ordering::Relaxed);
    let window = store.window();
    if window.oldest == 0 {
        return 0;
    }
    let sealed = window.newest.saturating_sub(window.oldest) * SEGMENT_BYTES;
    sealed + (cursor & 0xffff_ffff).min(u64::from(SEGMENT_UNITS)) * UNIT_BYTES
}

/// Opens a segment for tests that damage it.
#[cfg(test)]
pub(super) fn open_segment(store: &Store, seq: u64) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(store.segment_path(seq))
        .expect("the segment is there")
}
