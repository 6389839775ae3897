//! Samples to figures: medians and their kin, and the row of a tool on a workload, as JSON too.
//!
//! A figure is given only where the tool's own counters say that it did what is measured. How rows look: `report.rs`.

use serde_json::{Value, json};

use super::process::Sample;

/// Whether a row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Every run did what is measured.
    Ok,
    /// The tool handed commands to the compiler.
    PassedThrough,
    /// It did not find, or not make, what it should have; or it failed.
    NotCached,
    /// It, or the compiler, is not installed.
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

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The compiler itself.
    Bare,
    /// A cache that has not seen it.
    Cold,
    /// A cache that has.
    Warm,
}

impl Phase {
    /// The word in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Bare => "bare",
            Phase::Cold => "cold",
            Phase::Warm => "warm",
        }
    }
}

/// Times in ms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// The median.
    pub p50: f64,
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
        // Between two samples, a place has its share of both.
        let at = |share: f64| {
            let place = times.len().saturating_sub(1) as f64 * share;
            let sample = |place: f64| times.get(place as usize).copied().unwrap_or(0.0);
            let (low, high) = (sample(place.floor()), sample(place.ceil()));
            low + (high - low) * place.fract()
        };
        let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
        Figures { p50: at(0.5), p95: at(0.95), mean, min: at(0.0), max: at(1.0) }
    }
}

/// Milliseconds of a sample.
pub fn ms(sample: &Sample) -> f64 {
    sample.wall.as_secs_f64() * 1e3
}

/// Milliseconds of processor time of a sample.
pub fn cpu_ms(sample: &Sample) -> f64 {
    sample.cpu.as_secs_f64() * 1e3
}

/// One tool on one workload.
#[derive(Debug, Clone)]
pub struct Row {
    /// The workload's name.
    pub workload: &'static str,
    /// The tool's name.
    pub tool: &'static str,
    /// What is measured.
    pub phase: Phase,
    /// Whether it counts.
    pub status: Status,
    /// How often each step ran.
    pub rounds: usize,
    /// How many hits the tool counted.
    pub hits: u64,
    /// How many there must be.
    pub expected_hits: u64,
    /// How many commands the tool counted, however they ended.
    pub counted: u64,
    /// Times of a step.
    pub times: Figures,
    /// What was added to the bare compile of the same step: the median.
    pub added_ms: Option<f64>,
    /// The median of processor time, in ms.
    pub cpu_ms: f64,
    /// What of it was added to that of the bare compile of the same step: the median.
    pub added_cpu_ms: Option<f64>,
    /// Cold, how many times the bare compile of the same step and round.
    pub over_bare: Option<Figures>,
    /// Warm, the median over the ideal wrapper's.
    pub over_ideal: Option<f64>,
    /// Median of page faults.
    pub minor_faults: u64,
    /// System calls of the first step.
    pub system_calls: Option<u64>,
    /// What it left is not what the bare compiler left.
    pub differs: bool,
}

impl Row {
    /// A row without figures.
    pub fn absent(workload: &'static str, tool: &'static str, phase: Phase) -> Row {
        Row {
            workload,
            tool,
            phase,
            status: Status::Absent,
            rounds: 0,
            hits: 0,
            expected_hits: 0,
            counted: 0,
            times: Figures::default(),
            added_ms: None,
            cpu_ms: 0.0,
            added_cpu_ms: None,
            over_bare: None,
            over_ideal: None,
            minor_faults: 0,
            system_calls: None,
            differs: false,
        }
    }

    /// Takes the samples in.
    pub fn fill(&mut self, samples: &[Sample]) {
        self.times = Figures::of(samples.iter().map(ms).collect());
        self.cpu_ms = Figures::of(samples.iter().map(cpu_ms).collect()).p50;
        let mut faults: Vec<u64> = samples.iter().map(|sample| sample.minor_faults).collect();
        faults.sort_unstable();
        self.minor_faults = faults.get(faults.len() / 2).copied().unwrap_or(0);
    }

    /// The median, where it may be shown.
    pub fn p50(&self) -> Option<f64> {
        (self.status == Status::Ok).then_some(self.times.p50)
    }

    /// The same words as the table's.
    pub fn json(&self) -> Value {
        let time = |ms: f64| (self.status == Status::Ok).then(|| (ms * 1e4).round() / 1e4);
        let over_bare = |at: fn(&Figures) -> f64| self.over_bare.as_ref().and_then(|f| time(at(f)));
        json!({
            "workload": self.workload,
            "tool": self.tool,
            "phase": self.phase.name(),
            "p50_ms": time(self.times.p50),
            "p95_ms": time(self.times.p95),
            "mean_ms": time(self.times.mean),
            "min_ms": time(self.times.min),
            "max_ms": time(self.times.max),
            "rounds": self.rounds,
            "hits": self.hits,
            "expected_hits": self.expected_hits,
            "counted": self.counted,
            "added_ms": self.added_ms.and_then(time),
            "cpu_ms": time(self.cpu_ms),
            "added_cpu_ms": self.added_cpu_ms.and_then(time),
            "over_bare": over_bare(|figures| figures.p50),
            "over_bare_min": over_bare(|figures| figures.min),
            "over_bare_max": over_bare(|figures| figures.max),
            "over_ideal": self.over_ideal.and_then(time),
            "status": self.status.name(),
        })
    }
}

/// The row of a tool in a phase, if its figures may be shown.
pub fn find<'r>(rows: &'r [Row], workload: &str, tool: &str, phase: Phase) -> Option<&'r Row> {
    rows.iter().find(|row| {
        row.workload == workload
            && row.tool == tool
            && row.phase == phase
            && row.status == Status::Ok
    })
}
