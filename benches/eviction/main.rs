//! What a cache that is too small should keep: sessions of real builds, recorded and replayed under several policies.
//!
//! `cargo bench --bench eviction -- --record FILE CACHE` writes what was asked of a cache since it was made (scripts that fill
//! one are in `sessions/`). `cargo bench --bench eviction` replays the files in `traces/`, or those that are named. What counts
//! is seconds of tools saved. Read next: `log.rs` (what a store can do), `bound.rs` (what nobody can).
#![allow(clippy::disallowed_methods, reason = "a bench reads its arguments")]
#![allow(clippy::print_stdout, reason = "its figures")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "figures for people")]
#![allow(clippy::cast_sign_loss, reason = "figures for people")]

mod bound;
mod entries;
mod log;
mod record;
mod trace;

use std::error::Error;
use std::path::{Path, PathBuf};

use entries::{Ranked, Sieve, TwoQueues};
use log::{Admits, Log, Survives};
use trace::{Entry, Trace};

/// What became of a look-up.
pub struct Found {
    is_hit: bool,
    /// Bytes that were written for it, and to keep others.
    written: u64,
}

/// A cache that is nothing but names and sizes.
pub trait Cache {
    /// Looks for an entry, and stores it if it is not there.
    fn look_up(&mut self, entry: Entry) -> Found;
}

type Make = fn(u64) -> Box<dyn Cache>;

const fn recent(of_all: f64) -> Survives {
    Survives::Worth { of_all, unused: 0.25, half_life: 2000.0 }
}

/// A log of segments.
fn logged(max_bytes: u64, survives: Survives, admits: Admits) -> Box<dyn Cache> {
    Box::new(Log::new(max_bytes, survives, admits))
}

const SECOND_USE: Admits = Admits::AtSecondUse { bytes: 1 << 20, below_us_per_mib: 100_000 };

const POLICIES: &[(&str, Make)] = &[
    ("oldest first", |max| logged(max, Survives::Nothing, Admits::All)),
    ("used survive", |max| logged(max, Survives::Used, Admits::All)),
    ("used, and unused by worth, 1/4", |max| {
        logged(max, Survives::UsedAndWorth(0.25), Admits::All)
    }),
    ("all by worth, 1/4", |max| logged(max, recent(0.25), Admits::All)),
    ("all by worth, 1/2", |max| logged(max, recent(0.5), Admits::All)),
    ("links at 2nd use, used survive: the store", |max| logged(max, Survives::Used, SECOND_USE)),
    ("2nd use, used, and unused, 1/8", |max| {
        logged(max, Survives::UsedAndWorth(0.125), SECOND_USE)
    }),
    ("2nd use, used, and unused, 1/4", |max| logged(max, Survives::UsedAndWorth(0.25), SECOND_USE)),
    ("2nd use, all by worth, 1/4", |max| logged(max, recent(0.25), SECOND_USE)),
    ("2nd use, all by worth, 1/2", |max| logged(max, recent(0.5), SECOND_USE)),
    ("lru, single entries", |max| Box::new(Ranked::new(max, false))),
    ("greedy dual, single entries", |max| Box::new(Ranked::new(max, true))),
    ("sieve, single entries", |max| Box::new(Sieve::new(max))),
    ("s3-fifo, single entries", |max| Box::new(TwoQueues::new(max))),
];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        ["--record", file, cache] => {
            let trace = record::record(Path::new(cache))?;
            trace.write(Path::new(file))?;
            println!("{}: {}", file, summary(&trace));
            return Ok(());
        }
        [option, ..] if option.starts_with('-') => {
            return Err("usage: eviction [TRACE…], or eviction --record FILE CACHE".into());
        }
        _ => {}
    }
    let mut traces =
        words.iter().map(|file| Trace::read(Path::new(file))).collect::<Result<Vec<_>, _>>()?;
    if traces.is_empty() {
        traces = committed()?;
    }
    if traces.len() > 1 {
        traces.push(Trace::in_turn(&traces, 12));
    }
    for trace in &traces {
        report(trace);
    }
    Ok(())
}

/// The traces in `traces/`.
fn committed() -> Result<Vec<Trace>, Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/eviction/traces");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)?
        .map(|file| Ok(file?.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    Ok(files.iter().map(|file| Trace::read(file)).collect::<Result<_, _>>()?)
}

fn summary(trace: &Trace) -> String {
    format!(
        "{} look-ups, {:.1} s of tools, {:.1} MB of different results",
        trace.row.len(),
        trace.cost_us() as f64 / 1e6,
        trace.distinct_bytes() as f64 / 1e6,
    )
}

/// Each policy at a half, a fourth and an eighth of all that is stored: seconds saved, of the bound's, and bytes written, of those that
/// oldest first writes.
fn report(trace: &Trace) {
    println!("{}: {}\n", trace.name, summary(trace));
    println!("| policy | 1/2: saved, of bound, written | 1/4 | 1/8 |\n|---|---|---|---|");
    let sizes = [2, 4, 8].map(|part| trace.distinct_bytes() / part);
    let bounds = sizes.map(|max_bytes| bound::saved_us(&trace.row, max_bytes));
    let mut first: Option<[u64; 3]> = None;
    for (name, make) in POLICIES {
        let figures = sizes.map(|max_bytes| replay(&trace.row, &mut *make(max_bytes)));
        let least = *first.get_or_insert(figures.map(|(_, written)| written));
        let cell = |at: usize| {
            let (saved_us, written) = figures[at];
            format!(
                "{:.1} s, {:.0} %, {:.2}",
                saved_us as f64 / 1e6,
                saved_us as f64 * 100.0 / bounds[at].max(1) as f64,
                written as f64 / least[at].max(1) as f64,
            )
        };
        println!("| {name} | {} | {} | {} |", cell(0), cell(1), cell(2));
    }
    let [half, fourth, eighth] = bounds.map(|saved_us| saved_us as f64 / 1e6);
    println!("| bound | {half:.1} s | {fourth:.1} s | {eighth:.1} s |\n");
}

/// Microseconds saved, and bytes written.
fn replay(row: &[Entry], cache: &mut dyn Cache) -> (u64, u64) {
    let (mut saved_us, mut written) = (0, 0);
    for entry in row {
        let found = cache.look_up(*entry);
        written += found.written;
        saved_us += if found.is_hit { entry.cost_us } else { 0 };
    }
    (saved_us, written)
}
