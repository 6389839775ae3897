//! What the dynamic loader and libc read where no interposed function sees it.
//!
//! The loader looks for shared objects in many places (`search.rs`); libc opens locale files, message catalogues and time
//! zones by itself. All of these are found again, from what is there now. Read next: `search.rs`, `locale.rs`.

pub mod circumstances;
mod libraries;
mod library_names;
mod locale;
mod look;
mod search;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::env;
use crate::observe::shim::log::{Event, ShimLog, What};
use crate::observe::trace::Trace;
use crate::observe::{Fact, Observation};
use crate::os::library_cache;

use library_names::library_names;
use locale::LocaleReads;
use look::{is_absent, read_if_there};
use search::ObjectSearches;

pub use libraries::{libraries, needed};

const ZONES: &str = "/usr/share/zoneinfo";

/// Whether the loader or libc may have read something unseen because of this: [`UnseenReads::add`] may find more after it.
pub fn reads_unseen(what: &What) -> bool {
    matches!(
        what,
        What::Start { .. }
            | What::Object { .. }
            | What::Load { .. }
            | What::Locale
            | What::LocaleName { .. }
            | What::TextDomain { .. }
            | What::LocalTime
            | What::Zone
            | What::Users
            | What::Host
            | What::Iconv
    )
}

/// What was found out already about what no shim sees. It is added more than once: while the tool runs, and when it has
/// ended.
#[derive(Debug, Default)]
pub struct UnseenReads {
    objects: ObjectSearches,
    locale: LocaleReads,
}

impl UnseenReads {
    /// What a whole trace means, with all of these; `log` is the log of all events that were added to it.
    pub fn conclude(mut self, mut trace: Trace, log: ShimLog) -> Observation {
        trace.add_programs(&log.events, log.lost);
        self.add(&mut trace, &log.events);
        trace.seen.library_names = library_names(&log.events, self.objects.directories());
        trace.finish()
    }

    /// Adds all of them to what was seen. Asked again when more has happened, it adds what is new.
    pub fn add(&mut self, trace: &mut Trace, events: &[Event]) {
        // Those whose names begin with `LD_` always count.
        trace.seen.variables.insert("GLIBC_TUNABLES".into());
        read_if_there(trace, Path::new(library_cache::PATH));
        read_if_there(trace, Path::new("/etc/ld.so.preload"));
        self.objects.add_searches(trace, events);
        let is_named = |event: &Event| matches!(event.what, What::LocaleName { .. });
        if trace.seen.facts.contains(&Fact::Locale) || events.iter().any(is_named) {
            self.locale.add_locale(trace, events);
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
                read_if_there(trace, Path::new(path));
            }
        }
        if events.iter().any(|event| event.what == What::Iconv) {
            locale::add_conversions(trace, events);
        }
    }
}

/// The tables of users and groups; what a service beside the files answers has no stamp.
fn add_users(trace: &mut Trace) {
    let switch = Path::new("/etc/nsswitch.conf");
    for path in [switch, Path::new("/etc/passwd"), Path::new("/etc/group")] {
        read_if_there(trace, path);
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

fn add_time_zone(trace: &mut Trace) {
    trace.seen.variables.extend(["TZ".into(), "TZDIR".into()]);
    match env::get_nonempty("TZ") {
        None => {
            read_if_there(trace, Path::new("/etc/localtime"));
        }
        Some(zone) => {
            let name =
                OsStr::from_bytes(zone.as_bytes().strip_prefix(b":").unwrap_or(zone.as_bytes()));
            let root = env::get_nonempty("TZDIR").map_or(PathBuf::from(ZONES), PathBuf::from);
            read_if_there(trace, &root.join(name));
        }
    }
}
