//! Which tools this machine has; a missing one is named, and under `CI` it is a failure.

use std::io::Write;
use std::path::{Path, PathBuf};

pub const C: &[&str] = &["gcc", "clang"];
pub const CXX: &[&str] = &["g++", "clang++"];
pub const ALL: &[&str] = &["gcc", "g++", "clang", "clang++"];
pub const GCC: &[&str] = &["gcc"];
pub const CLANG: &[&str] = &["clang"];

/// Where `name` is on this process's `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Where `name` is; it must be there.
pub fn path_of(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not on PATH"))
}

/// Whether `name` is there. Otherwise the test that asks is to return.
pub fn have(name: &str) -> bool {
    if find(name).is_some() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{name} is missing, and under CI that is a failure");
    skip(&format!("{name} is not here"));
    false
}

/// Says that the running test is left out, and why; past the capture of the test harness, so that it is seen.
pub fn skip(why: &str) {
    say(&format!("skipped: {}: {why}", std::thread::current().name().unwrap_or("a test")));
}

/// Says something past the capture of the test harness.
pub fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Those of `names` that are there.
pub fn present<'n>(names: &[&'n str]) -> Vec<&'n str> {
    names.iter().copied().filter(|name| have(name)).collect()
}

/// One compiler of each family that is there, for either language; all four in the longer variants.
pub fn of_each_family() -> Vec<&'static str> {
    present(if long() { ALL } else { &["gcc", "clang++"] })
}

/// All cases for gcc, and each second for another driver; all in the longer variants.
pub fn some_of<T>(all: impl IntoIterator<Item = T>, tool: &str) -> impl Iterator<Item = T> {
    all.into_iter().step_by(if is_gcc(tool) || long() { 1 } else { 2 })
}

pub fn is_gcc(tool: &str) -> bool {
    tool.starts_with('g')
}

/// Whether the longer variants are wanted.
pub fn long() -> bool {
    std::env::var_os("IBID_TEST_LONG").is_some_and(|value| value != "0" && !value.is_empty())
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program under test.
pub fn ibid() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ibid"))
}
