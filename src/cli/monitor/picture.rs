//! What the monitor shows: read from the event rings, the counters and the processes that run.
//!
//! It decides nothing about how it looks. Read next: `wrapper/history/mod.rs`, `screen.rs`.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::causes::{in_words, source_of};
use super::super::stats::spans::{Sums, midnight_ns};
use super::super::texts::escaped;
use crate::config;
use crate::error::StoreError;
use crate::shm::counters::Counter;
use crate::shm::events::Ending;
use crate::store::Store;
use crate::wrapper::history::{Entry, Explained, History};

/// How many seconds back rates go.
pub const SECONDS: usize = 60;
const SECOND_NS: u64 = 1_000_000_000;
/// How many misses are explained at most: more than a terminal has lines.
const MISSES_MAX: usize = 60;

/// A tool that runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// For how long, milliseconds.
    pub ms: u64,
    /// Its name.
    pub tool: String,
    /// What it compiles.
    pub source: String,
}

/// A miss of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// When it ended, ns since the epoch.
    pub time_ns: u64,
    /// How long the tool ran.
    pub ms: u64,
    /// What it compiled.
    pub source: String,
    /// Why it was no hit, in words.
    pub cause: String,
}

/// Hits, and hits and misses together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Hits.
    pub hits: u64,
    /// Hits and misses.
    pub of: u64,
    /// How long the tools would have run.
    pub saved_ms: u64,
}

/// All that is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// Why there is nothing to show.
    pub problem: Option<String>,
    /// When it was made, ns since the epoch.
    pub now_ns: u64,
    /// The cache directory.
    pub directory: String,
    /// The name of the last build.
    pub build: String,
    /// That build.
    pub of_build: Rate,
    /// Calls of each of the last seconds, the oldest first.
    pub calls: Vec<u64>,
    /// The last minute.
    pub minute: Rate,
    /// Today, as far as calls are known one by one.
    pub today: Rate,
    /// Since the counters were last set to zero.
    pub all: Rate,
    /// What the cache takes on the disk.
    pub bytes_used: u64,
    /// What it may take.
    pub bytes_max: u64,
    /// The longest first.
    pub running: Vec<Running>,
    /// The last first.
    pub misses: Vec<Miss>,
}

/// Where pictures come from. It remembers what was found out about misses.
#[derive(Default)]
pub struct Source {
    known: HashMap<(u64, u32), Miss>,
}

impl Source {
    /// What is so now. The cache is opened each time: it may be cleared or removed meanwhile.
    pub fn look(&mut self) -> Picture {
        let config = config::load();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let directory = config.cache_dir.as_deref().map(|dir| dir.display().to_string());
        let mut picture = Picture {
            now_ns,
            directory: directory.unwrap_or_default(),
            bytes_max: config.max_size_bytes,
            calls: vec![0; SECONDS],
            ..Picture::default()
        };
        match Store::open_configured(&config) {
            Ok(store) => self.fill(&mut picture, &store),
            Err(error) => picture.problem = Some(nothing(&error)),
        }
        picture
    }

    fn fill(&mut self, picture: &mut Picture, store: &Store) {
        let history = History::read(store);
        let now_ns = picture.now_ns;
        let minute_ns = now_ns.saturating_sub(SECONDS as u64 * SECOND_NS);
        let today_ns = midnight_ns();
        let build = history.last_build();
        let (mut minute, mut today, mut of_build) = <(Sums, Sums, Sums)>::default();
        for entry in &history.entries {
            let time_ns = entry.event.time_ns;
            if Some(entry.build) == build {
                of_build.add(entry);
            }
            if time_ns >= today_ns {
                today.add(entry);
            }
            if time_ns >= minute_ns && entry.ending != Ending::Running {
                minute.add(entry);
                let ago = usize::try_from(now_ns.saturating_sub(time_ns) / SECOND_NS);
                let at = ago.ok().and_then(|ago| (SECONDS - 1).checked_sub(ago));
                if let Some(calls) = at.and_then(|at| picture.calls.get_mut(at)) {
                    *calls += 1;
                }
            }
        }
        (picture.minute, picture.today) = (minute.into(), today.into());
        picture.of_build = of_build.into();
        picture.build = build.map(|build| history.builds[build].name.clone()).unwrap_or_default();
        picture.all = counted(store);
        picture.bytes_used = store.bytes_used();
        picture.running = running(&history, now_ns);
        picture.misses = self.misses(&history);
    }

    /// The last misses; each is explained once.
    fn misses(&mut self, history: &History) -> Vec<Miss> {
        let misses = history.entries.iter().rev().filter(|entry| entry.ending == Ending::Miss);
        let last: Vec<&Entry> = misses.take(MISSES_MAX).collect();
        let key = |entry: &Entry| (entry.event.time_ns, entry.event.process);
        let new: Vec<&Entry> =
            last.iter().copied().filter(|entry| !self.known.contains_key(&key(entry))).collect();
        let of = |explained: &Explained| Miss {
            time_ns: explained.entry.event.time_ns,
            ms: u64::from(explained.entry.event.took_us) / 1000,
            source: source_of(explained),
            cause: in_words(explained),
        };
        for explained in history.explain(&new) {
            self.known.insert(key(explained.entry), of(&explained));
        }
        self.known.retain(|known, _| last.iter().any(|entry| key(entry) == *known));
        last.iter().filter_map(|entry| self.known.get(&key(entry)).cloned()).collect()
    }
}

impl From<Sums> for Rate {
    fn from(sums: Sums) -> Rate {
        Rate {
            hits: sums.hits(),
            of: sums.hits() + sums.count(Ending::Miss),
            saved_ms: sums.saved_ms(),
        }
    }
}

fn nothing(error: &StoreError) -> String {
    format!("nothing is cached: {error}")
}

fn counted(store: &Store) -> Rate {
    let sum = |counter| store.cache.volatile.sum(counter);
    let hits = sum(Counter::INVOCATION_HITS) + sum(Counter::PORTABLE_HITS);
    let saved_ms = sum(Counter::TIME_SAVED_US) / 1000;
    Rate { hits, of: hits + sum(Counter::MISSES), saved_ms }
}

/// The tools that run: what says so and whose process is there.
fn running(history: &History, now_ns: u64) -> Vec<Running> {
    let of = |entry: &Entry| {
        let names = history.names(&entry.event);
        let ms = now_ns.saturating_sub(entry.event.time_ns) / 1_000_000;
        Running { ms, tool: escaped(&names.tool), source: escaped(&names.source) }
    };
    let mut running: Vec<Running> =
        history.entries.iter().filter(|entry| entry.is_running()).map(of).collect();
    running.sort_by(|one, other| other.ms.cmp(&one.ms).then_with(|| one.source.cmp(&other.source)));
    running
}
