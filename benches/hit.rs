//! What a hit takes, and what a miss adds: whole processes, bare, ibid and ccache in one run, interleaved.
//!
//! `cargo bench --bench hit -- [--rounds N] [--only NAME]... [--json FILE]`. It asserts nothing about time; it ends in
//! the targets with what was measured. Read next: `whole/mod.rs`.
#![allow(clippy::disallowed_methods, reason = "a bench starts programs and reads the environment")]
#![allow(clippy::print_stdout, reason = "its table goes to standard output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "figures for people")]
#![allow(clippy::cast_sign_loss, reason = "figures for people")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

mod whole;

use whole::figures::{Figures, Row, Status, ms, print_head, print_row};
use whole::process::{Call, Sample, Starter, count_calls};
use whole::stage::Stage;
use whole::tools::{BARE, CCACHE, Counts, EMPTY, IBID, Tool};
use whole::workloads::{ALL, Workload};

/// The name of the rows that show what a miss costs.
const MISS: [(&str, &str); 2] = [("seed", "miss_seed"), ("c", "miss_c")];

/// Misses before those that are measured: the first ones make the cache and digest the headers.
const WARM_UPS: usize = 2;

/// Times whole processes: an empty one, the bare compiler, ibid, ccache.
#[derive(Debug, Parser)]
struct Args {
    /// How often each tool runs (the bare compiler less often where it is slow)
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Only these: seed, c, heavy, miss
    #[arg(long, value_name = "NAME", value_parser = ["seed", "c", "heavy", "miss"])]
    only: Vec<String>,
    /// Also writes the rows to FILE, as a JSON list
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Works below DIR (its file system counts), not where temporary files go
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A few rounds: does it work at all?
    #[arg(long)]
    quick: bool,
    /// What cargo says
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Without cargo's word (`cargo test --benches`) it is only a check.
    fn rounds(&self) -> usize {
        if self.quick || !self.bench { self.rounds.min(5) } else { self.rounds.max(1) }
    }
}

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    // The measured directories become ours in turn.
    if let Some(path) = &mut args.json {
        *path = std::path::absolute(&*path)?;
    }
    let stage = Stage::new(args.dir.as_deref())?;
    let bench = Bench {
        starter: Starter::new()?,
        tools: Tool::all(&stage),
        strace: stage.find("strace"),
        rounds: args.rounds(),
        stage,
    };
    bench.introduce();
    print_head();
    let mut rows = Vec::new();
    for workload in ALL.iter().filter(|workload| args.wants(workload.name)) {
        rows.extend(show(bench.hits(workload)?));
    }
    for (name, shown_as) in MISS.iter().filter(|_| args.wants("miss")) {
        let workload = ALL.iter().find(|workload| workload.name == *name);
        let Some(workload) = workload else { continue };
        rows.extend(show(bench.misses(workload, shown_as)?));
    }
    print_targets(&rows);
    if let Some(path) = &args.json {
        let list = serde_json::Value::Array(rows.iter().map(Row::json).collect());
        fs::write(path, format!("{list:#}\n"))?;
    }
    Ok(())
}

/// All that measuring needs.
struct Bench {
    stage: Stage,
    starter: Starter,
    tools: Vec<Tool>,
    strace: Option<PathBuf>,
    rounds: usize,
}

/// A tool on a workload while it is measured.
struct Course<'b> {
    tool: &'b Tool,
    row: Row,
    samples: Vec<Sample>,
}

impl Bench {
    /// Where this is, so that a table can be read later.
    fn introduce(&self) {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        println!("{cores} cores, Linux {}, in {}", kernel.trim(), self.stage.below("").display());
        for name in ["gcc", "g++", "clang++", "ccache"] {
            let version = self.stage.find(name).and_then(|path| first_line(&path));
            println!("{name}: {}", version.unwrap_or_else(|| "absent".to_owned()));
        }
        println!();
        for workload in ALL {
            println!("{:<9} {}", workload.name, workload.about);
        }
        println!("{:<9} what the first compile of a new file costs", "miss_*");
        println!(
            "Whole processes, spawn to exit, each on a cache of its own; outputs are removed before each run."
        );
        println!(
            "counted: hits (warm) or stores (cold) by the tool's own counters / rounds; added: ms over bare, median of \
             pairs.\n"
        );
    }

    /// What a hit takes.
    fn hits(&self, workload: &Workload) -> io::Result<Vec<Row>> {
        let mut courses = self.courses(workload.name, "warm");
        let Some((compiler, program)) = workload.compiler(&self.stage) else {
            return Ok(absent(courses));
        };
        self.stage.enter(workload.name, &workload.files(1))?;
        let command = workload.command(compiler, 0);
        let call = |tool: &Tool| tool.call(&self.stage, &program, &command);
        let output = PathBuf::from(Workload::output(0));
        self.warm_up(&mut courses, call, &output)?;
        let bare_every = self.rounds.div_ceil(workload.bare_rounds_max);
        let before = self.counts()?;
        // The bare compiler by itself, first: a warm build is one hit after another, and a compile between them would
        // leave all the others with cold processor caches.
        for _ in (0..self.rounds).step_by(bare_every) {
            for course in courses.iter_mut().filter(|course| course.tool.name == BARE) {
                let sample = self.run(course.tool, &call(course.tool), &output)?;
                course.samples.push(sample);
            }
        }
        for round in 0..self.rounds {
            for course in in_turn(&mut courses, round) {
                if course.tool.name == BARE {
                    continue;
                }
                let sample = self.run(course.tool, &call(course.tool), &output)?;
                course.samples.push(sample);
            }
        }
        let after = self.counts()?;
        for (course, (before, after)) in courses.iter_mut().zip(before.into_iter().zip(after)) {
            let counts = after.since(before);
            course.finish(counts.hits, counts.passed_through);
            if course.tool.name != BARE && course.row.status == Status::Ok {
                remove(&output)?;
                let log = self.stage.below("strace.log");
                course.row.calls = count_calls(&call(course.tool), self.strace.as_deref(), &log);
            }
        }
        Ok(courses.into_iter().map(|course| course.row).collect())
    }

    /// Brings every cache to where it hits; one that does not is out. What ibid gives must be what the compiler gave.
    fn warm_up(
        &self,
        courses: &mut [Course<'_>],
        call: impl Fn(&Tool) -> Call,
        output: &Path,
    ) -> io::Result<()> {
        let mut expected = Vec::new();
        for course in courses.iter_mut().filter(|course| course.row.status == Status::Ok) {
            let tool = course.tool;
            self.run(tool, &call(tool), output)?;
            if tool.name == BARE {
                expected = fs::read(output)?;
            }
            if !tool.is_cache() {
                continue;
            }
            let before = tool.counts(&self.stage)?;
            self.run(tool, &call(tool), output)?;
            let counts = tool.counts(&self.stage)?.since(before);
            course.row.status = status(counts.hits == 1, counts.passed_through);
            if tool.name == IBID && fs::read(output)? != expected {
                return Err(io::Error::other(format!("{:?}: other bytes than bare", call(tool))));
            }
        }
        Ok(())
    }

    /// What a miss adds: every round compiles a file that nobody has seen.
    fn misses(&self, workload: &Workload, shown_as: &'static str) -> io::Result<Vec<Row>> {
        let mut courses = self.courses(shown_as, "cold");
        courses.retain(|course| course.tool.name != EMPTY);
        let Some((compiler, program)) = workload.compiler(&self.stage) else {
            return Ok(absent(courses));
        };
        self.stage.enter(shown_as, &workload.files(self.rounds + WARM_UPS))?;
        let mut before = Vec::new();
        for number in 0..self.rounds + WARM_UPS {
            if number == WARM_UPS {
                before = self.counts()?;
            }
            let output = PathBuf::from(Workload::output(number));
            let command = workload.command(compiler, number);
            for course in in_turn(&mut courses, number) {
                let call = course.tool.call(&self.stage, &program, &command);
                let sample = self.run(course.tool, &call, &output)?;
                if number >= WARM_UPS {
                    course.samples.push(sample);
                }
            }
        }
        let after = self.counts()?;
        let bare = courses.iter().find(|course| course.tool.name == BARE);
        let bare: Vec<Sample> = bare.map(|bare| bare.samples.clone()).unwrap_or_default();
        let counted = self.tools.iter().zip(before.into_iter().zip(after));
        for (tool, (before, after)) in counted {
            let course = courses.iter_mut().find(|course| course.tool.name == tool.name);
            let Some(course) = course else { continue };
            let counts = after.since(before);
            course.finish(counts.stored, counts.passed_through);
            if tool.is_cache() {
                let pairs = course.samples.iter().zip(&bare);
                let added = pairs.map(|(sample, bare)| ms(sample) - ms(bare)).collect();
                course.row.added = Some(Figures::of(added));
            }
        }
        Ok(courses.into_iter().map(|course| course.row).collect())
    }

    /// Runs it where its output is not, and sees that it is there afterwards.
    fn run(&self, tool: &Tool, call: &Call, output: &Path) -> io::Result<Sample> {
        remove(output)?;
        let sample = self.starter.run(call)?;
        if tool.name != EMPTY && !output.is_file() {
            return Err(io::Error::other(format!("{:?} left no {}", call.args, output.display())));
        }
        Ok(sample)
    }

    /// What every tool's counters say, in the order of the tools.
    fn counts(&self) -> io::Result<Vec<Counts>> {
        self.tools.iter().map(|tool| tool.counts(&self.stage)).collect()
    }

    fn courses(&self, workload: &'static str, phase_of_caches: &'static str) -> Vec<Course<'_>> {
        let course = |tool: &'_ Tool| {
            let phase = if tool.is_cache() || !tool.is_there() { phase_of_caches } else { "bare" };
            let mut row = Row::without(workload, tool.name, phase);
            if tool.is_there() {
                row.status = Status::Ok;
            }
            (row, Vec::new())
        };
        let courses = self.tools.iter().map(|tool| (tool, course(tool)));
        courses.map(|(tool, (row, samples))| Course { tool, row, samples }).collect()
    }
}

impl Course<'_> {
    /// Takes the samples in, if the counters agree with them.
    fn finish(&mut self, counted: u64, passed_through: u64) {
        if self.row.status != Status::Ok {
            return;
        }
        self.row.fill(&self.samples);
        self.row.counted = counted;
        if self.tool.is_cache() {
            self.row.status = status(counted == self.samples.len() as u64, passed_through);
        }
    }
}

fn status(did_it: bool, passed_through: u64) -> Status {
    match (did_it, passed_through) {
        (true, _) => Status::Ok,
        (false, 0) => Status::NotCached,
        (false, _) => Status::PassedThrough,
    }
}

/// Those that are measured, beginning with another one in each round.
fn in_turn<'a, 'b>(
    courses: &'a mut [Course<'b>],
    round: usize,
) -> impl Iterator<Item = &'a mut Course<'b>> {
    let first = round % courses.len().max(1);
    let (before, after) = courses.split_at_mut(first);
    after.iter_mut().chain(before).filter(|course| course.row.status == Status::Ok)
}

/// Rows of a workload whose compiler is not there.
fn absent(courses: Vec<Course<'_>>) -> Vec<Row> {
    let row = |course: Course<'_>| Row { status: Status::Absent, ..course.row };
    courses.into_iter().map(row).collect()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn first_line(program: &Path) -> Option<String> {
    let done = Command::new(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&done.stdout).lines().next()?.to_owned())
}

/// Prints the lines of one workload.
fn show(rows: Vec<Row>) -> Vec<Row> {
    let ibid = rows.iter().find(|row| row.tool == IBID);
    for row in &rows {
        print_row(row, ibid);
    }
    println!();
    rows
}

/// What was to be reached, and what was.
fn print_targets(rows: &[Row]) {
    let find = |workload: &str, tool: &str| {
        let row = rows.iter().find(|row| row.workload == workload && row.tool == tool)?;
        (row.status == Status::Ok).then_some(row)
    };
    let ratio = |workload, slow, fast| {
        Some(find(workload, slow)?.times.p50 / find(workload, fast)?.times.p50)
    };
    let added = |workload| Some(find(workload, IBID)?.added?.p50);
    let targets = [
        ("seed: a hit at least 10x faster than ccache's", ratio("seed", CCACHE, IBID), 10.0, "x"),
        ("seed: a hit at most 4x an empty process", ratio("seed", IBID, EMPTY), -4.0, "x"),
        ("heavy: a hit at least 3x faster than ccache's", ratio("heavy", CCACHE, IBID), 3.0, "x"),
        ("seed: a miss adds at most 2.5 ms", added("miss_seed"), -2.5, " ms"),
        ("c: a miss adds at most 2.5 ms", added("miss_c"), -2.5, " ms"),
    ];
    println!("targets");
    for (target, measured, limit, unit) in targets {
        // A negative limit is one from above.
        let is_met = |figure: f64| if limit < 0.0 { figure <= -limit } else { figure >= limit };
        let told = measured.map_or_else(
            || "not measured".to_owned(),
            |figure| format!("{figure:.2}{unit}  {}", if is_met(figure) { "yes" } else { "no" }),
        );
        println!("  {target:<48} {told}");
    }
}
