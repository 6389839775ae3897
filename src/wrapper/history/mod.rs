//! What the event rings tell: the last invocations, each with its build, its names and the cause of its miss.
//!
//! It reads and changes nothing. Read next: `builds.rs` (which build a call belongs to), `causes.rs` (why a call was no hit),
//! `docs/events.md`.

mod builds;
mod causes;
mod contents;

use std::collections::HashSet;

use super::event::Names;
use crate::os::processes::{Process, process};
use crate::outcome::{NotStored, PassReason};
use crate::probe;
use crate::probe::event::place_of;
use crate::shm::events::{Ending, Event, Text};
use crate::shm::segments::Place;
use crate::store::Store;

pub use builds::Build;
pub use causes::Explained;
pub use contents::{Contents, Held};

/// The last invocations, the oldest first.
pub struct History<'s> {
    store: &'s Store,
    /// The invocations.
    pub entries: Vec<Entry>,
    /// Their builds, in the order in which they began.
    pub builds: Vec<Build>,
}

/// An invocation.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it noted.
    pub event: Event,
    /// How it ended.
    pub ending: Ending,
    /// Its build, a place in [`History::builds`].
    pub build: usize,
}

impl Entry {
    /// The name of the reason why its result was not stored, or why it passed through.
    pub fn reason(&self) -> Option<&'static str> {
        let at = usize::from(self.event.reason).checked_sub(1)?;
        match self.ending {
            Ending::Miss => NotStored::ALL.get(at).map(|reason| reason.name()),
            Ending::PassedThrough => PassReason::ALL.get(at).map(|reason| reason.name()),
            _ => None,
        }
    }

    /// Whether its names are those of its record.
    pub fn names_nothing(&self) -> bool {
        self.event.text(Text::Tool).is_empty()
    }

    /// Whether its process is there: what says that the tool runs may have been killed. A process that began later is another
    /// one, with the same number.
    pub fn is_running(&self) -> bool {
        /// Clocks of files and of processes count in ticks, and one of them may be set.
        const SLACK_NS: u64 = 1_000_000_000;
        let is_ours = |process: Process| {
            process.began_ns().is_none_or(|began| began <= self.event.time_ns + SLACK_NS)
        };
        self.ending == Ending::Running && process(self.event.process).is_some_and(is_ours)
    }
}

impl<'s> History<'s> {
    /// All that the rings hold.
    pub fn read(store: &'s Store) -> History<'s> {
        let mut events = Vec::new();
        store.cache.volatile.each_event(|event| {
            if let Some(ending) = event.ending() {
                events.push((*event, ending));
            }
        });
        events.sort_by_key(|(event, _)| (event.time_ns, event.process, event.number));
        let (builds, of) = builds::builds(events.iter().map(|(event, _)| event));
        let entries = events.into_iter().zip(of);
        let entries = entries.map(|((event, ending), build)| Entry { event, ending, build });
        History { store, entries: entries.collect(), builds }
    }

    /// The build of this name that began last.
    pub fn build(&self, name: &str) -> Option<usize> {
        self.builds.iter().rposition(|build| build.name == name)
    }

    /// The build of the last invocation.
    pub fn last_build(&self) -> Option<usize> {
        Some(self.entries.last()?.build)
    }

    /// Where the records stand that a build was served, or has stored.
    pub fn records_of(&self, build: usize) -> HashSet<Place> {
        let of_build = self.entries.iter().filter(|entry| entry.build == build);
        of_build.filter_map(|entry| place_of(entry.event.record)).collect()
    }

    /// The names of an invocation: its own, else those of its record; empty where that is gone.
    pub fn names(&self, event: &Event) -> Names {
        let own = Names {
            tool: event.text(Text::Tool).into(),
            source: event.text(Text::Source).into(),
            directory: event.text(Text::Directory).into(),
        };
        if !own.tool.is_empty() {
            return own;
        }
        self.names_at(event.record)
    }

    /// The names in the record at a place, as events hold it; empty where that is gone.
    pub fn names_at(&self, place: u64) -> Names {
        let command = self.command(place);
        command.and_then(|command| Names::of_command(&command)).unwrap_or_default()
    }

    /// The command's bytes in the record at a place.
    fn command(&self, place: u64) -> Option<Vec<u8>> {
        let entry = self.store.cache.segments.entry(place_of(place)?)?;
        let segments = &self.store.cache.segments;
        let mut arena = vec![0; probe::arena_bytes(segments, &entry)?];
        let (record, _) = probe::hot_part(segments, &entry, &mut arena)?;
        Some(record.command()?.to_vec())
    }
}
