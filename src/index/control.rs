//! Where the next entry goes and which segments are there: reserve, leave a full segment, give old ones up, begin anew.
//!
//! No locks, no files: the caller makes and removes those. It runs on shared words and under a model checker.
//! Read next: `shm/words.rs`, `docs/store.md`.

use super::Window;
use crate::shm::layout::{Control, SEGMENT_FIRST_UNIT, SEGMENT_UNITS};
use crate::shm::segments::Place;
use crate::shm::words::{Ordering, Shared};

/// How often a full segment is left for the next one before giving up.
const ROTATIONS_MAX: usize = 3;

const fn place_in(seq: u64, unit: u32) -> u64 {
    seq << 32 | unit as u64
}

impl<W: Shared> Control<W> {
    /// Which segments are there now.
    pub fn window(&self) -> Window {
        let oldest = self.oldest.get(Ordering::Relaxed);
        Window { oldest, newest: self.cursor.get(Ordering::Relaxed) >> 32 }
    }

    /// Reserves units for one entry; nobody else gets them. `open` opens a segment to which units can be appended up to the
    /// one that it is given; `leave` leaves one that cannot be opened, or that is too short, for the next one, see
    /// [`Control::advance`]. It is given the unit from which on the segment is unused for ever: a reservation that is too long
    /// for it is the last. `None` if others fill each segment that it comes to.
    pub fn reserve<F, E>(
        &self,
        units: u64,
        mut open: impl FnMut(u64, u64) -> Option<F>,
        mut leave: impl FnMut(u64, u64) -> Result<(), E>,
    ) -> Result<Option<(Place, F)>, E> {
        for _ in 0..=ROTATIONS_MAX {
            // Segment and unit come from one word, so that a reservation and a rotation cannot mix.
            let got = self.cursor.add(units, Ordering::Relaxed);
            let (seq, unit) = (got >> 32, got & 0xffff_ffff);
            let has_room = unit + units <= u64::from(SEGMENT_UNITS);
            // A unit before the first: so often was a full segment asked that the count ran over into the number.
            if seq > 0
                && unit >= u64::from(SEGMENT_FIRST_UNIT)
                && has_room
                && let Some(file) = open(seq, unit + units)
            {
                return Ok(Some((Place { seq, unit: u32::try_from(unit).unwrap_or(0) }, file)));
            }
            leave(seq, unit)?;
        }
        Ok(None)
    }

    /// Gives a large object the number after the newest segment's as a segment of its own, which is full from the
    /// beginning; what number that is. `link` makes the file; whether it did: the number may be another's by now. `left` is
    /// given a segment that this leaves, and the unit from which on it is unused for ever.
    pub fn link<E>(
        &self,
        mut link: impl FnMut(u64) -> Result<bool, E>,
        mut left: impl FnMut(u64, u64),
    ) -> Result<Option<u64>, E> {
        for _ in 0..=ROTATIONS_MAX {
            let last = self.window().newest;
            let is_ours = link(last + 1)?;
            // The process that made that file may have died before this.
            let to = if is_ours { SEGMENT_UNITS } else { SEGMENT_FIRST_UNIT };
            if let Some(unit) = self.advance(last, to) {
                left(last, unit);
            }
            if is_ours {
                return Ok(Some(last + 1));
            }
        }
        Ok(None)
    }

    /// Goes on from segment `seq` to `unit` of the next one, whose file must be there; any process may, and all but one
    /// find it done. The one that did it is given the unit from which on segment `seq` is unused for ever.
    pub fn advance(&self, seq: u64, unit: u32) -> Option<u64> {
        let mut seen = self.cursor.get(Ordering::Relaxed);
        while seen >> 32 == seq {
            match self.cursor.swap(seen, place_in(seq + 1, unit)) {
                Ok(()) => return Some(seen & 0xffff_ffff),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Gives up the segments before `first`; to be called before their files are removed.
    pub fn retire(&self, first: u64) {
        let Window { oldest, newest } = self.window();
        // Beyond the newest it is nonsense.
        if first > oldest || oldest > newest + 1 {
            self.oldest.set(first, Ordering::Release);
        }
    }

    /// Whether appending goes on under this epoch.
    pub fn is_of(&self, epoch: u64) -> bool {
        self.epoch.get(Ordering::Acquire) == epoch
    }

    /// Begins `epoch` in segment `seq`, which nobody has used and whose file must be there; to be called under the lock
    /// of creation.
    pub fn begin(&self, seq: u64, epoch: u64) {
        if self.oldest.get(Ordering::Relaxed) == 0 {
            self.oldest.set(seq, Ordering::Release);
        }
        self.cursor.set(place_in(seq, SEGMENT_FIRST_UNIT), Ordering::Relaxed);
        // Last: a process that sees this epoch sees that cursor.
        self.epoch.set(epoch, Ordering::Release);
    }
}
