//! The tools that are compared: how each one is started, and what its own counters say.
//!
//! A new rival is a line in `all` and a function that reads its counters.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Call;
use super::stage::Stage;

/// What a cache says that it did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Results that came from the cache.
    pub hits: u64,
    /// Results that were made and stored.
    pub stored: u64,
    /// Commands that were handed through.
    pub passed_through: u64,
}

impl Counts {
    /// What was added since `before`.
    pub fn since(self, before: Counts) -> Counts {
        Counts {
            hits: self.hits - before.hits,
            stored: self.stored - before.stored,
            passed_through: self.passed_through - before.passed_through,
        }
    }
}

type ReadCounts = fn(&Path, &Stage) -> io::Result<Counts>;

#[derive(Debug, Clone)]
enum How {
    /// Starts and ends, whatever is asked.
    Empty(PathBuf),
    /// The compiler itself.
    Bare,
    /// A cache that takes the compiler's command after its own name.
    Cache(PathBuf, ReadCounts),
}

/// Something that is measured.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name in tables.
    pub name: &'static str,
    how: Option<How>,
}

/// The floor: a process that only ends.
pub const EMPTY: &str = "empty";
/// The compiler itself.
pub const BARE: &str = "bare";
/// This project.
pub const IBID: &str = "ibid";
/// The rival.
pub const CCACHE: &str = "ccache";

impl Tool {
    /// All of them, in the order of the table.
    pub fn all(stage: &Stage) -> Vec<Tool> {
        let ibid = How::Cache(PathBuf::from(env!("CARGO_BIN_EXE_ibid")), ibid_counts);
        let ccache = stage.find("ccache").map(|path| How::Cache(path, ccache_counts));
        vec![
            Tool { name: EMPTY, how: build_empty(stage).map(How::Empty) },
            Tool { name: BARE, how: Some(How::Bare) },
            Tool { name: IBID, how: Some(ibid) },
            Tool { name: CCACHE, how: ccache },
        ]
    }

    /// Whether it is installed.
    pub fn is_there(&self) -> bool {
        self.how.is_some()
    }

    /// Whether it keeps results.
    pub fn is_cache(&self) -> bool {
        matches!(self.how, Some(How::Cache(..)))
    }

    /// A compile by this tool: the compiler's name and arguments, and where the compiler is.
    pub fn call(&self, stage: &Stage, compiler: &Path, command: &[String]) -> Call {
        let mut args: Vec<OsString> = command.iter().map(OsString::from).collect();
        let program = match &self.how {
            Some(How::Cache(program, _)) => {
                args.insert(0, self.name.into());
                program.clone()
            }
            Some(How::Empty(program)) => program.clone(),
            Some(How::Bare) | None => compiler.to_owned(),
        };
        Call { program, args, environment: stage.environment() }
    }

    /// What its own counters say; zeros for what is not a cache.
    pub fn counts(&self, stage: &Stage) -> io::Result<Counts> {
        match &self.how {
            Some(How::Cache(program, read)) => read(program, stage),
            _ => Ok(Counts::default()),
        }
    }
}

fn asked(program: &Path, args: &[&str], stage: &Stage) -> io::Result<Vec<u8>> {
    let done = Command::new(program).args(args).env_clear().envs(stage.environment()).output()?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let text = String::from_utf8_lossy(&done.stderr);
    Err(io::Error::other(format!("{} {args:?} failed: {text}", program.display())))
}

fn ibid_counts(program: &Path, stage: &Stage) -> io::Result<Counts> {
    let text = asked(program, &["stats", "--json"], stage)?;
    let stats: serde_json::Value = serde_json::from_slice(&text).map_err(io::Error::other)?;
    let number = |name: &str| stats[name].as_u64().unwrap_or(0);
    let reasons = stats["passed_through"].as_object().into_iter().flatten();
    Ok(Counts {
        hits: number("invocation_hits") + number("portable_hits"),
        stored: number("stored"),
        passed_through: reasons.filter_map(|(_, count)| count.as_u64()).sum(),
    })
}

fn ccache_counts(program: &Path, stage: &Stage) -> io::Result<Counts> {
    let text = asked(program, &["--print-stats"], stage)?;
    let text = String::from_utf8_lossy(&text);
    let number = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(Counts {
        hits: number("direct_cache_hit") + number("preprocessed_cache_hit"),
        stored: number("cache_miss"),
        passed_through: 0,
    })
}

#[cfg(target_arch = "aarch64")]
const EMPTY_SOURCE: &str = ".globl _start\n_start:\n mov x0, #0\n mov x8, #93\n svc #0\n";
#[cfg(not(target_arch = "aarch64"))]
const EMPTY_SOURCE: &str = ".globl _start\n_start:\n xor %edi, %edi\n mov $60, %eax\n syscall\n";

/// The smallest program there is, without libc.
fn build_empty(stage: &Stage) -> Option<PathBuf> {
    let (source, program) = (stage.below("empty.s"), stage.below("empty"));
    fs::write(&source, EMPTY_SOURCE).ok()?;
    let mut command = Command::new(stage.find("gcc")?);
    command.args(["-nostdlib", "-static", "-o"]).arg(&program).arg(&source);
    command.status().ok()?.success().then_some(program)
}
