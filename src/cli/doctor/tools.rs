//! The compilers on `PATH`: whether their names lead to ibid, to another cache, or to something that cannot be watched.
//!
//! Nothing is run here; that is `self_test.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::{Finding, Mark, finding};
use crate::builder::search;
use crate::cli::install::{self, COMPILERS, cache_of};
use crate::env;
use crate::os::elf::{Preloading, preloading, read_head};
use crate::os::path::{Ourselves, find_tool};

/// A compiler on `PATH`, and what was passed over before it.
pub struct Compiler {
    pub name: String,
    pub path: PathBuf,
    pub passed: Vec<PathBuf>,
}

/// All of C and C++ that are there, each by its name: also with a version (`gcc-12`) or a target (`aarch64-linux-gnu-gcc`).
pub fn found() -> Vec<Compiler> {
    install::compilers().into_iter().filter_map(find).collect()
}

/// The compiler of a name, if it is there.
pub fn find(name: String) -> Option<Compiler> {
    let path = env::get(env::PATH).unwrap_or_default();
    let ourselves = Ourselves::default();
    let is_passed = |candidate: &Path| ourselves.is(candidate) || search::is_cache(candidate);
    let found = find_tool(OsStr::new(&name), Some(&path), &is_passed);
    Some(Compiler { name, path: found.path?, passed: found.passed })
}

/// Each compiler on `PATH`, and whether its name leads to us first.
pub fn compilers(found: &[Compiler]) -> Vec<Finding> {
    let path = env::get(env::PATH).unwrap_or_default();
    let ourselves = Ourselves::default();
    let mut findings = Vec::new();
    let mut late_links: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
    let mut images = BTreeSet::new();
    for Compiler { name, path: compiler, passed } in found {
        let behind = |dir: PathBuf| ourselves.is(&dir.join(name)).then_some(dir);
        let late = std::env::split_paths(&path).find_map(behind);
        let (ours, others): (Vec<_>, Vec<_>) = passed.iter().partition(|link| ourselves.is(link));
        let past: Vec<_> =
            others.iter().map(|other| format!(", past {}", other.display())).collect();
        let shown = format!("{}{}", compiler.display(), past.concat());
        findings.push(match ours.first() {
            Some(link) => {
                finding(Mark::Ok, "compiler", format!("{shown}, through {}", link.display()))
            }
            None => finding(Mark::Ok, "compiler", format!("{shown}, by `ibid {name}`")),
        });
        if let (None, Some(dir)) = (ours.first(), late) {
            late_links.entry(dir).or_default().push(name);
        }
        if images.insert(compiler.canonicalize().ok()) {
            findings.extend(kind(name, compiler));
        }
    }
    findings.extend(late_links.into_iter().map(late));
    if findings.is_empty() {
        let none = finding(Mark::Warn, "compiler", "none is on PATH");
        findings.push(none.advise("install one, such as gcc, or put its directory on PATH"));
    }
    findings
}

/// Links to us that come after the compilers.
fn late((dir, names): (PathBuf, Vec<&str>)) -> Finding {
    let found = format!(
        "ibid's links in {} come after the compilers ({}): a plain `{}` does not run ibid",
        dir.display(),
        in_short(&names),
        names[0],
    );
    finding(Mark::Warn, "PATH", found).advise(format!("put {} first on PATH", dir.display()))
}

/// The first names, and how many more there are.
fn in_short(names: &[&str]) -> String {
    let shown = names.iter().take(COMPILERS.len()).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(COMPILERS.len()) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// One in which the shim cannot live, or a script.
fn kind(name: &str, compiler: &Path) -> Option<Finding> {
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
            // `c99` is one on Debian, and `musl-gcc` is one everywhere.
            let mark = if COMPILERS.contains(&name) { Mark::Note } else { Mark::Ok };
            Some(finding(mark, "compiler", found))
        }
        Preloading::Impossible(why) => {
            let found = format!("{shown} {why}: it is watched by system calls, misses take longer");
            Some(finding(Mark::Warn, "compiler", found))
        }
    }
}

/// Links of other caches that come before the compilers, and which compilers they are.
pub fn links(found: &[Compiler]) -> Vec<Finding> {
    let ourselves = Ourselves::default();
    let mut links: BTreeMap<(String, PathBuf), Vec<&str>> = BTreeMap::new();
    for compiler in found {
        let mut before_us = compiler.passed.iter().take_while(|link| !ourselves.is(link));
        let Some(link) = before_us.next() else { continue };
        let Some(dir) = link.parent() else { continue };
        links.entry((cache_of(link), dir.to_path_buf())).or_default().push(&compiler.name);
    }
    let warn = |((cache, dir), names): ((String, PathBuf), Vec<&str>)| {
        let found = format!(
            "{cache}'s links in {} come first ({}): a plain `{}` runs {cache}, `ibid {}` does not",
            dir.display(),
            in_short(&names),
            names[0],
            names[0],
        );
        let to_do = format!("take {} off PATH, or put ibid's links before it", dir.display());
        finding(Mark::Warn, "PATH", found).advise(to_do)
    };
    links.into_iter().map(warn).collect()
}
