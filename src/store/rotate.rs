//! Segments come and go: the next one is made, the oldest are given up while there is more than may be.
//!
//! Any process may do it at any time, and may die at it. Read next: `docs/store.md`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Store, files};
use crate::error::StoreError;
use crate::index;
use crate::outcome::InternalError;
use crate::shm::counters::Counter;
use crate::shm::fault;
use crate::shm::layout::{
    SEGMENT_BYTES, SEGMENT_FIRST_UNIT, SEGMENT_MAGIC, SEGMENT_UNITS, SegmentHeader, UNIT_BYTES,
    index_bytes,
};
use crate::shm::raw::{self, AsFd};

impl Store {
    /// Whether the index that we have mapped is the one that new processes open: after `clear` both would go on to a
    /// segment of the same name.
    pub(super) fn is_current(&self) -> bool {
        raw::open_read_at(self.cache.segments.directory(), index::NAME)
            .and_then(|file| raw::stat_fd(file.as_fd()))
            .is_ok_and(|state| (state.stat.dev, state.stat.ino) == self.index_file)
    }

    /// Leaves segment `seq` for the next one; any process may help, and all but one find it done.
    pub(super) fn rotate(&self, seq: u64) -> Result<(), StoreError> {
        if !self.is_current() {
            return Err(StoreError::Busy);
        }
        self.make_segment(seq + 1)?;
        self.control()?.advance(seq, SEGMENT_FIRST_UNIT);
        self.evict();
        Ok(())
    }

    /// The head of segment `seq`.
    fn segment_header(&self, seq: u64, segment_bytes: u64) -> SegmentHeader {
        let uuid = self.cache.index.header().uuid;
        SegmentHeader { magic: SEGMENT_MAGIC, uuid, seq, segment_bytes, check: 0 }.sealed()
    }

    /// Makes a segment file with its space reserved; that somebody else has made it is as good.
    pub(super) fn make_segment(&self, seq: u64) -> Result<(), StoreError> {
        let path = self.segment_path(seq);
        if fs::symlink_metadata(&path).is_ok() {
            return Ok(());
        }
        let header = self.segment_header(seq, SEGMENT_BYTES);
        let make = || -> io::Result<()> {
            let (temporary, file) = files::temporary_file(&path)?;
            fault::point("segment: temporary file made");
            let made = files::reserve(&file, SEGMENT_BYTES)
                .inspect(|()| fault::point("segment: space reserved"))
                .and_then(|()| (&file).write_all(bytemuck::bytes_of(&header)))
                .inspect(|()| fault::point("segment: head written"))
                .and_then(|()| match fs::hard_link(&temporary, &path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    other => other,
                });
            fault::point("segment: linked");
            fs::remove_file(&temporary)?;
            fault::point("segment: temporary name removed");
            made
        };
        make().map_err(StoreError::io("cannot create", &path, InternalError::Segment))
    }

    /// Gives `temporary`, open as `file`, a number as a segment of its own; `headed` puts the entry's header into it.
    pub(super) fn link_segment(
        &self,
        (temporary, file): (&Path, &File),
        segment_bytes: u64,
        headed: impl Fn(u64) -> io::Result<()>,
    ) -> Result<u64, StoreError> {
        let linked = self.control()?.link(|seq| {
            if !self.is_current() {
                return Err(StoreError::Busy);
            }
            let path = self.segment_path(seq);
            let header = self.segment_header(seq, segment_bytes);
            let linked = headed(seq)
                .inspect(|()| fault::point("large segment: entry's header written"))
                .and_then(|()| file.write_all_at(bytemuck::bytes_of(&header), 0))
                .inspect(|()| fault::point("large segment: head written"))
                .and_then(|()| fs::hard_link(temporary, &path));
            fault::point("large segment: linked");
            match linked {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => {
                    Err(StoreError::io("cannot create", &path, InternalError::Segment)(error))
                }
            }
        })?;
        self.evict();
        linked.ok_or(StoreError::Busy)
    }

    /// Gives the oldest segments up while index and segments are larger than may be.
    /// One process at a time does it, for all.
    pub(super) fn evict(&self) {
        let Ok(_lock) = files::lock(&self.directory, "lock-evict", false) else { return };
        fault::point("eviction: locked");
        let first = self.first_to_stay(self.max_bytes, self.window().newest);
        self.raise_oldest(first);
        for (seq, _) in files::segments(&self.directory) {
            if seq < first && fs::remove_file(self.segment_path(seq)).is_ok() {
                self.count(Counter::EVICTIONS);
                fault::point("eviction: segment removed");
            }
        }
    }

    /// From now on nothing below `first` is found.
    pub(super) fn raise_oldest(&self, first: u64) {
        if let Ok(control) = self.control() {
            control.retire(first);
        }
    }

    /// The lowest number from which all segments fit beside the index; the last one always stays.
    pub(super) fn first_to_stay(&self, max_bytes: u64, newest: u64) -> u64 {
        let index_bytes = index_bytes(self.cache.index.header().buckets);
        let mut segments = files::segments(&self.directory);
        segments.retain(|(seq, _)| *seq <= newest);
        let Some((last, last_bytes)) = segments.pop() else { return newest };
        let mut left = max_bytes.saturating_sub(index_bytes).saturating_sub(last_bytes);
        let mut first = last;
        for (seq, bytes) in segments.into_iter().rev() {
            let Some(rest) = left.checked_sub(bytes) else { break };
            (left, first) = (rest, seq);
        }
        first
    }

    /// Bytes of all entries, the unused rest of sealed segments included.
    pub fn bytes_used(&self) -> u64 {
        let unit = (self.cache.index.cursor() & 0xffff_ffff).min(u64::from(SEGMENT_UNITS));
        let window = self.window();
        let used = |(seq, bytes): (u64, u64)| {
            let is_open = seq == window.newest && bytes == SEGMENT_BYTES;
            if is_open { unit * UNIT_BYTES } else { bytes }
        };
        let segments = files::segments(&self.directory).into_iter();
        segments.filter(|(seq, _)| (window.oldest..=window.newest).contains(seq)).map(used).sum()
    }
}
