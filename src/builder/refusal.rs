//! Whether a run may be stored, and what beyond files it may depend on: by what ran, and what that asked.
//!
//! Read next: `record_builder.rs`, which asks.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::driver;
use super::file_states::{FileStates, is_shared_object, was_set_back};
use super::inputs::Shows;
use super::record_builder::RecordBuilder;
use super::script_texts::{Knowledge, script};
use crate::compilers::interpreters::is_interpreter;
use crate::compilers::{
    StandardInput, Times, asks_idly, copies_objects, draws_build_ids, is_linkers_plugin,
    is_wrapper, reads_variables_by_name, shells,
};
use crate::observe::{Fact, Unsteady, is_job_server, libraries};
use crate::os::elf::may_walk_environment;
use crate::os::unnamed::has_inherited_input;
use crate::outcome::NotStored;
use crate::shm::stat::Stat;

impl RecordBuilder<'_> {
    pub(super) fn vet(&self, files: &mut FileStates) -> Result<(), NotStored> {
        let refused = |fact| match fact {
            Fact::Time | Fact::LocalTime if self.policy.is_vouched_for => None,
            Fact::Time if self.policy.asks_time && self.only_known_ask() => None,
            Fact::Time if self.only_plain_shells_ask() || self.only_vouched_ask() => None,
            Fact::Time => Some(NotStored::UsedTime),
            Fact::Network => Some(NotStored::UsedNetwork),
            Fact::UnrepeatableInput => Some(NotStored::UnrepeatableInput),
            Fact::SideEffect => Some(NotStored::SideEffect),
            Fact::InputModified => Some(NotStored::InputModified),
            // Of a tool that is not known to ask for it only to show a file's time.
            Fact::LocalTime if !self.policy.clock_is_noise() => Some(NotStored::UsedTime),
            Fact::LocalTime
            | Fact::Locale
            | Fact::UnseenVariables
            | Fact::UnseenPlugins
            | Fact::PluginDirectory => None,
        };
        if let Some(reason) = self.observation.facts.iter().copied().find_map(refused) {
            return Err(reason);
        }
        if let Some(reason) = self.unlike_ending() {
            return Err(reason);
        }
        if let Some(reason) = self.unsteady() {
            return Err(reason);
        }
        if self.shows_date() {
            return Err(NotStored::UsedTime);
        }
        if self.fills_own_cache() {
            return Err(NotStored::SideEffect);
        }
        if was_set_back(self.start_state.started_ns, files.taken_ns, self.ended.wall) {
            return Err(NotStored::InputTooNew);
        }
        // Under cargo it is always `/dev/null`; under make it may be anything.
        let is_read = self.policy.standard_input != StandardInput::Unread
            || self.policy.loads_macros()
            || !self.start_state.stdin.is_untouched();
        let may_differ =
            self.reads_standard_input() && self.start_state.standard_input == 0 && is_read;
        if may_differ && !self.knows_source(files) {
            return Err(NotStored::UnrepeatableInput);
        }
        if self.runs_unknown_code() && has_inherited_input(is_job_server) {
            return Err(NotStored::UnrepeatableInput);
        }
        if self.observation.incomplete.is_some() || self.ended.left_behind {
            return Err(NotStored::ObservationIncomplete);
        }
        Ok(())
    }

    /// Of what differs from run to run, the first that may have entered the result.
    fn unsteady(&self) -> Option<NotStored> {
        // Whether a macro asked, or rustc, only the shim can tell.
        let has_foreign_code = self.loads_unseen_macros();
        let runs_a_shell = self.observation.images.iter().any(|image| shells::is_shell(image));
        // It is named in a script: nobody asks for it a second time.
        let mut texts = self.unknown_shell_scripts();
        if runs_a_shell
            && !self.policy.is_vouched_for
            && texts.any(|text| shells::names_unsteady(&text))
        {
            return Some(NotStored::UsedRandom);
        }
        let shell = self.plain_shell();
        let driver = self.policy.driver.as_ref().filter(|image| driver::asks_nothing_more(image));
        let refused = |(unsteady, image): &(Unsteady, PathBuf)| {
            if self.policy.is_vouched_for
                && matches!(unsteady, Unsteady::Clock | Unsteady::Random | Unsteady::Process)
            {
                return None;
            }
            if *unsteady == Unsteady::Random && draws_build_ids(image, &self.observation.plugins) {
                return Some(NotStored::UsedRandom);
            }
            let is_steady = !matches!(unsteady, Unsteady::System | Unsteady::Host);
            // A driver's own questions are rustc's, unless a macro's cannot be told from them.
            let is_driver = driver == Some(image) && !has_foreign_code;
            let is_idle = if is_driver || is_steady && shell == Some(image) {
                true
            } else if self.policy.scripts.is_some() && is_interpreter(image) {
                self.vouches_for(image)
            } else if !self.policy.clock_is_noise() {
                // A compiler's own clock is for its statistics, its number for the names of its temporary files.
                // Its threads and heaps follow the machine.
                reads_variables_by_name(image) && *unsteady != Unsteady::Random
            } else {
                // What a shell or launcher before the compiler asks at its start cannot be told from what enters the
                // result; it rarely does.
                !self.policy.runs_foreign_code
                    && !has_foreign_code
                    && (image.as_os_str().is_empty()
                        || reads_variables_by_name(image)
                        || self.policy.is_behind_scripts()
                            && is_wrapper(image)
                            && *unsteady != Unsteady::System)
            };
            if is_idle || asks_idly(image) {
                return None;
            }
            match unsteady {
                Unsteady::Clock => Some(NotStored::UsedTime),
                Unsteady::Random | Unsteady::Process => Some(NotStored::UsedRandom),
                Unsteady::System => Some(NotStored::UsedSystem),
                // Judged, see `variables`.
                Unsteady::Host => None,
            }
        };
        self.observation.unsteady.iter().find_map(refused)
    }

    /// The shell that ran the tool, which is its script, if nothing that it asked for itself can be in the result, and no
    /// other shell ran.
    fn plain_shell(&self) -> Option<&PathBuf> {
        let mut shells = self.observation.images.iter().filter(|image| shells::is_shell(image));
        let shell = shells.next()?;
        let is_alone = shells.next().is_none() && self.observation.starts.get(shell) == Some(&1);
        let mut variables = self.command.start().environment().map(CStr::to_bytes);
        let is_plain = is_alone
            && !variables.any(shells::gives_commands)
            && script(self.found.path.as_deref()?).is_some_and(|text| shells::is_plain(&text));
        is_plain.then_some(shell)
    }

    /// Whether nobody but such a shell called `time()`.
    fn only_plain_shells_ask(&self) -> bool {
        let shell = self.plain_shell();
        shell.is_some() && self.observation.timers.iter().all(|image| Some(image) == shell)
    }

    /// Whether it is known who asked for the local time, and they were interpreters whose scripts are known.
    fn only_vouched_show_times(&self) -> bool {
        let mut images = self.observation.local_timers.iter().peekable();
        images.peek().is_some() && images.all(|image| self.vouches_for(image))
    }

    /// Whether nobody but programs that a policy names called `time()`.
    fn only_known_ask(&self) -> bool {
        self.observation.timers.iter().all(|image| reads_variables_by_name(image))
    }

    /// Whether nobody but interpreters whose scripts are known called `time()`.
    fn only_vouched_ask(&self) -> bool {
        self.observation.timers.iter().all(|image| self.vouches_for(image))
    }

    /// Whether code ran of which nothing is known: foreign code in the tool, or a program that no policy names (a shell
    /// script before the compiler and what it starts, what a macro starts).
    pub(super) fn runs_unknown_code(&self) -> bool {
        self.has_foreign_code() || self.runs_unknown_programs()
    }

    pub(super) fn runs_unknown_programs(&self) -> bool {
        self.observation.images.iter().any(|image| !reads_variables_by_name(image))
    }

    /// Whether the program that made an output, `by` if that is known, adds to what is there, or keeps something of it.
    pub(super) fn may_be_by_copier(&self, by: &Path) -> bool {
        let copies = |image: &Path| image.file_name().is_some_and(copies_objects);
        let is_known = !by.as_os_str().is_empty();
        copies(by) || !is_known && self.observation.images.iter().any(|image| copies(image))
    }

    /// Whether a program or a plugin ran that no policy names, whatever the policy of the command says.
    pub(super) fn runs_unknown_objects(&self) -> bool {
        self.runs_unknown_programs()
            || self.observation.facts.contains(&Fact::UnseenPlugins)
            || self.loads_unknown_plugins()
    }

    /// Whether a plugin is none that a policy names.
    fn loads_unknown_plugins(&self) -> bool {
        self.foreign_plugins().iter().any(|plugin| !self.is_interpreters_own(plugin))
    }

    /// Plugins that no policy names. What a program itself wants (ld has its code in libraries) is none, unless another file of
    /// that name was read.
    fn foreign_plugins(&self) -> &[PathBuf] {
        self.findings.foreign_plugins.get_or_init(|| {
            let (linkers, others): (Vec<_>, Vec<_>) =
                self.observation.plugins.iter().partition(|plugin| is_linkers_plugin(plugin));
            let unknown = others.into_iter().filter(|plugin| !reads_variables_by_name(plugin));
            let unknown: Vec<&PathBuf> = unknown.collect();
            if unknown.is_empty() {
                return Vec::new();
            }
            let wanted = self.wanted_libraries(linkers);
            let is_wanted = |plugin: &PathBuf| {
                let mut of_name = wanted.iter().filter(|it| it.file_name() == plugin.file_name());
                wanted.contains(plugin) && of_name.all(|it| it == plugin)
            };
            unknown.into_iter().filter(|plugin| !is_wanted(plugin)).cloned().collect()
        })
    }

    /// The libraries that the programs that ran want, and these `others`.
    fn wanted_libraries(&self, others: Vec<&PathBuf>) -> Vec<PathBuf> {
        let images = self.observation.images.iter().chain(others);
        images.flat_map(|image| libraries(image, self.observation)).collect()
    }

    /// Whether the machine's name and its kernel may be in the result.
    pub(super) fn shows_host(&self) -> bool {
        let has_foreign_code = self.has_foreign_code();
        self.observation.unsteady.iter().any(|(unsteady, image)| {
            *unsteady == Unsteady::Host
                && (has_foreign_code || !reads_variables_by_name(image))
                && !self.vouches_for(image)
        })
    }

    /// Whether code that is not the tool's ran in it: a plugin that the command line shows, or a proc macro.
    pub(super) fn has_foreign_code(&self) -> bool {
        let is_foreign = |plugin: &PathBuf| {
            !reads_variables_by_name(plugin) && !self.is_interpreters_own(plugin)
        };
        self.policy.runs_foreign_code
            || self.policy.loads_macros() && self.observation.plugins.iter().any(is_foreign)
            || (self.policy.links || self.policy.adds_to_outputs) && self.loads_unknown_plugins()
            || self.loads_unseen_macros()
    }

    /// Whether rustc may have loaded a macro where the shim was not to see it: it read a shared object that none of the
    /// programs wants.
    pub(super) fn loads_unseen_macros(&self) -> bool {
        let observation = self.observation;
        if !self.policy.loads_macros() || !observation.facts.contains(&Fact::UnseenPlugins) {
            return false;
        }
        let wanted = self.wanted_libraries(Vec::new());
        let objects = observation.inputs.iter().map(|input| &input.path);
        objects
            .filter(|path| is_shared_object(path) && !reads_variables_by_name(path))
            .any(|path| !wanted.contains(path))
    }

    /// Foreign code is told from the tool by the caller's address; of an unknown program, any question may count.
    pub(super) fn shows(&self) -> Shows {
        let has_foreign_code = self.has_foreign_code();
        let is_foreign = |by: &Path| has_foreign_code && !reads_variables_by_name(by);
        let states = self.observation.states.iter();
        Shows {
            asked: states.filter(|(_, by)| is_foreign(by)).map(|(file, _)| *file).collect(),
            all_asked: self.runs_unknown_programs() && self.knowledge() != Knowledge::Whole,
            modules: self.policy.scripts.is_some(),
        }
    }

    /// Code of which nothing is known may read it too: no observer sees that.
    pub(super) fn reads_standard_input(&self) -> bool {
        self.policy.standard_input != StandardInput::Unread || self.runs_unknown_code()
    }

    /// Whether what came by standard input is a source that only its bytes tell from others.
    fn knows_source(&self, files: &mut FileStates) -> bool {
        let Some(source) = self.source else { return false };
        let mut is_reliable =
            |state| files.is_reliable(c"/proc/self/fd/0", &state, self.start_state.started_ns);
        source.was_used_up()
            && source.state().is_none_or(&mut is_reliable)
            && !self.runs_unknown_code()
            && !self.is_judged_by_stamps_only()
    }

    /// Whether something ran that may have read any variable without being seen.
    pub(super) fn walks_environment(&self) -> bool {
        self.policy.runs_foreign_code
            || self.observation.facts.contains(&Fact::UnseenVariables)
            || self.runs_unknown_programs()
            || self.foreign_plugins().iter().any(|it| may_walk_environment(it))
    }

    pub(super) fn is_judged_by_stamps_only(&self) -> bool {
        self.times() == Times::All
    }

    /// Of which files the times may have entered the result.
    pub(super) fn times(&self) -> Times {
        // Which files foreign code asked about, only the shim knows.
        let is_unseen = self.observation.facts.contains(&Fact::UnseenVariables);
        if is_unseen && self.has_foreign_code()
            || self.policy.unknown_programs_see_times()
                && self.runs_unknown_programs()
                && self.knowledge() != Knowledge::Whole
            || self.observation.facts.contains(&Fact::LocalTime) && !self.only_vouched_show_times()
            || self.shows_times()
        {
            return Times::All;
        }
        let inputs = self.observation.inputs.iter().map(|input| &*input.path);
        self.policy.times(&self.observation.images, inputs)
    }

    /// Whether times, owners or modes of inputs are in an output. A time that is zero cannot be told from none.
    fn shows_times(&self) -> bool {
        let mut outputs = self.observation.outputs.iter();
        let is_zero = |stat: Stat| stat.mtime_ns == 0;
        outputs.any(|output| self.policy.shows_times(&output.path))
            || self.policy.adds_to_outputs
                && self.observation.inputs.iter().filter_map(|input| input.stat).any(is_zero)
    }

    /// Also where the command line does not show it: options may come from a variable or from a file of options.
    pub(super) fn depends_on_cpu(&self) -> bool {
        self.policy.depends_on_cpu
            || self.environment.value(b"CCC_OVERRIDE_OPTIONS").is_some()
            || self.environment.value(b"RUST_TARGET_PATH").is_some()
            || self.has_input(&[b".cfg", b"specs", b"/target.json"])
    }

    /// Whether an input's path ends in one of these.
    fn has_input(&self, ends: &[&[u8]]) -> bool {
        let ends_so =
            |path: &Path| ends.iter().any(|end| path.as_os_str().as_bytes().ends_with(end));
        self.observation.inputs.iter().any(|input| ends_so(&input.path))
    }
}
