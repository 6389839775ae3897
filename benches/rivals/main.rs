//! Bare compiler, rivals and ibid in one run: whole processes, tool after tool in turn, every hit verified.
//!
//! `cargo bench --bench rivals -- --help`. It asserts nothing about time; it ends in the targets with what was measured.
//! Read next: `workloads.rs`, `tools.rs`, `course.rs`.
#![allow(clippy::disallowed_methods, reason = "a bench starts programs and reads the environment")]
#![allow(clippy::print_stdout, reason = "its table goes to standard output")]
#![allow(clippy::print_stderr, reason = "its progress goes to standard error")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "figures for people")]
#![allow(clippy::cast_sign_loss, reason = "figures for people")]

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use clap::builder::PossibleValuesParser;

mod counts;
mod course;
mod figures;
mod floor;
mod ideal;
mod outputs;
mod page;
mod plans;
mod plot;
mod process;
mod report;
mod runner;
mod sources;
mod split;
mod stage;
mod step;
mod tools;
mod workloads;

use course::{Course, Measured};
use figures::{Phase, Row, Status, find};
use floor::Floor;
use process::Starter;
use split::Split;
use stage::Stage;
use step::Subject;
use tools::{IBID, Tool};
use workloads::Workload;

/// Workloads of the quick mode.
const QUICK: [&str; 2] = ["seed", "c"];

/// Blocks of the run of all workloads.
const MACHINE: &str = "machine";
const TARGETS: &str = "targets";

/// Times whole processes: the bare compiler, every rival that is installed, ibid.
#[derive(Debug, Parser)]
struct Args {
    /// How many files a workload compiles
    #[arg(long, default_value_t = 50)]
    files: usize,
    /// Rounds with a warm cache; the bare compiler does a fifth of them
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Rounds with empty caches, the bare compiler in turn with them
    #[arg(long, value_name = "N", default_value_t = 1)]
    cold_rounds: usize,
    /// Only this workload, and those whose names begin with it and a dash; may be said again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only this cache (and the bare compiler); may be said again
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(tools::names()))]
    tool: Vec<String>,
    /// Builds the crate in DIR, as `cargo` builds this project; nothing else, if nothing is asked for. It has a Cargo.lock,
    /// and what it depends on has been fetched
    #[arg(long = "crate", value_name = "DIR")]
    subject: Option<PathBuf>,
    /// cargo's profile for it
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// Writes the rows to FILE, as a JSON list
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the hits to FILE, as SVG
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Puts what is printed into its blocks of FILE (`benches/results/DATE-MACHINE/rivals.md`), which is made if it is
    /// missing; of a run that is not of all workloads, only those of what was measured
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Works below DIR (its file system counts), not where temporary files go
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Does it work at all? One file, one round; fails unless every tool hits (those that are not there may be absent, if
    /// they are not asked for)
    #[arg(long)]
    quick: bool,
    /// What cargo says
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// As typed, with what follows from it: the measured directories become ours in turn, so paths are absolute.
    fn read() -> Result<Args, Box<dyn Error>> {
        let mut args = Args::parse();
        let paths = [&mut args.json, &mut args.plot, &mut args.markdown, &mut args.subject];
        for path in paths.into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        // Without cargo's word (`cargo test --benches`) it is only a check.
        if args.quick || !args.bench {
            (args.quick, args.files, args.rounds) = (true, 1, 1);
            if args.only.is_empty() {
                args.only = QUICK.map(str::to_owned).to_vec();
            }
        }
        let unknown =
            args.only.iter().find(|only| !workloads::ALL.iter().any(|w| is_named(w, only)));
        match unknown {
            Some(name) => {
                let names: Vec<&str> =
                    workloads::ALL.iter().map(|workload| workload.name).collect();
                Err(format!("no workload {name}; there are {}", names.join(", ")).into())
            }
            None => Ok(args),
        }
    }

    fn takes(&self, tool: &str) -> bool {
        self.tool.is_empty() || self.tool.iter().any(|only| only == tool)
    }

    /// Whether nothing was left out.
    fn is_whole(&self) -> bool {
        self.only.is_empty() && self.tool.is_empty() && self.subject.is_none()
    }

    fn wants(&self, workload: &Workload) -> bool {
        if workload.takes_subject {
            return self.subject.is_some();
        }
        self.only.is_empty() && self.subject.is_none()
            || self.only.iter().any(|only| is_named(workload, only))
    }
}

fn is_named(workload: &Workload, name: &str) -> bool {
    workload.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// What was measured, and how it was shown.
#[derive(Default)]
struct Results {
    rows: Vec<Row>,
    floors: Vec<Floor>,
    /// Names and texts of what was printed.
    printed: Vec<(String, String)>,
}

impl Results {
    fn show(&mut self, name: &str, text: &str) {
        println!("{}\n", text.trim_end());
        self.printed.push((name.to_owned(), page::as_printed(text)));
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Some(ended) = split::as_wrapper().or_else(ideal::as_wrapper) {
        return Ok(ended?);
    }
    let args = Args::read()?;
    let starter = Starter::new()?;
    let mut results = Results::default();
    results.show(MACHINE, &machine(&args)?);
    for workload in workloads::ALL.iter().filter(|workload| args.wants(workload)) {
        eprintln!("{}", workload.name);
        measure(&args, &starter, workload, &mut results)?;
    }
    let targets = report::targets(&results.rows);
    results.show(TARGETS, &targets);
    write_files(&args, results.printed, &results.rows, &results.floors)?;
    // A tool that was asked for by name must be there.
    let may_be_absent = |row: &Row| row.status == Status::Absent && args.tool.is_empty();
    let is_fine = |row: &Row| row.status == Status::Ok || may_be_absent(row);
    if args.quick && !results.rows.iter().all(is_fine) {
        eprintln!("quick: not every tool hit");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures one workload, with empty caches, and shows it.
fn measure(
    args: &Args,
    starter: &Starter,
    workload: &Workload,
    results: &mut Results,
) -> Result<(), Box<dyn Error>> {
    let stage = Stage::new(args.dir.as_deref())?;
    let mut tools = Tool::all(&stage, |name| args.takes(name))?;
    if workload.takes_subject {
        tools.insert(1, Tool::ideal(&stage)?);
    }
    tools.iter_mut().for_each(Tool::start);
    let subject = args.subject.as_ref().filter(|_| workload.takes_subject);
    let subject = subject
        .map(|directory| Subject { directory: directory.clone(), profile: args.profile.clone() });
    let course = Course {
        stage: &stage,
        starter,
        tools: &tools,
        files: args.files.max(1),
        cold_rounds: args.cold_rounds.max(1),
        rounds: args.rounds.max(1),
        bare_rounds: args.rounds.div_ceil(5),
        subject: subject.as_ref(),
    };
    let Measured { rows, hit, splits } = course.measure(workload)?;
    let name = subject.as_ref().map_or(workload.name.to_owned(), Subject::name);
    results.show(&name, &report::workload(&name, workload.about, &rows));
    if !splits.is_empty() {
        results.show(&format!("{name} split"), &splits.iter().map(Split::text).collect::<String>());
    }
    let p50 = find(&rows, workload.name, IBID, Phase::Warm).map(|row| row.times.p50);
    if let (true, Some(hit), Some(p50)) = (workload.has_floor, &hit, p50) {
        let floor = Floor::measure(&stage, starter, workload.name, hit, (p50, course.rounds))?;
        if let Some(floor) = floor {
            results.show(&format!("{} hit", workload.name), &floor.text());
            results.floors.push(floor);
        }
    }
    results.rows.extend(rows);
    Ok(())
}

/// Where this is and what takes part, so that a table can be read later.
fn machine(args: &Args) -> io::Result<String> {
    let stage = Stage::new(args.dir.as_deref())?;
    let tools = Tool::all(&stage, |name| args.takes(name))?;
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("", |(_, model)| model);
    let file_system = file_system(&stage.below(""));
    let caches =
        tools.iter().filter(|tool| tool.is_cache()).map(|tool| (tool.name, tool.version()));
    let compilers = ["gcc", "g++", "clang++", "rustc", "cargo", "emcc"]
        .map(|name| (name, stage.find(name).and_then(|path| first_line(&stage, &path))));
    let head = [
        format!("cargo bench --bench rivals -- {}", words.join(" ")),
        format!("{cores} cores, {model}, Linux {}, in a directory of {file_system}", kernel.trim()),
    ];
    let versions = caches.chain(compilers).map(|(name, version)| {
        format!("{name}: {}", version.as_deref().unwrap_or(Status::Absent.name()))
    });
    Ok(head.into_iter().chain(versions).collect::<Vec<_>>().join("\n"))
}

fn file_system(path: &Path) -> String {
    let done = Command::new("stat").args(["-f", "-c", "%T"]).arg(path).output();
    done.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned()).unwrap_or_default()
}

fn first_line(stage: &Stage, program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    let done = command.arg("--version").env_clear().envs(stage.environment()).output().ok()?;
    Some(String::from_utf8_lossy(&done.stdout).lines().next()?.to_owned())
}

/// Whether a block says something of a run of all workloads.
fn of_all(name: &str) -> bool {
    [MACHINE, TARGETS].contains(&name)
}

/// Writes what was asked for.
fn write_files(
    args: &Args,
    mut blocks: Vec<(String, String)>,
    rows: &[Row],
    floors: &[Floor],
) -> Result<(), Box<dyn Error>> {
    if let Some(path) = &args.json {
        let list = serde_json::Value::Array(rows.iter().map(Row::json).collect());
        fs::write(path, format!("{list:#}\n"))?;
    }
    if let Some(path) = &args.plot {
        plot::draw(path, rows, floors)?;
    }
    if let Some(page) = &args.markdown {
        if let Some(plot) = &args.plot {
            let plot = page::link(page, plot);
            let picture = format!("![hits, each panel to its own scale]({})\n", plot.display());
            blocks.push(("picture".to_owned(), picture));
        }
        if !args.is_whole() {
            let is_new = !page.exists();
            blocks.retain(|(name, _)| is_new && name == MACHINE || !of_all(name));
        }
        page::update(page, &blocks)?;
    }
    Ok(())
}
