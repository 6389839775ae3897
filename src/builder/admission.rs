//! Results of links that are not stored when they are made first: each edit makes another one, and few are asked for again.
//!
//! That what is large and quick to make drives out what took long was seen in recorded builds (`benches/eviction`). Read
//! next: `failing.rs`, which tells whether the same was made before.

use super::record_builder::Ending;
use crate::compilers::is_linker;
use crate::observe::Observation;
use crate::os::run::Ended;
use crate::store::Store;

/// What is smaller has room.
const LARGE_BYTES: u64 = 1 << 20;
/// What takes longer is worth it.
const QUICK_US_PER_MIB: u64 = 100_000;

/// How a run ended: whether a record is to be built of it at once, or only if it repeats itself. What `is_for_others` is not
/// put off.
pub fn ending(
    store: &Store,
    observation: &Observation,
    ended: &Ended,
    is_for_others: bool,
) -> Ending {
    if !ended.status.is_success() {
        Ending::FirstFailure
    } else if !is_for_others && is_large_for_its_time(observation, ended) && store.is_half_full() {
        Ending::FirstLink
    } else {
        Ending::Success
    }
}

fn is_large_for_its_time(observation: &Observation, ended: &Ended) -> bool {
    let lens = observation.outputs.iter().map(|output| output.path.symlink_metadata());
    let bytes: u64 = lens.flatten().map(|state| state.len()).sum();
    let took_us = u64::try_from(ended.wall.as_micros()).unwrap_or(u64::MAX);
    bytes >= LARGE_BYTES
        && took_us < bytes / (1 << 20) * QUICK_US_PER_MIB
        && observation.images.iter().any(|image| is_linker(image))
}
