//! The volatile segment: counters and the digest table, in memory that may vanish at any time.
//!
//! Nothing but figures and speed depends on it. Read next: `digests.rs`, `outcome.rs` (the names of the counters).

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

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
/// Entries of the digest table, 64 bytes each.
pub const DIGESTS: usize = 8192;
/// Length of the volatile segment.
pub const VOLATILE_BYTES: usize = DIGESTS_OFFSET + DIGESTS * 64;

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
pub struct Volatile(Option<MapMut>);

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
        Ok(Volatile(Some(map)))
    }

    /// None at all.
    pub fn absent() -> Volatile {
        Volatile(None)
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    fn words(&self, offset: usize, count: usize) -> &[Word] {
        self.0.as_ref().and_then(|map| map.words_mut(offset, count)).unwrap_or(&[])
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, amount: u64) {
        let shard = raw::process_number() % SHARDS;
        let offset = COUNTERS_OFFSET + (shard * COUNTERS + counter.0) * 8;
        if let [word] = self.words(offset, 1) {
            word.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// A counter's sum over all shards.
    pub fn sum(&self, counter: Counter) -> u64 {
        self.words(COUNTERS_OFFSET, SHARDS * COUNTERS)
            .iter()
            .skip(counter.0)
            .step_by(COUNTERS)
            .fold(0, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed)))
    }

    /// Sets all counters to zero.
    pub fn zero(&self) {
        for word in self.words(COUNTERS_OFFSET, SHARDS * COUNTERS) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// The digest table.
    pub fn digests(&self) -> super::digests::DigestTable<'_> {
        super::digests::DigestTable::new(self.words(DIGESTS_OFFSET, DIGESTS * 8))
    }
}
