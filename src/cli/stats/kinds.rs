//! The figures by tool and by language, from the event rings.
//!
//! A hit before libc names no tool: its record does. Where that is gone, the call is of [`NOT_KNOWN`]. Read next: `spans.rs`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::Value;

use super::super::texts::{duration, escaped, shortened};
use super::spans::Sums;
use super::{calls, hit_rate, hits, number};
use crate::compilers::language;
use crate::shm::events::{Ending, Event};
use crate::wrapper::history::{Entry, History};

/// What is said of a call whose record was evicted.
pub const NOT_KNOWN: &str = "(not known)";
/// How many lines a table has; the rest is one more.
const LINES_MAX: usize = 9;
/// How wide a name is.
const NAME_CHARS: usize = 24;

/// The calls by tool, and by language: a list of spans each.
pub struct Kinds {
    /// By the name of the tool, without directories.
    pub by_tool: Value,
    /// By language.
    pub by_language: Value,
}

impl Kinds {
    /// Of all calls in the rings.
    pub fn of(history: Option<&History>) -> Kinds {
        let of = |history: &History| sums(history, history.entries.iter());
        let (tools, languages) = history.map(of).unwrap_or_default();
        Kinds { by_tool: list(&tools), by_language: list(&languages) }
    }
}

/// Some calls by tool, and by language.
pub fn sums<'e>(
    history: &History,
    entries: impl Iterator<Item = &'e Entry>,
) -> (BTreeMap<String, Sums>, BTreeMap<String, Sums>) {
    let (mut tools, mut languages) = <(BTreeMap<_, Sums>, BTreeMap<_, Sums>)>::default();
    // One record serves many hits.
    let mut known: HashMap<u64, (String, &'static str)> = HashMap::new();
    for entry in entries.filter(|entry| entry.ending != Ending::Running) {
        let name = || kind(history, &entry.event);
        let (tool, language) = if entry.names_nothing() && entry.event.record != 0 {
            known.entry(entry.event.record).or_insert_with(name).clone()
        } else {
            name()
        };
        tools.entry(tool).or_default().add(entry);
        languages.entry(language.to_owned()).or_default().add(entry);
    }
    (tools, languages)
}

fn kind(history: &History, event: &Event) -> (String, &'static str) {
    let names = history.names(event);
    if names.tool.is_empty() {
        return (NOT_KNOWN.to_owned(), NOT_KNOWN);
    }
    let tool = String::from_utf8_lossy(&names.tool).into_owned();
    let source = Path::new(OsStr::from_bytes(&names.source));
    let language = language(OsStr::from_bytes(&names.tool), source).unwrap_or("other");
    (tool, language)
}

/// A list of spans with names, that of the most calls first: readers take the values of an object for counts.
fn list(sums: &BTreeMap<String, Sums>) -> Value {
    let named = |(name, sums): (&String, &Sums)| {
        let mut span = sums.object();
        span["name"] = name.as_str().into();
        span
    };
    let mut all: Vec<Value> = sums.iter().map(named).collect();
    all.sort_by_key(|span| std::cmp::Reverse(calls(span)));
    all.into()
}

/// The spans of a list.
pub fn spans<'f>(figures: &'f Value, list: &str) -> &'f [Value] {
    figures[list].as_array().map_or(&[], Vec::as_slice)
}

/// Two tables. Where the counters know of more calls, it is said of how many these are.
pub fn show(figures: &Value, out: &mut dyn Write) -> io::Result<()> {
    let of: u64 = spans(figures, "by_tool").iter().map(calls).sum();
    if of == 0 {
        return Ok(());
    }
    if of < calls(figures) {
        writeln!(out, "\nThe last {of} calls:")?;
    }
    for (title, name) in [("by tool", "by_tool"), ("by language", "by_language")] {
        let columns = ["calls", "hits", "misses", "hit rate", "time saved"].map(str::to_owned);
        writeln!(out)?;
        line(title, &columns, out)?;
        let all = spans(figures, name);
        let shown = if all.len() <= LINES_MAX + 1 { all.len() } else { LINES_MAX };
        for span in &all[..shown] {
            let name = span["name"].as_str().unwrap_or_default();
            let name = shortened(&escaped(name.as_bytes()), NAME_CHARS);
            line(&format!("  {name}"), &cells(span), out)?;
        }
        if let Some(rest) = all.get(shown..).filter(|rest| !rest.is_empty()) {
            let mut sums = Sums::default();
            for span in rest {
                sums.add_span(span);
            }
            line(&format!("  {} others", rest.len()), &cells(&sums.object()), out)?;
        }
    }
    Ok(())
}

fn cells(span: &Value) -> [String; 5] {
    [
        calls(span).to_string(),
        hits(span).to_string(),
        number(span, "misses").to_string(),
        hit_rate(span),
        duration(number(span, "time_saved_ms")),
    ]
}

fn line(name: &str, cells: &[String; 5], out: &mut dyn Write) -> io::Result<()> {
    let [calls, hits, misses, rate, saved] = cells;
    writeln!(out, "{name:<26}{calls:>9}{hits:>9}{misses:>9}{rate:>11}{saved:>14}")
}
