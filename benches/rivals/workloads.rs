//! The workloads: a name, what it is, and how much of it is measured.
//!
//! A new one is an entry in `ALL` and a function in `plans.rs`, which writes its files.

use std::io;

use super::plans;
use super::step::{Plan, Site};

/// How it is known that a tool found everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Each command is a hit.
    EachCommand,
    /// As many hits as the tool counted results made and found when it was cold: it counts in its own units.
    AsMade,
    /// As that, but for a few: some build scripts name what they compile at random.
    NearlyAsMade,
    /// There are none that could be expected; something is made.
    SomeMade,
}

/// Something to compile.
pub struct Workload {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The first that is there is used.
    pub compilers: &'static [&'static str],
    /// The most files, whatever is asked.
    pub files_max: usize,
    /// The most warm rounds.
    pub rounds_max: usize,
    /// The most rounds of the bare compiler.
    pub bare_rounds_max: usize,
    /// How hits are counted.
    pub expected: Expected,
    /// The limit of a hit is shown as well: one process, one source.
    pub has_floor: bool,
    /// It builds the crate that was asked for, and nothing without one.
    pub takes_subject: bool,
    /// Writes the files.
    pub plan: fn(&Site<'_>) -> io::Result<Plan>,
}

const CXX: &[&str] = &["clang++", "g++"];
const CC: &[&str] = &["gcc", "clang"];
const USUAL: Workload = Workload {
    name: "",
    about: "",
    compilers: CXX,
    files_max: usize::MAX,
    rounds_max: usize::MAX,
    bare_rounds_max: usize::MAX,
    expected: Expected::EachCommand,
    has_floor: false,
    takes_subject: false,
    plan: plans::seed,
};
const PARALLEL: Workload = Workload { rounds_max: 30, bare_rounds_max: 5, ..USUAL };

/// All of them, in the order of the table.
pub const ALL: &[Workload] = &[
    Workload {
        name: "seed",
        about: "C++ files with two shared headers, which include stdio, stdlib and string; one after another",
        has_floor: true,
        ..USUAL
    },
    Workload {
        name: "c",
        about: "small C files with one header, -O2",
        compilers: CC,
        has_floor: true,
        plan: plans::c,
        ..USUAL
    },
    Workload {
        name: "response",
        about: "the seed's files, with 200 defines and 50 include directories in nested response files",
        plan: plans::response,
        ..USUAL
    },
    Workload {
        name: "multi",
        about: "all of the seed's files in one call",
        rounds_max: 30,
        bare_rounds_max: 5,
        expected: Expected::AsMade,
        plan: plans::multi,
        ..USUAL
    },
    Workload {
        name: "multi-edit",
        about: "30 of the seed's files in one call, one of them edited since the last",
        files_max: 20,
        expected: Expected::SomeMade,
        plan: plans::multi_edit,
        ..USUAL
    },
    Workload {
        name: "heavy",
        about: "a C++ file with some 550 headers, -O1 -g, and an object of some 4.5 MB",
        compilers: &["g++"],
        files_max: 1,
        bare_rounds_max: 3,
        has_floor: true,
        plan: plans::heavy,
        ..USUAL
    },
    Workload {
        name: "rust",
        about: "small Rust libraries, built by rustc",
        compilers: &["rustc"],
        rounds_max: 20,
        bare_rounds_max: 5,
        plan: |site| plans::rust(site, "dep-info,metadata,link", "rlib"),
        ..USUAL
    },
    Workload {
        name: "rust-check",
        about: "the same libraries, only checked",
        compilers: &["rustc"],
        rounds_max: 20,
        bare_rounds_max: 5,
        plan: |site| plans::rust(site, "dep-info,metadata", "rmeta"),
        ..USUAL
    },
    Workload {
        name: "emscripten",
        about: "small C files, by emcc -O2",
        compilers: &["emcc"],
        rounds_max: 10,
        bare_rounds_max: 2,
        plan: plans::c,
        ..USUAL
    },
    Workload {
        name: "link",
        about: "a program of all of the seed's objects",
        rounds_max: 50,
        bare_rounds_max: 10,
        plan: plans::link,
        ..USUAL
    },
    Workload {
        name: "link-ar",
        about: "a static library of all of the seed's objects",
        rounds_max: 50,
        bare_rounds_max: 10,
        plan: plans::archive,
        ..USUAL
    },
    Workload {
        name: "siblings",
        about: "small C files in another checkout than the one that was compiled, a new one each round",
        compilers: CC,
        files_max: 20,
        rounds_max: 10,
        bare_rounds_max: 2,
        plan: plans::siblings,
        ..USUAL
    },
    Workload {
        name: "parallel-1",
        about: "the seed's files as one batch, 1 process at a time",
        plan: |site| plans::parallel(site, 1),
        ..PARALLEL
    },
    Workload {
        name: "parallel-2",
        about: "the same, 2 processes at a time",
        plan: |site| plans::parallel(site, 2),
        ..PARALLEL
    },
    Workload {
        name: "parallel-8",
        about: "the same, 8 processes at a time",
        plan: |site| plans::parallel(site, 8),
        ..PARALLEL
    },
    Workload {
        name: "parallel-32",
        about: "the same, 32 processes at a time",
        plan: |site| plans::parallel(site, 32),
        ..PARALLEL
    },
    Workload {
        name: "miss",
        about: "small C files that nobody has seen: what a miss adds to the bare compile of the same file",
        compilers: CC,
        plan: plans::miss,
        ..USUAL
    },
    Workload {
        name: "probe-storm",
        about: "checks as configure makes them: conftest.c is written anew before each",
        compilers: CC,
        rounds_max: 20,
        bare_rounds_max: 5,
        plan: plans::probe_storm,
        ..USUAL
    },
    Workload {
        name: "cargo",
        about: "this project, by cargo build from nothing, dependencies included",
        compilers: &["cargo"],
        rounds_max: 5,
        bare_rounds_max: 1,
        expected: Expected::AsMade,
        plan: plans::cargo,
        ..USUAL
    },
    Workload {
        name: "crate",
        about: "by cargo build from nothing, dependencies included",
        compilers: &["cargo"],
        rounds_max: 20,
        bare_rounds_max: 1,
        expected: Expected::NearlyAsMade,
        takes_subject: true,
        plan: plans::subject,
        ..USUAL
    },
];
