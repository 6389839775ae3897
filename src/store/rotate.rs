//! Segments come and go: the next one is made, the oldest are given up while there is more than may be.
//!
//! Any process may do it at any time, and may die at it. Read next: `docs/store.md`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::append::now_s;
use super::space::{SegmentFile, segment_bytes_max};
use super::survivors::Pass;
use super::{Store, files, gc};
use crate::error::StoreError;
use crate::index::{self, Window};
use crate::outcome::InternalError;
use crate::shm::counters::Counter;
use crate::shm::fault;
use crate::shm::layout::{
    SEGMENT_BYTES, SEGMENT_BYTES_MIN, SEGMENT_FIRST_UNIT, SEGMENT_MAGIC, SegmentHeader, UNIT_BYTES,
};
use crate::shm::raw::{self, AsFd};

/// The shortest segment that holds an entry of `units`.
fn segment_bytes_for(units: u64) -> u64 {
    let bytes = (u64::from(SEGMENT_FIRST_UNIT) + units) * UNIT_BYTES;
    bytes.next_multiple_of(SEGMENT_BYTES_MIN).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES)
}

impl Store {
    /// Whether the index that we have mapped is the one that new processes open: after `clear` both would go on to a
    /// segment of the same name.
    pub(super) fn is_current(&self) -> bool {
        raw::open_read_at(self.cache.segments.directory(), index::NAME)
            .and_then(|file| raw::stat_fd(file.as_fd()))
            .is_ok_and(|state| (state.stat.dev, state.stat.ino) == self.index_file)
    }

    /// Leaves segment `seq`, which is unused from `unit` on, for the next one, which holds an entry of `units`; any process
    /// may help, and all but one find it done. Who has rotated is to evict, once it has what it wanted: what survives takes room,
    /// too.
    pub(super) fn rotate(&self, seq: u64, unit: u64, units: u64) -> Result<(), StoreError> {
        if !self.is_current() {
            return Err(StoreError::Busy);
        }
        self.make_next_segment(seq, units)?;
        self.has_rotated.set(true);
        self.control()?.advance(seq, SEGMENT_FIRST_UNIT);
        // Where the file could not be opened, somebody else may write behind `unit`.
        if self.open_segment(seq).is_some_and(|(_, bytes)| (unit + units) * UNIT_BYTES > bytes) {
            self.give_back_from(seq, unit);
        }
        Ok(())
    }

    /// Leaves the segment that is appended to for one that is as short as can be.
    pub(super) fn begin_a_short_segment(&self) -> Result<(), StoreError> {
        let seq = self.window().newest;
        self.make_segment(seq + 1, SEGMENT_BYTES_MIN)?;
        if let Some(unit) = self.control()?.advance(seq, SEGMENT_FIRST_UNIT) {
            self.give_back_from(seq, unit);
        }
        Ok(())
    }

    /// Makes the segment after `seq`; a short one where the disk has no room for a longer one.
    fn make_next_segment(&self, seq: u64, units: u64) -> Result<(), StoreError> {
        let wanted = self.next_segment_bytes(seq, units);
        let least = segment_bytes_for(units);
        match self.make_segment(seq + 1, wanted) {
            Err(_) if least < wanted => self.make_segment(seq + 1, least),
            done => done,
        }
    }

    /// How long the segment after `seq` is to be: twice as long as the last one that entries shared, and long enough for an
    /// entry of `units`.
    fn next_segment_bytes(&self, seq: u64, units: u64) -> u64 {
        let segments = files::segments(&self.directory);
        let shared = segments.iter().rev().filter(|(old, _)| *old <= seq);
        let last = shared.clone().find(|(_, bytes)| *bytes <= SEGMENT_BYTES);
        let twice = match last {
            Some((old, bytes)) if *old == seq => bytes * 2,
            Some((_, bytes)) => *bytes,
            None => SEGMENT_BYTES_MIN,
        };
        twice.min(segment_bytes_max(self.max_bytes)).max(segment_bytes_for(units))
    }

    /// The head of segment `seq`.
    fn segment_header(&self, seq: u64, segment_bytes: u64) -> SegmentHeader {
        let uuid = self.cache.index.header().uuid;
        let made_s = u64::from(now_s());
        SegmentHeader { magic: SEGMENT_MAGIC, uuid, seq, segment_bytes, made_s, check: 0 }.sealed()
    }

    /// Makes a segment file of `segment_bytes` with its space reserved; that somebody else has made it is as good.
    pub(super) fn make_segment(&self, seq: u64, segment_bytes: u64) -> Result<(), StoreError> {
        let path = self.segment_path(seq);
        if fs::symlink_metadata(&path).is_ok() {
            return Ok(());
        }
        let header = self.segment_header(seq, segment_bytes);
        let make = || -> io::Result<()> {
            let (temporary, file) = files::temporary_file(&path)?;
            fault::point("segment: temporary file made");
            let made = files::reserve(&file, segment_bytes)
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
        let link = |seq| {
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
        };
        let linked = self.control()?.link(link, |seq, unit| self.give_back_from(seq, unit))?;
        self.evict();
        linked.ok_or(StoreError::Busy)
    }

    /// Gives the oldest segments up while the cache directory takes more than it may; what was used lately is copied out of
    /// them first. One process at a time does it, for all.
    pub(super) fn evict(&self) {
        if self.is_evicting.replace(true) {
            return;
        }
        if let Ok(_lock) = files::lock(&self.directory, "lock-evict", false) {
            fault::point("eviction: locked");
            gc::remove_temporaries(&self.directory);
            self.evict_to(self.max_bytes, &mut |_| {});
        }
        self.is_evicting.set(false);
    }

    /// The same down to `max_bytes`, under the lock of eviction. `going` is given each segment of this layout before it goes,
    /// when what survives it is copied.
    pub(super) fn evict_to(&self, max_bytes: u64, going: &mut dyn FnMut(&SegmentFile)) {
        let mut pass = None;
        loop {
            let space = self.space();
            let Window { oldest, newest } = self.window();
            let excess = space.excess(max_bytes, newest);
            for other in &excess.others {
                let _ = fs::remove_file(other);
                fault::point("eviction: segment of another layout removed");
            }
            // Numbers that are nonsense say nothing of what is gone.
            let first = if oldest > newest { excess.first } else { excess.first.max(oldest) };
            let Some(gone) = space.own.first().filter(|own| own.seq < first) else {
                return self.raise_oldest(excess.first);
            };
            let pass = pass.get_or_insert_with(|| {
                Pass::new(self.gather_use(), segment_bytes_max(max_bytes), newest)
            });
            if (oldest..=pass.newest).contains(&gone.seq) {
                self.save_survivors(gone.seq, gone.disk_bytes, pass);
            }
            going(gone);
            self.raise_oldest(gone.seq + 1);
            if fs::remove_file(&gone.path).is_err() {
                return;
            }
            self.count(Counter::EVICTIONS);
            fault::point("eviction: segment removed");
        }
    }

    /// From now on nothing below `first` is found.
    pub(super) fn raise_oldest(&self, first: u64) {
        if let Ok(control) = self.control() {
            control.retire(first);
        }
    }
}
