//! `ibid explain --last` and `--build`: why compiles of the past missed, grouped by cause, with what to do about it.
//!
//! `docs/explain.schema.json` is the schema of the object. Read next: `wrapper/history/mod.rs`, `docs/events.md`.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::super::args::Explain;
use super::super::causes::{Group, groups, name_of, source_of};
use super::super::refuse;
use super::super::texts::{COLUMNS, escaped, plural, seconds, shortened, wrapped};
use crate::config;
use crate::env;
use crate::outcome::Cause;
use crate::shm::events::Ending;
use crate::store::Store;
use crate::wrapper::history::{Entry, Explained, History};
use crate::wrapper::time_of_day;

/// How wide a line is at most.
/// Where texts begin behind the count of a group.
const INDENT: usize = 8;
/// How many sources of a group are named.
const NAMED_MAX: usize = 3;
/// How many builds are named where one is not known.
const BUILDS_MAX: usize = 4;

/// Prints the groups; 2 if there is no such build.
pub fn run(asked: &Explain, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let store = match Store::open_configured(&config::load()) {
        Ok(store) => store,
        Err(error) => return refuse(&format_args!("nothing is cached: {error}"), stderr),
    };
    let history = History::read(&store);
    let build = match asked.build.as_deref().map(|name| build_of(&history, name)) {
        None => None,
        Some(Ok(build)) => Some(build),
        Some(Err(why)) => return refuse(&why, stderr),
    };
    let calls: Vec<&Entry> = history.entries.iter().collect();
    let calls: Vec<&Entry> =
        calls.into_iter().filter(|entry| build.is_none_or(|build| entry.build == build)).collect();
    let misses: Vec<&Entry> =
        calls.iter().copied().filter(|entry| entry.ending == Ending::Miss).collect();
    let from = misses.len().saturating_sub(asked.last.unwrap_or(usize::MAX));
    let explained = history.explain(misses.get(from..).unwrap_or(&[]));
    let groups = groups(&explained);
    if asked.json {
        let name = build.map_or("", |build| &history.builds[build].name);
        writeln!(stdout, "{:#}", object(name, &calls, &explained, &groups, &history))?;
        return Ok(0);
    }
    match build {
        Some(build) => {
            let build = &history.builds[build];
            let (began, ended) = (time_of_day(build.began_ns), time_of_day(build.ended_ns));
            writeln!(stdout, "build {}, {began} to {ended} UTC", build.name)?;
            writeln!(stdout, "{}", counts(&calls))?;
        }
        None if explained.is_empty() => writeln!(stdout, "no miss is known")?,
        None if explained.len() == 1 => writeln!(stdout, "the last miss")?,
        None => writeln!(stdout, "the last {}", plural(explained.len(), "miss", "misses"))?,
    }
    groups.iter().try_for_each(|group| show(group, stdout))?;
    Ok(0)
}

/// The build that is asked for; with no name the one in which we run, or else the last.
pub fn build_of(history: &History, name: &str) -> Result<usize, String> {
    let own = env::get_nonempty(env::IBID_BUILD).map(|name| name.to_string_lossy().into_owned());
    let own = own.as_deref().and_then(|own| history.build(own));
    if name.is_empty() {
        return own.or(history.last_build()).ok_or_else(|| "no build is known yet".to_owned());
    }
    history.build(name).ok_or_else(|| {
        let last = history.builds.iter().rev().take(BUILDS_MAX);
        let last: Vec<String> = last.map(|build| format!("`{}`", build.name)).collect();
        let known = match last.len() {
            0 => "none is known yet".to_owned(),
            _ => format!("the last are {}", last.join(", ")),
        };
        format!("no build `{}` is known; {known}", name.escape_debug())
    })
}

fn show(group: &Group, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    let heading = indented(&group.heading());
    for (at, line) in heading.iter().enumerate() {
        match at {
            0 => writeln!(out, "{:>6}  {line}", group.misses.len())?,
            _ => writeln!(out, "{:INDENT$}{line}", "")?,
        }
    }
    // A directory that all have in common is named once.
    let directory = |miss: &&Explained| {
        (miss.cause == Some(Cause::OtherDirectory)).then(|| miss.names.directory.clone())
    };
    let mut directories: Vec<_> = group.misses.iter().map(directory).collect();
    directories.dedup();
    let common = match &directories[..] {
        [Some(one)] if group.misses.len() > 1 => Some(escaped(one)),
        _ => None,
    };
    let mut sources: Vec<String> = Vec::new();
    for miss in &group.misses {
        let name = if common.is_some() { name_of(miss) } else { source_of(miss) };
        if !sources.contains(&name) && sources.len() < NAMED_MAX && !name.is_empty() {
            sources.push(name);
        }
    }
    let more = group.misses.len() - sources.len();
    let time = seconds(group.tool_ms());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let common = common.map_or_else(String::new, |directory| format!(" in {directory}"));
    let texts = [format!("{}{more}{common}: {time}", sources.join(", "))];
    let advice = group.what_to_do().filter(|advice| advice != "nothing");
    for text in texts.into_iter().chain(advice.map(|advice| format!("-> {advice}"))) {
        for line in indented(&text) {
            writeln!(out, "{:INDENT$}{line}", "")?;
        }
    }
    Ok(())
}

/// Lines that fit behind the indent. A word that does not loses its beginning.
fn indented(text: &str) -> Vec<String> {
    wrapped(text.split_whitespace().map(|word| shortened(word, COLUMNS - INDENT)), INDENT)
}

/// How the calls ended.
fn counts(calls: &[&Entry]) -> String {
    let count =
        |endings: &[Ending]| calls.iter().filter(|entry| endings.contains(&entry.ending)).count();
    let parts = [
        (plural(calls.len(), "call", "calls"), true),
        (plural(count(&[Ending::DirectHit, Ending::ContentHit]), "hit", "hits"), true),
        (plural(count(&[Ending::Miss]), "miss", "misses"), true),
        (format!("{} passed through", count(&[Ending::PassedThrough])), false),
        (format!("{} failed", count(&[Ending::ToolFailure])), false),
    ];
    let shown = parts.iter().filter(|(text, always)| *always || !text.starts_with("0 "));
    shown.map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(", ")
}

/// The object of `--json`.
fn object(
    build: &str,
    calls: &[&Entry],
    explained: &[Explained],
    groups: &[Group],
    history: &History,
) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let count =
        |endings: &[Ending]| calls.iter().filter(|entry| endings.contains(&entry.ending)).count();
    let groups: Vec<Value> = groups
        .iter()
        .map(|group| {
            json!({
                "name": group.name,
                "what": group.what,
                "text": group.heading(),
                "what_to_do": group.what_to_do().unwrap_or_default(),
                "misses": group.misses.len(),
                "tool_ms": group.tool_ms(),
            })
        })
        .collect();
    let last: Vec<Value> = explained
        .iter()
        .map(|miss| {
            let event = &miss.entry.event;
            json!({
                "time_ms": event.time_ns / 1_000_000,
                "build": history.builds[miss.entry.build].name,
                "tool": text(&miss.names.tool),
                "source": text(&miss.names.source),
                "directory": text(&miss.names.directory),
                "cause": miss.cause.map_or("", Cause::name),
                "what": miss.what,
                "not_stored": miss.entry.reason().unwrap_or_default(),
                "tool_ms": event.took_us / 1000,
            })
        })
        .collect();
    json!({
        "build": build,
        "calls": calls.len(),
        "hits": count(&[Ending::DirectHit, Ending::ContentHit]),
        "passed_through": count(&[Ending::PassedThrough]),
        "tool_failures": count(&[Ending::ToolFailure]),
        "groups": groups,
        "misses": last,
    })
}
