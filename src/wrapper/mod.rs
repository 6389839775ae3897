//! One invocation of a tool: `run` holds all branches that an invocation can take.
//!
//! Before the tool has run, any doubt means running it, untouched; after it, its result stands. It never runs twice.
//! Read next: `learn.rs` (what a miss teaches), `portable.rs` (the look-up by content).

mod ahead;
mod asked;
mod explain;
mod inputs;
mod learn;
mod log;
pub mod portable;
mod trust;
mod tryout;
mod vet;
mod ways;
mod world;

use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::compilers::{self, Family, Policy, Verdict};
use crate::config::{self, Config, Observer};
use crate::env;
use crate::error::StoreError;
use crate::observe::LeftOut;
use crate::observe::preload::{self, Report};
use crate::os::exec::{EnvChange, end_like, exec};
use crate::os::input::Source;
use crate::os::path::{Found, Ourselves, find_tool};
use crate::os::run::{Ended, Spawn, is_mute, run as run_tool};
use crate::outcome::{InternalError, NotStored, PassReason};
use crate::probe::command::Call;
use crate::probe::deliver::Undelivered;
use crate::probe::judge::By;
use crate::probe::{self, Answer, Before};
use crate::shm::counters::Counter;
use crate::shm::start::Start;
use crate::store::Store;

use ahead::Ahead;
use asked::Asked;
pub use explain::{Explanation, explain};
use learn::{Lesson, Outset};
use log::Log;
use portable::Portable;
use trust::Observers;
pub use tryout::{Tried, observers};

/// The status of a tool that is not there, as shells give it.
const NOT_FOUND: u8 = 127;
/// The status of a tool that cannot be run, as shells give it.
const NOT_RUNNABLE: u8 = 126;
/// Text of a tool up to this length is kept for replay.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Room for the hot and the cold part of a record, and for the text that is replayed.
const ARENA_BYTES: usize = 3 * TEXT_BYTES_MAX;

/// Runs a tool, or gives what it gave before; the exit status. `call` says how the tool was named, `before` what the
/// look-up before libc came to.
pub fn run(start: Start, call: Call, before: Before) -> u8 {
    let invocation = match Invocation::new(start, call) {
        Ok(invocation) => invocation,
        Err(status) => return status,
    };
    if invocation.config.disable {
        return invocation.become_tool("disabled");
    }
    if before == Before::Faulted {
        return invocation.become_tool("the cache's files are damaged");
    }
    let store = match invocation.open_store() {
        // Never closed: the process ends here, and unmapping takes longer than the kernel's own sweep.
        Ok(store) => ManuallyDrop::new(store),
        Err(error) => return invocation.become_tool(format_args!("no cache: {error}")),
    };
    if preload::nested() || env::get(env::IBID_TRIED).is_some() {
        return invocation.pass_through(&store, PassReason::Nested);
    }
    let policy = match invocation.verdict() {
        Verdict::Cache(policy) => policy,
        Verdict::PassThrough(reason) => return invocation.pass_through(&store, reason),
    };
    if is_mute() {
        return invocation.pass_through(&store, PassReason::ClosedStream);
    }
    let Some(mut asked) = Asked::new(start, call) else {
        return invocation.pass_through(&store, PassReason::NoWorkingDirectory);
    };
    match asked.read_source(&policy) {
        Ok(true) => {}
        Ok(false) => return invocation.pass_through(&store, PassReason::StandardInput),
        Err(error) => return invocation.cannot_run(&error),
    }
    if !invocation.config.recache && invocation.look(&store, &asked, before) {
        return 0;
    }
    if let Err(error) = asked.give_source_back() {
        return invocation.cannot_run(&error);
    }
    match invocation.observers(&store, &policy) {
        Some(observers) => invocation.miss(&store, &asked, &policy, observers),
        None => invocation.pass_through(&store, PassReason::NoObserver),
    }
}

/// A tool that was asked for, found.
struct Invocation {
    call: Call,
    config: Config,
    found: Found,
    program: PathBuf,
    args: Vec<OsString>,
    log: Log,
}

impl Invocation {
    /// Finds the tool; if there is none, says so in one line.
    fn new(start: Start, call: Call) -> Result<Invocation, u8> {
        Invocation::find(start, call).map_err(|name| {
            say(format_args!("ibid: {}: command not found", name.display()));
            NOT_FOUND
        })
    }

    fn find(start: Start, call: Call) -> Result<Invocation, OsString> {
        let name = OsStr::from_bytes(call.tool.to_bytes());
        let ourselves = Ourselves::default();
        let tried = env::get(env::IBID_TRIED).unwrap_or_default();
        let was_tried = |path: &Path| {
            tried.as_bytes().split(|b| *b == b':').any(|t| t == path.as_os_str().as_bytes())
        };
        let is_passed = |path: &Path| ourselves.is(path) || call.masquerade && was_tried(path);
        let mut found = find_tool(name, env::get(env::PATH).as_deref(), &is_passed);
        // `ibid ibid gcc`, or `ibid` before a symlink to us that a build tool made a whole path of: there is one word less
        // each time, so it ends.
        let again = found.passed.first().filter(|_| !call.masquerade);
        let Some(program) = found.path.clone().or(again.cloned()) else {
            // There, but not to be run (no permission): the system says what is wrong.
            let there = found.absent.iter().find(|(path, _)| path.exists());
            return match there.filter(|_| call.tool.to_bytes().contains(&b'/')) {
                Some((path, _)) => {
                    Ok(Invocation::with(start, call, path.clone(), Found::default()))
                }
                None => Err(name.to_owned()),
            };
        };
        if call.tool.to_bytes().contains(&b'/') {
            found = Found { path: Some(program.clone()), ..Found::default() };
        }
        Ok(Invocation::with(start, call, program, found))
    }

    fn with(start: Start, call: Call, program: PathBuf, found: Found) -> Invocation {
        let config = config::load();
        let log = Log::new(config.log.clone());
        let arg = |arg: &std::ffi::CStr| OsStr::from_bytes(arg.to_bytes()).to_owned();
        let args = start.args().skip(call.first).map(arg).collect();
        Invocation { call, config, found, program, args, log }
    }

    fn tool(&self) -> &OsStr {
        OsStr::from_bytes(self.call.tool.to_bytes())
    }

    /// The name by which the tool sees itself: as it was called, or where we found it if it was called by a symlink to
    /// us (looking for that name in `PATH`, it would find us).
    fn arg0(&self) -> &OsStr {
        if self.call.masquerade { self.program.as_os_str() } else { self.tool() }
    }

    /// Another wrapper (ccache, another ibid) that stands on `PATH` under the tool's name may find us there again: we tell
    /// ourselves to look behind it then, or we would call each other for ever.
    fn tried(&self) -> Option<EnvChange> {
        let real = self.program.canonicalize().ok()?;
        if !self.call.masquerade || compilers::family(real.file_name()?).is_some() {
            return None;
        }
        let mut tried = env::get(env::IBID_TRIED).unwrap_or_default();
        tried.push(":");
        tried.push(&self.program);
        Some((env::IBID_TRIED.into(), Some(tried)))
    }

    fn open_store(&self) -> Result<Store, StoreError> {
        Store::open_configured(&self.config)
    }

    fn verdict(&self) -> Verdict {
        if self.config.observer == Observer::Off {
            return Verdict::PassThrough(PassReason::NoObserver);
        }
        match compilers::family(self.tool()) {
            Some(family) if self.call.forced => match compilers::judge(family, &self.args) {
                Verdict::PassThrough(_) => compilers::judge(Family::Unknown, &self.args),
                verdict @ Verdict::Cache(_) => verdict,
            },
            Some(family) => compilers::judge(family, &self.args),
            None if self.call.forced => compilers::judge(Family::Unknown, &self.args),
            None => Verdict::PassThrough(PassReason::UnknownTool),
        }
    }

    /// Replaces this process by the tool; comes back only if that fails.
    fn become_tool(&self, why: impl std::fmt::Display) -> u8 {
        self.log.line(format_args!("passed through, {why}: {}", self.program.display()));
        let error = exec(&self.program, self.arg0(), &self.args, self.tried().as_slice());
        self.cannot_run(&error)
    }

    fn cannot_run(&self, error: &std::io::Error) -> u8 {
        say(format_args!("ibid: {}: {error}", self.program.display()));
        NOT_RUNNABLE
    }

    fn pass_through(&self, store: &Store, reason: PassReason) -> u8 {
        store.count_passed_through(reason);
        if reason == PassReason::Nested {
            let searched = Some(self.tool()).filter(|tool| !tool.as_bytes().contains(&b'/'));
            let absent =
                |(path, errno): &(PathBuf, i32)| (path.clone(), u16::try_from(*errno).unwrap_or(0));
            let absent: Vec<_> = self.found.absent.iter().map(absent).collect();
            preload::report_in(&Report { tool: &self.program, searched, absent: &absent });
        }
        self.become_tool(reason.name())
    }

    /// Looks the command up, by stamps unless that was done before, and then by content; whether it was delivered.
    fn look(&self, store: &Store, asked: &Asked, before: Before) -> bool {
        let Asked { command, environment, source } = asked;
        let mut arena = vec![0; ARENA_BYTES];
        let unread = match before {
            Before::Missed if source.is_none() => Answer::Miss,
            _ => probe::look(&store.cache, command, environment, &mut arena, || {}),
        };
        let undelivered = match unread {
            Answer::Hit(By::Stamps) => return self.was_hit("invocation hit", asked),
            Answer::Hit(By::Content) => return self.was_hit("portable hit", asked),
            Answer::Undelivered(why) => Some(why),
            Answer::Miss => {
                match portable::look(store, command, environment, &mut arena, !self.config.readonly)
                {
                    Portable::Hit => return self.was_hit("portable hit", asked),
                    Portable::Undelivered(why) => Some(why),
                    Portable::Miss => None,
                }
            }
        };
        if let Some(why) = undelivered {
            self.log.line(format_args!("found, but not delivered: {why:?}"));
            match why {
                Undelivered::Corrupt => store.count_error(InternalError::Corrupt),
                Undelivered::Failed(_) => store.count_error(InternalError::Deliver),
                Undelivered::Gone
                | Undelivered::Special
                | Undelivered::NoRoom
                | Undelivered::OverLimit => {}
            }
        }
        false
    }

    fn was_hit(&self, how: &str, asked: &Asked) -> bool {
        asked.source.iter().for_each(Source::leave_behind);
        self.log.line(format_args!("{how}: {}", self.program.display()));
        true
    }

    fn observers<'a>(&'a self, store: &'a Store, policy: &Policy) -> Option<Observers<'a>> {
        let tool = (self.program.as_path(), policy.family);
        let left_out = LeftOut { trees: &policy.private_trees, listings: &policy.unlisted };
        Observers::choose(store, &self.log, tool, left_out, self.config.observer)
            .inspect_err(|error| {
                self.log.line(format_args!("no observer: {error}"));
                store.count_error(InternalError::Observer);
            })
            .ok()
    }

    /// Runs the tool and learns from it.
    fn miss(&self, store: &Store, asked: &Asked, policy: &Policy, mut observers: Observers) -> u8 {
        self.log.line("run");
        let outset = Outset::now(&asked.command);
        let filter = observers.take_filter();
        let env = observers.environment().into_iter().map(|(name, value)| (name, Some(value)));
        let env: Vec<EnvChange> = env.chain(self.tried()).collect();
        let spec = Spawn {
            program: &self.program,
            arg0: self.arg0(),
            args: &self.args,
            env: &env,
            filter: filter.as_ref(),
            keep_max_bytes: TEXT_BYTES_MAX,
        };
        let mut ahead = Ahead::new(store);
        let ended = run_tool(&spec, &mut || observers.attend(&mut ahead));
        drop(filter);
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                self.log.line(format_args!(
                    "cannot start {} observed: {error}",
                    self.program.display()
                ));
                store.count_error(InternalError::Observer);
                drop(observers);
                return self.pass_through(store, PassReason::NoObserver);
            }
        };
        self.log.line(format_args!("ran for {:.2} ms", ended.wall.as_secs_f64() * 1e3));
        if !ended.status.is_success() {
            store.count(Counter::TOOL_FAILURES);
            self.log.line(format_args!("tool failed: {}", self.program.display()));
            drop(observers);
            return end_like(ended.status);
        }
        store.count(Counter::MISSES);
        match self.store_result(store, asked, policy, observers, &ended, (outset, ahead)) {
            Ok(()) => {
                store.count(Counter::STORED);
                self.log.line(format_args!("miss, stored: {}", self.program.display()));
            }
            Err(reason) => {
                store.count_not_stored(reason);
                self.log.line(format_args!(
                    "miss, not stored, {}: {}",
                    reason.name(),
                    self.program.display()
                ));
            }
        }
        0
    }

    fn store_result(
        &self,
        store: &Store,
        asked: &Asked,
        policy: &Policy,
        observers: Observers,
        ended: &Ended,
        (outset, ahead): (Outset, Ahead),
    ) -> Result<(), NotStored> {
        if self.config.readonly {
            return Err(NotStored::ReadOnly);
        }
        let observation = observers.finish(ended.wall);
        self.log.line(format_args!(
            "observed {} inputs, {} absences, {} outputs",
            observation.inputs.len(),
            observation.absences.len(),
            observation.outputs.len()
        ));
        if let Some(why) = &observation.incomplete {
            self.log.line(format_args!("observation incomplete: {why}"));
        }
        let lesson = Lesson {
            store,
            command: &asked.command,
            environment: &asked.environment,
            policy,
            found: &self.found,
            config_path: self.config.config_path.as_deref(),
            observation: &observation,
            ended,
            outset,
            source: asked.source.as_ref(),
            log: &self.log,
        };
        let draft = lesson.learn(ahead.into_absent())?;
        self.log.line("learnt");
        store.put_record(&draft).map_err(|error| {
            self.log.line(format_args!("not stored: {error}"));
            if let Some(counted) = error.counted() {
                store.count_error(counted);
            }
            error.not_stored()
        })
    }
}

/// One line on standard error: only for a tool that cannot be run at all.
fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
