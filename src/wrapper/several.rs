//! A call with several sources: each is looked up, compiled and stored as if it had been called alone.
//!
//! One after the other, as the tool does it: a source may read what the one before it wrote. What they came to is stored under the
//! whole command as well, which is found before libc starts as long as nothing changes. What the tool says of the call itself
//! would come once for each source, so the first one's text is shown only if it has none of that; if it has, the call is one.
//! Read next: `compilers/several.rs`, `builder/joined.rs`, `docs/several-sources.md`.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::end::End;
use super::event::Meanwhile;
use super::log::Log;
use super::request::Request;
use super::step::Step;
use super::{ARENA_BYTES, Invocation, TEXT_BYTES_MAX};
use crate::builder::joined::joined;
use crate::compilers::several::{certainly_says_itself, says_itself};
use crate::compilers::{self, Decision, Policy};
use crate::env;
use crate::os::elf::is_elf;
use crate::os::exec::end_like;
use crate::os::run::{Ended, Spawn, Text, can_hold_text, run as run_tool, show};
use crate::os::status::Status;
use crate::outcome::{NotStored, PassReason};
use crate::probe::judge::Environment;
use crate::probe::{self, Before};
use crate::record;
use crate::shm::counters::{Counter, Tally};
use crate::shm::events::Ending;
use crate::shm::layout::Kind;
use crate::shm::segments::{Entry, Place};
use crate::shm::start::start_from;
use crate::store::Store;
use crate::store::draft::Draft;

/// What is known of an invocation that is a part of another one.
#[derive(Debug, Default)]
pub struct OneSource {
    /// Nothing of the whole was shown before.
    is_first: bool,
    /// See [`Policy::sums_up`].
    sums_up: bool,
    /// The tool says something of the whole call, or ends as it would not in the whole: its text, if it was held back, is not shown.
    speaks: Cell<bool>,
    /// How the tool ended, if it ran.
    ended: Cell<Option<Status>>,
    /// How much text of its streams was shown, if it ran and that is known.
    shown_bytes: Cell<Option<[usize; 2]>>,
    /// How long the tool ran.
    took: Cell<Duration>,
    /// What was found out while it ran.
    meanwhile: RefCell<Option<Meanwhile>>,
}

impl OneSource {
    /// Keeps what is said of the end, for that of the whole.
    pub fn note(&self, end: &End, run: &Meanwhile) {
        if !end.took.is_zero() {
            self.took.set(end.took);
            *self.meanwhile.borrow_mut() = Some(run.clone());
        }
    }

    fn holds_text(&self) -> bool {
        self.is_first || self.sums_up
    }

    /// Shows the text of a run, unless it is not what the whole would show.
    fn look_at(&self, ended: &Ended) {
        let is_own = if self.is_first { says_itself } else { certainly_says_itself };
        let ends_otherwise = self.sums_up && !matches!(ended.status.code(), Some(0 | 1));
        self.ended.set(Some(ended.status));
        if ends_otherwise || ended.texts().any(|text| is_own(text)) {
            self.speaks.set(true);
        } else if let (true, Some(text)) = (self.holds_text(), &ended.text) {
            show(text);
        }
        let len = |text: &Text| [text.stdout.len(), text.stderr.len()];
        self.shown_bytes.set(ended.text.as_ref().map(len));
    }
}

impl Invocation {
    /// Whether the tool's text is held back until it is looked at.
    pub(super) fn holds_text(&self) -> bool {
        self.one_source.as_ref().is_some_and(OneSource::holds_text)
    }

    /// Whether a text may be shown that was found; `None`: any.
    pub(super) fn may_show(&self) -> Option<fn(&[u8]) -> bool> {
        let is_first = self.one_source.as_ref().is_some_and(|part| part.is_first);
        is_first.then_some(|text| !says_itself(text))
    }

    /// Notes that the tool speaks of the whole call.
    pub(super) fn speaks(&self) {
        if let Some(part) = &self.one_source {
            part.speaks.set(true);
        }
    }

    /// A run that has ended; its text is shown now if it was held back and may be shown.
    pub(super) fn shown(&self, ended: Ended) -> Ended {
        if let Some(part) = &self.one_source {
            part.look_at(&ended);
        }
        ended
    }

    /// Ends as the tool ended; of a part, its status.
    pub(super) fn end_like(&self, status: Status) -> u8 {
        match (&self.one_source, status.signal()) {
            (Some(_), Some(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            _ => end_like(status),
        }
    }

    /// Runs the tool without a look at what it does; its status.
    pub(super) fn run_unobserved(&self) -> u8 {
        match self.run_with(self.holds_text()) {
            Ok(ended) => self.end_like(self.shown(ended).status),
            Err(error) => self.cannot_run(&error),
        }
    }

    fn run_with(&self, holds_text: bool) -> io::Result<Ended> {
        let env: Vec<_> = self.tried().into_iter().collect();
        let spec = Spawn {
            program: &self.program,
            arg0: self.arg0(),
            args: &self.args,
            env: &env,
            filter: None,
            keep_max_bytes: TEXT_BYTES_MAX,
            holds_text,
        };
        run_tool(&spec, &mut || ())
    }

    /// The calls as which the command can be run; none if it is one.
    pub(super) fn single_calls<'p>(&self, policy: &'p Policy) -> &'p [Vec<OsString>] {
        // Of a source that is not there the tool speaks before it compiles any.
        let are_there = || policy.sources.iter().all(|source| source.is_file());
        let has_options = || env::all().any(|(name, _)| compilers::adds_options(name.as_bytes()));
        // A script may do anything with its arguments.
        let is_one = policy.single_calls.is_empty()
            || !is_elf(&self.program)
            || !are_there()
            || has_options();
        if is_one { &[] } else { &policy.single_calls }
    }

    /// Lets each source of the command be found or compiled by itself; the status of the whole. `None` if the command must run as
    /// one: nothing was shown then.
    pub(super) fn run_each_source(&self, store: &Store, step: &Step) -> Option<u8> {
        let calls = self.single_calls(&step.policy);
        if calls.is_empty() || !can_hold_text(TEXT_BYTES_MAX) {
            return None;
        }
        let count = calls.len();
        self.log.line(format_args!("each of {count} sources by itself: {}", self.subject()));
        let tally: &Tally = Box::leak(Box::default());
        store.cache.volatile.count_in(Some(tally));
        let ran = self.run_parts(store, step);
        store.cache.volatile.count_in(None);
        let Some(ran) = ran else {
            self.log.line("the tool speaks of the whole call: it is one");
            return None;
        };
        let whole = if ran.is_whole { self.store_whole(store, step) } else { None };
        self.note_parts(store, &ran, tally, whole);
        Some(ran.ended.map_or(ran.status, end_like))
    }

    /// Runs one part after the other; `None` if the first one says something of the whole.
    fn run_parts(&self, store: &Store, step: &Step) -> Option<Parts> {
        let mut parts = Parts { is_whole: self.may_store(store), ..Parts::default() };
        for (number, call) in step.policy.single_calls.iter().enumerate() {
            let invocation = self.part(call, number == 0, step.policy.sums_up());
            let status = invocation.run_part(store);
            let part = invocation.one_source.unwrap_or_default();
            let (speaks, ended) = (part.speaks.get(), part.ended.get());
            if speaks && number == 0 {
                return None;
            }
            if speaks && part.sums_up {
                self.log.line("the tool speaks of the whole call: it runs again as one");
                parts.ended = self.run_rest(store, step, &parts.shown_bytes);
            } else if let Some(killed) = ended.filter(|status| status.signal().is_some()) {
                parts.ended = Some(killed);
            }
            parts.add(part);
            parts.is_whole &= status == 0 && !speaks && parts.ended.is_none();
            parts.status = if parts.status == 0 { status } else { parts.status };
            if parts.ended.is_some() || speaks && status != 0 {
                break;
            }
        }
        Some(parts)
    }

    /// Finds or runs a part; its status.
    fn run_part(&self, store: &Store) -> u8 {
        match self.decide() {
            Decision::Cache(policy) => match self.step(store, policy) {
                Some(mut step) => self.run_step(store, &mut step, Before::NotLooked),
                None => self.pass_through(store, PassReason::NoWorkingDirectory),
            },
            Decision::PassThrough(reason) => self.pass_through(store, reason),
        }
    }

    /// Runs the whole call, and shows what comes after what the parts have shown; how it ended. A compiler that crashes or is killed
    /// ends otherwise where it is one of several.
    fn run_rest(
        &self,
        store: &Store,
        step: &Step,
        shown_bytes: &[Option<[usize; 2]>],
    ) -> Option<Status> {
        let mut skipped = [0; 2];
        for (call, shown) in step.policy.single_calls.iter().zip(shown_bytes) {
            let recorded = || {
                let found = self.true_record(store, call, &mut vec![0; ARENA_BYTES])?;
                let len = |blob: Option<record::BlobRef>| blob.map_or(0, |blob| blob.len_bytes);
                let both = [len(found.stdout), len(found.stderr)];
                Some(both.map(|len| usize::try_from(len).unwrap_or(usize::MAX)))
            };
            let shown = shown.or_else(recorded).unwrap_or_default();
            skipped = [skipped[0] + shown[0], skipped[1] + shown[1]];
        }
        let ended = self.run_with(true).ok()?;
        if let Some(mut text) = ended.text {
            for (stream, skipped) in [&mut text.stdout, &mut text.stderr].into_iter().zip(skipped) {
                stream.drain(..skipped.min(stream.len()));
            }
            show(&text);
        }
        Some(ended.status)
    }

    /// The same with other arguments for the tool.
    pub(super) fn part(&self, call: &[OsString], is_first: bool, sums_up: bool) -> Invocation {
        Invocation {
            call: self.call,
            environment: Environment(start_from(self.words_with(call), env::all())),
            config: self.config.clone(),
            found: self.found.clone(),
            program: self.program.clone(),
            args: call.to_vec(),
            log: Log::new(self.config.log.clone()),
            noted: Cell::new(0),
            beyond: Cell::default(),
            one_source: Some(OneSource { is_first, sums_up, ..OneSource::default() }),
        }
    }

    /// All words of our own call, with other arguments for the tool.
    fn words_with(&self, call: &[OsString]) -> impl Iterator<Item = OsString> {
        let ours = self.environment.0.args().take(self.call.first);
        let ours: Vec<_> = ours.map(|word| OsStr::from_bytes(word.to_bytes()).to_owned()).collect();
        ours.into_iter().chain(call.iter().cloned())
    }

    /// Stores what the parts came to under the whole command, if that is known and one; where it stands.
    fn store_whole(&self, store: &Store, step: &Step) -> Option<Place> {
        let Some(draft) = self.whole(store, step) else {
            self.log.line("the whole is not stored: its parts are not known, or do not agree");
            return None;
        };
        let is_record = |(_, entry): &(Place, Entry)| entry.header.kind() == Some(Kind::Record);
        let base = store.cache.records(&draft.direct_key).find(is_record);
        let stored = match base {
            Some((base, _)) => store.put_record_like(&draft, base),
            None => store.put_record(&draft),
        };
        if let Err(error) = &stored {
            self.log.line(format_args!("the whole is not stored: {error}"));
        }
        stored.ok()
    }

    fn whole(&self, store: &Store, step: &Step) -> Option<Draft> {
        let mut arena = vec![0; ARENA_BYTES];
        let calls = step.policy.single_calls.iter();
        let parts = calls.map(|call| self.true_record(store, call, &mut arena));
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let together = |blob: fn(&Draft) -> &Option<record::BlobRef>| -> Option<Vec<u8>> {
            let text = |blob: &record::BlobRef| store.read_blob(blob);
            let texts = parts.iter().filter_map(|part| blob(part).as_ref()).map(text);
            Some(texts.collect::<Option<Vec<_>>>()?.concat())
        };
        let [out, err] = [together(|part| &part.stdout)?, together(|part| &part.stderr)?];
        let mut draft = joined(&step.request.command, parts)?;
        draft.stdout = Some(store.put_blob(&out).ok()?);
        draft.stderr = Some(store.put_blob(&err).ok()?);
        self.note_project(store, &mut draft, &step.request).ok()?;
        Some(draft)
    }

    /// The record by which a single call would be a direct hit now.
    fn true_record(&self, store: &Store, call: &[OsString], arena: &mut [u8]) -> Option<Draft> {
        let start = start_from(self.words_with(call), env::all());
        let Request { command, environment, .. } = Request::new(start, self.call, &self.config)?;
        let draft_of = |entry: &Entry<'_>| store.draft_of(entry);
        probe::true_record(&store.cache, &command, &environment, arena, draft_of)?
    }

    /// Counts the parts as the one invocation that they are: a hit if none was compiled, and writes its event.
    fn note_parts(&self, store: &Store, parts: &Parts, tally: &Tally, whole: Option<Place>) {
        let passed =
            (0..PassReason::ALL.len()).any(|it| tally.get(Counter::passed_through(it)) > 0);
        let has_run = passed || tally.get(Counter::MISSES) > 0;
        // Of what ran without a look at it nothing is known.
        let unseen = passed.then_some(NotStored::ObservationIncomplete as usize);
        let refused = (0..NotStored::ALL.len()).find(|it| tally.get(Counter::not_stored(*it)) > 0);
        let refused = refused.or(unseen);
        let mut counters = vec![(Counter::TIME_SAVED_US, tally.get(Counter::TIME_SAVED_US))];
        let mut end = End { took: parts.took, record: whole, ..End::of(Ending::Miss) };
        let failed = tally.get(Counter::TOOL_FAILURES);
        if parts.status != 0 || parts.ended.is_some_and(|status| !status.is_success()) {
            end.ending = Ending::ToolFailure;
            let is_found = !has_run && failed > 0 && failed == tally.get(Counter::FAILURE_HITS);
            counters.extend([
                (Counter::TOOL_FAILURES, 1),
                (Counter::FAILURE_HITS, u64::from(is_found)),
            ]);
        } else if has_run {
            counters.push((Counter::MISSES, 1));
            counters.push(match refused {
                Some(reason) => (Counter::not_stored(reason), 1),
                None => (Counter::STORED, 1),
            });
            end.reason = refused.map_or(0, super::event::number);
        } else if tally.get(Counter::PORTABLE_HITS) > 0 {
            end.ending = Ending::ContentHit;
            let is_remote = tally.get(Counter::REMOTE_HITS) > 0;
            counters.extend([
                (Counter::PORTABLE_HITS, 1),
                (Counter::REMOTE_HITS, u64::from(is_remote)),
            ]);
        } else {
            end.ending = Ending::DirectHit;
            counters.push((Counter::INVOCATION_HITS, 1));
        }
        self.note(store, &counters, &end, &parts.meanwhile);
    }
}

/// What parts came to together.
#[derive(Debug, Default)]
struct Parts {
    /// The first status that is not 0.
    status: u8,
    /// Whether the whole can be told by them.
    is_whole: bool,
    /// How long the tool ran for all of them.
    took: Duration,
    /// How the whole ends, where the parts' statuses do not say it.
    ended: Option<Status>,
    /// See [`OneSource::shown_bytes`].
    shown_bytes: Vec<Option<[usize; 2]>>,
    /// What the first that ran has found out.
    meanwhile: Meanwhile,
}

impl Parts {
    fn add(&mut self, part: OneSource) {
        self.took += part.took.get();
        self.shown_bytes.push(part.shown_bytes.get());
        if let (None, Some(found)) = (&self.meanwhile.cause, part.meanwhile.into_inner()) {
            self.meanwhile = found;
        }
    }
}
