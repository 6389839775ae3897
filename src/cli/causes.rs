//! Misses of the past by cause, in words: what `explain --last`, `monitor` and `report` show.
//!
//! Read next: `wrapper/history/causes.rs`, `docs/outcomes.md`.

use std::collections::HashMap;

use super::reasons::{in_short, what_to_do};
use super::texts::{escaped, printable};
use crate::outcome::Cause;
use crate::wrapper::history::Explained;

/// Misses of one cause.
pub struct Group<'e> {
    /// The name of the cause, or of the reason why the result was not stored.
    pub name: &'static str,
    /// A path, the name of a variable, or what differs in words; may be empty.
    pub what: String,
    /// The misses, at least one.
    pub misses: Vec<&'e Explained<'e>>,
}

/// The largest first.
pub fn groups<'e>(explained: &'e [Explained<'e>]) -> Vec<Group<'e>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for miss in explained {
        let (name, what) = of(miss);
        let at = *places.entry((name, what)).or_insert_with(|| {
            groups.push(Group { name, what: what.to_owned(), misses: Vec::new() });
            groups.len() - 1
        });
        groups[at].misses.push(miss);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.misses.len()));
    groups
}

/// The name of the cause or reason of a miss, and what it is about.
fn of<'m>(miss: &'m Explained<'_>) -> (&'static str, &'m str) {
    // What is not stored misses for that reason again, whatever the cause was.
    match (miss.entry.reason(), miss.cause) {
        (Some(reason), _) => (reason, ""),
        (None, Some(cause)) => (cause.name(), what_counts(cause, &miss.what)),
        (None, None) => (Cause::NoRecord.name(), ""),
    }
}

/// The cause of a miss in words.
pub fn in_words(miss: &Explained) -> String {
    let (name, what) = of(miss);
    heading(name, what)
}

/// By what misses of one cause are told apart.
fn what_counts(cause: Cause, what: &str) -> &str {
    match cause {
        Cause::NewSource | Cause::OtherDirectory | Cause::NoRecord => "",
        _ => what,
    }
}

impl Group<'_> {
    /// The cause in words.
    pub fn heading(&self) -> String {
        heading(self.name, &self.what)
    }

    /// What to do about it; for another directory with how many may be helped by maps.
    pub fn what_to_do(&self) -> Option<String> {
        const MAPS: &str = "set `IBID_REMAP=auto`";
        let advice = what_to_do(self.name)?;
        let count = self.misses.iter().filter(|miss| miss.maps_may_serve).count();
        let (true, Some(rest)) = (count > 0, advice.strip_prefix(MAPS)) else {
            return Some(advice);
        };
        Some(format!("{MAPS}, which would serve up to {count} of them{rest}"))
    }

    /// How long the tools ran.
    pub fn tool_ms(&self) -> u64 {
        let us = self.misses.iter().map(|miss| u64::from(miss.entry.event.took_us));
        us.sum::<u64>() / 1000
    }
}

fn heading(name: &str, what: &str) -> String {
    let what = printable(what);
    match name {
        "file_changed" if !what.is_empty() => format!("{what} has changed"),
        "file_appeared" if !what.is_empty() => {
            format!("{what} is new: it was not found before")
        }
        "file_gone" if !what.is_empty() => format!("{what} is gone or of another kind"),
        "link_changed" if !what.is_empty() => format!("symlink {what} leads elsewhere"),
        "listing_changed" if !what.is_empty() => {
            format!("directory {what} has other names in it")
        }
        "variable" if what == "PATH" => "PATH now finds another program".to_owned(),
        "variable" if !what.is_empty() => format!("variable {what} has another value"),
        "new_argument" | "other_setting" | "input_stream" if !what.is_empty() => what,
        name => in_short(name).unwrap_or_else(|| name.to_owned()),
    }
}

/// The source of a miss, or the tool if there is none.
pub fn name_of(miss: &Explained) -> String {
    let names = &miss.names;
    escaped(if names.source.is_empty() { &names.tool } else { &names.source })
}

/// The same, and the directory if that is what differs.
pub fn source_of(miss: &Explained) -> String {
    let source = name_of(miss);
    match miss.cause {
        Some(Cause::OtherDirectory) => format!("{source} in {}", escaped(&miss.names.directory)),
        _ => source,
    }
}
