//! Whether a command repeats itself: it is run twice under the shim, without the cache, and what came of it is compared.
//!
//! What the first run made where nothing was is removed before the second. Read next: `cli/exec.rs`, `observe/mod.rs`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{fs, io, thread};

use super::Invocation;
use crate::env;
use crate::observe::preload::Preload;
use crate::observe::{Fact, Made, Observation, Unsteady};
use crate::probe::command::Call;
use crate::shm::start::start_from;

/// Between the runs: a time in seconds is another one in the second.
const PAUSE: Duration = Duration::from_millis(1100);

/// What two runs showed.
#[derive(Debug, Default)]
pub struct Checked {
    /// Whether both gave the same; `None` if that cannot be said.
    pub repeats: Option<bool>,
    /// Whether there is such a tool.
    pub is_found: bool,
    /// What differs, or why nothing can be said, and what the tool asked for.
    pub lines: Vec<String>,
}

impl Checked {
    fn unknown(line: String) -> Checked {
        Checked { repeats: None, is_found: true, lines: vec![line] }
    }
}

/// Runs a command twice.
pub fn check(words: Vec<OsString>) -> Checked {
    let ours = ["ibid", "exec", "--"].map(OsString::from);
    let start = start_from(ours.into_iter().chain(words), env::all());
    let Some(call) = Call::read(&start) else {
        return Checked::unknown("no tool is named".to_owned());
    };
    let invocation = match Invocation::find(start, call) {
        Ok(invocation) => invocation,
        Err(name) => {
            let lines = vec![format!("there is no {}", name.display())];
            return Checked { lines, ..Checked::default() };
        }
    };
    match both(&invocation) {
        Ok(checked) => checked,
        Err(why) => Checked::unknown(why),
    }
}

fn both(invocation: &Invocation) -> Result<Checked, String> {
    let first = Ran::now(invocation)?;
    let changed =
        first.seen.outputs.iter().find(|output| {
            output.existed_before && (output.how == Made::Modified || output.was_asked)
        });
    if let Some(output) = changed {
        return Err(format!("it goes by what was at {}: remove that first", output.path.display()));
    }
    let fresh = first.seen.outputs.iter().filter(|output| !output.existed_before);
    for output in fresh {
        fs::remove_file(&output.path)
            .map_err(|error| format!("{}: {error}", output.path.display()))?;
    }
    thread::sleep(PAUSE);
    let second = Ran::now(invocation)?;
    let mut lines = first.differences(&second);
    let incomplete = first.seen.incomplete.as_ref().or(second.seen.incomplete.as_ref());
    let repeats = match incomplete {
        _ if !lines.is_empty() => Some(false),
        Some(why) => {
            lines.push(format!("not all that it did could be seen: {why}"));
            None
        }
        None => Some(true),
    };
    if let Some(line) = first.done.status.code().filter(|code| *code != 0) {
        lines.push(format!("it fails with status {line}: failing runs are not stored"));
    }
    lines.extend(asked(&first.seen));
    Ok(Checked { repeats, is_found: true, lines })
}

/// A run, and what it left.
struct Ran {
    done: Output,
    seen: Observation,
    outputs: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

impl Ran {
    fn now(invocation: &Invocation) -> Result<Ran, String> {
        let in_words = |error: io::Error| error.to_string();
        let store = invocation.open_store().map_err(|error| format!("no cache: {error}"))?;
        let mut observer = Preload::prepare(store.directory()).map_err(in_words)?;
        observer.check(&invocation.program);
        #[allow(clippy::disallowed_methods, reason = "what it prints is compared, not passed on")]
        let mut command = Command::new(&invocation.program);
        command.arg0(invocation.arg0()).args(&invocation.args).envs(observer.environment());
        let done = command.stdin(Stdio::null()).output();
        let done = done.map_err(|error| format!("{}: {error}", invocation.program.display()))?;
        let seen = observer.finish();
        let mut outputs = BTreeMap::new();
        for output in &seen.outputs {
            let left = left_at(&output.path);
            let left = left.map_err(|error| format!("{}: {error}", output.path.display()))?;
            outputs.insert(output.path.clone(), left);
        }
        Ok(Ran { done, seen, outputs })
    }

    fn differences(&self, other: &Ran) -> Vec<String> {
        let mut lines = Vec::new();
        let ends = [&self.done, &other.done].map(|done| (done.status.code(), done.status.signal()));
        if ends[0] != ends[1] {
            lines.push(format!(
                "it ends with {}, then with {}",
                self.done.status, other.done.status
            ));
        }
        let texts = [
            ("standard output", &self.done.stdout, &other.done.stdout),
            ("standard error", &self.done.stderr, &other.done.stderr),
        ];
        for (name, first, second) in texts {
            lines.extend(place_of(first, second).map(|place| format!("{name} differs {place}")));
        }
        let names = self.outputs.keys().chain(other.outputs.keys());
        let names: std::collections::BTreeSet<_> = names.collect();
        for name in names {
            let line = match (self.outputs.get(name), other.outputs.get(name)) {
                (Some((mode, first)), Some((other_mode, second))) => place_of(first, second)
                    .map(|place| format!("differs {place}"))
                    .or((mode != other_mode).then(|| "has another mode".to_owned())),
                _ => Some("is written by one run only".to_owned()),
            };
            lines.extend(line.map(|line| format!("{} {line}", name.display())));
        }
        lines
    }
}

fn left_at(path: &Path) -> io::Result<(u32, Vec<u8>)> {
    Ok((fs::metadata(path)?.permissions().mode(), fs::read(path)?))
}

/// Where two texts differ first; nothing if they are equal.
fn place_of(first: &[u8], second: &[u8]) -> Option<String> {
    if first == second {
        return None;
    }
    let same = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let before = &first[..same];
    Some(match std::str::from_utf8(first) {
        Ok(_) => format!("in line {}", memchr::memchr_iter(b'\n', before).count() + 1),
        Err(_) => format!("at byte {same}"),
    })
}

/// What the tool asked for that is another at each run, and what to do about it, a line each.
fn asked(seen: &Observation) -> Vec<String> {
    let has = |wanted: Unsteady| seen.unsteady.iter().any(|(unsteady, _)| *unsteady == wanted);
    let has_time = [Fact::Time, Fact::LocalTime].iter().any(|fact| seen.facts.contains(fact));
    let asked = [
        (has_time || has(Unsteady::Clock), "the time"),
        (has(Unsteady::Random), "random numbers"),
        (has(Unsteady::Process), "numbers of processes"),
        (has(Unsteady::System), "the state of the machine"),
        (seen.facts.contains(&Fact::Network), "something on the network"),
    ];
    let asked: Vec<&str> =
        asked.iter().filter(|(holds, _)| *holds).map(|(_, what)| *what).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let advice = "if that never enters its result, `[tools.\"NAME\"]` in config.toml says so";
    vec![format!("it asked for {}", asked.join(", ")), advice.to_owned()]
}
