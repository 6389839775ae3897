//! The figures of today and of a build, from the event rings.
//!
//! The rings hold the last invocations only, 16,384 of them at least: what is older is in the counters alone.
//! Read next: `wrapper/history/mod.rs`.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{duration, number, total};
use crate::env;
use crate::os::local_time::midnight_s;
use crate::shm::events::Ending;
use crate::store::Store;
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
    pub fn of(store: Option<&Store>) -> Spans {
        let history = store.map(History::read);
        let entries = history.as_ref().map_or(&[][..], |history| &history.entries);
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let midnight_s = midnight_s(i64::try_from(now_s).unwrap_or(0));
        let midnight_ns = u64::try_from(midnight_s).unwrap_or(0) * 1_000_000_000;
        let build = history.as_ref().and_then(this_build);
        let name = history.as_ref().zip(build).map(|(history, build)| &history.builds[build].name);
        Spans {
            today: figures(entries.iter().filter(|entry| entry.event.time_ns >= midnight_ns)),
            this_build: figures(entries.iter().filter(|entry| Some(entry.build) == build)),
            name: name.cloned().unwrap_or_default(),
        }
    }
}

fn this_build(history: &History) -> Option<usize> {
    match env::get_nonempty(env::IBID_BUILD) {
        Some(name) => history.build(&name.to_string_lossy()),
        None => history.last_build(),
    }
}

fn figures<'e>(entries: impl Iterator<Item = &'e Entry>) -> Value {
    let mut counts = [0u64; Ending::ALL.len() + 1];
    let mut saved_us = 0;
    for entry in entries {
        counts[entry.ending as usize] += 1;
        saved_us += u64::from(entry.event.saved_us);
    }
    json!({
        "invocation_hits": counts[Ending::DirectHit as usize],
        "portable_hits": counts[Ending::ContentHit as usize],
        "misses": counts[Ending::Miss as usize],
        "passed_through": counts[Ending::PassedThrough as usize],
        "tool_failures": counts[Ending::ToolFailure as usize],
        "time_saved_ms": saved_us / 1000,
    })
}

/// A table: today, this build, all.
pub fn show(figures: &Value, out: &mut dyn Write) -> io::Result<()> {
    let spans = [&figures["today"], &figures["this_build"], figures];
    let passed = |span: &Value| number(span, "passed_through").max(total(span, "passed_through"));
    let hits = |span: &Value| number(span, "invocation_hits") + number(span, "portable_hits");
    let calls = |span: &Value| {
        hits(span) + number(span, "misses") + number(span, "tool_failures") + passed(span)
    };
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
    row("hit rate", &|span| {
        super::hit_rate(span)
            .map_or_else(|| "-".to_owned(), |rate| format!("{}.{} %", rate / 10, rate % 10))
    })?;
    row("time saved", &|span| duration(number(span, "time_saved_ms")))?;
    let name = figures["this_build_name"].as_str().unwrap_or_default();
    if name.is_empty() { Ok(()) } else { writeln!(out, "this build         {name}") }
}
