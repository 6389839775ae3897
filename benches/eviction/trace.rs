//! What a row of builds asked of a cache: a line for each look-up.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

/// A result that was looked up: what it would be again, what it takes, and what it saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Equal for equal results.
    pub id: usize,
    /// Its record and its outputs.
    pub bytes: u64,
    /// How long the tool ran when it was made, microseconds.
    pub cost_us: u64,
}

impl Entry {
    /// What it saves for a byte.
    pub fn worth(&self) -> f64 {
        self.cost_us as f64 / self.bytes.max(1) as f64
    }
}

/// What entries take together.
pub fn bytes_of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> u64 {
    entries.into_iter().map(|entry| entry.bytes).sum()
}

/// Look-ups in their order.
#[derive(Debug, Default, Clone)]
pub struct Trace {
    pub name: String,
    pub row: Vec<Entry>,
}

impl Trace {
    /// One that was written before.
    pub fn read(path: &Path) -> io::Result<Trace> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let wrong = |line: &str| io::Error::other(format!("{}: {line}", path.display()));
        let entry = |line: &str| {
            let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
            match numbers.as_deref() {
                Ok([id, bytes, cost_us]) => {
                    Ok(Entry { id: *id as usize, bytes: *bytes, cost_us: *cost_us })
                }
                _ => Err(wrong(line)),
            }
        };
        let text = fs::read_to_string(path)?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Ok(Trace { name, row: lines.map(entry).collect::<io::Result<_>>()? })
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text =
            String::from("# result (the same number: the same), bytes, us that its tool ran\n");
        for entry in &self.row {
            writeln!(text, "{} {} {}", entry.id, entry.bytes, entry.cost_us).expect("it has room");
        }
        fs::write(path, text)
    }

    /// All of `traces` in one cache: a part of each in turn, as days at several projects.
    pub fn in_turn(traces: &[Trace], parts: usize) -> Trace {
        let mut row = Vec::new();
        for part in 0..parts {
            for (number, trace) in traces.iter().enumerate() {
                let at = |part: usize| trace.row.len() * part / parts;
                // Results of different projects are different ones.
                let own = |entry: &Entry| Entry { id: entry.id * traces.len() + number, ..*entry };
                row.extend(trace.row[at(part)..at(part + 1)].iter().map(own));
            }
        }
        Trace { name: "in turn".to_owned(), row }
    }

    /// What a cache would hold that keeps everything.
    pub fn distinct_bytes(&self) -> u64 {
        self.row
            .iter()
            .map(|entry| (entry.id, entry.bytes))
            .collect::<HashMap<_, _>>()
            .values()
            .sum()
    }

    pub fn cost_us(&self) -> u64 {
        self.row.iter().map(|entry| entry.cost_us).sum()
    }
}
