//! The hit: key, judge, deliver; nothing else happens on this way, and nothing is allocated.
//!
//! Before libc starts `before_libc` is called with the start-up stack; after it the wrapper walks the same steps.
//! Read next: `settings.rs`, `command.rs`, `judge.rs`, `content.rs`, `deliver.rs`.

use core::cell::Cell;
use core::ffi::CStr;
use core::mem::ManuallyDrop;

use crate::index::cache::Cache;
use crate::record::{self, Record};
use crate::shm::counters::Counter;
use crate::shm::events::{Ending, Event};
use crate::shm::segments::Entry;
use crate::shm::start::Start;

pub mod command;
pub mod content;
pub mod deliver;
mod difference;
mod environment;
pub mod event;
pub mod judge;
pub mod project;
pub mod settings;

pub use crate::record::stored::{arena_bytes, cold_part, hot_part};
use command::{Call, Command};
use content::Contents;
use deliver::{Blobs, Terms, Undelivered};
use judge::{By, Difference, Environment};
use settings::Settings;

/// How a look-up by what is known of files without reading them ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Delivered and counted: by what the record is true, and the exit status.
    Hit(By, u8),
    /// The tool must run.
    Miss,
    /// A record was true, but its outputs could not be delivered.
    Undelivered(Undelivered),
}

/// Looks a command up and delivers what is found. `delivered` is called with the exit status when all is written.
pub fn look(
    cache: &Cache,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
    delivered: impl FnOnce(u8),
) -> Answer {
    let key = command.direct_key();
    let delivered = Cell::new(Some(delivered));
    let mut answer = Answer::Miss;
    for (place, entry) in cache.records(&key) {
        let Some((record, rest)) = hot_part(&cache.segments, &entry, arena) else { continue };
        let verdict = judge_record(cache, (&entry, &record), &mut *rest, command, environment);
        let Ok(by) = verdict else { continue };
        match deliver_record(cache, &record, command.terms(), rest, || {
            if let Some(delivered) = delivered.take() {
                delivered(record.status());
            }
        }) {
            Ok(()) => {
                count_hit(cache, &mut event::of_hit(environment, &record, place, by), &record);
                return Answer::Hit(by, record.status());
            }
            Err(why) if why.is_final() => return Answer::Undelivered(why),
            Err(why) => answer = Answer::Undelivered(why),
        }
    }
    answer
}

/// Judges the record in an entry by way of `scratch`.
fn judge_record<'a>(
    cache: &Cache,
    (entry, record): (&Entry<'_>, &Record<'a>),
    scratch: &'a mut [u8],
    command: &Command,
    environment: &Environment,
) -> Result<By, Difference<'a>> {
    let digests = cache.volatile.digests();
    let mut contents =
        Contents::new(digests, cache.access, || cold_part(&cache.segments, entry, record, scratch));
    judge::judge(record, command, environment, &mut contents)
}

/// Delivers a record from `cache` by way of `scratch`.
pub fn deliver_record(
    cache: &Cache,
    record: &Record<'_>,
    terms: Terms,
    scratch: &mut [u8],
    delivered: impl FnOnce(),
) -> Result<(), Undelivered> {
    let find = |digest: &[u8; 32]| cache.find_blob(digest);
    let blobs = Blobs { segments: &cache.segments, find: &find, digests: cache.volatile.digests() };
    deliver::deliver(record, blobs, terms, scratch, delivered)
}

/// Counts a hit and what it saved, and writes its event.
pub fn count_hit(cache: &Cache, event: &mut Event, record: &Record<'_>) {
    let fails = record.has(record::FAILS);
    let counter = match event.ending() {
        _ if fails => Counter::TOOL_FAILURES,
        Some(Ending::DirectHit) => Counter::INVOCATION_HITS,
        _ => Counter::PORTABLE_HITS,
    };
    let saved = (Counter::TIME_SAVED_US, record.head.tool_us);
    let counters = [(counter, 1), saved, (Counter::FAILURE_HITS, 1)];
    let counted = if fails { 3 } else { 2 };
    cache.volatile.count(counters.get(..counted).unwrap_or(&counters), event);
}

/// The entry of the record under the direct key that is true now.
pub fn true_record<R>(
    cache: &Cache,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
    tell: impl FnOnce(&Entry<'_>) -> R,
) -> Option<R> {
    let key = command.direct_key();
    let mut is_true = |entry: &Entry<'_>| {
        hot_part(&cache.segments, entry, arena).is_some_and(|(record, rest)| {
            judge_record(cache, (entry, &record), rest, command, environment).is_ok()
        })
    };
    let (_, entry) = cache.records(&key).find(|(_, entry)| is_true(entry))?;
    Some(tell(&entry))
}

/// The first difference of the newest record under the direct key, or by what it is true and its exit status, for `explain`.
pub fn first_difference<R>(
    cache: &Cache,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
    tell: impl FnOnce(Result<(By, u8), Difference<'_>>) -> R,
) -> Option<R> {
    let key = command.direct_key();
    let (_, entry) = cache.records(&key).next()?;
    let (record, rest) = hot_part(&cache.segments, &entry, arena)?;
    let verdict = judge_record(cache, (&entry, &record), rest, command, environment);
    Some(tell(verdict.map(|by| (by, record.status()))))
}

/// What happened before libc started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Before {
    /// Nothing was looked up: no cache, or a setting left it to the wrapper.
    NotLooked = 0,
    /// The look-up found nothing to deliver.
    Missed = 1,
    /// The look-up came upon bytes that are not there (a cut file, a full disk): the cache is not to be touched again.
    Faulted = 2,
    /// The text of a record cannot be written: the tool is to run without another look.
    Unwritable = 3,
}

/// The whole hit, before libc starts; `None` if nothing could be looked up. `delivered` is called with the
/// exit status when all outputs and texts are written: from then on the tool must not run.
pub fn before_libc(start: Start, arena: &mut [u8], delivered: impl FnOnce(u8)) -> Option<Answer> {
    let call = Call::read(&start)?;
    let environment = Environment(start);
    // One by one: a table of names would be one more page to map.
    let is_on = |name| environment.value(name).is_some_and(|value| !matches!(value, b"" | b"0"));
    let leaves = is_on(b"IBID_DISABLE")
        || is_on(b"IBID_RECACHE")
        || is_on(b"IBID_LOG")
        || is_on(b"IBID_OBSERVER")
        || is_on(b"IBID_OBSERVED");
    if leaves || judge::is_mute() {
        return None;
    }
    // Never closed: the process ends here or runs the tool, and unmapping takes longer than the kernel's own sweep.
    let (user, arena) = Settings::read(&environment, arena)?;
    let settings = user.under(&environment);
    let directory = cache_directory(&environment, arena)?;
    let cache = ManuallyDrop::new(Cache::open(directory, settings.is_shared)?);
    let (command, arena) = Command::new(start, call, &settings, arena)?;
    let delivered = Cell::new(Some(delivered));
    let tell = |status| delivered.take().into_iter().for_each(|delivered| delivered(status));
    let answer = look(&cache, &command, &environment, arena, tell);
    if answer != Answer::Miss {
        return Some(answer);
    }
    // The records of a project with settings of its own stand under another key, if these change bytes; each holds its file.
    let Some(of_project) = user.of_project(command.directory(), arena) else { return Some(answer) };
    let (of_project, arena) = of_project?;
    let of_project = of_project.under(&environment);
    if of_project == settings {
        return Some(answer);
    }
    let (command, arena) = Command::new(start, call, &of_project, arena)?;
    Some(look(&cache, &command, &environment, arena, tell))
}

/// `IBID_DIR`, else `$XDG_CACHE_HOME/ibid`, else `$HOME/.cache/ibid`.
pub fn cache_directory<'p>(environment: &Environment, path: &'p mut [u8]) -> Option<&'p CStr> {
    let nonempty = |name: &[u8]| environment.value(name).filter(|value| !value.is_empty());
    if let Some(directory) = nonempty(b"IBID_DIR") {
        joined(directory, b"\0", path)
    } else if let Some(directory) = nonempty(b"XDG_CACHE_HOME").filter(|d| d.starts_with(b"/")) {
        joined(directory, b"/ibid\0", path)
    } else {
        joined(nonempty(b"HOME")?, b"/.cache/ibid\0", path)
    }
}

/// One after the other in `path`; the second ends with a NUL.
fn joined<'p>(base: &[u8], below: &[u8], path: &'p mut [u8]) -> Option<&'p CStr> {
    let end = base.len() + below.len();
    path.get_mut(..base.len())?.copy_from_slice(base);
    path.get_mut(base.len()..end)?.copy_from_slice(below);
    CStr::from_bytes_until_nul(path.get(..end)?).ok()
}
