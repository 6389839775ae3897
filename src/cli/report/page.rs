//! What stands on the page.
//!
//! Read next: `style.css`, `html.rs` (texts), `charts.rs`, `docs/report.md`.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::causes::{Group, groups, in_words, source_of};
use super::super::reasons::{in_short, what_to_do};
use super::super::stats::kinds;
use super::super::stats::spans::Sums;
use super::super::texts::{bytes, duration, percent, plural};
use super::charts;
use super::html::{Column, table, text};
use super::lanes::{Kind, Timeline};
use super::worth::{Class, by_age, by_worth};
use crate::config::Config;
use crate::outcome::PassReason;
use crate::shm::events::Ending;
use crate::store::Store;
use crate::wrapper::history::{Build, Contents, Entry, Explained, Held, History};
use crate::wrapper::time_of_day;

const STYLE: &str = include_str!("style.css");
/// How many of the slowest misses are named.
const SLOWEST: usize = 20;
/// How many causes are shown.
const CAUSES: usize = 30;
/// How many sources of a cause are named.
const NAMED: usize = 5;
/// How many of the records that save most are named.
const DEAREST: usize = 10;

/// All that the page shows.
pub struct Page<'p> {
    store: &'p Store,
    history: &'p History<'p>,
    config: &'p Config,
    build: Option<&'p Build>,
    /// The calls of the build.
    calls: Vec<&'p Entry>,
    contents: Contents,
}

impl<'p> Page<'p> {
    /// About a build, and the cache.
    pub fn of(
        store: &'p Store,
        history: &'p History<'p>,
        build: Option<usize>,
        config: &'p Config,
    ) -> Page<'p> {
        let is_of_build = |entry: &&Entry| Some(entry.build) == build;
        Page {
            store,
            history,
            config,
            build: build.map(|build| &history.builds[build]),
            calls: history.entries.iter().filter(is_of_build).collect(),
            contents: history.contents(),
        }
    }

    /// The page.
    pub fn html(&self) -> String {
        let misses: Vec<&Entry> =
            self.calls.iter().copied().filter(|entry| entry.ending == Ending::Miss).collect();
        let explained = self.history.explain(&misses);
        let title = self.build.map_or("ibid".to_owned(), |build| format!("ibid: {}", build.name));
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
            text(&title)
        );
        html += &self.head();
        if self.build.is_some() {
            html += &self.timeline();
            html += &self.served();
            html += &causes(&explained);
            html += &slowest(&explained);
        }
        html += &self.held();
        html + "</body>\n</html>\n"
    }

    fn head(&self) -> String {
        let Some(build) = self.build else {
            return "<h1>ibid</h1>\n<p>No build is known yet.</p>\n".to_owned();
        };
        let mut sums = Sums::default();
        for entry in &self.calls {
            sums.add(entry);
        }
        let (began, ended) = (time_of_day(build.began_ns), time_of_day(build.ended_ns));
        let (hits, misses) = (sums.hits(), sums.count(Ending::Miss));
        let took_us = self.calls.iter().map(|entry| u64::from(entry.event.took_us));
        let figures = [
            ("hit rate", percent(hits, hits + misses)),
            ("hits", hits.to_string()),
            ("misses", misses.to_string()),
            ("failed", sums.count(Ending::ToolFailure).to_string()),
            ("passed through", sums.count(Ending::PassedThrough).to_string()),
            ("compiled for", duration(took_us.sum::<u64>() / 1000)),
            ("saved", duration(sums.saved_ms())),
        ];
        let mut html = format!(
            "<h1>Build {}</h1>\n<p>{}, the first ended at {began}, the last at {ended} UTC.</p>\n<dl class=\"figures\">\n",
            text(&build.name),
            plural(self.calls.len(), "call", "calls"),
        );
        for (name, figure) in figures {
            let _ = writeln!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", text(&figure));
        }
        html + "</dl>\n"
    }

    fn timeline(&self) -> String {
        let timeline = Timeline::of(&self.calls);
        let mut html = "<h2>Timeline</h2>\n<p>Each line is one job of the build: as many lines as tools ran at once. \
            Without a call nothing is drawn.</p>\n<p class=\"legend\">"
            .to_owned();
        for kind in Kind::ALL {
            let count = self.calls.iter().filter(|entry| Kind::of(entry) == Some(kind)).count();
            if count > 0 {
                let colour = charts::name(charts::colour(kind));
                let _ = write!(
                    html,
                    "<span><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><rect width=\"12\" height=\"12\" fill=\"{colour}\"/></svg> {} ({count})</span> ",
                    kind.name()
                );
            }
        }
        let _ = write!(html, "</p>\n<figure>{}</figure>\n", charts::timeline(&timeline));
        html
    }

    /// By tool and language, and what passed through.
    fn served(&self) -> String {
        let mut html = "<h2>What was served</h2>\n<div class=\"columns\">\n".to_owned();
        let (tools, languages) = kinds::sums(self.history, self.calls.iter().copied());
        for (title, sums) in [("tool", tools), ("language", languages)] {
            let mut rows: Vec<(String, Sums)> = sums.into_iter().collect();
            rows.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.hits() + sums.count(Ending::Miss)));
            let row = |(name, sums): (String, Sums)| {
                vec![
                    name,
                    sums.hits().to_string(),
                    sums.count(Ending::Miss).to_string(),
                    duration(sums.saved_ms()),
                ]
            };
            let heads = [
                (title, Column::Name),
                ("hits", Column::Figure),
                ("misses", Column::Figure),
                ("saved", Column::Figure),
            ];
            html += &table(&heads, &rows.into_iter().map(row).collect::<Vec<_>>());
        }
        html += "</div>\n";
        let passed = PassReason::ALL.iter().filter_map(|reason| {
            let is_it = |entry: &&&Entry| {
                entry.ending == Ending::PassedThrough && entry.reason() == Some(reason.name())
            };
            let count = self.calls.iter().filter(is_it).count();
            let meaning = in_short(reason.name()).unwrap_or_default();
            (count > 0).then(|| vec![count.to_string(), meaning, advice(what_to_do(reason.name()))])
        });
        let passed: Vec<Vec<String>> = passed.collect();
        if !passed.is_empty() {
            let heads = [
                ("passed through", Column::Figure),
                ("because", Column::Words),
                ("what to do", Column::Words),
            ];
            html += &table(&heads, &passed);
        }
        html
    }

    fn held(&self) -> String {
        let (used, max) = (self.store.bytes_used(), self.config.max_size_bytes);
        let directory = self.config.cache_dir.as_deref().unwrap_or("".as_ref());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let records = plural(self.contents.records.len(), "record", "records");
        let mut html = format!(
            "<h2>The cache</h2>\n<p>{}: {} of {}, {records}.</p>\n",
            text(&directory.display().to_string()),
            bytes(used),
            bytes(max)
        );
        html += &classes("age", &by_age(&self.contents, now.as_secs()));
        html += &classes("compile time for its size", &by_worth(&self.contents));
        let mut dearest: Vec<&Held> = self.contents.records.iter().collect();
        dearest.sort_by_key(|held| std::cmp::Reverse(held.tool_us));
        let row = |held: &&Held| {
            let names = self.history.names_at(held.place);
            let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            vec![
                duration(held.tool_us / 1000),
                bytes(held.bytes),
                name(&names.tool),
                name(&names.source),
                name(&names.directory),
            ]
        };
        let rows: Vec<Vec<String>> = dearest.iter().take(DEAREST).map(row).collect();
        if !rows.is_empty() {
            let heads = [
                ("saves", Column::Figure),
                ("size", Column::Figure),
                ("tool", Column::Name),
                ("source", Column::Name),
                ("directory", Column::Name),
            ];
            html += "<h3>What saves most</h3>\n";
            html += &table(&heads, &rows);
        }
        html
    }
}

/// What to do, for a cell of a table; nothing where nothing can be done.
fn advice(what_to_do: Option<String>) -> String {
    let advice = what_to_do.filter(|advice| advice != "nothing");
    advice.map_or_else(String::new, |advice| advice.replace('`', ""))
}

fn causes(explained: &[Explained]) -> String {
    let mut html = "<h2>Why compiles missed</h2>\n".to_owned();
    if explained.is_empty() {
        return html + "<p>None did.</p>\n";
    }
    let groups = groups(explained);
    let sources = |group: &Group| {
        let mut named: Vec<String> = Vec::new();
        for name in group.misses.iter().map(|miss| source_of(miss)) {
            if named.len() < NAMED && !name.is_empty() && !named.contains(&name) {
                named.push(name);
            }
        }
        let more = group.misses.len().saturating_sub(named.len());
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        named.join(", ") + &more
    };
    let row = |group: &Group| {
        vec![
            group.misses.len().to_string(),
            duration(group.tool_ms()),
            group.heading(),
            advice(group.what_to_do()),
            sources(group),
        ]
    };
    let rows: Vec<Vec<String>> = groups.iter().take(CAUSES).map(row).collect();
    let heads = [
        ("misses", Column::Figure),
        ("took", Column::Figure),
        ("cause", Column::Words),
        ("what to do", Column::Words),
        ("sources", Column::Name),
    ];
    html += &table(&heads, &rows);
    if groups.len() > CAUSES {
        let _ = writeln!(html, "<p>And {} more causes.</p>", groups.len() - CAUSES);
    }
    html
}

fn slowest(explained: &[Explained]) -> String {
    let mut misses: Vec<&Explained> = explained.iter().collect();
    misses.sort_by_key(|miss| std::cmp::Reverse(miss.entry.event.took_us));
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let row = |miss: &&Explained| {
        vec![
            duration(u64::from(miss.entry.event.took_us) / 1000),
            time_of_day(miss.entry.event.time_ns),
            name(&miss.names.tool),
            name(&miss.names.source),
            name(&miss.names.directory),
            in_words(miss),
        ]
    };
    let rows: Vec<Vec<String>> = misses.iter().take(SLOWEST).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let heads = [
        ("took", Column::Figure),
        ("ended, UTC", Column::Figure),
        ("tool", Column::Name),
        ("source", Column::Name),
        ("directory", Column::Name),
        ("cause", Column::Words),
    ];
    format!("<h2>Slowest misses</h2>\n{}", table(&heads, &rows))
}

/// A class in a line: what it holds as a bar, and all its figures.
fn classes(by: &str, classes: &[Class]) -> String {
    #[allow(clippy::cast_precision_loss, reason = "a picture has 1000 points")]
    let bar = |class: &Class| (class.name, class.bytes as f64, bytes(class.bytes));
    let lines: Vec<_> = classes.iter().map(bar).collect();
    let row = |class: &Class| {
        vec![
            class.name.to_owned(),
            bytes(class.bytes),
            class.records.to_string(),
            class.served.to_string(),
            duration(class.tool_us / 1000),
        ]
    };
    let heads = [
        (by, Column::Words),
        ("size", Column::Figure),
        ("records", Column::Figure),
        ("served lately", Column::Figure),
        ("saves, each once", Column::Figure),
    ];
    let rows: Vec<Vec<String>> = classes.iter().map(row).collect();
    let title = format!("size by {by}");
    format!(
        "<h3>By {by}</h3>\n<figure>{}</figure>\n{}",
        charts::bars(&title, &lines),
        table(&heads, &rows)
    )
}
