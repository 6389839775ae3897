//! The limit of a hit: an empty process without libc, one `statx` for each that the hit makes, and the writing of its outputs.
//!
//! The three are measured one by one and stacked; what is left of ibid's median is what a hit could still lose. The second limit
//! does not follow from what ibid does: in the place of its `statx` there is one for each file that the bare compiler opens.

use std::ffi::CString;
use std::fs;
use std::hint::black_box;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use ibid::shm::raw;

use super::course::Hit;
use super::figures::{Figures, ms};
use super::process::{Call, Starter};
use super::report::stacked;
use super::stage::Stage;

/// The parts of a hit, in ms.
pub struct Floor {
    /// The workload's name.
    pub workload: &'static str,
    /// A process that only ends.
    pub empty: f64,
    /// All `statx`.
    pub statx: f64,
    /// How many.
    pub statx_count: usize,
    /// All outputs: removed and made anew.
    pub write: f64,
    /// How much that is.
    pub bytes: usize,
    /// The median of ibid's hit.
    pub hit: f64,
    /// One `statx` for each file that the bare compiler opens.
    pub opened: f64,
    /// How many.
    pub opened_count: usize,
}

impl Floor {
    /// Measures the three; `None` where there is no compiler for the empty process.
    pub fn measure(
        stage: &Stage,
        starter: &Starter,
        workload: &'static str,
        hit: &Hit,
        (hit_ms, rounds): (f64, usize),
    ) -> io::Result<Option<Floor>> {
        std::env::set_current_dir(&hit.step.directory)?;
        let Some(program) = build_empty(stage) else { return Ok(None) };
        let call = Call { program, args: vec!["empty".into()], environment: stage.environment() };
        let empty = (0..rounds).map(|_| Ok(ms(&starter.run(std::slice::from_ref(&call), 1)?)));
        let empty = Figures::of(empty.collect::<io::Result<_>>()?).p50;
        let (statx, statx_count) = asked(rounds, hit.calls.statx.iter())?;
        let (opened, opened_count) = asked(rounds, hit.bare.opened.iter())?;
        let outputs: Vec<(&PathBuf, Vec<u8>)> = hit
            .step
            .outputs
            .iter()
            .map(|path| Ok((path, fs::read(path)?)))
            .collect::<io::Result<_>>()?;
        let write = median(rounds, || {
            outputs.iter().try_for_each(|(path, bytes)| {
                fs::remove_file(path)?;
                fs::write(path, bytes)
            })
        })?;
        let bytes = outputs.iter().map(|(_, bytes)| bytes.len()).sum();
        Ok(Some(Floor {
            workload,
            empty,
            statx,
            statx_count,
            write,
            bytes,
            hit: hit_ms,
            opened,
            opened_count,
        }))
    }

    /// What is left of the hit.
    pub fn rest(&self) -> f64 {
        self.hit - self.empty - self.statx - self.write
    }

    /// The hit in units of the limit that does not follow from what ibid does.
    pub fn over_limit(&self) -> f64 {
        self.hit / (self.empty + self.opened + self.write)
    }

    /// The stacked bar and what its parts are.
    pub fn text(&self) -> String {
        let bar = stacked(&[self.empty, self.statx, self.write, self.rest()]);
        format!(
            "{} hit {:.3} ms\n{bar}\n█ empty process {:.3}  ▓ {} statx {:.3}  ▒ {} bytes written {:.3}  ░ the rest {:.3}\n\
             with one statx for each of the {} files that the compiler opens ({:.3}) the limit is {:.3}; hit / limit {:.2}\n",
            self.workload,
            self.hit,
            self.empty,
            self.statx_count,
            self.statx,
            self.bytes,
            self.write,
            self.rest(),
            self.opened_count,
            self.opened,
            self.empty + self.opened + self.write,
            self.over_limit(),
        )
    }
}

/// The median of one `statx` for each path, and how many those are.
fn asked<'p>(rounds: usize, paths: impl Iterator<Item = &'p PathBuf>) -> io::Result<(f64, usize)> {
    let paths = paths.filter_map(|path| CString::new(path.as_os_str().as_bytes()).ok());
    let paths: Vec<CString> = paths.collect();
    let took = median(rounds, || {
        for path in &paths {
            black_box(raw::stat(path)).ok();
        }
        Ok(())
    })?;
    Ok((took, paths.len()))
}

/// The median of what it takes, in ms.
fn median(rounds: usize, mut work: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Figures::of(times).p50)
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
