//! The event of a hit: when, in which build, by which record, and what it saved.
//!
//! It holds no names: those of a hit stand in its record, which says what the tool, its arguments and its directory were.
//! Read next: `shm/events.rs`, `docs/events.md`.

use xxhash_rust::xxh3::xxh3_64;

use super::environment::Environment;
use super::judge::By;
use crate::record::{self, Record};
use crate::shm::events::{BUILD_BYTES_MAX, Ending, Event, Text};
use crate::shm::raw;
use crate::shm::segments::Place;

/// One of this process, now: in the build that `IBID_BUILD` names, else with what tells builds apart.
pub fn now(environment: &Environment, ending: Ending) -> Event {
    let mut event = Event::new(ending);
    event.time_ns = raw::now_ns();
    match environment.value(b"IBID_BUILD") {
        None | Some([]) => {
            event.session = raw::session();
            event.parent = raw::parent();
        }
        Some(name) => {
            // Never that of a build without a name.
            event.build = xxh3_64(name) | 1;
            event.push(Text::Build, name.get(..BUILD_BYTES_MAX).unwrap_or(name));
        }
    }
    event
}

/// That of a hit by the record that stands at `place`.
pub fn of_hit(environment: &Environment, record: &Record<'_>, place: Place, by: By) -> Event {
    let ending = match by {
        _ if record.has(record::FAILS) => Ending::ToolFailure,
        By::Stamps => Ending::DirectHit,
        By::Content => Ending::ContentHit,
    };
    let mut event = now(environment, ending);
    event.record = number_of(place);
    event.saved_us = u32::try_from(record.head.tool_us).unwrap_or(u32::MAX);
    event
}

/// A place as events hold it.
pub fn number_of(place: Place) -> u64 {
    place.number()
}

/// The place that an event holds.
pub fn place_of(number: u64) -> Option<Place> {
    Place::of_number(number)
}
