//! Finding the tool that was asked for: on `PATH`, past ourselves and past other caches' links.
//!
//! A record repeats the search (`content_lookup.rs`) and holds what was passed over (`inputs.rs`).

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::path_walker::c_path;
use crate::compilers::{LAUNCHERS, is_launcher};
use crate::env;
use crate::os::path::{FileId, Found, Ourselves, find_tool, leads_to, programs};
use crate::probe::command::Call;
use crate::probe::judge::Environment;

/// The program to run, and how it was found; `Err` is the name of what is not there.
pub fn tool(call: &Call) -> Result<(PathBuf, Found), OsString> {
    let name = OsStr::from_bytes(call.tool.to_bytes());
    let is_path = name.as_bytes().contains(&b'/');
    let path = env::get(env::PATH);
    let ourselves = Ourselves::default();
    let tried = env::get(env::IBID_TRIED).unwrap_or_default();
    let was_tried = |candidate: &Path| {
        tried.as_bytes().split(|b| *b == b':').any(|t| t == candidate.as_os_str().as_bytes())
    };
    let is_us =
        |candidate: &Path| ourselves.is(candidate) || call.masquerade && was_tried(candidate);
    let is_passed = |candidate: &Path| is_us(candidate) || !is_path && is_cache(candidate);
    let found = find_tool(name, path.as_deref(), &is_passed);
    // `ibid ibid gcc`, or `ibid` before a symlink to us that a build tool made a whole path of: there is one word less
    // each time, so it ends. Another cache where nothing is behind its link: it may know of a compiler elsewhere.
    let again = found.passed.iter().find(|candidate| !call.masquerade || !is_us(candidate));
    let Some(program) = found.path.clone().or(again.cloned()) else {
        // There, but not to be run (no permission): the system says what is wrong.
        let there = found.absent.iter().find(|(path, _)| path.exists());
        return match there.filter(|_| is_path) {
            Some((path, _)) => Ok((path.clone(), Found::default())),
            None => Err(name.to_owned()),
        };
    };
    if is_path {
        return Ok((program.clone(), Found { path: Some(program), ..Found::default() }));
    }
    Ok((program, found))
}

/// What `name` is in today's `PATH`, past ourselves and other caches; empty if nothing.
pub fn search(environment: &Environment, name: &OsStr) -> CString {
    candidates(environment, name).path.as_deref().and_then(c_path).unwrap_or_default()
}

/// The same with what comes before it.
pub fn candidates(environment: &Environment, name: &OsStr) -> Found {
    let path = environment.value(b"PATH").map(OsStr::from_bytes);
    let ourselves = Ourselves::default();
    let is_passed = |candidate: &Path| ourselves.is(candidate) || is_cache(candidate);
    find_tool(name, path, &is_passed)
}

/// Whether a candidate is another cache by a compiler's name.
pub fn is_cache(candidate: &Path) -> bool {
    // Many candidates are looked at.
    static CACHES: OnceLock<Vec<FileId>> = OnceLock::new();
    let on_path = || programs(LAUNCHERS, env::get(env::PATH).as_deref());
    leads_to(candidate, is_launcher, || CACHES.get_or_init(on_path))
}
