//! Samples to figures: medians and their kin, the lines of the table, and the same as JSON.
//!
//! A figure is shown only where the tool's own counters say that it did what is measured.

use std::fmt;

use serde_json::{Value, json};

use super::process::Sample;

/// Whether a row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Every run did what is measured.
    Ok,
    /// The tool handed the command to the compiler.
    PassedThrough,
    /// It did not find, or not store, what it should have.
    NotCached,
    /// It is not installed.
    Absent,
}

impl Status {
    /// The word in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::PassedThrough => "passed_through",
            Status::NotCached => "not_cached",
            Status::Absent => "absent",
        }
    }
}

/// Times in ms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// The median.
    pub p50: f64,
    /// One of twenty is faster.
    pub p5: f64,
    /// One of twenty is slower.
    pub p95: f64,
    /// The average.
    pub mean: f64,
    /// The fastest.
    pub min: f64,
    /// The slowest.
    pub max: f64,
}

impl Figures {
    /// Of times in ms; zeros where there are none.
    pub fn of(mut times: Vec<f64>) -> Figures {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = times.len().saturating_sub(1) as f64;
            times.get((last * share).round() as usize).copied().unwrap_or(0.0)
        };
        let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
        Figures { p50: at(0.5), p5: at(0.05), p95: at(0.95), mean, min: at(0.0), max: at(1.0) }
    }
}

/// Milliseconds of a sample.
pub fn ms(sample: &Sample) -> f64 {
    sample.wall.as_secs_f64() * 1e3
}

/// One tool on one workload.
#[derive(Debug, Clone)]
pub struct Row {
    /// The workload's name.
    pub workload: &'static str,
    /// The tool's name.
    pub tool: &'static str,
    /// `bare`, `cold` or `warm`.
    pub phase: &'static str,
    /// Whether it counts.
    pub status: Status,
    /// How many runs were measured.
    pub rounds: usize,
    /// How many did, by the tool's own counters, what was measured (hits where it is warm, stores where it is cold).
    pub counted: u64,
    /// Times.
    pub times: Figures,
    /// Cold: what was added to the bare compile of the same round.
    pub added: Option<Figures>,
    /// Median of page faults.
    pub minor_faults: u64,
    /// System calls of one run.
    pub calls: Option<u64>,
}

impl Row {
    /// A row without figures.
    pub fn without(workload: &'static str, tool: &'static str, phase: &'static str) -> Row {
        Row {
            workload,
            tool,
            phase,
            status: Status::Absent,
            rounds: 0,
            counted: 0,
            times: Figures::default(),
            added: None,
            minor_faults: 0,
            calls: None,
        }
    }

    /// Takes the samples in.
    pub fn fill(&mut self, samples: &[Sample]) {
        self.rounds = samples.len();
        self.times = Figures::of(samples.iter().map(ms).collect());
        let mut faults: Vec<u64> = samples.iter().map(|sample| sample.minor_faults).collect();
        faults.sort_unstable();
        self.minor_faults = faults.get(faults.len() / 2).copied().unwrap_or(0);
    }

    /// The same words as the table's.
    pub fn json(&self) -> Value {
        let counts = self.phase != "bare";
        let time = |ms: f64| (self.status == Status::Ok).then(|| (ms * 1e4).round() / 1e4);
        json!({
            "workload": self.workload,
            "tool": self.tool,
            "phase": self.phase,
            "p50_ms": time(self.times.p50),
            "p5_ms": time(self.times.p5),
            "p95_ms": time(self.times.p95),
            "mean_ms": time(self.times.mean),
            "min_ms": time(self.times.min),
            "max_ms": time(self.times.max),
            "added_p50_ms": self.added.and_then(|added| time(added.p50)),
            "rounds": self.rounds,
            "hits": if self.phase == "warm" { self.counted } else { 0 },
            "expected_hits": if self.phase == "warm" { self.rounds } else { 0 },
            "stored": counts.then_some(self.counted).filter(|_| self.phase == "cold"),
            "minor_faults": self.minor_faults,
            "system_calls": self.calls,
            "status": self.status.name(),
        })
    }
}

/// The head of the table.
pub fn print_head() {
    println!(
        "{:<9} {:<7} {:<5} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>7} {:>6} {:>9}  status",
        "workload",
        "tool",
        "phase",
        "p50 ms",
        "p5",
        "p95",
        "min",
        "x ibid",
        "added",
        "faults",
        "calls",
        "counted"
    );
}

/// A line of the table; `ibid` is the row that ratios are to.
pub fn print_row(row: &Row, ibid: Option<&Row>) {
    let head = format!("{:<9} {:<7} {:<5}", row.workload, row.tool, row.phase);
    if row.status != Status::Ok {
        println!("{head} {:>82}  {}", "", row.status.name());
        return;
    }
    let ratio = ibid.filter(|ibid| ibid.status == Status::Ok).map(|i| row.times.p50 / i.times.p50);
    let counted = if row.phase == "bare" {
        format!("{}", row.rounds)
    } else {
        format!("{}/{}", row.counted, row.rounds)
    };
    println!(
        "{head} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>8} {:>8} {:>7} {:>6} {counted:>9}  ok",
        row.times.p50,
        row.times.p5,
        row.times.p95,
        row.times.min,
        shown(ratio.map(|ratio| format!("{ratio:.2}"))),
        shown(row.added.map(|added| format!("{:+.2}", added.p50))),
        row.minor_faults,
        shown(row.calls),
    );
}

fn shown(figure: Option<impl fmt::Display>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string())
}
