//! A warm build, split: what it spends in the cache's processes, what is cargo's own, and what cargo takes if nothing is to do.
//!
//! The processes are timed in runs of their own, of which the fastest counts, with this program between cargo and the
//! cache: it notes when each began and ended. As several may run at once, what counts is the time in which any of them did.
//! What is left is no measure of what cargo needs: the faster a cache, the less of it happens meanwhile. That is `ideal.rs`.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use super::figures::{Figures, ms};
use super::process::Starter;
use super::stage::Stage;
use super::step::Step;
use super::tools::{Tool, WRAPPER};

/// The file to which times are added; set, this program is the one between cargo and a cache.
const LOG: &str = "IBID_BENCH_LOG";
/// The cache, for that program.
const CACHE: &str = "IBID_BENCH_CACHE";
/// How often each of the two is run.
const ROUNDS: usize = 5;

/// The parts of a tool's warm build, in ms.
pub struct Split {
    /// Its name.
    tool: &'static str,
    /// The whole of the timed run.
    timed: f64,
    /// While any process of the cache ran.
    inside: f64,
    /// How many processes.
    processes: usize,
    /// The median if everything is fresh.
    fresh: f64,
}

impl Split {
    /// Measures them.
    pub fn measure(
        stage: &Stage,
        starter: &Starter,
        tool: &Tool,
        step: &Step,
    ) -> io::Result<Split> {
        let log = stage.below("times");
        let usual = tool.calls(stage, step)?;
        let mut timed = usual.clone();
        for call in &mut timed {
            if let Some((_, wrapper)) = call.environment.iter_mut().find(|(n, _)| n == WRAPPER) {
                let cache = std::mem::replace(wrapper, std::env::current_exe()?.into());
                call.environment.push((CACHE.into(), cache));
            }
            call.environment.push((LOG.into(), log.clone().into()));
        }
        let mut best =
            Split { tool: tool.name, timed: f64::INFINITY, inside: 0.0, processes: 0, fresh: 0.0 };
        for _ in 0..ROUNDS {
            fs::write(&log, "")?;
            step.make_ready()?;
            let whole = ms(&starter.run(&timed, 1)?);
            if whole < best.timed {
                let spans = read(&log)?;
                (best.timed, best.processes) = (whole, spans.len());
                best.inside = together_ns(spans) as f64 / 1e6;
            }
        }
        step.make_ready()?;
        starter.run(&usual, 1)?;
        let fresh = (0..ROUNDS).map(|_| Ok(ms(&starter.run(&usual, 1)?)));
        best.fresh = Figures::of(fresh.collect::<io::Result<_>>()?).p50;
        Ok(best)
    }

    /// A line of figures.
    pub fn text(&self) -> String {
        format!(
            "{:<7} {:>9.1} ms = {:>9.1} in {} processes of the cache + {:>9.1} cargo's own; nothing to do: {:.1}\n",
            self.tool,
            self.timed,
            self.inside,
            self.processes,
            self.timed - self.inside,
            self.fresh,
        )
    }
}

/// How long at least one of them lasted.
fn together_ns(mut spans: Vec<(u64, u64)>) -> u64 {
    spans.sort_unstable();
    let mut until = 0;
    let new = |(begin, end): (u64, u64)| {
        let new = end.saturating_sub(begin.max(until));
        until = until.max(end);
        new
    };
    spans.into_iter().map(new).sum()
}

fn read(log: &Path) -> io::Result<Vec<(u64, u64)>> {
    let text = fs::read_to_string(log)?;
    let span = |line: &str| {
        let (begin, end) = line.split_once(' ')?;
        Some((begin.parse().ok()?, end.parse().ok()?))
    };
    Ok(text.lines().filter_map(span).collect())
}

/// What this program does as the one in between, if it is.
pub fn as_wrapper() -> Option<io::Result<ExitCode>> {
    let (log, cache) = (std::env::var_os(LOG)?, std::env::var_os(CACHE)?);
    Some(pass_on(&log.into(), &cache))
}

fn pass_on(log: &PathBuf, cache: &OsString) -> io::Result<ExitCode> {
    let mut command = Command::new(cache);
    command.args(std::env::args_os().skip(1)).env_remove(LOG).env_remove(CACHE);
    let begin = now_ns();
    let status = command.status()?;
    let line = format!("{begin} {}\n", now_ns());
    OpenOptions::new().append(true).open(log)?.write_all(line.as_bytes())?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
