//! `ibid doctor [--json]`: what is right and wrong with this machine's set-up, one line each, and what to do about it.
//!
//! What fails keeps everything from being cached; what warns costs something. Read next: `wrapper/tryout.rs`.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::Doctor;
use super::install::COMPILERS;
use super::stats::bytes;
use crate::builder::search;
use crate::config::{self, Config, Observer, Share};
use crate::env;
use crate::error::StoreError;
use crate::os::file_system::FileSystem;
use crate::os::path::{Ourselves, find_tool};
use crate::shm::access::Access;
use crate::shm::clock;
use crate::shm::layout::SEGMENT_BYTES;
use crate::store::Store;
use crate::store::verdicts::{DISTRUST_S_MAX, Verdict, Verdicts};
use crate::wrapper;

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    Warn,
    Fail,
}

/// One line: what was looked at; what was found, and what to do about it.
struct Finding {
    mark: Mark,
    what: &'static str,
    found: String,
}

impl Mark {
    fn name(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Warn => "warn",
            Mark::Fail => "fail",
        }
    }
}

fn finding(mark: Mark, what: &'static str, found: impl Into<String>) -> Finding {
    Finding { mark, what, found: found.into() }
}

/// Looks at everything; 1 if nothing can be cached.
pub fn run(asked: &Doctor, stdout: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let opened = Store::open_configured(&config);
    let mut findings = settings(&config);
    findings.extend(directory(&config, &opened));
    findings.extend(opened.iter().flat_map(|store| [volatile(store)]));
    findings.push(binary());
    findings.extend(opened.iter().flat_map(observers));
    findings.push(file_times());
    findings.extend(compilers());
    let can_cache = findings.iter().all(|finding| finding.mark != Mark::Fail);
    if asked.json {
        let line = |f: &Finding| json!({ "mark": f.mark.name(), "what": f.what, "found": f.found });
        let findings: Vec<_> = findings.iter().map(line).collect();
        writeln!(stdout, "{:#}", json!({ "can_cache": can_cache, "findings": findings }))?;
    } else {
        for Finding { mark, what, found } in &findings {
            writeln!(stdout, "{:<4}  {what:<16} {found}", mark.name())?;
        }
    }
    Ok(u8::from(!can_cache))
}

fn settings(config: &Config) -> Vec<Finding> {
    let warn = |problem: &String| finding(Mark::Warn, "settings", format!("{problem} (ignored)"));
    let mut findings: Vec<_> = config.problems.iter().map(warn).collect();
    if config.disable {
        findings.push(finding(Mark::Fail, "settings", "`disable` is on: unset IBID_DISABLE"));
    }
    if config.observer == Observer::Off {
        findings.push(finding(Mark::Fail, "settings", "`observer` is off: unset IBID_OBSERVER"));
    }
    if config.readonly {
        findings.push(finding(Mark::Warn, "settings", "`readonly` is on: nothing is stored"));
    }
    if config.recache {
        findings.push(finding(Mark::Warn, "settings", "`recache` is on: nothing is a hit"));
    }
    if config.share == Share::Group && env::get(env::IBID_SHARE).is_none() {
        let advice = "hits are faster with IBID_SHARE=group in the environment";
        let found = format!("`share` is on in the settings file only: {advice}");
        findings.push(finding(Mark::Warn, "settings", found));
    }
    if findings.is_empty() {
        let file = config.config_path.as_deref().filter(|path| path.exists());
        let none = || "no file, defaults and environment".to_owned();
        findings.push(finding(
            Mark::Ok,
            "settings",
            file.map_or_else(none, |file| file.display().to_string()),
        ));
    }
    findings
}

fn directory(config: &Config, opened: &Result<Store, StoreError>) -> Vec<Finding> {
    let store = match opened {
        Ok(store) => store,
        Err(error) => return vec![finding(Mark::Fail, "cache directory", error.to_string())],
    };
    let shown = config.cache_dir.as_deref().unwrap_or(Path::new("")).display();
    let mut findings = vec![match (store.cache.access, config.share) {
        (Access::Group(gid), _) => {
            let risk = "each of its members can put objects into your builds";
            let found = format!("{shown}, shared by group {gid}: {risk}");
            finding(Mark::Ok, "cache directory", found)
        }
        (Access::Own, Share::Off) => {
            finding(Mark::Ok, "cache directory", format!("{shown}, only you may write it"))
        }
        (Access::Own, Share::Group) => {
            let advice = "to share an empty one: chgrp GROUP, chmod 2770";
            let found = format!("{shown}, only you may write it, though `share` is on; {advice}");
            finding(Mark::Warn, "cache directory", found)
        }
    }];
    if store.is_read_only() {
        let found = format!("{shown} can only be read here: hits work, nothing is stored");
        findings.push(finding(Mark::Warn, "cache directory", found));
    }
    if let Ok(Ok(known)) = FileSystem::at(store.directory()) {
        findings.push(finding(Mark::Ok, "file system", known.name));
    }
    findings.push(space(store, config.max_size_bytes));
    findings
}

fn space(store: &Store, max_bytes: u64) -> Finding {
    let free = rustix::fs::statvfs(store.directory())
        .map_or(u64::MAX, |state| state.f_bavail.saturating_mul(state.f_frsize));
    let used = store.bytes_used();
    let size =
        format!("{} of {} used, {} free on the disk", bytes(used), bytes(max_bytes), bytes(free));
    if free < SEGMENT_BYTES {
        let advice = format!(
            "too little for the next segment of {}: when the last one is full, or if there is none, nothing more is stored",
            bytes(SEGMENT_BYTES)
        );
        return finding(Mark::Warn, "space", format!("{size}: {advice}"));
    }
    if free < max_bytes.saturating_sub(used) {
        let advice = "the disk fills up first: lower IBID_MAX_SIZE";
        return finding(Mark::Warn, "space", format!("{size}: {advice}"));
    }
    finding(Mark::Ok, "space", size)
}

fn volatile(store: &Store) -> Finding {
    if !store.cache.volatile.is_there() {
        let found = "there is none for this cache, and none can be made: nothing is counted";
        return finding(Mark::Warn, "shared memory", found);
    }
    if store.is_volatile_in_memory() {
        return finding(Mark::Ok, "shared memory", "counters and digests are in /dev/shm");
    }
    if store.cache.access != Access::Own {
        let found = "counters and digests are in a file of the cache, since a group shares it";
        return finding(Mark::Ok, "shared memory", found);
    }
    let found = "/dev/shm cannot be used: counters and digests are in a file of the cache, slower";
    finding(Mark::Warn, "shared memory", found)
}

fn binary() -> Finding {
    if cfg!(ibid_entry) {
        return finding(Mark::Ok, "binary", "static, with an entry of its own");
    }
    let found = "not static: hits take longer; build it in its own checkout, without RUSTFLAGS";
    finding(Mark::Warn, "binary", found)
}

/// Where no observer works nothing is stored.
fn observers(store: &Store) -> Vec<Finding> {
    let tried = wrapper::observers(store);
    let is_hopeless = tried.iter().all(|tried| tried.works == Some(false));
    let mark = |works| match works {
        Some(true) => Mark::Ok,
        _ if is_hopeless => Mark::Fail,
        _ => Mark::Warn,
    };
    let line = |tried: &wrapper::Tried| {
        finding(mark(tried.works), "observer", format!("{}: {}", tried.observer, tried.said))
    };
    let known = Verdicts::read(store.directory());
    let known = known.current();
    let programs = known.iter().map(|(verdict, age_s)| program(verdict, *age_s));
    tried.iter().map(line).chain(programs).collect()
}

/// One that costs something is a warning, with how to be rid of it.
fn program(known: &Verdict, age_s: u64) -> Finding {
    const DAY_S: u64 = 24 * 60 * 60;
    let Verdict { image, trust, reason, scope, .. } = known;
    let of = if scope.part.is_empty() { "" } else { " (some commands)" };
    let found = format!("{}{of} by {}: {reason}", image.display(), trust.name());
    if !trust.is_slow() {
        return finding(Mark::Ok, "program", found);
    }
    let days = DISTRUST_S_MAX.saturating_sub(age_s).div_ceil(DAY_S);
    let advice =
        format!("its misses take longer for up to {days} days; `ibid clear` ends that now");
    finding(Mark::Warn, "program", format!("{found}; {advice}"))
}

fn file_times() -> Finding {
    if clock::kernel_has_fine_times() {
        return finding(Mark::Ok, "file times", "fine-grained");
    }
    let found =
        "change in ticks (Linux before 6.13): what is compiled right after an edit is not stored";
    finding(Mark::Warn, "file times", found)
}

/// Each compiler on `PATH`, and whether its name leads to us first.
fn compilers() -> Vec<Finding> {
    let path = env::get(env::PATH).unwrap_or_default();
    let ourselves = Ourselves::default();
    let is_cache = |candidate: &Path| search::is_cache(candidate, Some(&path));
    let is_passed = |candidate: &Path| ourselves.is(candidate) || is_cache(candidate);
    let mut findings = Vec::new();
    for name in COMPILERS.iter().map(OsStr::new) {
        let found = find_tool(name, Some(&path), &is_passed);
        let Some(compiler) = found.path else { continue };
        let behind = |dir: PathBuf| Some(dir.join(name)).filter(|link| ourselves.is(link));
        let late = std::env::split_paths(&path).find_map(behind);
        let (ours, others): (Vec<_>, Vec<_>) =
            found.passed.iter().partition(|link| ourselves.is(link));
        let past: Vec<_> =
            others.iter().map(|other| format!(", past {}", other.display())).collect();
        let compiler = format!("{}{}", compiler.display(), past.concat());
        findings.push(match (ours.first(), late) {
            (Some(link), _) => {
                finding(Mark::Ok, "compiler", format!("{compiler}, through {}", link.display()))
            }
            (None, Some(link)) => {
                let advice = format!("{} comes after it on PATH, put it first", link.display());
                finding(Mark::Warn, "compiler", format!("{compiler}: {advice}"))
            }
            (None, None) => {
                finding(Mark::Ok, "compiler", format!("{compiler}, by `ibid {}`", name.display()))
            }
        });
    }
    if findings.is_empty() {
        findings.push(finding(Mark::Warn, "compiler", "none is on PATH"));
    }
    findings
}
