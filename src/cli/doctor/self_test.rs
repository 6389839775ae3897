//! A small compile by each compiler, twice, in a cache that is only for that: the second one must be a hit.
//!
//! The user's cache is not touched. Read next: `cli/demo.rs`, which does the same with a clock.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::super::reasons::in_short;
use super::place::roomy;
use super::tools::{Compiler, find};
use super::{Finding, Mark, finding};
use crate::compilers::language;
use crate::config::{Config, Setting};
use crate::env;

/// What is tried beside the compilers of C and C++.
const RUSTC: &str = "rustc";

/// What is compiled: it is C, and C++ as well; and Rust.
const SOURCES: &[(&str, &str)] = &[
    ("t.c", "int answer(void) { return 42; }\n"),
    ("t.cpp", "int answer() { return 42; }\n"),
    ("t.rs", "pub fn answer() -> i32 { 42 }\n"),
];

/// The source and the options for a compiler.
fn test_of(name: &str) -> (&'static str, &'static [&'static str]) {
    match language(OsStr::new(name), Path::new("t.c")) {
        Some("Rust") => ("t.rs", &["--crate-type=lib"]),
        Some("C++") => ("t.cpp", &["-c"]),
        _ => ("t.c", &["-c"]),
    }
}

/// One finding for each of these compilers, and rustc; a failure if none is cached.
pub fn compilers(config: &Config, mut compilers: Vec<Compiler>) -> Vec<Finding> {
    compilers.extend(find(RUSTC.to_owned()));
    // One program by several names is tried by the usual one: `gcc`, not `cc`.
    compilers.sort_by_key(|compiler| matches!(&*compiler.name, "cc" | "c++"));
    if compilers.is_empty() {
        return Vec::new();
    }
    let stage = match Stage::new(config) {
        Ok(stage) => stage,
        Err(error) => {
            let found = format!("could not be made: {error}");
            return vec![finding(Mark::Warn, "self-test", found)];
        }
    };
    let mut images = BTreeSet::new();
    let mut results = Vec::new();
    for compiler in compilers {
        // `cc` is mostly `gcc` by another name.
        if images.insert(compiler.path.canonicalize().ok()) {
            let result = stage.test(&compiler);
            results.push((compiler.name, result));
        }
    }
    let works = |(_, result): &(_, Tested)| matches!(result, Tested::Cached | Tested::Broken(_));
    let is_hopeless = !results.iter().any(works);
    results.iter().map(|(name, result)| describe(name, result, is_hopeless)).collect()
}

/// How a test ended.
enum Tested {
    Cached,
    /// The name of the reason, by the counters.
    Not(String),
    /// The compiler does not work by itself.
    Broken(String),
}

fn describe(name: &str, result: &Tested, is_hopeless: bool) -> Finding {
    match result {
        Tested::Cached => {
            finding(Mark::Ok, "self-test", format!("{name}: compiled, stored, and served"))
        }
        Tested::Broken(why) => {
            finding(Mark::Note, "self-test", format!("{name} does not work by itself: {why}"))
        }
        Tested::Not(reason) => {
            let mark = if is_hopeless { Mark::Fail } else { Mark::Warn };
            let why = in_short(reason).map_or_else(String::new, |why| format!(" ({why})"));
            finding(mark, "self-test", format!("{name} is not cached: {reason}{why}"))
        }
    }
}

/// A directory with a cache in it, removed at the end.
struct Stage {
    dir: PathBuf,
    ibid: PathBuf,
    /// The settings that decide whether anything is cached.
    settings: Vec<(&'static str, String)>,
}

impl Stage {
    fn new(config: &Config) -> io::Result<Stage> {
        let below = [std::env::temp_dir(), "/var/tmp".into(), "/dev/shm".into()];
        let below =
            roomy(below).ok_or_else(|| io::Error::other("no temporary directory has room"))?;
        let dir = below.join(format!("ibid-doctor-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir)?;
        let kept = [env::IBID_OBSERVER, env::IBID_MAX_SIZE];
        let settings = crate::config::SETTINGS.iter().filter(|s| kept.contains(&s.variable));
        let value = |setting: &Setting| (setting.variable, config.show(*setting));
        let settings = settings.map(value).collect();
        let stage = Stage { ibid: std::env::current_exe()?, dir, settings };
        for below in ["cache", "runtime"] {
            DirBuilder::new().mode(0o700).create(stage.dir.join(below))?;
        }
        for (name, text) in SOURCES {
            fs::write(stage.dir.join(name), text)?;
        }
        // The cache takes only inputs that are older than a tick of the file system's clock.
        std::thread::sleep(Duration::from_millis(60));
        Ok(stage)
    }

    fn test(&self, compiler: &Compiler) -> Tested {
        let (source, options) = test_of(&compiler.name);
        let args: Vec<&str> = options.iter().copied().chain([source, "-o", "t.o"]).collect();
        let name = compiler.name.as_str();
        let ibid = |args: &[&str]| self.run(self.ibid.as_os_str(), [&[name], args].concat());
        let counters = |args: &[&str]| {
            let before = self.counters()?;
            let done = ibid(args)?;
            io::Result::Ok((done, before, self.counters()?))
        };
        let first = match counters(&args) {
            Ok((done, ..)) if !done.status.success() => return self.broken(compiler, &args, &done),
            Ok((_, before, after)) => grown_reason(&before, &after),
            Err(error) => return Tested::Not(error.to_string()),
        };
        match counters(&args) {
            Ok((_, before, after)) => {
                let hits = |counters: &Value| {
                    ["invocation_hits", "portable_hits"]
                        .iter()
                        .filter_map(|key| counters[key].as_u64())
                        .sum::<u64>()
                };
                if hits(&after) > hits(&before) {
                    return Tested::Cached;
                }
                let reason = first.or_else(|| grown_reason(&before, &after));
                Tested::Not(reason.unwrap_or_else(|| "the second compile was a miss".into()))
            }
            Err(error) => Tested::Not(error.to_string()),
        }
    }

    /// What the compiler says without us.
    fn broken(&self, compiler: &Compiler, args: &[&str], through_us: &Output) -> Tested {
        let bare = self.run(compiler.path.as_os_str(), args.to_vec());
        let works = bare.is_ok_and(|done| done.status.success());
        let text = String::from_utf8_lossy(&through_us.stderr);
        let line = text.lines().next().unwrap_or("no message").to_owned();
        if works {
            Tested::Not(format!("it fails through ibid: {line}"))
        } else {
            Tested::Broken(line)
        }
    }

    fn counters(&self) -> io::Result<Value> {
        let done = self.run(self.ibid.as_os_str(), vec!["stats", "--json"])?;
        serde_json::from_slice(&done.stdout)
            .map_err(|error| io::Error::other(format!("ibid stats --json: {error}")))
    }

    #[allow(clippy::disallowed_methods, reason = "the test runs what a user's own command runs")]
    fn run(&self, program: &OsStr, args: Vec<&str>) -> io::Result<Output> {
        let mut command = Command::new(program);
        let ours = env::all()
            .map(|(name, _)| name)
            .filter(|name| name.as_encoded_bytes().starts_with(b"IBID_"));
        for name in ours {
            command.env_remove(name);
        }
        command
            .args(args)
            .current_dir(&self.dir)
            .env(env::IBID_DIR, self.dir.join("cache"))
            .env("XDG_RUNTIME_DIR", self.dir.join("runtime"))
            .env(env::IBID_CONFIG, self.dir.join("config.toml"))
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The reason that was counted between the two.
fn grown_reason(before: &Value, after: &Value) -> Option<String> {
    ["not_stored", "passed_through", "internal_errors"].iter().find_map(|kind| {
        let reasons = after[kind].as_object()?;
        let is_new = |(name, count): &(&String, &Value)| {
            count.as_u64() > Some(before[kind][name].as_u64().unwrap_or(0))
        };
        reasons.iter().find(is_new).map(|(name, _)| name.clone())
    })
}
