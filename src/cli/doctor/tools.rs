//! The compilers on `PATH`: whether their names lead to ibid, to another cache, or to something that cannot be watched.
//!
//! Nothing is run here; that is `self_test.rs`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::{Finding, Mark, finding};
use crate::builder::search;
use crate::cli::install::{COMPILERS, cache_of};
use crate::env;
use crate::os::elf::{Preloading, preloading, read_head};
use crate::os::path::{Ourselves, find_tool};

/// A compiler on `PATH`, and what was passed over before it.
pub struct Compiler {
    pub name: &'static str,
    pub path: PathBuf,
    pub passed: Vec<PathBuf>,
}

/// All that are there, each by its name.
pub fn found(names: &[&'static str]) -> Vec<Compiler> {
    let path = env::get(env::PATH).unwrap_or_default();
    let ourselves = Ourselves::default();
    let is_passed = |candidate: &Path| ourselves.is(candidate) || search::is_cache(candidate);
    let find = |name: &&'static str| {
        let found = find_tool(OsStr::new(name), Some(&path), &is_passed);
        Some(Compiler { name, path: found.path?, passed: found.passed })
    };
    names.iter().filter_map(find).collect()
}

/// Each compiler on `PATH`, and whether its name leads to us first.
pub fn compilers() -> Vec<Finding> {
    let path = env::get(env::PATH).unwrap_or_default();
    let ourselves = Ourselves::default();
    let mut findings = Vec::new();
    for Compiler { name, path: compiler, passed } in found(COMPILERS) {
        let behind = |dir: PathBuf| Some(dir.join(name)).filter(|link| ourselves.is(link));
        let late = std::env::split_paths(&path).find_map(behind);
        let (ours, others): (Vec<_>, Vec<_>) = passed.iter().partition(|link| ourselves.is(link));
        let past: Vec<_> =
            others.iter().map(|other| format!(", past {}", other.display())).collect();
        let shown = format!("{}{}", compiler.display(), past.concat());
        findings.push(match (ours.first(), late) {
            (Some(link), _) => {
                finding(Mark::Ok, "compiler", format!("{shown}, through {}", link.display()))
            }
            (None, Some(link)) => {
                let found = format!("{shown}: {} comes after it on PATH", link.display());
                finding(Mark::Warn, "compiler", found).advise("put ibid's directory first")
            }
            (None, None) => finding(Mark::Ok, "compiler", format!("{shown}, by `ibid {name}`")),
        });
        findings.extend(kind(&compiler));
    }
    if findings.is_empty() {
        findings.push(finding(Mark::Warn, "compiler", "none is on PATH"));
    }
    findings
}

/// One in which the shim cannot live, or a script.
fn kind(compiler: &Path) -> Option<Finding> {
    let file = File::open(compiler).ok()?;
    let head = read_head(&file).ok()?;
    let shown = compiler.display();
    match preloading(&file, &head) {
        Preloading::Possible | Preloading::Unknown => None,
        Preloading::Script { start, end } => {
            let interpreter = String::from_utf8_lossy(head.get(start..end)?).into_owned();
            let found = format!(
                "{shown} is a script ({interpreter}): cached, unless it does what differs from run to run"
            );
            Some(finding(Mark::Note, "compiler", found))
        }
        Preloading::Impossible(why) => {
            let found = format!("{shown} {why}: it is watched by system calls, misses take longer");
            Some(finding(Mark::Warn, "compiler", found))
        }
    }
}

/// Links of other caches that come before the compilers, and which compilers they are.
pub fn links() -> Vec<Finding> {
    let ourselves = Ourselves::default();
    let mut links: BTreeMap<(String, PathBuf), Vec<&str>> = BTreeMap::new();
    for compiler in found(COMPILERS) {
        let mut before_us = compiler.passed.iter().take_while(|link| !ourselves.is(link));
        let Some(link) = before_us.next() else { continue };
        let Some(dir) = link.parent() else { continue };
        links.entry((cache_of(link), dir.to_path_buf())).or_default().push(compiler.name);
    }
    let warn = |((cache, dir), names): ((String, PathBuf), Vec<&str>)| {
        let found = format!(
            "{cache}'s links in {} come first ({}): a plain `{}` runs {cache}, `ibid {}` does not",
            dir.display(),
            names.join(", "),
            names[0],
            names[0],
        );
        let to_do = format!("take {} off PATH, or put ibid's links before it", dir.display());
        finding(Mark::Warn, "PATH", found).advise(to_do)
    };
    links.into_iter().map(warn).collect()
}
