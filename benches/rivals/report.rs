//! Rows as people read them: the table, how many times faster, a bar chart, and the targets.
//!
//! The words are those of the JSON. Text only; who prints it or writes it to a page is `main.rs`.

use std::fmt::{Display, Write};

use super::figures::{Figures, Phase, Row, Status, find};
use super::tools::{BARE, IBID, IDEAL};

/// Cells of a bar chart.
const CELLS: f64 = 60.0;

/// The table, the ratios and the bars of one workload.
pub fn workload(name: &str, about: &str, rows: &[Row]) -> String {
    let mut text = format!("{name}: {about}\n\n{}", table(rows));
    for phase in [Phase::Cold, Phase::Warm] {
        text += &ratios(rows, phase);
    }
    text = text + &over_bare(rows) + &over_ideal(rows);
    let others: Vec<&str> = rows.iter().filter(|row| row.differs).map(|row| row.tool).collect();
    if !others.is_empty() {
        let _ = writeln!(text, "other bytes than the bare compiler's: {}", others.join(", "));
    }
    text + &bars(rows)
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    line(&mut text, &HEAD.map(str::to_owned));
    for row in rows {
        line(&mut text, &cells(row));
    }
    text
}

const HEAD: [&str; 16] = [
    "workload",
    "tool",
    "phase",
    "p50_ms",
    "p95_ms",
    "mean_ms",
    "min_ms",
    "max_ms",
    "rounds",
    "hits",
    "added_ms",
    "cpu_ms",
    "added_cpu",
    "faults",
    "calls",
    "status",
];

fn line(text: &mut String, cells: &[String; 16]) {
    let [workload, tool, phase, figures @ .., status] = cells;
    let _ = write!(text, "{workload:<11} {tool:<7} {phase:<5}");
    for (at, figure) in figures.iter().enumerate() {
        // The hits are told with how many there must be.
        let width = if at == 6 { 11 } else { 9 };
        let _ = write!(text, " {figure:>width$}");
    }
    let _ = writeln!(text, "  {status}");
}

fn cells(row: &Row) -> [String; 16] {
    let is_ok = row.status == Status::Ok;
    let time = |ms: f64| if is_ok { format!("{ms:.3}") } else { "-".to_owned() };
    let hits = match row.phase {
        Phase::Bare => "-".to_owned(),
        Phase::Cold | Phase::Warm => format!("{}/{}", row.hits, row.expected_hits),
    };
    [
        row.workload.to_owned(),
        row.tool.to_owned(),
        row.phase.name().to_owned(),
        time(row.times.p50),
        time(row.times.p95),
        time(row.times.mean),
        time(row.times.min),
        time(row.times.max),
        row.rounds.to_string(),
        hits,
        shown(row.added_ms.filter(|_| is_ok).map(|ms| format!("{ms:+.2}"))),
        time(row.cpu_ms),
        shown(row.added_cpu_ms.filter(|_| is_ok).map(|ms| format!("{ms:+.2}"))),
        shown(is_ok.then_some(row.minor_faults)),
        shown(row.system_calls.filter(|_| is_ok)),
        row.status.name().to_owned(),
    ]
}

fn shown(figure: Option<impl Display>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string())
}

/// How much slower than ibid the others are.
fn ratios(rows: &[Row], phase: Phase) -> String {
    let ibid = rows.iter().find(|row| row.tool == IBID && row.phase == phase);
    let Some(ibid_ms) = ibid.and_then(Row::p50) else { return String::new() };
    let others = rows.iter().filter(|row| {
        ![IBID, IDEAL].contains(&row.tool) && (row.phase == phase || row.phase == Phase::Bare)
    });
    let ratio = |row: &Row| Some(format!("  {} {:.2}x", row.tool, row.p50()? / ibid_ms));
    let ratios: String = others.filter_map(ratio).collect();
    if ratios.is_empty() {
        return ratios;
    }
    format!("p50 over ibid's, {}:{ratios}\n", phase.name())
}

/// How much slower than the bare compiler a miss is: the median and the range of the rounds, if there are several.
fn over_bare(rows: &[Row]) -> String {
    let rows = rows.iter().filter(|row| row.phase == Phase::Cold && row.rounds > 1);
    let ratio = |row: &Row| {
        let Figures { p50, min, max, .. } = row.over_bare.filter(|_| row.status == Status::Ok)?;
        Some(format!("  {} {p50:.3}x ({min:.3} to {max:.3})", row.tool))
    };
    let ratios: String = rows.filter_map(ratio).collect();
    if ratios.is_empty() { ratios } else { format!("over bare of the same round, cold:{ratios}\n") }
}

/// How far each cache is from the floor.
fn over_ideal(rows: &[Row]) -> String {
    let Some(ideal) = rows.iter().find(|row| row.tool == IDEAL && row.status == Status::Ok) else {
        return String::new();
    };
    let ratio = |row: &Row| Some(format!("  {} {:.2}x", row.tool, row.over_ideal?));
    let ratios: String = rows.iter().filter_map(ratio).collect();
    let (replayed, calls) = (ideal.hits, ideal.counted);
    format!("p50 over ideal's (the floor: {replayed} of {calls} calls replayed), warm:{ratios}\n")
}

/// Medians as bars, all to one scale.
fn bars(rows: &[Row]) -> String {
    let longest = rows.iter().filter_map(Row::p50).fold(0.0, f64::max);
    let mut text = String::new();
    for row in rows {
        let Some(p50) = row.p50() else { continue };
        let bar = bar(p50 / longest * CELLS);
        let _ = writeln!(text, "{:<7} {:<5} {bar} {p50:.3}", row.tool, row.phase.name());
    }
    text
}

/// A bar of so many cells, to an eighth of one.
fn bar(cells: f64) -> String {
    const PARTS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];
    let eighths = (cells * 8.0).round().max(1.0) as usize;
    PARTS[8].repeat(eighths / 8) + PARTS[eighths % 8]
}

/// A bar of parts, each as long as its share; every part has its own letter.
pub fn stacked(parts: &[f64]) -> String {
    let all: f64 = parts.iter().sum();
    let cell = |(part, fill): (&f64, char)| {
        fill.to_string().repeat((part.max(0.0) / all * CELLS).round() as usize)
    };
    parts.iter().zip(['█', '▓', '▒', '░']).map(cell).collect()
}

/// What was to be reached.
enum Target {
    /// The best rival's warm median is at least so many times ibid's.
    Faster(&'static str, f64),
    /// No rival adds less to a miss.
    LeastAdded(&'static str),
}

const TARGETS: &[Target] = &[
    Target::Faster("seed", 10.0),
    Target::Faster("c", 10.0),
    Target::Faster("heavy", 3.0),
    Target::Faster("rust", 1.0),
    Target::Faster("rust-check", 1.0),
    Target::Faster("parallel-1", 1.0),
    Target::Faster("parallel-2", 1.0),
    Target::Faster("parallel-8", 1.0),
    Target::Faster("parallel-32", 1.0),
    Target::Faster("cargo", 1.0),
    Target::LeastAdded("miss"),
];

/// What was to be reached, and what was.
pub fn targets(rows: &[Row]) -> String {
    let mut text = "targets\n".to_owned();
    for target in TARGETS {
        let (workload, wanted, measured) = match target {
            Target::Faster(workload, times) => (
                workload,
                format!("the best rival's hit takes at least {times}x ibid's"),
                faster(rows, workload).map(|(rival, ratio)| (rival, ratio, "x", ratio >= *times)),
            ),
            Target::LeastAdded(workload) => (
                workload,
                "no rival's miss adds less than ibid's".to_owned(),
                added(rows, workload).map(|(rival, more)| (rival, more, " ms more", more >= 0.0)),
            ),
        };
        let told = measured.map_or_else(
            || not_measured(rows, workload),
            |(rival, figure, unit, is_met)| {
                format!("{rival} {figure:.2}{unit}: {}", if is_met { "yes" } else { "no" })
            },
        );
        let _ = writeln!(text, "  {workload:<11} {wanted:<47} {told}");
    }
    text
}

/// Why there is nothing to compare.
fn not_measured(rows: &[Row], workload: &str) -> String {
    let mut ibid = rows.iter().filter(|row| row.workload == workload && row.tool == IBID);
    match ibid.find(|row| row.status != Status::Ok) {
        Some(row) => format!("ibid {}: no", row.status.name()),
        None => "not measured".to_owned(),
    }
}

/// The fastest rival on what it knows, and how many times slower than ibid it is.
fn faster<'r>(rows: &'r [Row], workload: &str) -> Option<(&'r str, f64)> {
    let ibid = find(rows, workload, IBID, Phase::Warm)?.times.p50;
    let ratios = rivals(rows, workload, Phase::Warm).map(|row| (row.tool, row.times.p50 / ibid));
    ratios.min_by(|left, right| left.1.total_cmp(&right.1))
}

/// The rival that adds least to a miss, and how much more than ibid.
fn added<'r>(rows: &'r [Row], workload: &str) -> Option<(&'r str, f64)> {
    let ibid = find(rows, workload, IBID, Phase::Cold)?.added_ms?;
    let more = rivals(rows, workload, Phase::Cold)
        .filter_map(|row| Some((row.tool, row.added_ms? - ibid)));
    more.min_by(|left, right| left.1.total_cmp(&right.1))
}

fn rivals<'r>(rows: &'r [Row], workload: &str, phase: Phase) -> impl Iterator<Item = &'r Row> {
    rows.iter().filter(move |row| {
        row.workload == workload
            && row.phase == phase
            && row.status == Status::Ok
            && ![IBID, BARE, IDEAL].contains(&row.tool)
    })
}
