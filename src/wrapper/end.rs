//! The end of an invocation: its counters and its event; and what is found out for that while the tool runs.
//!
//! Nothing here changes a result. Read next: `event.rs`.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::event::{self, Above, Builder, Found, Meanwhile, Names};
use super::request::Request;
use super::step::Step;
use super::{Invocation, Stored, content_lookup};
use crate::env;
use crate::outcome::{Cause, NotStored};
use crate::probe;
use crate::shm::counters::Counter;
use crate::shm::events::Ending;
use crate::shm::segments::Place;
use crate::store::Store;

/// How an invocation ends, for its event.
pub struct End {
    /// How.
    pub ending: Ending,
    /// The number of the reason, as events hold it.
    pub reason: u8,
    /// How long the tool ran.
    pub took: Duration,
    /// Where the record stands that was stored.
    pub record: Option<Place>,
}

impl End {
    /// One of which only that is known.
    pub fn of(ending: Ending) -> End {
        End { ending, reason: 0, took: Duration::ZERO, record: None }
    }
}

impl Invocation {
    /// Does what is left to do when all is delivered.
    pub(super) fn settle(&self, store: &Store) {
        if store.settle()
            && let Err(error) = store.start_beside(&self.config, &["gc", "--in-background"])
        {
            self.log.line(format_args!("what is old is not compressed: {error}"));
        }
    }

    /// Counts, and writes the event of how this ends.
    pub(super) fn note(
        &self,
        store: &Store,
        counters: &[(Counter, u64)],
        end: &End,
        run: &Meanwhile,
    ) {
        if let Some(part) = &self.one_source {
            part.note(end, run);
        }
        let names = Names::of_call(self.tool().as_bytes(), &self.args);
        let mut event = event::of_call(&self.environment, end.ending, &names, run);
        event.number = self.noted.get();
        event.reason = end.reason;
        event.took_us = u32::try_from(end.took.as_micros()).unwrap_or(u32::MAX);
        event.record = end.record.map_or(0, probe::event::number_of);
        store.cache.volatile.count(counters, &mut event);
        self.noted.set(event.number);
    }

    /// Counts what a run that succeeded came to, and writes its event.
    pub(super) fn note_result(
        &self,
        store: &Store,
        stored: &Result<Stored, NotStored>,
        took: Duration,
        run: &Meanwhile,
    ) {
        let (counters, end) = match stored {
            Ok(Stored::Confirmed(place)) => {
                let end = End { record: Some(*place), ..End::of(Ending::ContentHit) };
                ([(Counter::PORTABLE_HITS, 1), (Counter::STORED, 0)], end)
            }
            Ok(Stored::New(place)) => {
                let end = End { record: Some(*place), ..End::of(Ending::Miss) };
                ([(Counter::MISSES, 1), (Counter::STORED, 1)], end)
            }
            Ok(Stored::Noted) => {
                ([(Counter::MISSES, 1), (Counter::STORED, 0)], End::of(Ending::Miss))
            }
            Err(reason) => {
                let number = event::number(*reason as usize);
                let counter = Counter::not_stored(*reason as usize);
                let end = End { reason: number, ..End::of(Ending::Miss) };
                ([(Counter::MISSES, 1), (counter, 1)], end)
            }
        };
        self.note(store, &counters, &End { took, ..end }, run);
    }

    /// Finds out, once, why there was no hit and what the build is.
    pub(super) fn look_around(&self, store: &Store, step: &Step, meanwhile: &mut Meanwhile) {
        if meanwhile.cause.is_none() {
            meanwhile.cause = Some(self.cause(store, step));
            if env::get_nonempty(env::IBID_BUILD).is_none() {
                meanwhile.above = Builder::above_us().map_or(Above::Nobody, Above::Process);
            }
        }
    }

    /// Why there was no hit.
    fn cause(&self, store: &Store, step: &Step) -> Found {
        if self.config.recache {
            return Found::plain(Cause::Recache);
        }
        if step.elsewhere.is_some() {
            return Found::plain(Cause::Compared);
        }
        let Request { command, environment, .. } = &step.request;
        let unset = content_lookup::Unset::Counts;
        content_lookup::first_difference(store, command, environment, unset, Found::of)
            .unwrap_or(Found::plain(Cause::NoRecord))
    }
}
