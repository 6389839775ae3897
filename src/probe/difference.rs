//! What judging a record comes to: by what it is true, or the first thing that differs.

use core::ffi::CStr;

/// By what a record is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By stamps alone.
    Stamps,
    /// By the content of files that have other stamps.
    Content,
}

/// The first thing that differs from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference<'a> {
    /// The record's bytes make no sense.
    Damaged,
    /// Another command with the same key.
    Command,
    /// A variable has another value, or is set or not.
    Variable(&'a CStr),
    /// A file has another stamp, or is gone.
    Input(&'a CStr),
    /// A symlink is another one.
    Link(&'a CStr),
    /// Something that was only asked about is of another kind, or gone.
    Existence(&'a CStr),
    /// A directory's listing may be another.
    Listing(&'a CStr),
    /// Something is there (or fails otherwise) that was absent.
    Appeared(&'a CStr),
    /// As `Appeared`, or as `Existence` where the name ends in a slash: a name in a directory.
    NameIn(&'a CStr, &'a CStr),
    /// Text would be replayed to another kind of terminal, file or width.
    Terminal,
    /// Another CPU.
    Cpu,
    /// The tool may read standard input, and that is another one.
    StandardInput,
}
