//! The one reader of the process environment, and the name of every variable that ibid itself reads.
//!
//! Nothing else in this crate calls `std::env::var*`. Read next: `config.rs`.
#![allow(clippy::disallowed_methods, reason = "this is the one reader of the environment")]

use std::ffi::{OsStr, OsString};

/// The cache directory.
pub const IBID_DIR: &str = "IBID_DIR";
/// `1`: just run the tool.
pub const IBID_DISABLE: &str = "IBID_DISABLE";
/// `1`: use what is stored, store nothing.
pub const IBID_READONLY: &str = "IBID_READONLY";
/// A cache that is only read, and looked in after the own one.
pub const IBID_READONLY_DIR: &str = "IBID_READONLY_DIR";
/// `1`: run the tool although its result is stored, and store the new one.
pub const IBID_RECACHE: &str = "IBID_RECACHE";
/// The most that the cache may hold, such as `10G`.
pub const IBID_MAX_SIZE: &str = "IBID_MAX_SIZE";
/// `group` or `off`: use a cache that the members of a group share.
pub const IBID_SHARE: &str = "IBID_SHARE";
/// The project's root, for portable records.
pub const IBID_ROOT: &str = "IBID_ROOT";
/// `auto` or `off`: add the compiler's own prefix-map flags.
pub const IBID_REMAP: &str = "IBID_REMAP";
/// `preload`, `seccomp` or `off`.
pub const IBID_OBSERVER: &str = "IBID_OBSERVER";
/// `stderr` or a file: what ibid did, a line an invocation and more.
pub const IBID_LOG: &str = "IBID_LOG";
/// The configuration file.
pub const IBID_CONFIG: &str = "IBID_CONFIG";
/// A name for this build, under which its calls are found again.
pub const IBID_BUILD: &str = "IBID_BUILD";
/// Storages beyond this machine.
pub const IBID_REMOTE: &str = "IBID_REMOTE";
/// The file of the key that signs what is sent to storages.
pub const IBID_REMOTE_KEY: &str = "IBID_REMOTE_KEY";
/// Whose results are taken from storages: `anybody`, `nobody`, or public keys.
pub const IBID_REMOTE_TRUST: &str = "IBID_REMOTE_TRUST";
/// Other wrappers that ibid, called by a tool's name, has run already; set by itself.
pub const IBID_TRIED: &str = "IBID_TRIED";
/// All that a user may set, to name the nearest to a misspelt one.
pub static VARIABLES: &[&str] = &[
    IBID_DIR,
    IBID_DISABLE,
    IBID_READONLY,
    IBID_READONLY_DIR,
    IBID_RECACHE,
    IBID_MAX_SIZE,
    IBID_SHARE,
    IBID_ROOT,
    IBID_REMAP,
    IBID_OBSERVER,
    IBID_LOG,
    IBID_CONFIG,
    IBID_BUILD,
    IBID_REMOTE,
    IBID_REMOTE_KEY,
    IBID_REMOTE_TRUST,
];
/// Where caches live by the XDG base directory specification.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// Where configuration lives by the XDG base directory specification.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Where sockets and the like live by the XDG base directory specification.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// The user's home directory.
pub const HOME: &str = "HOME";
/// Where programs are looked for.
pub const PATH: &str = "PATH";
/// The kind of the terminal.
pub const TERM: &str = "TERM";

/// The value of `name`, if it is set (perhaps to nothing).
pub fn get(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The value of `name`, if it is set and not empty.
pub fn get_nonempty(name: &str) -> Option<OsString> {
    get(name).filter(|value| !value.is_empty())
}

/// Whether a switch such as `IBID_DISABLE` is on: set, and neither empty nor `0`.
pub fn is_on(name: &str) -> bool {
    get_nonempty(name).is_some_and(|value| value != OsStr::new("0"))
}

/// Everything that is set, in the order of the environment.
pub fn all() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// Everything that is set whose name begins so, in the order of names.
pub fn all_with_prefix(prefix: &str) -> Vec<(OsString, OsString)> {
    let is_it =
        |(name, _): &(OsString, OsString)| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    let mut found: Vec<_> = all().filter(is_it).collect();
    found.sort_unstable();
    found
}

/// The arguments of this process, the program's own name first.
pub fn args() -> Vec<OsString> {
    std::env::args_os().collect()
}

/// To be held by a test that changes the working directory of the process, or that depends on it.
#[cfg(test)]
pub static WORKING_DIRECTORY: std::sync::Mutex<()> = std::sync::Mutex::new(());
