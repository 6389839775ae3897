//! One invocation of a tool: `run` holds all branches that an invocation can take.
//!
//! Before the tool has run, any doubt means running it, untouched; after it, its result stands. It never runs twice.
//! Read next: `builder/record_builder.rs` (what a miss stores), `content_lookup.rs` (the look-up by content).

mod check;
pub mod content_lookup;
mod end;
mod event;
mod explain;
mod failure;
pub mod history;
mod layer;
pub mod leftovers;
mod log;
mod look;
mod pasted;
mod project;
mod remap;
mod remote;
mod request;
mod several;
mod single_flight;
mod sources;
mod step;
mod trust;
mod tryout;

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::builder::findings::Findings;
use crate::builder::lookahead::Lookahead;
use crate::builder::record_builder::{Ending, RecordBuilder, StartState};
use crate::builder::{admission, driver, failing, search};
use crate::compilers::{self, Decision};
use crate::config::{self, Config, Observer};
use crate::env;
use crate::error::StoreError;
use crate::observe::LeftOut;
use crate::observe::preload::{self, Report};
use crate::os::exec::{EnvChange, exec};
use crate::os::path::Found;
use crate::os::run::{Ended, Spawn, is_mute, run as run_tool};
use crate::outcome::{InternalError, NotStored, PassReason};
use crate::probe::Before;
use crate::probe::command::Call;
use crate::probe::judge::Environment;
use crate::shm::counters::Counter;
use crate::shm::events;
use crate::shm::segments::Place;
use crate::shm::start::Start;
use crate::store::Store;

pub use check::{Checked, check};
use content_lookup::compare;
use end::End;
use event::Meanwhile;
pub use explain::{Explanation, explain};
pub use log::time_of_day;
use log::{Log, Subject};
use look::Looked;
use remote::Beyond;
use request::Request;
use several::OneSource;
use step::Step;
use trust::{Observers, Part};
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
    let policy = match invocation.decide() {
        Decision::Cache(policy) => policy,
        Decision::PassThrough(reason) => return invocation.pass_through(&store, reason),
    };
    if is_mute() {
        return invocation.pass_through(&store, PassReason::ClosedStream);
    }
    let Some(mut step) = invocation.step(&store, policy) else {
        return invocation.pass_through(&store, PassReason::NoWorkingDirectory);
    };
    match step.request.read_source(&step.policy) {
        Ok(true) => {}
        Ok(false) => return invocation.pass_through(&store, PassReason::StandardInput),
        Err(error) => return invocation.cannot_run(&error),
    }
    let status = invocation.run_step(&store, &mut step, before);
    invocation.settle(&store);
    status
}

/// What a stored result is, and where its record stands.
enum Stored {
    /// Nothing like it was known.
    New(Place),
    /// That of another directory, which it was compared with.
    Confirmed(Place),
    /// Nothing yet: a run that failed for the first time.
    Noted,
}

/// A tool that was asked for, found.
struct Invocation {
    call: Call,
    environment: Environment,
    config: Config,
    found: Found,
    program: PathBuf,
    args: Vec<OsString>,
    log: Log,
    /// The number of the event that says that the tool runs; 0 if there is none yet.
    noted: Cell<u64>,
    /// What storages beyond this machine came to.
    beyond: Cell<Beyond>,
    /// Of a part of another invocation: what is known of it.
    one_source: Option<OneSource>,
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
        let (program, found) = search::tool(&call)?;
        Ok(Invocation::with(start, call, program, found))
    }

    fn with(start: Start, call: Call, program: PathBuf, found: Found) -> Invocation {
        let config = config::load();
        let log = Log::new(config.log.clone());
        let arg = |arg: &std::ffi::CStr| OsStr::from_bytes(arg.to_bytes()).to_owned();
        let args = start.args().skip(call.first).map(arg).collect();
        let (environment, noted, beyond) = (Environment(start), Cell::new(0), Cell::default());
        let one_source = None;
        Invocation {
            call,
            environment,
            config,
            found,
            program,
            args,
            log,
            noted,
            beyond,
            one_source,
        }
    }

    fn tool(&self) -> &OsStr {
        OsStr::from_bytes(self.call.tool.to_bytes())
    }

    /// The name by which the tool sees itself: as it was called, or where we found it if it was called by a symlink to
    /// us, or past others (looking for that name in `PATH`, it would find those, and its own parts beside them).
    fn arg0(&self) -> &OsStr {
        if self.call.masquerade || !self.found.passed.is_empty() {
            self.program.as_os_str()
        } else {
            self.tool()
        }
    }

    /// Another wrapper (ccache, another ibid) that stands on `PATH` under the tool's name may find us there again: we tell
    /// ourselves to look behind it then, or we would call each other for ever.
    fn tried(&self) -> Option<EnvChange> {
        let real = self.program.canonicalize().ok()?;
        if !self.call.masquerade || compilers::is_tool(real.file_name()?) {
            return None;
        }
        let mut tried = env::get(env::IBID_TRIED).unwrap_or_default();
        tried.push(":");
        tried.push(&self.program);
        Some((env::IBID_TRIED.into(), Some(tried)))
    }

    fn subject(&self) -> Subject<'_> {
        Subject { program: &self.program, args: &self.args }
    }

    fn open_store(&self) -> Result<Store, StoreError> {
        Store::open_configured(&self.config)
    }

    fn decide(&self) -> Decision {
        if self.config.observer == Observer::Off {
            return Decision::PassThrough(PassReason::NoObserver);
        }
        let is_named = self.is_vouched_for();
        let is_forced = self.call.forced || is_named && !compilers::is_tool(self.tool());
        let decision =
            compilers::decide(self.tool(), &self.args, is_forced, || driver::image(&self.program));
        match decision {
            Decision::Cache(mut policy) => {
                policy.is_vouched_for = is_named;
                Decision::Cache(policy)
            }
            passed @ Decision::PassThrough(_) => passed,
        }
    }

    /// Replaces this process by the tool; comes back only if that fails, or after the tool if this is a part of another invocation.
    fn become_tool(&self, why: impl std::fmt::Display) -> u8 {
        self.log.line(format_args!("passed through, {why}: {}", self.subject()));
        if self.one_source.is_some() {
            return self.run_unobserved();
        }
        let error = exec(&self.program, self.arg0(), &self.args, self.tried().as_slice());
        self.cannot_run(&error)
    }

    fn cannot_run(&self, error: &std::io::Error) -> u8 {
        say(format_args!("ibid: {}: {error}", self.program.display()));
        NOT_RUNNABLE
    }

    fn pass_through(&self, store: &Store, reason: PassReason) -> u8 {
        let counter = Counter::passed_through(reason as usize);
        let end = End {
            reason: event::number(reason as usize),
            ..End::of(events::Ending::PassedThrough)
        };
        self.note(store, &[(counter, 1)], &end, &Meanwhile::default());
        if reason == PassReason::Nested {
            let searched = Some(self.tool()).filter(|tool| !tool.as_bytes().contains(&b'/'));
            let absent =
                |(path, errno): &(PathBuf, i32)| (path.clone(), u16::try_from(*errno).unwrap_or(0));
            let absent: Vec<_> = self.found.absent.iter().map(absent).collect();
            preload::report_in(&Report { tool: &self.program, searched, absent: &absent });
        }
        self.become_tool(reason.name())
    }

    /// Looks a step up, and runs it if it is not found; its status.
    fn run_step(&self, store: &Store, step: &mut Step, before: Before) -> u8 {
        let looked = match before {
            _ if self.config.recache => {
                self.forget_failures(store, step);
                Looked::Missed
            }
            Before::Unwritable => Looked::Unwritable,
            _ => self.look_up_by_stamps(store, &step.request, before),
        };
        if looked == Looked::Missed
            && let Some(status) = self.run_each_source(store, step)
        {
            return status;
        }
        let looked = match looked {
            Looked::Missed if !self.config.recache => self.look_up_by_content(store, step),
            looked => looked,
        };
        let (looked, _running) = match looked {
            Looked::Missed | Looked::Undelivered if !self.config.recache => {
                self.wait_for_others(store, step)
            }
            looked => (looked, None),
        };
        if let Looked::Hit(status) = looked {
            return status;
        }
        if let Err(error) = step.request.give_source_back() {
            return self.cannot_run(&error);
        }
        if looked == Looked::Unwanted {
            return 0;
        }
        if looked == Looked::Unwritable {
            return self.pass_through(store, PassReason::UnwritableText);
        }
        match self.observers(store, step) {
            Some(observers) => self.miss(store, step, observers),
            None => self.pass_through(store, PassReason::NoObserver),
        }
    }

    fn may_store(&self, store: &Store) -> bool {
        !self.config.readonly && !store.is_read_only()
    }

    fn observers<'a>(&'a self, store: &'a Store, step: &'a Step) -> Option<Observers<'a>> {
        let Step { request, policy, .. } = step;
        let tool = (self.program.as_path(), policy);
        let left_out = LeftOut { trees: &policy.private_trees, listings: &policy.unlisted };
        let part = Part::of(&request.command.direct_key(), &self.args);
        Observers::choose(store, &self.log, tool, left_out, self.config.observer, part)
            .inspect_err(|error| {
                self.log.line(format_args!("no observer: {error}"));
                store.count_error(InternalError::Observer);
            })
            .ok()
    }

    /// Runs the tool and stores its result.
    fn miss(&self, store: &Store, step: &Step, mut observers: Observers) -> u8 {
        self.log.line("run");
        let mut meanwhile = Meanwhile::default();
        self.note(store, &[], &End::of(events::Ending::Running), &meanwhile);
        let start_state = StartState::now(&step.request.command);
        let filter = observers.take_filter();
        let env = observers.environment().into_iter().map(|(name, value)| (name, Some(value)));
        let env: Vec<EnvChange> = env.chain(self.tried()).collect();
        let spec = Spawn {
            program: &self.program,
            arg0: self.arg0(),
            args: &self.args_of(step),
            env: &env,
            filter: filter.as_ref(),
            keep_max_bytes: TEXT_BYTES_MAX,
            holds_text: self.holds_text(),
        };
        let mut ahead = Lookahead::new(store);
        let ended = run_tool(&spec, &mut || {
            self.look_around(store, step, &mut meanwhile);
            observers.attend(&mut ahead);
        });
        drop(filter);
        let ended = match ended {
            Ok(ended) => self.shown(ended),
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
        self.look_around(store, step, &mut meanwhile);
        let took = ended.wall;
        if !ended.status.is_success() {
            let end = End { took, ..End::of(events::Ending::ToolFailure) };
            self.note(store, &[(Counter::TOOL_FAILURES, 1)], &end, &meanwhile);
            self.keep_failure(store, step, observers, &ended, (start_state, ahead));
            return self.end_like(ended.status);
        }
        let stored = self.store_result(store, step, observers, &ended, (start_state, ahead));
        self.note_result(store, &stored, took, &meanwhile);
        self.send(store, step, &stored);
        match stored {
            Ok(Stored::Confirmed(_)) => {
                self.log.line(format_args!("content hit, compared: {}", self.subject()));
            }
            Ok(_) => {
                self.log.line(format_args!("miss, stored: {}", self.subject()));
            }
            Err(reason) => {
                self.log.line(format_args!(
                    "miss, not stored, {}: {}",
                    reason.name(),
                    self.subject()
                ));
            }
        }
        0
    }

    /// Stores what came of a run, or notes it if that must come twice.
    fn store_result(
        &self,
        store: &Store,
        step: &Step,
        observers: Observers,
        ended: &Ended,
        (start_state, ahead): (StartState, Lookahead),
    ) -> Result<Stored, NotStored> {
        if !self.may_store(store) {
            return Err(NotStored::ReadOnly);
        }
        let mut observation = observers.finish(ended);
        self.add_project(&mut observation, step);
        self.log.line(format_args!(
            "observed {} inputs, {} absences, {} outputs",
            observation.inputs.len(),
            observation.absences.len(),
            observation.outputs.len()
        ));
        if let Some(why) = &observation.incomplete {
            self.log.line(format_args!("observation incomplete: {why}"));
        }
        // What other places or machines may have is asked for again.
        let is_for_others = step.elsewhere.is_some() || !self.config.remotes.is_empty();
        let builder = RecordBuilder {
            store,
            command: &step.request.command,
            content_key: step.request.content_key(store, &step.policy),
            places: &step.request.places,
            environment: &step.request.environment,
            policy: &step.policy,
            found: &self.found,
            observation: &observation,
            ended,
            start_state,
            source: step.request.source.as_ref(),
            findings: Findings::default(),
            log: &|line| self.log.line(line),
            ending: admission::ending(store, &observation, ended, is_for_others),
        };
        let absent = ahead.into_absent();
        let builder = match builder.ending.repeated() {
            Some(ending) if failing::is_repeated(&builder, absent.clone())? => {
                RecordBuilder { ending, ..builder }
            }
            Some(Ending::Success) => return Err(NotStored::MadeOnce),
            Some(_) => return Ok(Stored::Noted),
            None => builder,
        };
        let mut draft = builder.build(absent)?;
        self.log.line("record built");
        let elsewhere = step.elsewhere.as_ref();
        let compared = elsewhere.map(|other| compare(store, &step.request.command, other, &draft));
        if compared == Some(false) {
            self.log.line("a result from elsewhere differs from this one");
            store.count_error(InternalError::Audit);
        }
        self.note_project(store, &mut draft, &step.request)?;
        let place = store.put_record(&draft).map_err(|error| {
            self.log.line(format_args!("not stored: {error}"));
            if let Some(counted) = error.counted() {
                store.count_error(counted);
            }
            error.not_stored()
        })?;
        Ok(if compared == Some(true) { Stored::Confirmed(place) } else { Stored::New(place) })
    }
}

/// One line on standard error: only for a tool that cannot be run at all.
fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
