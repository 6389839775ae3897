//! The figures of today and of a build, from the event rings.
//!
//! The rings hold the last invocations only, 16,384 of them at least: what is older is in the counters alone.
//! Read next: `wrapper/history/mod.rs`.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::texts::duration;
use super::{calls, hit_rate, hits, number};
use crate::env;
use crate::os::local_time::midnight_s;
use crate::shm::events::Ending;
use crate::wrapper::history::{Entry, History};

/// The figures of today and of this build, which is that of `IBID_BUILD`, else that of the last call; and its name.
pub struct Spans {
    /// Of today.
    pub today: Value,
    /// Of this build.
    pub this_build: Value,
    /// Its name; empty if there is none.
    pub name: String,
}

impl Spans {
    /// What the rings hold of both.
    pub fn of(history: Option<&History>) -> Spans {
        let entries = history.map_or(&[][..], |history| &history.entries);
        let midnight_ns = midnight_ns();
        let build = history.and_then(this_build);
        let name = history.zip(build).map(|(history, build)| &history.builds[build].name);
        let of = |entries: &mut dyn Iterator<Item = &Entry>| {
            let mut sums = Sums::default();
            entries.for_each(|entry| sums.add(entry));
            sums.object()
        };
        Spans {
            today: of(&mut entries.iter().filter(|entry| entry.event.time_ns >= midnight_ns)),
            this_build: of(&mut entries.iter().filter(|entry| Some(entry.build) == build)),
            name: name.cloned().unwrap_or_default(),
        }
    }
}

/// When today began, ns since the epoch.
pub fn midnight_ns() -> u64 {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let midnight_s = midnight_s(i64::try_from(now_s).unwrap_or(0));
    u64::try_from(midnight_s).unwrap_or(0) * 1_000_000_000
}

fn this_build(history: &History) -> Option<usize> {
    match env::get_nonempty(env::IBID_BUILD) {
        Some(name) => history.build(&name.to_string_lossy()),
        None => history.last_build(),
    }
}

/// How some calls ended.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sums {
    counts: [u64; Ending::ALL.len() + 1],
    saved_us: u64,
}

/// The endings that a span has, and their names.
const ENDINGS: [(Ending, &str); 5] = [
    (Ending::DirectHit, "invocation_hits"),
    (Ending::ContentHit, "portable_hits"),
    (Ending::Miss, "misses"),
    (Ending::PassedThrough, "passed_through"),
    (Ending::ToolFailure, "tool_failures"),
];

impl Sums {
    /// One call more.
    pub fn add(&mut self, entry: &Entry) {
        self.counts[entry.ending as usize] += 1;
        self.saved_us += u64::from(entry.event.saved_us);
    }

    /// All calls of a span more.
    pub fn add_span(&mut self, span: &Value) {
        for (ending, name) in ENDINGS {
            self.counts[ending as usize] += number(span, name);
        }
        self.saved_us += number(span, "time_saved_ms") * 1000;
    }

    /// Direct hits and content hits.
    pub fn hits(&self) -> u64 {
        self.counts[Ending::DirectHit as usize] + self.counts[Ending::ContentHit as usize]
    }

    /// How many ended so.
    pub fn count(&self, ending: Ending) -> u64 {
        self.counts[ending as usize]
    }

    /// How long the tools ran whose results were served.
    pub fn saved_ms(&self) -> u64 {
        self.saved_us / 1000
    }

    /// The span.
    pub fn object(&self) -> Value {
        let counts = ENDINGS.map(|(ending, name)| (name, self.counts[ending as usize]));
        let all = counts.into_iter().chain([("time_saved_ms", self.saved_us / 1000)]);
        all.map(|(name, count)| (name.to_owned(), json!(count))).collect::<Map<_, _>>().into()
    }
}

/// A table: today, this build, all.
pub fn show(figures: &Value, out: &mut dyn Write) -> io::Result<()> {
    let spans = [&figures["today"], &figures["this_build"], figures];
    let mut row = |title: &str, cell: &dyn Fn(&Value) -> String| {
        let [today, build, all] = spans.map(cell);
        writeln!(out, "{title:<19}{today:>14}{build:>14}{all:>14}")
    };
    row("", &|span| {
        let at = spans.iter().position(|known| std::ptr::eq(*known, span)).unwrap_or(0);
        ["today", "this build", "all"][at].to_owned()
    })?;
    row("calls", &|span| calls(span).to_string())?;
    row("hits", &|span| hits(span).to_string())?;
    row("misses", &|span| number(span, "misses").to_string())?;
    row("hit rate", &hit_rate)?;
    row("time saved", &|span| duration(number(span, "time_saved_ms")))?;
    let name = figures["this_build_name"].as_str().unwrap_or_default();
    if name.is_empty() { Ok(()) } else { writeln!(out, "this build         {name}") }
}
