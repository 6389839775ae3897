//! `ibid demo`: compiles a bundled source with each compiler found, bare, cold and warm, and shows what happened.
//!
//! It runs this very program as the wrapper, on a cache and in a directory of its own that it removes again.
//! It exits 1 if a warm compile was not a hit, or gave other bytes than the bare compiler.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::on_path;
use crate::env;

const RUNS: usize = 5;
/// After so long the bare compiler is not run once more.
const BARE_ENOUGH: Duration = Duration::from_millis(500);

const SOURCE: &str = r#"#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

static int compare(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

int main(int argc, char **argv) {
    qsort(argv + 1, (size_t)(argc - 1), sizeof *argv, compare);
    for (int i = 1; i < argc; i++)
        printf("%3d %8.3f %s\n", i, sqrt((double)strlen(argv[i])), argv[i]);
    return EXIT_SUCCESS;
}
"#;

const SOURCE_PLUS_PLUS: &str = r"#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <vector>

int main(int argc, char **argv) {
    std::map<std::string, std::vector<int>> places;
    for (int i = 1; i < argc; i++)
        places[argv[i]].push_back(i);
    for (auto &[word, where] : places) {
        std::reverse(where.begin(), where.end());
        std::cout << word << ' ' << where.front() << '\n';
    }
}
";

const SOURCE_RUST: &str = r#"use std::collections::BTreeMap;

fn main() {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, word) in std::env::args().enumerate().skip(1) {
        places.entry(word).or_default().push(at);
    }
    for (word, places) in &places {
        println!("{word} {places:?}");
    }
}
"#;

/// The compilers that are tried, with their options, their source's name and the source.
const COMPILERS: &[(&str, &[&str], &str, &str)] = &[
    ("gcc", &["-O2", "-c"], "demo.c", SOURCE),
    ("g++", &["-O2", "-c"], "demo.cpp", SOURCE_PLUS_PLUS),
    ("clang", &["-O2", "-c"], "demo.c", SOURCE),
    ("clang++", &["-O2", "-c"], "demo.cpp", SOURCE_PLUS_PLUS),
    ("rustc", &["-O", "--edition=2021"], "demo.rs", SOURCE_RUST),
];

/// Runs it; 0 if every compiler that is there was served from the cache.
pub fn run(stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let found: Vec<_> = COMPILERS.iter().filter(|(compiler, ..)| on_path(compiler)).collect();
    if found.is_empty() {
        writeln!(stderr, "ibid: none of gcc, g++, clang, clang++, rustc is on PATH")?;
        return Ok(1);
    }
    let stage = Stage::new()?;
    writeln!(stdout, "Compiling a small program, in a cache that is only for this demo.\n")?;
    writeln!(
        stdout,
        "{:<9} {:>11}   {:>11} {:<8} {:>11} {:<8} {:>7}",
        "compiler", "bare", "first time", "", "again", "", "faster"
    )?;
    let (mut complaints, mut rows) = (Vec::new(), 0);
    for (compiler, options, source_name, source) in found {
        fs::write(stage.dir.join(source_name), source)?;
        match stage.measure(compiler, options, source_name) {
            Ok(row) => {
                writeln!(stdout, "{}", row.line(compiler))?;
                complaints.extend(row.complaint(compiler));
                rows += 1;
            }
            // One that does not work by itself (a proxy without a toolchain, a missing header) says nothing of ours.
            Err(error) if !stage.works(compiler, options, source_name) => {
                writeln!(stdout, "{compiler:<9} {error}")?;
            }
            Err(error) => complaints.push(format!("{compiler}: {error}")),
        }
        stdout.flush()?;
    }
    writeln!(stdout)?;
    if rows == 0 {
        complaints.push("no compiler worked".to_owned());
    }
    if complaints.is_empty() {
        writeln!(
            stdout,
            "Every result came from the cache the second time, byte for byte the compiler's."
        )?;
        writeln!(stdout, "Next: `ibid --help`, or `make CC=\"ibid gcc\"` in a project of yours.")?;
        return Ok(0);
    }
    for complaint in complaints {
        writeln!(stdout, "Not as it should be: {complaint}")?;
    }
    Ok(1)
}

struct Row {
    bare: Duration,
    cold: Duration,
    warm: Duration,
    cold_outcome: String,
    warm_outcome: String,
    bytes_equal: bool,
}

impl Row {
    fn line(&self, compiler: &str) -> String {
        let tenths = self.bare.as_micros() * 10 / self.warm.as_micros().max(1);
        format!(
            "{compiler:<9} {:>11}   {:>11} {:<8} {:>11} {:<8} {:>7}",
            shown(self.bare),
            shown(self.cold),
            self.cold_outcome,
            shown(self.warm),
            self.warm_outcome,
            format!("{}.{}x", tenths / 10, tenths % 10),
        )
    }

    fn complaint(&self, compiler: &str) -> Option<String> {
        if !self.bytes_equal {
            return Some(format!("{compiler}: the bytes differ from the bare compiler's"));
        }
        (self.warm_outcome != "hit").then(|| {
            format!("{compiler}: the second compile was `{}`, not a hit", self.warm_outcome)
        })
    }
}

/// A directory with a cache in it, removed at the end.
struct Stage {
    dir: PathBuf,
    ibid: PathBuf,
}

impl Stage {
    fn new() -> io::Result<Stage> {
        let dir = std::env::temp_dir().join(format!("ibid-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir)?;
        let stage = Stage { ibid: std::env::current_exe()?, dir };
        for below in ["cache", "runtime"] {
            DirBuilder::new().mode(0o700).create(stage.dir.join(below))?;
        }
        Ok(stage)
    }

    fn measure(&self, compiler: &str, options: &[&str], source_name: &str) -> io::Result<Row> {
        let args: Vec<&str> = options.iter().copied().chain([source_name]).collect();
        let mut bare = Vec::new();
        while bare.len() < RUNS && bare.iter().sum::<Duration>() < BARE_ENOUGH {
            bare.push(self.compile(&[compiler], &args)?);
        }
        let bare = median(bare.into_iter().map(Ok))?;
        let bytes = fs::read(self.dir.join("demo.o"))?;
        // The cache takes only inputs that are older than a tick of the file system's clock.
        std::thread::sleep(Duration::from_millis(50));

        let ibid = [self.ibid.as_os_str().to_os_string(), compiler.into()];
        let before = self.counters()?;
        let cold = self.compile(&ibid, &args)?;
        let between = self.counters()?;
        let warm = median((0..RUNS).map(|_| self.compile(&ibid, &args)))?;
        let after = self.counters()?;
        Ok(Row {
            bare,
            cold,
            warm,
            cold_outcome: outcome(&before, &between, 1),
            warm_outcome: outcome(&between, &after, RUNS as u64),
            bytes_equal: fs::read(self.dir.join("demo.o"))? == bytes,
        })
    }

    fn works(&self, compiler: &str, options: &[&str], source_name: &str) -> bool {
        let args: Vec<&str> = options.iter().copied().chain([source_name]).collect();
        self.compile(&[compiler], &args).is_ok()
    }

    /// Runs one compile and says how long it took.
    fn compile<S: AsRef<std::ffi::OsStr>>(
        &self,
        tool: &[S],
        args: &[&str],
    ) -> io::Result<Duration> {
        let [program, rest @ ..] = tool else { return Err(io::Error::other("no tool")) };
        let mut command = self.command(program.as_ref());
        command.args(rest).args(args).args(["-o", "demo.o"]);
        let start = Instant::now();
        let done = command.output()?;
        let taken = start.elapsed();
        if done.status.success() {
            return Ok(taken);
        }
        let text = String::from_utf8_lossy(&done.stderr);
        Err(io::Error::other(format!("failed: {}", text.lines().next().unwrap_or("no message"))))
    }

    fn counters(&self) -> io::Result<serde_json::Value> {
        let done = self.command(self.ibid.as_os_str()).args(["stats", "--json"]).output()?;
        serde_json::from_slice(&done.stdout)
            .map_err(|error| io::Error::other(format!("ibid stats --json: {error}")))
    }

    #[allow(clippy::disallowed_methods, reason = "the demo shows what a user's own command does")]
    fn command(&self, program: &std::ffi::OsStr) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env(env::IBID_DIR, self.dir.join("cache"))
            .env("XDG_RUNTIME_DIR", self.dir.join("runtime"))
            .env(env::IBID_CONFIG, self.dir.join("config.toml"))
            .stdin(Stdio::null());
        for (name, _) in env::all() {
            let text = name.to_string_lossy();
            let kept = [env::IBID_DIR, env::IBID_CONFIG].contains(&&*text);
            if text.starts_with("IBID_") && !kept {
                command.env_remove(&name);
            }
        }
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What `count` invocations ended in, in a word, if all ended in the same way.
fn outcome(before: &serde_json::Value, after: &serde_json::Value, count: u64) -> String {
    let grown = |key: &str| {
        let number = |counters: &serde_json::Value| counters[key].as_u64().unwrap_or(0);
        number(after).saturating_sub(number(before))
    };
    if grown("invocation_hits") + grown("portable_hits") == count {
        return "hit".to_owned();
    }
    if grown("misses") == count {
        let stored = grown("stored") >= count;
        return if stored { "miss" } else { "unstored" }.to_owned();
    }
    let passed = |counters: &serde_json::Value, reason: &str| {
        counters["passed_through"][reason].as_u64().unwrap_or(0)
    };
    after["passed_through"]
        .as_object()
        .and_then(|reasons| {
            reasons.keys().find(|reason| passed(after, reason) > passed(before, reason))
        })
        .map_or_else(|| "mixed".to_owned(), |reason| format!("passed ({reason})"))
}

fn median(times: impl Iterator<Item = io::Result<Duration>>) -> io::Result<Duration> {
    let mut times = times.collect::<io::Result<Vec<_>>>()?;
    times.sort_unstable();
    times.get(times.len() / 2).copied().ok_or_else(|| io::Error::other("nothing was measured"))
}

fn shown(time: Duration) -> String {
    let micros = time.as_micros();
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}
