//! From what a run was seen to do to a record, or to the reason why it cannot be one.
//!
//! Nothing is stored that cannot be judged later; a doubt is a refusal.
//! Read next: `refusal.rs`, `file_states.rs`, `store/draft.rs`.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt::Arguments;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bytemuck::Zeroable as _;
use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::xxh3_128;

use super::equal_contents::note_times;
use super::file_states::{
    Absences, Absent, FileStates, KnownAbsent, names_directory, now_ns, since_epoch_ns,
};
use super::findings::Findings;
use super::inputs::Inputs;
use super::path_walker::{bare_directory, c_path, has_default_acl};
use super::places::Places;
use super::search_path;
use crate::compilers::{self, Policy, reads_variables_by_name};
use crate::env;
use crate::observe::{Made, MadeDirectory, Observation};
use crate::os::input::Source;
use crate::os::library_cache;
use crate::os::path::Found;
use crate::os::run::{Ended, Text};
use crate::os::unnamed::StdinState;
use crate::outcome::NotStored;
use crate::probe::command::Command;
use crate::probe::judge::{Environment, Streams, standard_input};
use crate::record::{self, BlobRef};
use crate::shm::cpu;
use crate::shm::raw::{self, FileState};
use crate::shm::stat::Stat;
use crate::store::Store;
use crate::store::draft::{Draft, DraftDirectory, DraftOutput, DraftVariable, is_searched};

/// A run of a tool, and all that is known of it.
pub struct RecordBuilder<'a> {
    /// Where blobs go.
    pub store: &'a Store,
    /// The invocation.
    pub command: &'a Command<'a>,
    /// The key of the command's path sets.
    pub content_key: [u8; 16],
    /// The places of which the tool was given maps; none if it was given none.
    pub places: &'a Places,
    /// The environment that we were given.
    pub environment: &'a Environment,
    /// What the tool's policy says.
    pub policy: &'a Policy,
    /// How the tool was found.
    pub found: &'a Found,
    /// What the tool was seen to do.
    pub observation: &'a Observation,
    /// How it ended.
    pub ended: &'a Ended,
    /// What was so before.
    pub start_state: StartState,
    /// The source, if it came by standard input.
    pub source: Option<&'a Source>,
    /// What was found out of this so far.
    pub findings: Findings,
    /// Where it is said which file is a reason not to store.
    pub log: &'a dyn Fn(Arguments<'_>),
    /// Whether the tool failed, and what of its blobs is to be done, see `failing.rs` and `admission.rs`.
    pub ending: Ending,
}

/// How the run ended that a record is to be built of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The tool succeeded.
    Success,
    /// It failed. Nothing of it is stored: its outputs and its text are only named, to compare them with another run's.
    FirstFailure,
    /// It failed as the last time.
    RepeatedFailure,
    /// It succeeded, with a result that is stored if the same is made again: only named as well.
    FirstLink,
}

impl Ending {
    /// What a run comes to that gave what it gave the last time; none of one for which that does not count.
    pub fn repeated(self) -> Option<Ending> {
        match self {
            Ending::FirstFailure => Some(Ending::RepeatedFailure),
            Ending::FirstLink => Some(Ending::Success),
            Ending::Success | Ending::RepeatedFailure => None,
        }
    }
}

/// What is so when a tool is about to start.
pub struct StartState {
    /// Nanoseconds since the epoch.
    pub(super) started_ns: i64,
    /// Where its text goes.
    streams: Streams,
    /// What standard input is, see `probe::judge::standard_input`.
    pub(super) standard_input: u32,
    /// What it may read there.
    pub(super) stdin: StdinState,
}

impl StartState {
    /// Asks.
    pub fn now(command: &Command) -> StartState {
        StartState {
            streams: Streams::now(),
            standard_input: standard_input(command),
            stdin: StdinState::now(),
            started_ns: now_ns(),
        }
    }
}

impl RecordBuilder<'_> {
    /// The record of this run; `known_absent` is what was seen ahead.
    pub fn build(&self, known_absent: KnownAbsent) -> Result<Draft, NotStored> {
        let mut files = FileStates::knowing(self.store.cache.access, known_absent);
        self.vet(&mut files)?;
        let text = self.ended.text.as_ref().ok_or(NotStored::TooMuchText)?;
        if self.shows_temporaries(text).map_err(|_| NotStored::OutputChanged)? {
            return Err(NotStored::UsedRandom);
        }
        let outputs = self.outputs(&mut files)?;
        let written = self.written_directories();
        let (absences, unusable) = self.absences(&mut files, &written)?;
        let mut draft = Draft {
            flags: self.flags(text),
            columns: if is_silent(text) && !self.runs_unknown_code() {
                0
            } else {
                self.start_state.streams.columns
            },
            cpu: if self.depends_on_cpu() { cpu::identity() } else { 0 },
            tool_us: u64::try_from(self.ended.wall.as_micros()).unwrap_or(u64::MAX),
            places: CString::default(),
            command: self.command.bytes().to_vec(),
            direct_key: self.command.direct_key(),
            result_key: [0; 16],
            variables: self.variables()?,
            directories: absences.directories,
            absences: absences.hot,
            searches: self.searches(&mut files)?,
            outputs,
            stdout: self.blob(&text.stdout)?,
            stderr: self.blob(&text.stderr)?,
            inputs: Vec::new(),
        };
        let mtimes_ns = self.inputs(files, &unusable, &mut draft, &written)?;
        if self.policy.equal_contents_matter()
            && !note_times(&mut draft.inputs, &mtimes_ns, self.command.bytes())
        {
            draft.flags |= record::STAMPS_ONLY;
        }
        self.set_result_key(&mut draft)?;
        Ok(draft)
    }

    fn flags(&self, text: &Text) -> u32 {
        let has_text = !is_silent(text);
        let asks = has_text || self.runs_unknown_code();
        when(has_text, record::HAS_TEXT)
            | when(self.is_failing(), record::FAILS)
            | when(has_text && self.start_state.streams.merged, record::MERGED)
            | when(asks && self.start_state.streams.out_terminal, record::OUT_TERMINAL)
            | when(asks && self.start_state.streams.err_terminal, record::ERR_TERMINAL)
            | when(self.depends_on_cpu(), record::NEEDS_CPU)
            | when(self.is_judged_by_stamps_only(), record::STAMPS_ONLY)
            | when(self.reads_standard_input(), self.start_state.standard_input)
            | when(self.runs_unknown_code(), record::ASKS_STREAMS)
    }

    fn variables(&self) -> Result<Vec<DraftVariable>, NotStored> {
        let mut names: BTreeMap<OsString, u32> = BTreeMap::new();
        let mut questions: FxHashMap<&OsStr, Vec<(&Path, u32)>> = FxHashMap::default();
        for ((name, image), times) in &self.observation.questions {
            questions.entry(name).or_default().push((image, *times));
        }
        let text = self.ended.text.as_ref();
        for name in &self.observation.variables {
            let askers = questions.get(name.as_os_str()).map_or(&[][..], Vec::as_slice);
            // The loader reads them without being asked, all of them.
            let is_loaders = name.as_bytes().starts_with(b"LD_");
            if is_loaders || self.policy.ignores_variable(name, askers) {
                continue;
            }
            let is_by_value = is_searched(name.as_bytes())
                && (!self.policy.only_search(askers)
                    || name == "PATH" && search_path::is_said(self.environment, text));
            let flags = when(self.policy.only_for_text(name, askers), record::TEXT_ONLY)
                | when(is_by_value, record::BY_VALUE);
            names.insert(name.clone(), flags);
        }
        // What we ourselves went by to find the tool, and libc to find others.
        let is_searched_for = !self.command.call().tool.to_bytes().contains(&b'/');
        if is_searched_for || !self.observation.path_searches.is_empty() {
            names.entry(env::PATH.into()).or_default();
        }
        if self.walks_environment() {
            names.entry("PWD".into()).or_default();
        }
        let mut variables = Vec::with_capacity(names.len() + 1);
        for (name, flags) in names {
            let name =
                CString::new(name.into_vec()).map_err(|_| NotStored::ObservationIncomplete)?;
            let value = self.environment.value(name.to_bytes());
            let names_directory = name.to_bytes() == b"PWD"
                && value.is_some_and(|value| names_directory(value, self.command.directory()));
            let flags = flags | if names_directory { record::NAMES_DIRECTORY } else { 0 };
            let value = value.map(|value| xxh3_128(value).to_le_bytes());
            variables.push(DraftVariable { name, value, flags });
        }
        let whole = self.walks_environment().then_some(record::WHOLE_ENVIRONMENT);
        let host = self.shows_host().then_some(record::HOST);
        for flags in [record::LOADER].into_iter().chain(whole).chain(host) {
            let value = self.environment.digest(b"", flags);
            let name = if flags == record::LOADER { c"LD_*" } else { c"" }.to_owned();
            variables.push(DraftVariable { name, value, flags });
        }
        Ok(variables)
    }

    fn searches(&self, files: &mut FileStates) -> Result<Vec<(CString, CString)>, NotStored> {
        let tool = self.command.call().tool;
        let found = Some((tool, self.found)).filter(|_| !tool.to_bytes().contains(&b'/'));
        search_path::searches(self.environment, self.observation, found, files)
    }

    fn outputs(&self, files: &mut FileStates) -> Result<Vec<DraftOutput>, NotStored> {
        let mut outputs = Vec::new();
        for made in self.observation.directories.iter().filter(|made| self.is_output(made)) {
            outputs.push(self.directory(made).inspect_err(self.naming(&made.path))?);
        }
        // What is above comes first.
        outputs.sort_by_key(|output| output.path.count_bytes());
        for output in &self.observation.outputs {
            outputs.push(self.output(files, output).inspect_err(self.naming(&output.path))?);
        }
        if self.observation.outputs.is_empty() && !self.policy.is_question && !self.is_failing() {
            return Err(NotStored::NoOutput);
        }
        // What a build tool waits for comes last: if we are killed in between, it is missing, and is made again.
        let primary = self.policy.primary_output.as_deref().and_then(c_path);
        outputs.sort_by_key(|output| primary.as_ref() == Some(&output.path));
        outputs.extend(self.removed()?);
        Ok(outputs)
    }

    /// Whether a directory is an output, made where it is not there. Of an unknown program it is not known what it does
    /// where it is.
    fn is_output(&self, made: &MadeDirectory) -> bool {
        let is_link = || made.path.symlink_metadata().is_ok_and(|state| state.is_symlink());
        made.was_made || self.knows_maker(made) && !is_link()
    }

    /// Whether it is known what the program that made a directory does where it is.
    fn knows_maker(&self, made: &MadeDirectory) -> bool {
        !self.policy.reads_old_outputs() && reads_variables_by_name(&made.by)
    }

    fn directory(&self, made: &MadeDirectory) -> Result<DraftOutput, NotStored> {
        let path = c_path(&made.path).ok_or(NotStored::SideEffect)?;
        let state = raw::lstat(&path).map_err(|_| NotStored::OutputChanged)?;
        let mode = made.create_mode & 0o777 & !self.command.creation_mask;
        let is_plain = state.mode & 0o7777 == mode
            && state.uid == raw::user()
            && made.create_mode == 0o777
            && !has_default_acl(&made.path);
        if !state.is_directory() || made.was_made && !(self.knows_maker(made) && is_plain) {
            return Err(NotStored::SideEffect);
        }
        let (flags, blob) = (record::DIRECTORY, BlobRef::zeroed());
        Ok(DraftOutput { path, create_mode: made.create_mode, mode, flags, blob })
    }

    fn output(
        &self,
        files: &mut FileStates,
        seen: &crate::observe::SeenOutput,
    ) -> Result<DraftOutput, NotStored> {
        let path = c_path(&seen.path).ok_or(NotStored::SpecialOutput)?;
        let state = raw::lstat(&path).map_err(|_| NotStored::OutputChanged)?;
        let plain_mode = seen.create_mode & 0o777 & !self.command.creation_mask;
        let mode = state.mode & 0o7777;
        let has_links = state.links > 1 && !seen.is_shared;
        let is_plain = state.is_regular() && !has_links && state.uid == raw::user();
        // The mode of a file that was there before is its own, not the tool's.
        let kept_mode = seen.existed_before && seen.how == Made::Truncated && mode != plain_mode;
        // A mode that is not the tool's doing, but comes from the directory.
        let given_mode = mode != plain_mode && has_default_acl(&seen.path);
        if !is_plain || kept_mode || given_mode || seen.create_mode == 0 {
            return Err(NotStored::SpecialOutput);
        }
        if seen.how == Made::Modified && seen.existed_before {
            return Err(NotStored::InputModified);
        }
        if !is_as_seen(seen, &state) && !self.is_as_left(seen, &state) {
            return Err(NotStored::OutputChanged);
        }
        let file = std::fs::File::open(&seen.path).map_err(|_| NotStored::OutputChanged)?;
        let blob = self.keep_file(&file)?;
        if raw::lstat(&path).map(|now| now.stat) != Ok(state.stat) {
            return Err(NotStored::OutputChanged);
        }
        if files.is_reliable(&path, &state, files.taken_ns) {
            self.store.note_digest(&state, &blob.digest);
        }
        let may_ask = self.may_depend_on_place(seen);
        // What writes without cutting off does not replace, and neither does what would have read it.
        let must_be_absent = seen.must_be_absent;
        let flags = when(mode != plain_mode, record::SET_MODE)
            | when(must_be_absent, record::ONLY_IF_ABSENT)
            | when(self.policy.replaces(&seen.path) && !must_be_absent, record::REPLACES)
            | when(compilers::is_remade(&seen.path), record::LIBRARY)
            | when(seen.how == Made::Renamed, record::NAMED_WHOLE)
            | when(may_ask && seen.existed_before, record::ONLY_IF_PRESENT)
            | when(may_ask && !seen.existed_before, record::ONLY_IF_ABSENT);
        let output = DraftOutput { path, create_mode: seen.create_mode, mode, flags, blob };
        if self.may_be_short(&output) {
            return Err(NotStored::UnrepeatableInput);
        }
        Ok(output)
    }

    /// Whether an output that a program may have had open at its end has not changed since the tool's.
    fn is_as_left(&self, seen: &crate::observe::SeenOutput, now: &FileState) -> bool {
        let is_same_file = |then: Stat| (then.dev, then.ino) == (now.stat.dev, now.stat.ino);
        seen.is_open_to_the_end
            && seen.stat.is_none_or(is_same_file)
            && now.stat.ctime_ns.max(now.stat.mtime_ns) <= since_epoch_ns(self.ended.ended_at)
    }

    /// Whether what was made may depend on what stood in its place: an unknown program made it, or another output, and could
    /// tell (`ar r`, a script that makes what is missing).
    fn may_depend_on_place(&self, seen: &crate::observe::SeenOutput) -> bool {
        let is_known = seen.by.as_os_str().is_empty()
            || reads_variables_by_name(&seen.by)
            || self.vouches_for(&seen.by);
        let is_unknown = if self.policy.reads_old_outputs() {
            self.policy.adds_to_outputs
                || self.may_be_by_copier(&seen.by)
                || self.runs_unknown_objects()
        } else {
            !is_known
        };
        is_unknown && seen.was_asked
    }

    /// The directories of the outputs: their stamps are others after each run.
    fn written_directories(&self) -> HashSet<(u64, u64)> {
        let directory_of = |path: &Path| {
            let parent = path.parent().unwrap_or(Path::new(""));
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            let state = raw::stat(&c_path(parent)?).ok()?;
            Some((state.stat.dev, state.stat.ino))
        };
        let outputs = self.observation.outputs.iter().map(|output| &*output.path);
        let made = self.observation.directories.iter().map(|made| &*made.path);
        let removed = self.observation.removed.iter().map(|removed| &*removed.path);
        outputs.chain(made).chain(removed).filter_map(directory_of).collect()
    }

    /// Says which file a reason is about.
    pub(super) fn naming<'p>(&'p self, path: &'p Path) -> impl Fn(&NotStored) + 'p {
        move |reason| (self.log)(format_args!("{}: {}", reason.name(), path.display()))
    }

    /// Sorts what was looked for in vain; with it come the paths at which something is that could not be used (no
    /// permission): its kind and mode count.
    fn absences(
        &self,
        files: &mut FileStates,
        written: &HashSet<(u64, u64)>,
    ) -> Result<(Absences, Vec<PathBuf>), NotStored> {
        let no_entry = rustix::io::Errno::NOENT.raw_os_error();
        let observed = self.observation.absences.iter().map(|a| (a.path.as_path(), a.errno));
        let searched = self.found.absent.iter().map(|(path, errno)| (path.as_path(), *errno));
        let nearer = self.nearer_repositories();
        let nearer = nearer.iter().map(|path| (path.as_path(), no_entry));
        let (mut absent, mut unusable) = (Vec::new(), Vec::new());
        for (path, errno) in observed.chain(searched).chain(nearer) {
            if path.as_os_str().is_empty() {
                continue;
            }
            match files.look(path) {
                Absent::There if errno == no_entry => {
                    self.naming(path)(&NotStored::InputChanged);
                    return Err(NotStored::InputChanged);
                }
                Absent::There => unusable.push(path.to_path_buf()),
                nowhere => absent.push(nowhere),
            }
        }
        let absences = files.absences(absent, written).ok_or(NotStored::InputChanged)?;
        Ok((absences, unusable))
    }

    fn passed_over(&self) -> Vec<&Path> {
        let args = self.command.start().args().skip(self.command.call().first);
        let args: Vec<&[u8]> = args.map(CStr::to_bytes).collect();
        let opened = self.observation.inputs.iter().map(|input| &*input.path);
        // One that is empty is only asked about.
        let found = opened.chain(self.observation.existing.iter().map(|path| &**path));
        compilers::passed_over(self.policy, &args, found, &self.observation.plugins)
    }

    /// Puts the inputs into `draft`, and gives the times when they were modified last.
    fn inputs(
        &self,
        mut files: FileStates,
        unusable: &[PathBuf],
        draft: &mut Draft,
        written: &HashSet<(u64, u64)>,
    ) -> Result<Vec<i64>, NotStored> {
        let directories = &mut draft.directories;
        let started_ns = self.start_state.started_ns;
        let mut inputs = Inputs::new(self.store, started_ns, self.times(), self.shows());
        let is_replaced = |path: &Path| {
            self.policy.replaces(path) && self.observation.outputs.iter().any(|o| o.path == path)
        };
        let passed_over = self.passed_over();
        for input in &self.observation.inputs {
            if input.path == Path::new(library_cache::PATH)
                && let Some(names) = &self.observation.library_names
                && let Some(answers) = inputs.library_cache(&mut files, names)?
            {
                draft.searches.extend(answers);
                continue;
            }
            // lld opens the file that it replaces, in order to remove it in the background.
            if !is_replaced(&input.path) && !passed_over.contains(&&*input.path) {
                let noted = inputs.content(&mut files, &input.path, input.stat, input.was_asked);
                noted.inspect_err(self.naming(&input.path))?;
            }
        }
        for path in &self.observation.listings {
            inputs.listing(&mut files, path).inspect_err(self.naming(path))?;
        }
        for path in &self.found.passed {
            inputs.passed(&mut files, path)?;
        }
        let spelled =
            |directory: &DraftDirectory| OsStr::from_bytes(directory.path.to_bytes()).to_owned();
        let mut seen: FxHashSet<OsString> = directories.iter().map(spelled).collect();
        let found = self.observation.directories.iter().filter(|made| !self.is_output(made));
        let found = found.map(|made| &made.path);
        for made in self.observation.directories.iter().filter(|made| self.is_output(made)) {
            let parent = made.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let is_made = |path: &Path| self.observation.directories.iter().any(|m| m.path == path);
            if let Some(parent) = parent.filter(|parent| !is_made(parent)) {
                files.walker.walk(parent);
            }
        }
        if self.policy.discards_output {
            inputs.null_device()?;
        }
        for path in self.observation.existing.iter().chain(found).chain(unusable) {
            // A directory whose stat tells of absences is judged there.
            let plain = files.walker.plain(path);
            if !passed_over.contains(&&**path)
                && seen.insert(bare_directory(&plain).as_os_str().to_owned())
            {
                inputs.existing(&mut files, &plain).inspect_err(self.naming(path))?;
            }
        }
        inputs.links(&mut files, directories)?;
        let places = files.fold(files.walker.places(&seen), directories, written);
        for (path, state) in places.ok_or(NotStored::InputChanged)? {
            inputs.push(path, record::EXISTS, &state, [0; 32]);
        }
        draft.inputs = inputs.list;
        Ok(inputs.mtimes_ns)
    }
}

/// Whether an output is what it was when the tool was done with it. Where a private tree has another name of it, that one
/// may have been removed since, which changes the change time.
fn is_as_seen(seen: &crate::observe::SeenOutput, now: &FileState) -> bool {
    seen.stat.is_some_and(|then| {
        let ctime_ns = if seen.is_shared { now.stat.ctime_ns } else { then.ctime_ns };
        now.stat == Stat { ctime_ns, ..then }
    })
}

fn when(condition: bool, flag: u32) -> u32 {
    if condition { flag } else { 0 }
}

fn is_silent(text: &Text) -> bool {
    text.stdout.is_empty() && text.stderr.is_empty()
}
