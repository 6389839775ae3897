//! The contract of an observer: what a run of a tool was seen to do.
//!
//! It never decides whether a result may be stored; it says what was seen, and whether that is complete.
//! Read next, each of them a folder: `preload/` (around a run), `shim/` (inside the tool, and its log), `seccomp/` (system
//! calls), `trace/` (events -> `Observation`), `loader/` (what the loader and libc read unseen), `known/` (lists).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use crate::shm::stat::Stat;

mod known;
mod loader;
pub mod preload;
pub mod seccomp;
mod shim;
mod trace;

pub use known::pseudo::is_job_server;
pub use loader::{circumstances, libraries, needed};

#[cfg(test)]
mod tests;

/// What a run of a tool, and of every program that it started, was seen to do.
///
/// Paths are spelled as the tool spelled them: relative ones are relative to the directory in which the tool was
/// started; those of a process that had changed its directory, or used a directory descriptor, are absolute.
/// Each path occurs once in each list. Paths that the tool tree itself wrote before it read them are not inputs and do
/// not occur in `inputs`; files that it made and removed again occur
/// only in `temporaries`.
#[derive(Debug, Default)]
pub struct Observation {
    /// Files whose content was read (opened for reading, run, or mapped by the loader).
    pub inputs: Vec<SeenInput>,
    /// Paths that were only asked about (`stat`, `access`, `readlink`, `realpath`) and exist.
    pub existing: Vec<PathBuf>,
    /// Paths that were looked for in vain, each with the error number of the last look.
    pub absences: Vec<SeenAbsence>,
    /// Directories that were listed.
    pub listings: Vec<PathBuf>,
    /// Files that were written and exist at the end, by their final names, in the order of their last close.
    pub outputs: Vec<SeenOutput>,
    /// Names at which something was made and is no more at the end, and those that were wanted away.
    pub temporaries: Vec<PathBuf>,
    /// Files that are gone at the end by the tool's doing, and would be whether or not something was there before.
    pub removed: Vec<Removed>,
    /// Directories that were made, or were to be made and were there; each exists at the end.
    pub directories: Vec<MadeDirectory>,
    /// Names of variables that were asked for.
    pub variables: BTreeSet<OsString>,
    /// How often one was asked for by name, where it is known by which image: of the job server's variables and of `OUT_DIR`
    /// each time, of others once a process.
    pub questions: BTreeMap<(OsString, PathBuf), u32>,
    /// Shared objects that were loaded into a program when it was running already (a plugin, a proc macro).
    pub plugins: BTreeSet<PathBuf>,
    /// Variables that one of the `plugins` asked for.
    pub plugin_variables: BTreeSet<OsString>,
    /// Files, by device and inode, whose state one of the `plugins` asked for: of an open one, otherwise than to read all of it.
    pub states: BTreeSet<((u64, u64), PathBuf)>,
    /// Images (as the kernel names them, `/proc/self/exe`) of all programs that were run, the tool's own first.
    pub images: Vec<PathBuf>,
    /// How often each of them was started.
    pub starts: BTreeMap<PathBuf, usize>,
    /// Those of them that called `time()`; an empty path is one that is not known.
    pub timers: BTreeSet<PathBuf>,
    /// Those of them that asked for the local time, likewise.
    pub local_timers: BTreeSet<PathBuf>,
    /// The names that the loader may have asked its cache for, if nobody else read that: what counts of the cache, which
    /// is one of the `inputs`, is what it answers for these.
    pub library_names: Option<BTreeSet<OsString>>,
    /// Programs that were looked up by name in `PATH`.
    pub path_searches: BTreeSet<OsString>,
    /// What was done that needs a decision, see [`Fact`].
    pub facts: BTreeSet<Fact>,
    /// What was asked that is another at each run, and by which image (empty: by one that is not known) or, where that is
    /// known, by which of its `plugins`.
    pub unsteady: BTreeSet<(Unsteady, PathBuf)>,
    /// Why the system calls could not be watched, where they were to be.
    pub unwatched: Option<String>,
    /// `None`: this is complete. Otherwise why it is not, in plain words.
    pub incomplete: Option<String>,
}

/// What is left out of an observation, because a policy says that it does not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeftOut<'a> {
    /// Directories: what is done in them is neither input nor output.
    pub trees: &'a [PathBuf],
    /// Directories whose listing is not an input, only that they are there.
    pub listings: &'a [PathBuf],
}

/// Something that differs from run to run, or from machine to machine. Compilers ask for it without use of the answer;
/// of a program that is not known, the answer may be in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsteady {
    /// The time (by another way than `time()`, see [`Fact::Time`]), or how much of it was used.
    Clock,
    /// Random numbers.
    Random,
    /// The number of a process, of its parent, group or session.
    Process,
    /// The load of the machine and the free space of file systems, or a pseudo file that is not the same at all times.
    System,
    /// The name of the machine and its kernel's version.
    Host,
}

/// A file whose content was read.
#[derive(Debug, Clone)]
pub struct SeenInput {
    /// As spelled by the tool.
    pub path: PathBuf,
    /// What `fstat` said when it was opened first; `None` where only the kernel or the loader opened it.
    pub stat: Option<Stat>,
    /// Whether somebody asked about it as well.
    pub was_asked: bool,
}

/// A path that was looked for in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenAbsence {
    /// As spelled by the tool.
    pub path: PathBuf,
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`…, as a positive number.
    pub errno: i32,
}

/// A file that was written.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each was seen, or not, by itself")]
pub struct SeenOutput {
    /// Its final name, as spelled by the tool.
    pub path: PathBuf,
    /// The mode argument with which it was created (`0o666`, `0o777`, `0o600`), 0 where it was never created.
    pub create_mode: u32,
    /// How it came to its name.
    pub how: Made,
    /// What `fstat` said at its last close, or after the rename that gave it its name, or after its mode, owner or times
    /// were set, whichever came last; `None` if no close was seen.
    pub stat: Option<Stat>,
    /// Whether something was there under this name before the tool's first write or rename onto it.
    pub existed_before: bool,
    /// Whether the result may follow from nothing having been there: the tool looked for it in vain in order to read it, or
    /// would not have replaced it.
    pub must_be_absent: bool,
    /// Whether the tree could know what was there before it wrote: it asked for it, listed the directory, or did what
    /// succeeds in one case only.
    pub was_asked: bool,
    /// Whether the file has, or had, another name in a tree that is left out: its number of links and its change time say
    /// nothing then.
    pub is_shared: bool,
    /// Whether a program of which only calls are seen may have written it after its last close that was seen, until the
    /// program's end.
    pub is_open_to_the_end: bool,
    /// The image that gave it its name; empty if it is not known.
    pub by: PathBuf,
}

/// A directory that the tool made, or would have made if it had not been there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeDirectory {
    /// As spelled by the tool.
    pub path: PathBuf,
    /// The mode argument of `mkdir`.
    pub create_mode: u32,
    /// Whether it was not there before.
    pub was_made: bool,
    /// The image that made it, or tried to; empty if it is not known.
    pub by: PathBuf,
}

/// A file that the tool removed: one that was there before, or one that it had made where it would have replaced one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// As spelled by the tool.
    pub path: PathBuf,
    /// Whether something was there before the tool.
    pub was_there: bool,
}

/// How an output came to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Created where nothing was (nothing had been there, or the tool had removed it).
    Created,
    /// Opened and cut to length zero; inode, mode and links survive.
    Truncated,
    /// Renamed from another name.
    Renamed,
    /// Opened for writing without truncation, or for appending: the result depends on what was there, and on nothing
    /// being there where nothing was (see [`SeenOutput::must_be_absent`]).
    Modified,
}

/// Something that the tool did beside reading and writing files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// `time()` was called.
    Time,
    /// `localtime` or its kin was called (file times are shown).
    LocalTime,
    /// A socket was connected.
    Network,
    /// A device, pipe, socket or pseudo file that is not on the list of harmless ones was read; or a file could not be used
    /// for a reason of that moment.
    UnrepeatableInput,
    /// A symlink, a directory, a hard link or a device was made and still exists, or mode, owner, times or attributes were
    /// set of a file that is not an output; of an output, explicit times, attributes or another group. (What was removed:
    /// see [`Observation::removed`].)
    SideEffect,
    /// A file was read and later written in place.
    InputModified,
    /// The locale was set from the environment (`setlocale` with an empty name).
    Locale,
    /// A program ran whose questions about variables could not be seen: any may have been asked for.
    UnseenVariables,
    /// What the tool loaded when it was running already could not be seen, nor what that asked.
    UnseenPlugins,
    /// One of the plugins asked for the working directory.
    PluginDirectory,
}
