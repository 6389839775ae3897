//! The tools that are compared, and how each one is started. The stage ends their daemons.
//!
//! A new rival is a line in `RIVALS`, a function in `counts.rs` that reads its counters, and its variables in `stage.rs`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::counts::{Counts, of_ccache, of_ibid, of_kache, of_sccache, of_zccache};
use super::ideal;
use super::process::Call;
use super::stage::Stage;
use super::step::Step;

/// A cache: its program takes the compiler's command after its own name.
struct Rival {
    name: &'static str,
    /// Starts its daemon, if it has such a thing.
    daemon: Option<&'static [&'static str]>,
    /// What prints its counters.
    counters: &'static [&'static str],
    read: fn(&[u8]) -> Option<Counts>,
}

/// The compiler itself.
pub const BARE: &str = "bare";
/// This project.
pub const IBID: &str = "ibid";
/// What no cache can be faster than.
pub const IDEAL: &str = "ideal";

/// The variable by which cargo is told of a cache.
pub const WRAPPER: &str = "RUSTC_WRAPPER";

const IDEAL_WRAPPER: Rival =
    Rival { name: IDEAL, daemon: None, counters: &[ideal::COUNTERS], read: ideal::counts };

const RIVALS: &[Rival] = &[
    Rival { name: IBID, daemon: None, counters: &["stats", "--json"], read: of_ibid },
    Rival { name: "ccache", daemon: None, counters: &["--print-stats"], read: of_ccache },
    Rival {
        name: "sccache",
        daemon: Some(&["--start-server"]),
        counters: &["--show-stats", "--stats-format", "json"],
        read: of_sccache,
    },
    Rival {
        name: "zccache",
        daemon: Some(&["start"]),
        counters: &["status", "--json"],
        read: of_zccache,
    },
    Rival {
        name: "kache",
        daemon: Some(&["daemon", "start"]),
        counters: &["stats", "--full", "--json"],
        read: of_kache,
    },
];

/// The names of all that can be compared with the bare compiler.
pub fn names() -> Vec<&'static str> {
    RIVALS.iter().map(|rival| rival.name).collect()
}

/// Something that is measured.
pub struct Tool {
    /// Its name in tables.
    pub name: &'static str,
    rival: Option<&'static Rival>,
    /// The program of a cache, where that is installed.
    program: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

impl Tool {
    /// The bare compiler and the `wanted` caches, in the order of the table.
    pub fn all(stage: &Stage, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Tool>> {
        let bare =
            Tool { name: BARE, rival: None, program: None, environment: stage.environment() };
        let wanted = RIVALS.iter().filter(|rival| wanted(rival.name));
        std::iter::once(Ok(bare)).chain(wanted.map(|rival| Tool::cache(rival, stage))).collect()
    }

    /// A cache, whether it is installed or not.
    fn cache(rival: &'static Rival, stage: &Stage) -> io::Result<Tool> {
        let program = if rival.name == IBID {
            Some(stage.install(Path::new(env!("CARGO_BIN_EXE_ibid")))?)
        } else {
            stage.find(rival.name)
        };
        let environment = stage.environment();
        Ok(Tool { name: rival.name, rival: Some(rival), program, environment })
    }

    /// The ideal wrapper, with nothing recorded.
    pub fn ideal(stage: &Stage) -> io::Result<Tool> {
        let records = stage.below("records");
        std::fs::create_dir(&records)?;
        let mut environment = stage.environment();
        environment.push((ideal::RECORDS.into(), records.into()));
        let program = Some(std::env::current_exe()?);
        Ok(Tool { name: IDEAL, rival: Some(&IDEAL_WRAPPER), program, environment })
    }

    /// Starts its daemon; without that it is as if it were not there.
    pub fn start(&mut self) {
        if let Err(error) = self.start_daemon() {
            eprintln!("  {}: {error}; left out", self.name);
            self.program = None;
        }
    }

    /// Starts its daemon, if it has one.
    pub fn start_daemon(&self) -> io::Result<()> {
        let start = self.rival.and_then(|rival| rival.daemon).filter(|_| self.is_there());
        start.map_or(Ok(()), |args| self.ask(args).map(|_| ()))
    }

    /// Whether it is there for comparison only.
    pub fn is_ideal(&self) -> bool {
        self.name == IDEAL
    }

    /// Whether it is installed.
    pub fn is_there(&self) -> bool {
        !self.is_cache() || self.program.is_some()
    }

    /// Whether it keeps results.
    pub fn is_cache(&self) -> bool {
        self.rival.is_some()
    }

    /// The step's commands, run by this tool.
    pub fn calls(&self, stage: &Stage, step: &Step) -> io::Result<Vec<Call>> {
        step.commands.iter().map(|words| self.call(stage, step, words)).collect()
    }

    fn call(&self, stage: &Stage, step: &Step, words: &[String]) -> io::Result<Call> {
        let mut environment = self.environment.clone();
        environment.extend(step.environment.iter().cloned());
        let mut args: Vec<OsString> = words.iter().map(OsString::from).collect();
        let program = match &self.program {
            Some(cache) if step.is_build => {
                environment.push((WRAPPER.into(), cache.into()));
                None
            }
            Some(cache) => {
                args.insert(0, self.name.into());
                Some(cache.clone())
            }
            None => None,
        };
        let missing = || io::Error::other(format!("{} is not on PATH", words[0]));
        let program = program.or_else(|| stage.find(&words[0])).ok_or_else(missing)?;
        Ok(Call { program, args, environment })
    }

    /// What its own counters say; zeros for what is not a cache.
    pub fn counts(&self) -> io::Result<Counts> {
        let Some(rival) = self.rival.filter(|_| self.is_there()) else {
            return Ok(Counts::default());
        };
        let text = self.ask(rival.counters)?;
        (rival.read)(&text)
            .ok_or_else(|| io::Error::other(format!("{}: counters not understood", self.name)))
    }

    /// Its version, if it says one.
    pub fn version(&self) -> Option<String> {
        let text = self.ask(&["--version"]).ok()?;
        Some(String::from_utf8_lossy(&text).lines().next()?.to_owned())
    }

    /// Runs a command of the cache itself; what it prints.
    fn ask(&self, args: &[&str]) -> io::Result<Vec<u8>> {
        let program = self.program.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(self.environment.iter().cloned());
        // A daemon would hold a pipe open after its starter has ended.
        let log = tempfile::tempfile()?;
        let mut out = log.try_clone()?;
        let status = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{} {args:?}: {status}", program.display())));
        }
        let mut text = Vec::new();
        io::Seek::rewind(&mut out)?;
        io::Read::read_to_end(&mut out, &mut text)?;
        Ok(text)
    }
}
