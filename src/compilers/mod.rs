//! Policies: what may be done with a command, one file per tool family.
//!
//! A policy does not know that there is a cache, and it is not what makes a hit correct: the observation is.
//! Read next: `gcc.rs`, `clang.rs`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::outcome::PassReason;

/// What may be done with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its result may be stored and served.
    Cache(Policy),
    /// Hand it to the real tool, without looking.
    PassThrough(PassReason),
}

/// A tool family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// gcc, g++, cc, c++ and their cross and versioned names.
    Gcc,
    /// clang, clang++ and their cross and versioned names.
    Clang,
    /// No policy: `ibid exec -- TOOL`.
    Unknown,
}

/// What is known of a command that may be cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The tool's family.
    pub family: Family,
    /// The file that the user asked for (`-o`, or the default name), if the command line shows it.
    pub primary_output: Option<PathBuf>,
    /// Whether the result depends on the CPU on which the tool runs (`-march=native`).
    pub depends_on_cpu: bool,
    /// Whether file times or inode numbers may enter the result (PCH, modules, unknown tools): judge by stamps only.
    pub reads_metadata: bool,
}
