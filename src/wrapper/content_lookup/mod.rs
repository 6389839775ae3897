//! The look-up by content: a record is true if every file has the recorded content, whatever its times.
//!
//! It serves touched and reverted files, another `PATH`, and other directories. The command and the contents of its sources
//! lead to path sets, each of these with what its names contain now to records. A record that proves true is delivered, and
//! published again with today's stamps, so that the next look-up is one by stamps. Read next: `file_contents.rs` (what is looked
//! at), `evidence.rs` (the judge's questions), `refresh.rs` (today's stamps), `relocate.rs` and `audit.rs` (results of other
//! directories), `store/path_set.rs`.

mod audit;
mod evidence;
mod file_contents;
mod refresh;
mod relocate;

use std::path::Path;

use crate::builder::places::Places;
use crate::builder::project;
use crate::compilers::Policy;
use crate::probe::command::Command;
use crate::probe::deliver::Undelivered;
use crate::probe::judge::{self, By, Difference, Environment};
use crate::probe::{self, arena_bytes, cold_part, hot_part};
use crate::record::{Cold, Record};
use crate::shm::segments::{Entry, Place};
use crate::shm::stat::Stat;
use crate::store::Store;
use crate::store::draft::{Draft, is_of_use_elsewhere};
use crate::store::layer::CopiedUp;
use crate::store::path_set::PathSet;

use super::event;
use audit::{Standing, standing};
pub use audit::{compare, first_comparison};
use evidence::Reading;
pub use evidence::Unset;
use file_contents::FileContents;
use relocate::{Way, relocated};

/// How a look-up by content ended.
pub enum ByContent {
    /// Delivered and counted; the exit status.
    Hit(u8),
    /// No record is true.
    Miss,
    /// One is, but could not be delivered.
    Undelivered(Undelivered),
    /// One is that was made in another directory: the tool is to run, and what it makes is compared with it.
    Compare(Box<Draft>),
}

/// What is looked for.
pub struct Wanted<'a> {
    /// The command.
    pub command: &'a Command<'a>,
    /// The environment.
    pub environment: &'a Environment,
    /// How the tool's texts are written anew, and where its arguments name outputs.
    pub policy: &'a Policy,
    /// The places of which the tool would be given maps.
    pub places: &'a Places,
    /// The settings file of the project that was read, if it has one, and its state.
    pub project: Option<(&'a Path, Stat)>,
    /// The key of the command's path sets.
    pub content_key: [u8; 16],
    /// Whether two runs of the tool write the same, so that results of other directories can be compared with its own.
    pub is_repeatable: bool,
}

/// Looks a command up by content and delivers what is found; unless `keep` is false it is published again with today's stamps.
pub fn look(store: &Store, wanted: &Wanted, arena: &mut [u8], keep: bool) -> ByContent {
    look_in(store, store, wanted, arena, keep)
}

/// Looks a command up in a layer below `own`, and delivers what is found without storing anything.
pub fn look_below(own: &Store, layer: &Store, wanted: &Wanted, arena: &mut [u8]) -> ByContent {
    look_in(own, layer, wanted, arena, false)
}

/// Looks in `store`, and counts in `own`.
fn look_in(own: &Store, store: &Store, wanted: &Wanted, arena: &mut [u8], keep: bool) -> ByContent {
    let command = wanted.command;
    let mut outcome = ByContent::Miss;
    each_true(
        FileContents::new(own, command, wanted.environment),
        store,
        wanted,
        arena,
        |now, found, scratch| {
            let TrueRecord { record, place, mut draft, way } = found;
            let encoded;
            let mut record = record;
            if let Some(way) = &way {
                let Some(is_retold) = way.retell(store, wanted.policy, &mut draft) else {
                    return false;
                };
                match standing(own, command, &draft, keep && wanted.is_repeatable) {
                    Standing::Serve => {}
                    Standing::Refuse => return false,
                    Standing::Compare => {
                        outcome = ByContent::Compare(Box::new(draft));
                        return true;
                    }
                }
                if is_retold {
                    encoded = draft.encode();
                    let Some(retold) = Record::read(&encoded.hot) else { return false };
                    record = retold;
                }
            }
            match probe::deliver_record(&store.cache, &record, command.terms(), scratch, || {}) {
                Ok(()) => {
                    let is_elsewhere = way.as_ref().is_some_and(Way::leads_elsewhere);
                    let by = By::Content;
                    let mut event = probe::event::of_hit(wanted.environment, &record, place, by);
                    event::put_names(&mut event, command);
                    if !std::ptr::eq(own, store) {
                        // Places are those of the own cache.
                        event.record = 0;
                    }
                    probe::count_hit(&own.cache, &mut event, &record);
                    if keep && now.refresh(&mut draft, is_elsewhere) == Some(true) {
                        // Failing costs the next look-up some time, nothing else.
                        let _ = note_project(store, wanted, &mut draft)
                            .and_then(|()| store.put_record_like(&draft, place).ok());
                    }
                    outcome = ByContent::Hit(record.status());
                    true
                }
                Err(why) => {
                    outcome = ByContent::Undelivered(why);
                    why.is_final()
                }
            }
        },
    );
    outcome
}

/// Notes in a record which settings file of its project counts.
fn note_project(store: &Store, wanted: &Wanted, draft: &mut Draft) -> Option<()> {
    project::note(draft, wanted.command.directory(), wanted.project, store.cache.access)
}

/// The exit status of a record that is true by content now; nothing is delivered. One that would be compared counts.
pub fn is_true(store: &Store, wanted: &Wanted, arena: &mut [u8]) -> Option<u8> {
    is_true_in(store, store, wanted, arena)
}

/// The same of a record in a layer below `own`.
pub fn is_true_in(own: &Store, store: &Store, wanted: &Wanted, arena: &mut [u8]) -> Option<u8> {
    let mut status = None;
    let now = FileContents::new(own, wanted.command, wanted.environment);
    each_true(now, store, wanted, arena, |_, found, _| {
        let is_served = found.way.is_none()
            || standing(own, wanted.command, &found.draft, wanted.is_repeatable)
                != Standing::Refuse;
        status = is_served.then(|| found.record.status());
        is_served
    });
    status
}

/// The keys under which results of this command, with what its files contain now, stand.
pub fn result_keys(store: &Store, wanted: &Wanted) -> Vec<[u8; 16]> {
    let mut now = ResultKeys::new(store, wanted);
    store.path_sets(&wanted.content_key).iter().filter_map(|set| now.of(set)).flatten().collect()
}

/// What path sets lead to with what their names contain now.
pub struct ResultKeys<'a> {
    now: FileContents<'a>,
    wanted: &'a Wanted<'a>,
}

impl<'a> ResultKeys<'a> {
    /// Those of a command.
    pub fn new(store: &'a Store, wanted: &'a Wanted<'a>) -> ResultKeys<'a> {
        ResultKeys { now: FileContents::new(store, wanted.command, wanted.environment), wanted }
    }

    /// The keys of the results for this place and for all; `None` if a name is not there.
    pub fn of(&mut self, set: &PathSet) -> Option<[[u8; 16]; 2]> {
        let contents = self.now.of_set(set, self.wanted.places)?;
        let key = |place| set.result_key(&self.wanted.content_key, place, &contents);
        Some([self.wanted.command.place(), &[]].map(key))
    }
}

/// Stores a result of this command anew that was compressed, to be judged; whether there is one.
pub fn restore(store: &Store, wanted: &Wanted) -> bool {
    if !store.has_compressed() {
        return false;
    }
    let mut now = ResultKeys::new(store, wanted);
    store.restore(&wanted.content_key, &mut |set| now.of(set)) == CopiedUp::Found
}

/// A record that is true by content.
struct TrueRecord<'a> {
    record: Record<'a>,
    place: Place,
    draft: Draft,
    /// The way from the command that made it, if that is another one.
    way: Option<Way>,
}

/// Visits the records of `store` that are true by content, each with what is left of `arena`, until a visit says that it was the last.
fn each_true(
    mut now: FileContents,
    store: &Store,
    wanted: &Wanted,
    arena: &mut [u8],
    mut visit: impl FnMut(&mut FileContents, TrueRecord<'_>, &mut [u8]) -> bool,
) {
    for set in store.path_sets(&wanted.content_key) {
        let Some(contents) = now.of_set(&set, wanted.places) else { continue };
        for place in [wanted.command.place(), &[]] {
            let key = set.result_key(&wanted.content_key, place, &contents);
            for found in store.cache.records(&key) {
                let visited = visit_if_true(&mut now, store, wanted, &found, arena, &mut visit);
                if visited == Some(true) {
                    return;
                }
            }
        }
    }
}

/// What the visit says of the record in an entry of `store`, which may be a layer below; `None` if it is not true.
fn visit_if_true(
    now: &mut FileContents,
    store: &Store,
    wanted: &Wanted,
    (place, entry): &(Place, Entry<'_>),
    arena: &mut [u8],
    visit: &mut impl FnMut(&mut FileContents, TrueRecord<'_>, &mut [u8]) -> bool,
) -> Option<bool> {
    let segments = &store.cache.segments;
    let (record, rest) = hot_part(segments, entry, arena)?;
    let (cold, rest) = cold_part(segments, entry, &record, rest)?;
    let mut draft = Draft::decode(&record, &cold, &entry.header.key)?;
    let is_below = !std::ptr::eq(now.store, store);
    if is_below && !is_of_use_elsewhere(&draft) {
        return None;
    }
    project::leave_out(&mut draft);
    let (command, environment) = (now.command, now.environment);
    let is_moved = record.command() != Some(command.bytes());
    let encoded;
    let (record, cold, draft, way) = if is_moved {
        let (draft, way) = relocated(draft, wanted)?;
        encoded = draft.encode();
        (Record::read(&encoded.hot)?, Cold(&encoded.cold), draft, Some(way))
    } else {
        (record, cold, draft, None)
    };
    let mut evidence = Reading::new(now, &draft, cold, is_moved);
    judge::judge(&record, command, environment, &mut evidence).ok()?;
    Some(visit(now, TrueRecord { record, place: *place, draft, way }, rest))
}

/// What comes of the comparison, by contents, with the newest record of the very same command; `None` if there is none.
pub fn first_difference<R>(
    store: &Store,
    command: &Command,
    environment: &Environment,
    unset: Unset,
    tell: impl FnOnce(Result<By, Difference<'_>>) -> R,
) -> Option<R> {
    let key = command.direct_key();
    let (_, entry) = store.cache.records(&key).next()?;
    let segments = &store.cache.segments;
    let mut arena = vec![0; arena_bytes(segments, &entry)?];
    let (record, rest) = hot_part(segments, &entry, &mut arena)?;
    let (cold, _) = cold_part(segments, &entry, &record, rest)?;
    let mut draft = Draft::decode(&record, &cold, &entry.header.key)?;
    project::leave_out(&mut draft);
    let mut now = FileContents::new(store, command, environment);
    let mut evidence = Reading::new(&mut now, &draft, cold, false);
    evidence.unset = unset;
    Some(tell(judge::judge(&record, command, environment, &mut evidence)))
}

#[cfg(test)]
mod tests;
