//! A cache of a test's own: its directory, its shared memory, its home, and its counters.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::tools;

pub struct Cache {
    root: TempDir,
    environment: Vec<(OsString, OsString)>,
}

impl Cache {
    pub fn new() -> Cache {
        let root = tempfile::Builder::new().prefix("ibid-cache-").tempdir().unwrap();
        for below in ["home", "runtime"] {
            std::fs::create_dir(root.path().join(below)).unwrap();
        }
        let at = |below: &str| root.path().join(below).into_os_string();
        let environment = vec![
            ("PATH".into(), std::env::var_os("PATH").unwrap()),
            ("HOME".into(), at("home")),
            ("XDG_RUNTIME_DIR".into(), at("runtime")),
            ("IBID_DIR".into(), at("cache")),
        ];
        Cache { root, environment }
    }

    /// The same cache with one variable more, for all that runs in it.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Cache {
        self.set(name, value);
        self
    }

    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.unset(name);
        self.environment.push((name.into(), value.into()));
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// The cache directory.
    pub fn dir(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    /// A directory that holds the cache's directory, home and shared memory, and is removed with it.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A command in this cache's environment, and in no other.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment.iter().cloned());
        command
    }

    /// `ibid ARGS…` in this cache's environment.
    pub fn ibid<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(tools::ibid());
        command.args(args);
        command
    }

    /// Runs `ibid ARGS…`, which must succeed, and gives its standard output.
    pub fn say(&self, args: &[&str]) -> String {
        let done = self.ibid(args).output().unwrap();
        assert!(done.status.success(), "ibid {args:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// All zero where there is no cache that can be used, of which `stats` says why in one line.
    pub fn counters(&self) -> Counters {
        let done = self.ibid(["stats", "--json"]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if !done.status.success() {
            let why = text(done.stderr);
            assert!(done.status.code() == Some(1) && why.lines().count() == 1, "{why}");
            return Counters::default();
        }
        Counters::from_json(&text(done.stdout))
    }

    /// What `work` added to the counters.
    pub fn count(&self, work: impl FnOnce()) -> Counters {
        let before = self.counters();
        work();
        self.counters().since(&before)
    }
}

/// The counters of `ibid stats --json`; those that are objects have their reason behind a slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

/// How one invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    InvocationHit,
    PortableHit,
    /// A miss whose result was stored.
    Miss,
    /// A miss whose result was not stored, and why.
    NotStored(String),
    PassedThrough(String),
    ToolFailure,
    /// A failing run that was served.
    FailureHit,
    /// Nothing was counted.
    Uncounted,
}

impl Outcome {
    pub fn is_hit(&self) -> bool {
        matches!(self, Outcome::InvocationHit | Outcome::PortableHit)
    }

    pub fn is_miss(&self) -> bool {
        matches!(self, Outcome::Miss | Outcome::NotStored(_))
    }
}

impl Counters {
    pub fn from_json(text: &str) -> Counters {
        let Value::Object(object) = serde_json::from_str(text).unwrap() else {
            panic!("not an object: {text}")
        };
        let mut counters = BTreeMap::new();
        for (key, value) in object {
            match value {
                Value::Number(number) => {
                    counters.insert(key, number.as_u64().expect("an integer"));
                }
                Value::Object(reasons) => {
                    for (reason, count) in reasons {
                        counters.insert(format!("{key}/{reason}"), count.as_u64().unwrap());
                    }
                }
                _ => {}
            }
        }
        Counters(counters)
    }

    pub fn since(&self, before: &Counters) -> Counters {
        let grown = |(key, count): (&String, &u64)| {
            let more = count.saturating_sub(before.get(key));
            (more > 0).then(|| (key.clone(), more))
        };
        Counters(self.0.iter().filter_map(grown).collect())
    }

    pub fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }

    /// The sum of an object, such as `passed_through`.
    pub fn sum(&self, object: &str) -> u64 {
        self.reasons(object).map(|(_, count)| count).sum()
    }

    /// What an object of reasons holds.
    pub fn reasons<'c>(&'c self, object: &'c str) -> impl Iterator<Item = (&'c str, u64)> {
        let reason = move |key: &'c str| key.strip_prefix(object)?.strip_prefix('/');
        self.0.iter().filter_map(move |(key, count)| Some((reason(key)?, *count)))
    }

    pub fn hits(&self) -> u64 {
        self.get("invocation_hits") + self.get("portable_hits")
    }

    /// All outcomes: one for each wrapper process.
    pub fn outcomes(&self) -> u64 {
        self.hits() + self.get("misses") + self.get("tool_failures") + self.sum("passed_through")
    }

    /// The outcome of the one invocation that these counters have seen.
    pub fn outcome(&self) -> Outcome {
        match self.outcomes() {
            0 => return Outcome::Uncounted,
            1 => {}
            _ => panic!("more than one outcome: {self:?}"),
        }
        let reason = |object| self.reasons(object).next().map(|(reason, _)| reason.to_owned());
        if self.get("invocation_hits") == 1 {
            Outcome::InvocationHit
        } else if self.get("portable_hits") == 1 {
            Outcome::PortableHit
        } else if self.get("failure_hits") == 1 {
            assert_eq!(self.get("tool_failures"), 1, "{self:?}");
            Outcome::FailureHit
        } else if self.get("tool_failures") == 1 {
            Outcome::ToolFailure
        } else if let Some(reason) = reason("passed_through") {
            Outcome::PassedThrough(reason)
        } else if let Some(reason) = reason("not_stored") {
            assert_eq!(self.get("stored"), 0, "{self:?}");
            Outcome::NotStored(reason)
        } else {
            assert_eq!(self.get("stored"), 1, "a miss is stored or not: {self:?}");
            Outcome::Miss
        }
    }
}
