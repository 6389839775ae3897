//! Policies: what may be done with a command, one file per tool family.
//!
//! A policy does not know that there is a cache, and it is not what makes a hit correct: the observation is. So it
//! needs no list of side outputs and no meaning of flags that only change what files the tool reads and writes.
//! Read next: `command.rs` (what was typed), `gcc.rs` and `clang.rs` (what it means), `rustc.rs`, `variables.rs`, `names.rs`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::outcome::PassReason;

mod clang;
mod command;
mod crates;
mod gcc;
mod names;
mod precompiled;
mod response;
mod rustc;
mod variables;

pub use crates::{is_crate, passed_over};
pub use names::{family, is_tool_name, is_wrapper};
pub use precompiled::{Times, is_precompiled, is_remade};
pub use variables::reads_variables_by_name;

/// What may be done with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its result may be stored and served.
    Cache(Policy),
    /// Hand it to the real tool, without looking.
    PassThrough(PassReason),
}

/// A tool family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// gcc, g++, cc, c++ and their cross and versioned names.
    Gcc,
    /// clang, clang++ and their cross and versioned names.
    Clang,
    /// rustc and clippy-driver.
    Rustc,
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

/// What is known of a command that may be cached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each asked by another part")]
pub struct Policy {
    /// The tool's family.
    pub family: Family,
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
    /// What the tool does with standard input.
    pub standard_input: StandardInput,
    /// Whether foreign code (a plugin) runs inside the tool, so that what is known of the tool's image says nothing.
    pub runs_foreign_code: bool,
    /// Whether what it prints may be all of its result.
    pub is_question: bool,
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
            primary_output: None,
            depfile: None,
            depends_on_cpu: false,
            reads_metadata: false,
            uses_precompiled: false,
            standard_input: StandardInput::Unread,
            runs_foreign_code: false,
            is_question: false,
            private_trees: Vec::new(),
            unlisted: Vec::new(),
        }
    }

    /// Whether the tool puts a new file in the place of whatever stands where this output goes, without a look at it:
    /// rustc and the linkers that it runs rename or unlink first; only dep-info is written in place.
    pub fn replaces(&self, output: &Path) -> bool {
        self.family == Family::Rustc && !self.is_text_output(output)
    }

    /// Whether this output is text that may quote paths and can be rewritten for another checkout: a depfile.
    pub fn is_text_output(&self, output: &Path) -> bool {
        self.depfile.as_deref() == Some(output)
            || output.extension().is_some_and(|extension| extension == "d")
    }
}

/// What may be done with this command; `args` without the tool's own name.
///
/// Reads response files (relative to the working directory) and nothing else.
pub fn judge(family: Family, args: &[OsString]) -> Verdict {
    match family {
        Family::Gcc => gcc::judge(args),
        Family::Clang => clang::judge(args),
        Family::Rustc => rustc::judge(args),
        Family::Unknown => Verdict::Cache(Policy {
            depends_on_cpu: true,
            reads_metadata: true,
            standard_input: StandardInput::Perhaps,
            runs_foreign_code: true,
            ..Policy::plain(family)
        }),
    }
}

#[cfg(test)]
mod tests;
