//! The volatile segment: counters, the digest table and event rings, in memory that may vanish at any time.
//!
//! Nothing but figures and speed depends on it. Read next: `digests.rs`, `events.rs`, `outcome.rs` (the names of the counters).

use core::cell::Cell;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::events::{EVENT_WORDS, Event, Ring};
use super::layout::{Checked, VOLATILE_MAGIC, VolatileHeader};
use super::map::MapMut;
use super::raw;
use super::words::{Ordering, Word};

/// Where the shards of counters begin.
const COUNTERS_OFFSET: usize = 4096;
/// Shards, so that processes on several cores do not share a cache line.
const SHARDS: usize = 16;
/// Counters in a shard.
pub const COUNTERS: usize = 256;
/// Where the digest table begins.
pub const DIGESTS_OFFSET: usize = COUNTERS_OFFSET + SHARDS * COUNTERS * 8;
/// Entries of the digest table, 64 bytes each: some more than the headers of a large project. All memory of the segment is reserved.
pub const DIGESTS: usize = 32_768;
/// Where the event rings begin. A segment without them is too short for this version. Versions that do not know them use a
/// longer one as theirs, and leave the rings alone.
const EVENTS_OFFSET: usize = DIGESTS_OFFSET + DIGESTS * 64;
/// Events in the ring of a shard. Shards fill at different rates: all rings together hold the last 16,384 events and some more.
const EVENTS: usize = 1280;
/// Words of a ring.
const RING_WORDS: usize = EVENTS * EVENT_WORDS;
/// Length of the volatile segment.
pub const VOLATILE_BYTES: usize = EVENTS_OFFSET + SHARDS * RING_WORDS * 8;
/// The last counter of a shard counts the events of its ring.
const EVENTS_WRITTEN: usize = COUNTERS - 1;

/// A counter's number. Append, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(usize);

impl Counter {
    /// Served by stamps.
    pub const INVOCATION_HITS: Counter = Counter(0);
    /// Served by digests.
    pub const PORTABLE_HITS: Counter = Counter(1);
    /// The tool ran and succeeded.
    pub const MISSES: Counter = Counter(2);
    /// Results stored.
    pub const STORED: Counter = Counter(3);
    /// The tool failed, or a failing run was served.
    pub const TOOL_FAILURES: Counter = Counter(4);
    /// Microseconds of tool time that hits saved.
    pub const TIME_SAVED_US: Counter = Counter(5);
    /// Segments evicted.
    pub const EVICTIONS: Counter = Counter(6);
    /// Failing runs that were served; each of them is one of [`Counter::TOOL_FAILURES`], too.
    pub const FAILURE_HITS: Counter = Counter(7);

    /// Results that were fetched from a remote storage and served; each of them is one of [`Counter::PORTABLE_HITS`], too.
    pub const REMOTE_HITS: Counter = Counter(8);

    /// The counter of pass-through reason number `reason`.
    pub const fn passed_through(reason: usize) -> Counter {
        Counter(16 + reason)
    }
    /// The counter of not-stored reason number `reason`.
    pub const fn not_stored(reason: usize) -> Counter {
        Counter(80 + reason)
    }
    /// The counter of internal error number `error`.
    pub const fn internal_error(error: usize) -> Counter {
        Counter(144 + error)
    }
}

/// The mapped volatile segment, or none: where a cache can only be read, nothing is counted and no digest is known.
#[derive(Debug)]
pub struct Volatile {
    map: Option<MapMut>,
    /// Where counters go instead, and no events with them.
    tally: Cell<Option<&'static Tally>>,
}

/// What parts of one invocation count: together they are one.
#[derive(Debug)]
pub struct Tally([Cell<u64>; COUNTERS]);

impl Tally {
    /// Nothing yet.
    pub const fn new() -> Tally {
        Tally([const { Cell::new(0) }; COUNTERS])
    }

    /// What a counter came to.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter.0).map_or(0, Cell::get)
    }

    fn add(&self, counter: Counter, amount: u64) {
        if let Some(cell) = self.0.get(counter.0) {
            cell.set(cell.get() + amount);
        }
    }
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::new()
    }
}

impl Volatile {
    /// Maps an existing segment, which must be this cache's and, where its directory may be written by others, `owner`'s.
    pub fn open(
        file: BorrowedFd<'_>,
        uuid: &[u8; 16],
        owner: Option<u32>,
    ) -> Result<Volatile, Errno> {
        let state = raw::stat_fd(file)?;
        if !state.is_regular()
            || owner.is_some_and(|owner| owner != state.uid)
            || state.stat.size < VOLATILE_BYTES as u64
        {
            return Err(Errno::INVAL);
        }
        let map = MapMut::new(file, VOLATILE_BYTES)?;
        let header: VolatileHeader = map.get(0).ok_or(Errno::INVAL)?;
        if header.magic != VOLATILE_MAGIC || header.uuid != *uuid || !header.is_intact() {
            return Err(Errno::INVAL);
        }
        Ok(Volatile { map: Some(map), tally: Cell::new(None) })
    }

    /// None at all.
    pub fn absent() -> Volatile {
        Volatile { map: None, tally: Cell::new(None) }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.map.is_some()
    }

    fn words(&self, offset: usize, count: usize) -> &[Word] {
        self.map.as_ref().and_then(|map| map.words_mut(offset, count)).unwrap_or(&[])
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, amount: u64) {
        self.add_in(own_shard(), counter, amount);
    }

    fn add_in(&self, shard: usize, counter: Counter, amount: u64) {
        let offset = COUNTERS_OFFSET + (shard * COUNTERS + counter.0) * 8;
        if let [word] = self.words(offset, 1) {
            word.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// Adds one to a counter that says more of an outcome.
    pub fn count_more(&self, counter: Counter) {
        match self.tally.get() {
            Some(tally) => tally.add(counter, 1),
            None => self.add(counter, 1),
        }
    }

    /// Lets [`Volatile::count`] and [`Volatile::count_more`] add to `tally` instead of what all processes share, until it is called without one.
    pub fn count_in(&self, tally: Option<&'static Tally>) {
        self.tally.set(tally);
    }

    /// Adds to counters and writes an event, in which it enters this process: over the one of this process that has its
    /// number, if it has one.
    pub fn count(&self, counters: &[(Counter, u64)], event: &mut Event) {
        if let Some(tally) = self.tally.get() {
            for (counter, amount) in counters {
                tally.add(*counter, *amount);
            }
            return;
        }
        let process = raw::process_number();
        let shard = shard_of(process);
        for (counter, amount) in counters {
            self.add_in(shard, *counter, *amount);
        }
        event.process = u32::try_from(process).unwrap_or(0);
        if let Some(ring) = self.ring(shard) {
            ring.write_over(event.number, event);
        }
    }

    /// Visits the events that are whole, in no particular order.
    pub fn each_event(&self, mut visit: impl FnMut(&Event)) {
        for ring in (0..SHARDS).filter_map(|shard| self.ring(shard)) {
            ring.each(&mut visit);
        }
    }

    /// How many events were ever written.
    pub fn events_written(&self) -> u64 {
        // Any process may have written anything there.
        (0..SHARDS).map(|shard| self.events_of(shard)).fold(0, u64::wrapping_add)
    }

    /// Since when (ns since the epoch) no event was lost because its ring was full. It reads all events of such rings.
    pub fn events_complete_since_ns(&self) -> u64 {
        let full = (0..SHARDS).filter(|shard| self.events_of(*shard) > EVENTS as u64);
        let oldest_of = |ring: Ring<'_>| {
            let mut oldest = u64::MAX;
            ring.each(&mut |event: &Event| oldest = oldest.min(event.time_ns));
            oldest
        };
        full.filter_map(|shard| self.ring(shard)).map(oldest_of).max().unwrap_or(0)
    }

    /// How many events were ever written to the ring of a shard.
    fn events_of(&self, shard: usize) -> u64 {
        let offset = COUNTERS_OFFSET + (shard * COUNTERS + EVENTS_WRITTEN) * 8;
        self.words(offset, 1).first().map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn ring(&self, shard: usize) -> Option<Ring<'_>> {
        let written = COUNTERS_OFFSET + (shard * COUNTERS + EVENTS_WRITTEN) * 8;
        let [written] = self.words(written, 1) else { return None };
        let slots = self.words(EVENTS_OFFSET + shard * RING_WORDS * 8, RING_WORDS);
        Some(Ring::new(written, slots))
    }

    /// A counter's sum over all shards.
    pub fn sum(&self, counter: Counter) -> u64 {
        self.words(COUNTERS_OFFSET, SHARDS * COUNTERS)
            .iter()
            .skip(counter.0)
            .step_by(COUNTERS)
            .fold(0, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed)))
    }

    /// Sets all counters to zero, and removes all events: their numbers go on.
    pub fn zero(&self) {
        for shard in self.words(COUNTERS_OFFSET, SHARDS * COUNTERS).chunks_exact(COUNTERS) {
            for word in shard.iter().take(EVENTS_WRITTEN) {
                word.store(0, Ordering::Relaxed);
            }
        }
        (0..SHARDS).filter_map(|shard| self.ring(shard)).for_each(|ring| ring.clear());
    }

    /// The digest table.
    pub fn digests(&self) -> super::digests::DigestTable<'_> {
        super::digests::DigestTable::new(self.words(DIGESTS_OFFSET, DIGESTS * 8))
    }
}

fn own_shard() -> usize {
    shard_of(raw::process_number())
}

/// The shard of a process. Builds number their processes in equal steps (a compiler, its parts), so the low bits alone would
/// leave shards unused.
fn shard_of(process: usize) -> usize {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (process as u64).wrapping_mul(GOLDEN_RATIO) >> 32;
    usize::try_from(mixed).unwrap_or(0) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_between_processes_leaves_shards_unused() {
        for step in 1..=64 {
            let mut counts = [0u32; SHARDS];
            (0..16_384).for_each(|i| counts[shard_of(1000 + i * step)] += 1);
            assert!(counts.iter().all(|count| (700..=1280).contains(count)), "{step}: {counts:?}");
        }
    }

    #[test]
    fn an_event_slot_lies_in_one_page() {
        assert_eq!((EVENTS_OFFSET % 4096, 4096 % (EVENT_WORDS * 8)), (0, 0));
        assert_eq!(VOLATILE_BYTES % 4096, 0);
        assert_eq!((EVENTS_OFFSET, EVENT_WORDS), (2_134_016, 32));
    }
}
