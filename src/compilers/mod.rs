//! Policies: what may be done with a command, one file per tool family.
//!
//! A policy does not know that there is a cache, and it is not what makes a hit correct: the observation is. So it
//! needs no list of side outputs and no meaning of flags that only change what files the tool reads and writes.
//! Read next: `command.rs` (what was typed), `gcc.rs` and `clang.rs` (what it means), `rustc.rs`,
//! `binutils.rs`, `variables.rs`, `names.rs`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::outcome::PassReason;

mod archive;
mod binutils;
mod clang;
mod command;
mod crates;
mod depfile;
mod devices;
mod diagnostics;
mod emscripten;
mod gcc;
mod generators;
pub mod interpreters;
mod names;
mod placed;
mod precompiled;
mod response;
mod rustc;
pub mod several;
pub mod shells;
mod texts;
mod variables;
mod words;

pub use crates::{is_crate, passed_over};
pub use emscripten::Scripts;
pub use names::{
    LAUNCHERS, asks_idly, compiles_c, copies_objects, draws_build_ids, is_launched, is_launcher,
    is_linker, is_tool, is_tool_name, is_wrapper, language,
};
pub use placed::{adds_options, holds_options};
pub use precompiled::{Times, is_precompiled, is_remade};
pub use rustc::{DRIVER_ASKS, DRIVER_LIBRARIES, DRIVER_LIBRARY};
pub use texts::has_word;
pub use variables::{SEARCH_PATHS, is_linkers_plugin, reads_variables_by_name};
pub use words::OutputWord;

/// What may be done with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one is made in an invocation")]
pub enum Decision {
    /// Its result may be stored and served.
    Cache(Policy),
    /// Hand it to the real tool, without looking.
    PassThrough(PassReason),
}

/// A tool family. Nobody outside of this module asks for it: a [`Policy`] answers questions instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// gcc, g++, cc, c++ and their cross and versioned names.
    Gcc,
    /// clang, clang++ and their cross and versioned names.
    Clang,
    /// rustc and clippy-driver.
    Rustc,
    /// ar and llvm-ar.
    Archiver,
    /// ld, gold, lld and mold.
    Linker,
    /// strip and objcopy.
    Copier,
    /// emcc and em++.
    Emscripten,
    /// Analysers and generators of sources.
    Generator,
    /// No policy: `ibid exec -- TOOL`.
    Unknown,
}

/// What a tool does with standard input, as far as the command line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardInput {
    /// Leaves it alone.
    Unread,
    /// It may read it, or a part of it.
    Perhaps,
    /// Reads it to its end before it does anything else: it is the source.
    Source,
}

/// Whether the working directory is in what a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShowsDirectory {
    /// It is not, if its name does not reach the tool.
    Never,
    /// Debug information holds it, unless a map hides it.
    UnlessMapped,
    /// It may be.
    Perhaps,
}

/// What is known of a command that may be cached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each asked by another part")]
pub struct Policy {
    family: Family,
    /// The files that the command line names to be compiled.
    pub sources: Vec<PathBuf>,
    /// The arguments of a call for each of several sources, where these calls, one after the other, do the same as the command;
    /// else none.
    pub single_calls: Vec<Vec<OsString>>,
    /// The first word that is no source, and is linked.
    pub first_object: Option<PathBuf>,
    /// The file that the user asked for (`-o`, or the default name), if the command line shows it.
    pub primary_output: Option<PathBuf>,
    /// The depfile, if the command line names it.
    pub depfile: Option<PathBuf>,
    /// Whether the result depends on the CPU on which the tool runs (`-march=native`), or may.
    pub depends_on_cpu: bool,
    /// Whether file times or inode numbers may enter the result (PCH or a module is made, unknown tools): judge by stamps only.
    pub reads_metadata: bool,
    /// Whether it uses a precompiled header or module, as far as the command line shows.
    pub uses_precompiled: bool,
    /// Whether the working directory, or another name of the place, is in what the command writes, as far as the command line
    /// shows.
    pub shows_directory: ShowsDirectory,
    /// Whether the tool can be given maps of names, which hide places.
    pub takes_maps: bool,
    /// Whether nothing that the command writes but its depfile shows what its outputs are called.
    pub outputs_may_be_renamed: bool,
    /// The directory into which a crate is compiled, if the command line names it.
    pub output_directory: Option<PathBuf>,
    /// What the tool does with standard input.
    pub standard_input: StandardInput,
    /// Whether foreign code (a plugin) runs inside the tool, so that what is known of the tool's image says nothing.
    pub runs_foreign_code: bool,
    /// Whether what it prints may be all of its result.
    pub is_question: bool,
    /// Whether the file that was asked for goes to `/dev/null`.
    pub discards_output: bool,
    /// Whether a linker runs: what it writes may name the temporary files of the compiler before it.
    pub links: bool,
    /// Whether what stands in its output's place may go into the output, or into its mode.
    pub adds_to_outputs: bool,
    /// Whether the user says that the tool's clock, random numbers and process numbers do not enter its result.
    pub is_vouched_for: bool,
    /// Whether the tool calls `time()` whatever it does.
    pub asks_time: bool,
    /// Words that stand in an input, an output or a text if the time of the run does.
    pub dates: &'static [&'static str],
    /// What is known of the scripts that the command runs; `None`: nothing.
    pub scripts: Option<Scripts>,
    /// The image of a compiler of the user's own, whose name does not say that it is one.
    pub driver: Option<PathBuf>,
    /// Directories in which the tool keeps what it remembers from run to run, without influence on what it writes
    /// elsewhere: nothing in them is an input or an output.
    pub private_trees: Vec<PathBuf>,
    /// Directories that the tool lists without the listing being an input; the files that it opens there are.
    pub unlisted: Vec<PathBuf>,
}

impl Policy {
    /// Nothing is known but the family.
    fn plain(family: Family) -> Policy {
        Policy {
            family,
            sources: Vec::new(),
            single_calls: Vec::new(),
            first_object: None,
            primary_output: None,
            depfile: None,
            depends_on_cpu: false,
            reads_metadata: false,
            uses_precompiled: false,
            shows_directory: ShowsDirectory::Perhaps,
            takes_maps: false,
            outputs_may_be_renamed: false,
            output_directory: None,
            standard_input: StandardInput::Unread,
            runs_foreign_code: false,
            is_question: false,
            discards_output: false,
            links: false,
            adds_to_outputs: false,
            is_vouched_for: false,
            asks_time: false,
            dates: &[],
            scripts: None,
            driver: None,
            private_trees: Vec::new(),
            unlisted: Vec::new(),
        }
    }

    /// A file that says where the project is.
    pub fn first_input(&self) -> Option<&Path> {
        self.sources.first().or(self.first_object.as_ref()).map(PathBuf::as_path)
    }

    /// Whether the tool compiles in its own process where there is one source, and of several speaks of those that failed when all
    /// are done. Another one stops where it has to speak itself.
    pub fn sums_up(&self) -> bool {
        self.family == Family::Clang
    }

    /// Whether the command links, and compiles no source.
    pub fn only_links(&self) -> bool {
        self.links && self.sources.is_empty()
    }

    /// Whether the tool puts a new file in the place of whatever stands where this output goes, without a look at it:
    /// rustc and the linkers that it runs rename or unlink first; only dep-info is written in place.
    pub fn replaces(&self, output: &Path) -> bool {
        self.family == Family::Rustc && !self.is_text_output(output)
    }

    /// Whether the tool says nothing if it could not write all of this output: rustc of its dep-info.
    pub fn hides_write_errors(&self, output: &Path) -> bool {
        self.family == Family::Rustc && self.is_text_output(output)
    }

    /// Whether two files of equal content are told apart by the tool, as a compiler does that honours `#pragma once`.
    pub fn equal_contents_matter(&self) -> bool {
        !matches!(self.family, Family::Rustc | Family::Archiver | Family::Linker | Family::Copier)
    }

    /// Whether the tool's own clock, process number, threads and heap do not show in what it writes: a compiler asks for
    /// them for its statistics and for the names of temporary files.
    pub fn clock_is_noise(&self) -> bool {
        self.family != Family::Unknown
    }

    /// Whether what the tool writes may depend on what stood there before (`ar r`).
    pub fn reads_old_outputs(&self) -> bool {
        self.family == Family::Unknown || self.adds_to_outputs
    }

    /// Whether this output shows more of the files in it than their content: an archive their times and owners.
    pub fn shows_times(&self, output: &Path) -> bool {
        self.family == Family::Archiver && archive::shows_times(output)
    }

    /// Whether the tool loads code of the project (proc macros) while it runs, without an option that says so.
    pub fn loads_macros(&self) -> bool {
        self.family == Family::Rustc
    }

    /// Whether what the tool printed when it failed shows an error in its sources, which it finds again in the same ones.
    pub fn shows_source_error(&self, stdout: &[u8], stderr: &[u8]) -> bool {
        let is_known = self.driver.is_none() && !self.runs_foreign_code;
        is_known && diagnostics::shows_source_error(self.family, stdout, stderr)
    }

    /// Whether an unknown program in the tool's tree may compare file times that the tool itself does not look at: a
    /// script in front of a compiler can. Of rustc's macros it is known which files they ask about.
    pub fn unknown_programs_see_times(&self) -> bool {
        self.family != Family::Rustc
    }

    /// Whether the names of temporary files, which are drawn, may be in what the tool prints.
    pub fn may_print_temporaries(&self) -> bool {
        matches!(
            self.family,
            Family::Gcc | Family::Clang | Family::Linker | Family::Emscripten | Family::Generator
        )
    }

    /// Whether a script that runs stands before the tool, as scripts do before compilers, and is not started by it.
    pub fn is_behind_scripts(&self) -> bool {
        self.family != Family::Generator
    }

    /// Whether no program that the tool starts becomes another user, so that it may run without the privilege to.
    pub fn keeps_its_user(&self) -> bool {
        self.family != Family::Unknown
    }

    /// The options that make the tool write other names for what lies in `places`, when it runs in `directory`: all
    /// begin with `.`. gcc and clang map text, so a slash keeps longer names out, unless the tool runs in the place itself;
    /// rustc maps whole parts. gdb 13 does not find the source of an absolute name that clang 14 mapped to `.`.
    pub fn maps<'p>(
        &self,
        places: impl Iterator<Item = &'p [u8]>,
        directory: &[u8],
    ) -> Vec<OsString> {
        let options: &[(&str, &str)] = match self.family {
            Family::Rustc => &[("--remap-path-prefix=", ".")],
            Family::Clang | Family::Emscripten => {
                &[("-fdebug-prefix-map=", "/proc/self/cwd"), ("-fmacro-prefix-map=", ".")]
            }
            _ => &[("-ffile-prefix-map=", ".")],
        };
        let mut maps = Vec::new();
        for (place, (option, name)) in places.flat_map(|it| options.iter().map(move |to| (it, to)))
        {
            let map = |slash: &str| {
                let [option, slash, name] = [*option, slash, *name].map(str::as_bytes);
                OsString::from_vec([option, place, slash, b"=", name, slash].concat())
            };
            if self.family == Family::Rustc || place == directory {
                maps.push(map(""));
            }
            if self.family != Family::Rustc {
                maps.push(map("/"));
            }
        }
        maps
    }

    /// The arguments with maps: before the tool's own for gcc and clang, so that these have the last word; behind them for
    /// rustc, whose first one may be a toolchain.
    pub fn with_maps(&self, maps: Vec<OsString>, args: &[OsString]) -> Vec<OsString> {
        let (before, after) =
            if self.family == Family::Rustc { (Vec::new(), maps) } else { (maps, Vec::new()) };
        before.into_iter().chain(args.iter().cloned()).chain(after).collect()
    }

    /// Arguments with which the tool does nothing and says nothing if it understands maps before them; `None` if all of its
    /// versions do.
    pub fn trial_of_maps(&self) -> Option<[&'static str; 4]> {
        (self.family != Family::Rustc).then_some(["-fsyntax-only", "-x", "c", "/dev/null"])
    }

    /// Where in an argument a path begins, if it is one, or an option with one, and nothing but a path is made of it; `before`
    /// is the argument before it.
    pub fn path_at(&self, before: &[u8], word: &[u8]) -> Option<usize> {
        match self.family {
            Family::Gcc | Family::Clang | Family::Emscripten => words::path_at(before, word),
            Family::Rustc => rustc::path_at(before, word),
            _ => None,
        }
    }

    /// The arguments that name outputs: which, and where in it the name begins.
    pub fn output_words<'a>(
        &self,
        args: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<(usize, usize, OutputWord)> {
        match self.family {
            Family::Gcc | Family::Clang => words::output_words(args).collect(),
            _ => Vec::new(),
        }
    }

    /// A depfile of this tool's with other names in it, as the tool would have written it; `None` if that is not known.
    pub fn renamed_depfile(&self, text: &[u8], name: impl Fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
        depfile::renamed(self.family, text, name)
    }

    /// Whether this output is text that names paths and can be written anew for another place: a depfile.
    pub fn is_text_output(&self, output: &Path) -> bool {
        self.depfile.as_deref() == Some(output)
            || output.extension().is_some_and(|extension| extension == "d")
    }
}

/// What may be done with this command; `args` without the tool's own name. A tool without a policy, or a command that its
/// policy passes through, may be cached if the user asked for that (`is_forced`). `driver` is the image of a tool of another
/// name that is linked to rustc's library.
///
/// Reads response files (relative to the working directory) and nothing else.
pub fn decide(
    tool: &OsStr,
    args: &[OsString],
    is_forced: bool,
    driver: impl FnOnce() -> Option<PathBuf>,
) -> Decision {
    let decision = match names::family(tool) {
        Some(_) if emscripten::is_archiver(tool) => emscripten::judge_archiver(args),
        Some(Family::Generator) => generators::judge(tool, args),
        Some(family) => judge(family, args),
        None if is_forced => judge(Family::Unknown, args),
        None => match driver() {
            Some(image) => judge_driver(args, image),
            None => Decision::PassThrough(PassReason::UnknownTool),
        },
    };
    match decision {
        Decision::PassThrough(_) if is_forced => judge(Family::Unknown, args),
        decision => decision,
    }
}

fn judge(family: Family, args: &[OsString]) -> Decision {
    match family {
        Family::Gcc => gcc::judge(args),
        Family::Clang => clang::judge(args),
        Family::Rustc => rustc::judge(args),
        Family::Archiver => binutils::judge_archiver(args),
        Family::Linker => binutils::judge_linker(args),
        Family::Copier => binutils::judge_copier(args),
        Family::Emscripten => emscripten::judge(args),
        Family::Generator | Family::Unknown => Decision::Cache(Policy {
            depends_on_cpu: true,
            reads_metadata: true,
            standard_input: StandardInput::Perhaps,
            runs_foreign_code: true,
            ..Policy::plain(family)
        }),
    }
}

/// The same for a program that is linked to rustc's library; `image` is the file that the kernel runs.
fn judge_driver(args: &[OsString], image: PathBuf) -> Decision {
    match rustc::judge(args) {
        Decision::Cache(policy) => Decision::Cache(Policy { driver: Some(image), ..policy }),
        decision @ Decision::PassThrough(_) => decision,
    }
}

#[cfg(test)]
mod tests;
