//! What the dynamic loader and libc read where no interposed function sees it.
//!
//! The loader looks for every shared object in all search directories before the one where it found it; libc opens
//! locale files, message catalogues and time zones by itself. All of these are found here again, from what is there now.
//! Read next: `locale.rs`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::Fact;
use super::library_names::library_names;
use super::locale;
use super::log::{Event, What};
use super::trace::Trace;
use crate::env;
use crate::os::elf::{self, Elf, ReadAt as _, Tag};
use crate::os::library_cache;

const ENOENT: i32 = 2;
const ZONES: &str = "/usr/share/zoneinfo";
/// Where the loader looks when its own table has no object of a name.
const DEFAULT_DIRECTORIES: &[&str] = if cfg!(target_arch = "aarch64") {
    &[
        "/lib/aarch64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
    ]
} else {
    &[
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
    ]
};
/// Directories below a search directory that glibc tries first: since 2.33 the first, before 2.37 the others.
const VARIANTS: &[&str] =
    &["glibc-hwcaps", "tls", "haswell", "avx512_1", "xeon_phi", "x86_64", "atomics", "aarch64"];
const LEVELS: &[&str] = &["x86-64-v4", "x86-64-v3", "x86-64-v2"];

/// Adds all of them to what was seen. Asked again when more has happened, it adds what is new.
pub fn add_unseen_reads(trace: &mut Trace, events: &[Event]) {
    for name in ["LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "GLIBC_TUNABLES"] {
        trace.seen.variables.insert(name.into());
    }
    probe(trace, Path::new(library_cache::PATH));
    probe(trace, Path::new("/etc/ld.so.preload"));
    add_searches(trace, events);
    trace.seen.library_names = library_names(events, trace.searches.searched.keys());
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
    // The kernel's version is harmless (see `pseudo.rs`), the host's name is what these files set.
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
    /// The directories that an object names for the search. An object that is not older than the run is refused later.
    directories: FxHashMap<PathBuf, Vec<PathBuf>>,
    searched: FxHashMap<PathBuf, Searched>,
    locale: locale::Known,
}

/// A directory in which the loader looked.
#[derive(Debug)]
struct Searched {
    /// Those of [`VARIANTS`] that are there.
    variants: Vec<PathBuf>,
    names: BTreeSet<OsString>,
}

/// What one process has mapped.
#[derive(Default)]
struct Mapped<'a> {
    image: Option<&'a Path>,
    objects: Vec<&'a Path>,
    /// What it asked the loader for later.
    wanted: Vec<&'a OsStr>,
    library_path: &'a OsStr,
}

/// Where the loader looked for what the processes have mapped so far.
fn add_searches(trace: &mut Trace, events: &[Event]) {
    let mut known = std::mem::take(&mut trace.searches);
    for mapped in all_mapped(events) {
        let mut directories: BTreeSet<PathBuf> = std::env::split_paths(&mapped.library_path)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        for object in mapped.objects.iter().copied().chain(mapped.image) {
            if !known.directories.contains_key(object) {
                known.directories.insert(object.to_owned(), search_directories(trace, object));
            }
            directories.extend(known.directories.get(object).into_iter().flatten().cloned());
        }
        let is_path = |name: &&OsStr| name.as_bytes().contains(&b'/');
        let (paths, names): (Vec<&OsStr>, Vec<_>) =
            mapped.wanted.into_iter().partition(|name| is_path(name));
        for path in paths {
            probe(trace, Path::new(path));
        }
        if !names.is_empty() {
            directories.extend(DEFAULT_DIRECTORIES.iter().map(PathBuf::from));
        }
        let objects = mapped.objects.iter().filter_map(|path| path.file_name());
        let names: BTreeSet<&OsStr> = objects.chain(names).collect();
        for directory in directories {
            add_search(trace, &mut known, &directory, &names);
        }
    }
    trace.searches = known;
}

fn all_mapped(events: &[Event]) -> Vec<Mapped<'_>> {
    let mut processes: FxHashMap<u32, Mapped> = FxHashMap::default();
    let mut whole: Vec<Mapped> = Vec::new();
    for Event { pid, what } in events {
        match what {
            What::Start { image, libraries, .. } => {
                let mapped =
                    Mapped { image: Some(image), library_path: libraries, ..Mapped::default() };
                whole.extend(processes.insert(*pid, mapped));
            }
            What::Load { name } => processes.entry(*pid).or_default().wanted.push(name),
            What::Object { path, .. } => processes.entry(*pid).or_default().objects.push(path),
            _ => {}
        }
    }
    whole.extend(processes.into_values());
    whole
}

/// What the loader tries in a directory before it finds (or does not find) objects there.
fn add_search(trace: &mut Trace, known: &mut Known, directory: &Path, names: &BTreeSet<&OsStr>) {
    if !known.searched.contains_key(directory) {
        let variants = VARIANTS.iter().map(|variant| directory.join(variant));
        let variants = variants.filter(|below| !is_absent(trace, below)).collect();
        let searched = Searched { variants, names: BTreeSet::new() };
        known.searched.insert(directory.to_owned(), searched);
    }
    let Some(Searched { variants, names: old }) = known.searched.get_mut(directory) else { return };
    for name in names {
        if old.contains(*name) {
            continue;
        }
        old.insert((*name).to_owned());
        for below in &*variants {
            for level in LEVELS {
                is_absent(trace, &below.join(level).join(name));
            }
            is_absent(trace, &below.join(name));
        }
        is_absent(trace, &directory.join(name));
    }
}

/// Whether a path is not there; then it was looked for in vain.
fn is_absent(trace: &mut Trace, path: &Path) -> bool {
    let is_absent = fs::metadata(path).is_err();
    if is_absent {
        trace.look(path, ENOENT);
    }
    is_absent
}

/// The directories that an object names for the search, with `$ORIGIN` put in.
fn search_directories(trace: &mut Trace, object: &Path) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let Ok(file) = File::open(object) else { return directories };
    let mut head = [0; elf::HEAD_LEN_BYTES];
    let read = file.read_at(0, &mut head);
    let Some(elf) = head.get(..read).and_then(|head| Elf::parse(&file, head)) else {
        return directories;
    };
    let origin = object.parent().unwrap_or(Path::new("/"));
    let mut is_understood = true;
    elf.strings(|tag, text| {
        if tag != Tag::Needed {
            for part in text.split(|byte| *byte == b':').filter(|part| !part.is_empty()) {
                let rest =
                    part.strip_prefix(b"$ORIGIN").or_else(|| part.strip_prefix(b"${ORIGIN}"));
                let path = match rest {
                    Some(rest) => {
                        let mut path = origin.as_os_str().to_owned();
                        path.push(OsStr::from_bytes(rest));
                        path
                    }
                    None => OsStr::from_bytes(part).to_owned(),
                };
                is_understood &= !path.as_bytes().contains(&b'$');
                directories.push(PathBuf::from(path));
            }
        }
        true
    });
    if !is_understood {
        let reason = format!("{} has a search path that is not understood", object.display());
        trace.seen.incomplete.get_or_insert(reason);
    }
    directories
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
