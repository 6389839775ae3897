//! Which observers a tool is run under, and what that teaches about its programs.
//!
//! The first miss of a tool whose image is not known runs under both; if the shim missed nothing, it is trusted with all
//! programs that ran. A result is stored only if all its programs are trusted or a toolchain's own, or both observers watched.
//! Read next: `store/verdicts.rs`, `observe/seccomp/`.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ahead::Ahead;
use super::log::Log;
use crate::compilers::{Family, reads_variables_by_name};
use crate::config::Observer;
use crate::observe::preload::Preload;
use crate::observe::seccomp::{Missed, WATCHED_ALREADY, WATCHES_ITSELF, Watch};
use crate::observe::{Fact, LeftOut, Observation};
use crate::os::elf::{self, Elf, ReadAt as _, Tag};
use crate::os::watch::{Filter, Privileges};
use crate::shm::raw::{self, Limited};
use crate::store::Store;
use crate::store::verdicts::{Trust, Verdict, Verdicts};

/// How many of the paths that the shim missed the log names.
const NAMED_MAX: usize = 100;

/// The observers of one run.
pub struct Observers<'a> {
    store: &'a Store,
    log: &'a Log,
    /// The tool's own image.
    tool: PathBuf,
    known: Verdicts,
    /// Whether the shim is loaded where it can be. Into programs that it does not see all of it is not: its own calls would
    /// be taken for theirs.
    has_shim: bool,
    /// The tool's address space is limited: the log, which the shim maps, might be what it then lacks.
    is_cramped: bool,
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
    /// Those that a tool of this family needs, by what is known of its image.
    pub fn choose(
        store: &'a Store,
        log: &'a Log,
        (program, family): (&Path, Family),
        left_out: LeftOut<'_>,
        wanted: Observer,
    ) -> std::io::Result<Observers<'a>> {
        let mut preload = Preload::prepare(store.directory())?;
        preload.leave_out(left_out);
        preload.check(program);
        let tool = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        let known = Verdicts::read(store.directory());
        let own_files = preload.own_files();
        let mut observers = Observers {
            store,
            log,
            tool,
            known,
            has_shim: true,
            is_cramped: raw::limit(Limited::AddressBytes) != u64::MAX,
            preload: Some(preload),
            watch: None,
            filter: None,
        };
        let trust = observers.trust();
        observers.has_shim = trust != Some(Trust::Seccomp) && !observers.is_cramped;
        let is_enough = matches!(trust, Some(Trust::Preload | Trust::Unproven));
        if wanted == Observer::Seccomp || !is_enough || observers.is_cramped {
            let privileges = observers.privileges(family, wanted);
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
        self.known.of(&self.tool).map(|verdict| verdict.trust)
    }

    /// No known compiler starts programs that become another user; of a script, or of a tool that nobody knows, who knows.
    fn privileges(&self, family: Family, wanted: Observer) -> Privileges {
        let is_compiler = family != Family::Unknown && is_elf(&self.tool);
        if wanted == Observer::Seccomp || is_compiler {
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
    pub fn attend(&mut self, ahead: &mut Ahead) {
        let Some(preload) = &mut self.preload else { return };
        for (path, was_read) in preload.attend() {
            if was_read { ahead.read(path) } else { ahead.look(path) }
        }
    }

    /// What the tool, which ended well after `wall`, was seen to do.
    pub fn finish(mut self, wall: Duration) -> Observation {
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

    /// After a run under the shim alone.
    fn judge_alone(&self, seen: &mut Observation) {
        if let Some(reason) = &seen.incomplete {
            let (trust, reason) = (Trust::Open, format!("not all was seen: {reason}"));
            if self.trust() == Some(Trust::Preload) {
                self.record(&self.tool, seen, trust, reason);
            }
            return;
        }
        let mut unproven = seen.images.iter().filter(|image| !self.is_trusted(image));
        if self.trust() == Some(Trust::Preload)
            && let Some(first) = unproven.next()
        {
            let reason = format!("{} has not been watched yet", first.display());
            // A toolchain's own programs are known to go through libc; it is proven the next time.
            let is_known =
                reads_variables_by_name(first) && unproven.all(|it| reads_variables_by_name(it));
            self.record(&self.tool, seen, Trust::Open, reason.clone());
            seen.incomplete = Some(reason).filter(|_| !is_known);
        }
    }

    fn is_trusted(&self, image: &Path) -> bool {
        self.known.of(image).is_some_and(|verdict| verdict.trust == Trust::Preload)
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
        let blind = missed.first().map(|missed| format!("the shim missed: {missed}"));
        let blind = blind.or_else(|| {
            let is_silent = seen.facts.contains(&Fact::UnseenVariables);
            is_silent.then(|| "the shim was not in all of its programs".to_owned())
        });
        let was_in_tool = !seen.facts.contains(&Fact::UnseenPlugins);
        let trust = if was_in_tool { Trust::Both } else { Trust::Seccomp };
        match blind {
            _ if self.trust() == Some(Trust::Seccomp) => {}
            Some(_) if self.trust() == Some(trust) => {}
            Some(reason) => self.record(&self.tool, seen, trust, reason),
            None if seen.incomplete.is_none() && self.trust() != Some(Trust::Both) => {
                let took = wall.as_secs_f64() * 1e3;
                let reason = format!("it saw all that system calls showed, in {took:.1} ms");
                let fresh = seen.images.iter().chain([&self.tool]).collect::<HashSet<_>>();
                for image in fresh.into_iter().filter(|image| !self.is_trusted(image)) {
                    self.record(image, seen, Trust::Preload, reason.clone());
                }
            }
            None => {}
        }
    }

    /// After a run that could not be watched, for this reason.
    fn judge_unwatched(&self, seen: &Observation, reason: String) {
        let is_open = matches!(self.trust(), None | Some(Trust::Open));
        if is_open && reason != WATCHED_ALREADY {
            self.record(&self.tool, seen, Trust::Unproven, reason);
        }
    }

    fn record(&self, image: &Path, seen: &Observation, trust: Trust, reason: String) {
        self.log.line(format_args!("{}: {trust:?}: {reason}", image.display()));
        let libraries = libraries(image, seen);
        let verdict = Verdict { image: image.to_owned(), libraries, trust, reason };
        if let Err(error) = verdict.record(self.store.directory()) {
            self.log.line(format_args!("the verdict cannot be kept: {error}"));
        }
    }
}

fn is_elf(path: &Path) -> bool {
    let mut head = [0; 4];
    File::open(path).is_ok_and(|file| file.read_at(0, &mut head) == 4) && head == *b"\x7fELF"
}

/// The objects that an image wants, and those that they want, among the files that were read.
pub fn libraries(image: &Path, seen: &Observation) -> Vec<PathBuf> {
    let (mut found, mut wanted) = (Vec::new(), needed(image));
    let mut next = 0;
    while let Some(name) = wanted.get(next).cloned() {
        next += 1;
        let paths = seen.inputs.iter().map(|input| &input.path);
        for path in paths.filter(|path| path.file_name() == Some(&name) && path.is_absolute()) {
            for name in needed(path) {
                if !wanted.contains(&name) {
                    wanted.push(name);
                }
            }
            found.push(path.clone());
        }
    }
    found
}

/// The names of the libraries that an image wants, as it says.
pub fn needed(path: &Path) -> Vec<OsString> {
    let mut names = Vec::new();
    let Ok(file) = File::open(path) else { return names };
    let mut head = [0; elf::HEAD_LEN_BYTES];
    let read = elf::ReadAt::read_at(&file, 0, &mut head);
    if let Some(elf) = head.get(..read).and_then(|head| Elf::parse(&file, head)) {
        elf.strings(|tag, name| {
            if tag == Tag::Needed {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            true
        });
    }
    names
}
