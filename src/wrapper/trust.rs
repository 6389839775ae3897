//! Which observers a tool is run under, and what is found out about its programs.
//!
//! The first miss of a tool whose image is not known in today's circumstances runs under both; if the shim missed nothing, it
//! is trusted with all programs that ran. If it missed something, that is a doubt; the same once more, and commands of that
//! kind are watched by system calls. A result is stored only if all its programs are trusted or a toolchain's own, or both
//! observers watched.
//! Read next: `store/verdicts.rs`, `observe/seccomp/`.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::log::Log;
use crate::builder::lookahead::Lookahead;
use crate::compilers::{Policy, reads_variables_by_name};
use crate::config::Observer;
use crate::observe::circumstances::Circumstances;
use crate::observe::preload::Preload;
use crate::observe::seccomp::{Missed, WATCHED_ALREADY, WATCHES_ITSELF, Watch};
use crate::observe::{Fact, LeftOut, Observation, libraries};
use crate::os::elf::is_elf;
use crate::os::library_cache;
use crate::os::run::Ended;
use crate::os::watch::{Filter, Privileges};
use crate::shm::raw::{self, Limited};
use crate::store::Store;
use crate::store::verdicts::{Scope, Trust, Verdict, Verdicts};

/// Plugins that belong to a toolchain's linker.
const TOOLCHAIN_PLUGINS: [&str; 2] = ["liblto_plugin.so", "LLVMgold.so"];
/// How many of the paths that the shim missed the log names.
const NAMED_MAX: usize = 100;

/// The command, in the words of a [`Scope`].
#[derive(Debug, Clone)]
pub struct Part {
    /// This very command.
    command: String,
    /// Commands with the same options.
    kind: String,
}

impl Part {
    /// Of a command with this key and these arguments.
    pub fn of(key: &[u8], args: &[OsString]) -> Part {
        const PLACES: [&[u8]; 5] = [b"-I", b"-D", b"-U", b"-L", b"-l"];
        let options = args.iter().map(|arg| arg.as_bytes());
        let options = options.filter(|arg| {
            arg.starts_with(b"-") && !PLACES.iter().any(|place| arg.starts_with(place))
        });
        let options = options.map(|arg| arg.split(|byte| *byte == b'/').next().unwrap_or(arg));
        let options: BTreeSet<&[u8]> = options.collect();
        let options: Vec<u8> = options.into_iter().collect::<Vec<_>>().join(&0);
        Part {
            command: format!("command-{:016x}", xxh3_64(key)),
            kind: format!("kind-{:016x}", xxh3_64(&options)),
        }
    }
}

/// The observers of one run.
pub struct Observers<'a> {
    store: &'a Store,
    log: &'a Log,
    /// The tool's own image.
    tool: PathBuf,
    policy: &'a Policy,
    known: Verdicts,
    circumstances: Circumstances,
    part: Part,
    /// Whether the shim is loaded where it can be. Into programs that it does not see all of it is not: its own calls would
    /// be taken for theirs.
    has_shim: bool,
    /// The tool's address space is limited: the log, which the shim maps, might be what it then lacks.
    is_cramped: bool,
    /// The tool failed: it did a part only of what it can do, so that nothing is found out about its programs.
    has_failed: bool,
    preload: Option<Preload>,
    watch: Option<Watch>,
    filter: Option<Filter>,
}

impl Drop for Observers<'_> {
    fn drop(&mut self) {
        self.filter = None;
        let absent = self.watch.take().and_then(|watch| watch.finish().absent);
        // It may have failed for want of that; the next time it is not watched.
        if absent.as_deref() == Some(WATCHES_ITSELF) {
            self.judge_unwatched(&Observation::default(), WATCHES_ITSELF.to_owned());
        }
    }
}

impl<'a> Observers<'a> {
    /// Those that a tool needs, by what is known of its image.
    pub fn choose(
        store: &'a Store,
        log: &'a Log,
        (program, policy): (&Path, &'a Policy),
        left_out: LeftOut<'_>,
        wanted: Observer,
        part: Part,
    ) -> std::io::Result<Observers<'a>> {
        let mut preload = Preload::prepare(store.directory())?;
        preload.leave_out(left_out);
        preload.check(program);
        let tool = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        let known = Verdicts::read(store.directory());
        let own_files = preload.own_files();
        let mut circumstances = Circumstances::now();
        // A driver that links runs programs that one that compiles does not: the first link is watched by both as well.
        circumstances.key.extend(policy.links.then_some('L'));
        let mut observers = Observers {
            store,
            log,
            tool,
            policy,
            known,
            circumstances,
            part,
            has_shim: true,
            is_cramped: raw::limit(Limited::AddressBytes) != u64::MAX,
            has_failed: false,
            preload: Some(preload),
            watch: None,
            filter: None,
        };
        let trust = observers.trust();
        observers.has_shim = trust != Some(Trust::Seccomp) && !observers.is_cramped;
        let is_enough = matches!(trust, Some(Trust::Preload | Trust::Unproven))
            && !observers.circumstances.has_auditor;
        if wanted == Observer::Seccomp || !is_enough || observers.is_cramped {
            let privileges = observers.privileges(wanted);
            let cwd = std::env::current_dir()?;
            match Watch::begin(privileges, cwd, own_files, !observers.has_shim) {
                Ok((filter, watch)) => {
                    observers.filter = Some(filter);
                    observers.watch = Some(watch);
                }
                Err(error) => log.line(format_args!("system calls cannot be watched: {error}")),
            }
        }
        Ok(observers)
    }

    fn trust(&self) -> Option<Trust> {
        self.finding().map(|verdict| verdict.trust)
    }

    /// What is known of the tool: of this command, else of those like it, else of all; a doubt about any of these counts.
    fn finding(&self) -> Option<&Verdict> {
        let parts = [&*self.part.command, &*self.part.kind, ""];
        let known = |part: &&str| self.known.of(&self.tool, &self.scope(part));
        let known: Vec<&Verdict> = parts.iter().filter_map(known).collect();
        known.iter().find(|verdict| verdict.trust.is_slow()).or(known.first()).copied()
    }

    fn scope(&self, part: &str) -> Scope {
        Scope { circumstances: self.circumstances.key.clone(), part: part.to_owned() }
    }

    /// A script may start programs that become another user, whatever compiler it is named like.
    fn privileges(&self, wanted: Observer) -> Privileges {
        if wanted == Observer::Seccomp || self.policy.keeps_its_user() && is_elf(&self.tool) {
            Privileges::MayRenounce
        } else {
            Privileges::Keep
        }
    }

    /// The variables that the tool must be given.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let preload = self.preload.as_ref().filter(|_| self.has_shim);
        preload.map(Preload::environment).unwrap_or_default()
    }

    /// The filter that it must be started with; to be dropped when it has ended.
    pub fn take_filter(&mut self) -> Option<Filter> {
        self.filter.take()
    }

    /// Takes in what the tool has done so far, and looks ahead.
    pub fn attend(&mut self, ahead: &mut Lookahead) {
        let Some(preload) = &mut self.preload else { return };
        for (path, was_read) in preload.attend() {
            if was_read { ahead.read(&path) } else { ahead.look(&path) }
        }
    }

    /// What the tool was seen to do.
    pub fn finish(mut self, ended: &Ended) -> Observation {
        let wall = ended.wall;
        self.has_failed = !ended.status.is_success();
        let Some(preload) = self.preload.take() else { return Observation::default() };
        let Some(watch) = self.watch.take() else {
            let mut seen = preload.finish();
            if !self.is_cramped {
                self.judge_alone(&mut seen);
            }
            return seen;
        };
        let (mut seen, missed) = preload.finish_with(watch.finish());
        self.log.line("watched by both observers");
        for missed in missed.iter().take(NAMED_MAX) {
            self.log.line(format_args!("the shim missed: {missed}"));
        }
        if !self.is_cramped {
            self.judge_both(&mut seen, &missed, wall);
        }
        seen
    }

    /// After a run under the shim alone. What has not been watched yet is watched when the same command comes again.
    fn judge_alone(&self, seen: &mut Observation) {
        if self.trust() != Some(Trust::Preload) {
            return;
        }
        let command = &self.part.command;
        if let Some(reason) = &seen.incomplete {
            let reason = format!("not all was seen: {reason}");
            return self.record(&self.tool, seen, Trust::Open, reason, command);
        }
        let mut unproven = seen.images.iter().filter(|image| !self.is_trusted(image));
        let first = unproven.next();
        // A toolchain's own programs are known to go through libc; they are proven the next time.
        let is_known = self.circumstances.is_plain
            && first.into_iter().chain(unproven).all(|it| reads_variables_by_name(it));
        let code = self.unproven_code(seen);
        let what = first.or(code.as_ref());
        let Some(what) = what else { return };
        let reason = format!("{} has not been watched yet", what.display());
        self.record(&self.tool, seen, Trust::Open, reason.clone(), command);
        seen.incomplete = Some(reason).filter(|_| code.is_some() || !is_known);
    }

    fn is_trusted(&self, image: &Path) -> bool {
        let known = self.known.of(image, &self.scope(""));
        known.is_some_and(|verdict| verdict.trust == Trust::Preload)
    }

    /// A library or a plugin that none of the programs had when it was watched. (Macros do not count: rustc loads others in every crate.)
    fn unproven_code(&self, seen: &Observation) -> Option<PathBuf> {
        let scope = self.scope("");
        let trusted = seen.images.iter().filter(|image| self.is_trusted(image));
        let all = trusted.flat_map(|image| self.known.proven(image, &scope));
        let proven: HashSet<&Path> =
            all.flat_map(|verdict| verdict.libraries.iter().map(PathBuf::as_path)).collect();
        let is_new = |path: &&PathBuf| !proven.contains(path.as_path());
        let counts = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default();
            !self.policy.loads_macros() && !TOOLCHAIN_PLUGINS.iter().any(|known| name == *known)
        };
        let plugin = seen.plugins.iter().filter(counts).find(is_new);
        if let Some(plugin) = plugin {
            return Some(plugin.clone());
        }
        let is_library = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().as_bytes();
            name.windows(3).any(|part| part == b".so") && **path != Path::new(library_cache::PATH)
        };
        // What a linker read has the stat of that moment; what the loader opened has none.
        let loaded = seen.inputs.iter().filter(|input| input.stat.is_none());
        let new = loaded.map(|input| &input.path).filter(is_library).filter(is_new);
        // One file may have several names (`/lib` is `/usr/lib`).
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut new: Vec<&PathBuf> = new.collect();
        if !new.is_empty() {
            let proven: HashSet<PathBuf> = proven.iter().map(|path| real(path)).collect();
            new.retain(|path| !proven.contains(&real(path)));
        }
        if new.is_empty() {
            return None;
        }
        let images = seen.images.iter().filter(|image| self.is_trusted(image));
        images.flat_map(|image| libraries(image, seen)).find(|library| new.contains(&library))
    }

    /// After a run under both.
    fn judge_both(&self, seen: &mut Observation, missed: &[Missed], wall: Duration) {
        if let Some(reason) = seen.unwatched.clone() {
            self.log.line(&reason);
            if self.trust() == Some(Trust::Seccomp) {
                seen.incomplete = Some(reason.clone());
            }
            return self.judge_unwatched(seen, reason);
        }
        // Without the shim nothing was missed by it.
        if self.trust() == Some(Trust::Seccomp) || !self.has_shim {
            return;
        }
        let is_silent = seen.facts.contains(&Fact::UnseenVariables);
        if !missed.is_empty() || is_silent {
            self.judge_missed(seen, missed);
        } else if seen.incomplete.is_none() {
            self.judge_seen(seen, wall);
        }
    }

    /// The shim saw all that the system calls showed.
    fn judge_seen(&self, seen: &Observation, wall: Duration) {
        let took = wall.as_secs_f64() * 1e3;
        let reason = format!("it saw all that system calls showed, in {took:.1} ms");
        if self.circumstances.has_auditor || self.trust() == Some(Trust::Both) {
            return;
        }
        // A doubt stays: it was about another command of the kind, perhaps.
        let narrow = self.finding().filter(|verdict| verdict.trust == Trust::Open);
        if let Some(part) = narrow.map(|verdict| &verdict.scope.part) {
            self.record(&self.tool, seen, Trust::Preload, reason.clone(), part);
        }
        let code = self.unproven_code(seen);
        let fresh = seen.images.iter().chain([&self.tool]).collect::<HashSet<_>>();
        for image in fresh.into_iter().filter(|image| code.is_some() || !self.is_trusted(image)) {
            self.record(image, seen, Trust::Preload, reason.clone(), "");
        }
    }

    /// It missed something, or could not be in all programs. Once may be chance; what happens again counts, for commands of
    /// that kind: for this one if another program than the tool did it, for all if commands of another kind do it too.
    fn judge_missed(&self, seen: &Observation, missed: &[Missed]) {
        let was_in_tool = !seen.facts.contains(&Fact::UnseenPlugins);
        let trust = if was_in_tool { Trust::Both } else { Trust::Seccomp };
        if self.trust() == Some(trust) {
            return;
        }
        let (sort, example) = missed.first().map_or_else(
            || ("the shim was not in all of its programs".to_owned(), String::new()),
            |missed| (format!("the shim missed: {}", missed.sort()), format!(" ({missed})")),
        );
        let is_tools = |missed: &Missed| missed.by.as_os_str().is_empty() || missed.by == self.tool;
        let is_others = !missed.is_empty() && !missed.iter().any(is_tools);
        let own = if is_others { &self.part.command } else { &self.part.kind };
        let reason = format!("{sort}{example}");
        let is_same = |verdict: &&Verdict| {
            verdict
                .reason
                .strip_prefix(&*sort)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
        };
        let doubts = self.known.doubts(&self.tool, &self.circumstances.key);
        let earlier: Vec<&Verdict> = doubts.filter(is_same).collect();
        if earlier.is_empty() {
            self.record(&self.tool, seen, Trust::Doubt, reason, own);
        } else if is_others || earlier.iter().any(|verdict| verdict.scope.part == *own) {
            self.record(&self.tool, seen, trust, reason, own);
        } else {
            self.record(&self.tool, seen, Trust::Doubt, reason.clone(), own);
            self.record(&self.tool, seen, trust, reason, "");
        }
    }

    /// After a run that could not be watched, for this reason.
    fn judge_unwatched(&self, seen: &Observation, reason: String) {
        let is_open = matches!(self.trust(), None | Some(Trust::Open | Trust::Doubt));
        if is_open && reason != WATCHED_ALREADY {
            self.record(&self.tool, seen, Trust::Unproven, reason, "");
        }
    }

    fn record(&self, image: &Path, seen: &Observation, trust: Trust, reason: String, part: &str) {
        if self.has_failed && trust != Trust::Unproven {
            return;
        }
        self.log.line(format_args!("{}: {trust:?}: {reason}", image.display()));
        let mut libraries = libraries(image, seen);
        if trust == Trust::Preload && !self.policy.loads_macros() {
            libraries.extend(seen.plugins.iter().filter(|path| path.is_absolute()).cloned());
        }
        let (image, scope) = (image.to_owned(), self.scope(part));
        let verdict = Verdict { image, libraries, scope, trust, reason };
        if let Err(error) = verdict.record(self.store.directory()) {
            self.log.line(format_args!("the verdict cannot be kept: {error}"));
        }
    }
}
