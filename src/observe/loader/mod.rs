//! What the dynamic loader and libc read where no interposed function sees it.
//!
//! The loader looks for shared objects in many places (`search.rs`); libc opens locale files, message catalogues and time
//! zones by itself. All of these are found again, from what is there now. Read next: `search.rs`, `locale.rs`.

pub mod circumstances;
mod libraries;
pub mod library_names;
mod locale;
mod search;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::observe::Fact;
use crate::observe::shim::log::{Event, What};
use crate::observe::trace::Trace;

use crate::env;
use crate::os::library_cache;

pub use libraries::{libraries, needed};

const ENOENT: i32 = 2;
const ZONES: &str = "/usr/share/zoneinfo";
/// Adds all of them to what was seen. Asked again when more has happened, it adds what is new.
pub fn add_unseen_reads(trace: &mut Trace, events: &[Event]) {
    // Those whose names begin with `LD_` always count.
    trace.seen.variables.insert("GLIBC_TUNABLES".into());
    probe(trace, Path::new(library_cache::PATH));
    probe(trace, Path::new("/etc/ld.so.preload"));
    search::add_searches(trace, events);
    let is_named = |event: &Event| matches!(event.what, What::LocaleName { .. });
    if trace.seen.facts.contains(&Fact::Locale) || events.iter().any(is_named) {
        let mut known = std::mem::take(&mut trace.searches.locale);
        locale::add_locale(trace, events, &mut known);
        trace.searches.locale = known;
    }
    if trace.seen.facts.contains(&Fact::LocalTime)
        || events.iter().any(|event| event.what == What::Zone)
    {
        add_time_zone(trace);
    }
    if events.iter().any(|event| event.what == What::Users) {
        add_users(trace);
    }
    // The kernel's version is harmless (see `known/pseudo.rs`), the host's name is what these files set.
    if events.iter().any(|event| event.what == What::Host) {
        for path in ["/etc/hostname", "/etc/hostid", "/etc/machine-id"] {
            probe(trace, Path::new(path));
        }
    }
    if events.iter().any(|event| event.what == What::Iconv) {
        locale::add_conversions(trace, events);
    }
}

/// The path is read if it is there, and looked for in vain if not. Says which.
pub fn probe(trace: &mut Trace, path: &Path) -> bool {
    let is_there = fs::metadata(path).is_ok();
    if is_there {
        trace.read(path, None);
    } else {
        trace.look(path, ENOENT);
    }
    is_there
}

/// The tables of users and groups; what a service beside the files answers has no stamp.
fn add_users(trace: &mut Trace) {
    let switch = Path::new("/etc/nsswitch.conf");
    for path in [switch, Path::new("/etc/passwd"), Path::new("/etc/group")] {
        probe(trace, path);
    }
    // libc asks its cache first, if one runs.
    if !is_absent(trace, Path::new("/var/run/nscd/socket")) {
        let reason = "users or groups may have been asked of nscd".to_owned();
        trace.seen.incomplete.get_or_insert(reason);
    }
    let text = fs::read_to_string(switch).unwrap_or_default();
    let is_file = |word: &str| matches!(word, "files" | "compat" | "systemd" | "db");
    for line in text.lines() {
        let Some((table, services)) = line.split_once(':') else { continue };
        let mut services = services.split_whitespace().filter(|word| !word.starts_with('['));
        if matches!(table.trim(), "passwd" | "group")
            && let Some(service) = services.find(|word| !is_file(word))
        {
            let reason = format!("users or groups may have been asked of the service {service}");
            trace.seen.incomplete.get_or_insert(reason);
        }
    }
}

/// What was found out already. It is asked more than once: while the tool runs, and when all is over.
#[derive(Debug, Default)]
pub struct Known {
    /// About objects and where they were looked for.
    pub objects: search::Known,
    locale: locale::Known,
}

/// Whether a path is not there; then it was looked for in vain.
fn is_absent(trace: &mut Trace, path: &Path) -> bool {
    let is_absent = fs::metadata(path).is_err();
    if is_absent {
        trace.look(path, ENOENT);
    }
    is_absent
}

fn add_time_zone(trace: &mut Trace) {
    trace.seen.variables.extend(["TZ".into(), "TZDIR".into()]);
    match env::get_nonempty("TZ") {
        None => {
            probe(trace, Path::new("/etc/localtime"));
        }
        Some(zone) => {
            let name =
                OsStr::from_bytes(zone.as_bytes().strip_prefix(b":").unwrap_or(zone.as_bytes()));
            let root = env::get_nonempty("TZDIR").map_or(PathBuf::from(ZONES), PathBuf::from);
            probe(trace, &root.join(name));
        }
    }
}
