//! How builds are set up: what cargo and cmake run before the compiler, and whether there are several checkouts.
//!
//! It reads variables and configuration files, and runs nothing.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::DocumentMut;

use super::{Finding, Mark, finding};
use crate::cli::install::COMPILERS;
use crate::cli::on_path;
use crate::config::{Config, Remap};
use crate::env;
use crate::os::path::{Ourselves, find_tool};

/// All of them.
pub fn all(config: &Config) -> Vec<Finding> {
    cargo().into_iter().chain(cmake()).chain(checkouts(config.remap)).collect()
}

/// What is run before rustc, and who says so.
struct Wrapper {
    program: String,
    said_by: String,
}

fn cargo() -> Option<Finding> {
    if !on_path("cargo") {
        return None;
    }
    let Some(wrapper) = rustc_wrapper() else {
        let found = finding(Mark::Note, "cargo", "no wrapper is set, so rustc is not cached");
        return Some(found.advise("export RUSTC_WRAPPER=ibid, or `ibid install --cargo`"));
    };
    Some(judge("cargo", &wrapper, "set RUSTC_WRAPPER=ibid"))
}

/// As cargo finds it: the environment, then the nearest configuration file.
fn rustc_wrapper() -> Option<Wrapper> {
    for name in ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"] {
        if let Some(value) = env::get(name) {
            let program = value.to_string_lossy().into_owned();
            return (!program.is_empty()).then(|| Wrapper { program, said_by: name.to_owned() });
        }
    }
    let here = std::env::current_dir().unwrap_or_default();
    let above = here.ancestors().map(|dir| dir.join(".cargo"));
    let home = env::get_nonempty("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::get_nonempty(env::HOME)?).join(".cargo")));
    let files =
        above.chain(home).flat_map(|dir| ["config", "config.toml"].map(|name| dir.join(name)));
    files.into_iter().find_map(|file| {
        let text = fs::read_to_string(&file).ok()?.parse::<DocumentMut>().ok()?;
        let program = text.get("build")?.get("rustc-wrapper")?.as_str()?.to_owned();
        let said_by = format!("build.rustc-wrapper in {}", file.display());
        (!program.is_empty()).then_some(Wrapper { program, said_by })
    })
}

fn cmake() -> Option<Finding> {
    const LAUNCHERS: [&str; 2] = ["CMAKE_C_COMPILER_LAUNCHER", "CMAKE_CXX_COMPILER_LAUNCHER"];
    if !on_path("cmake") {
        return None;
    }
    let set = LAUNCHERS.map(|name| {
        let by_variable = env::get_nonempty(name).map(|value| Wrapper {
            program: value.to_string_lossy().into_owned(),
            said_by: name.to_owned(),
        });
        by_variable.or_else(|| in_cmake_cache(name))
    });
    let to_do = "export CMAKE_C_COMPILER_LAUNCHER=ibid CMAKE_CXX_COMPILER_LAUNCHER=ibid, before a fresh configure";
    let unset: Vec<_> =
        LAUNCHERS.iter().zip(&set).filter(|(_, wrapper)| wrapper.is_none()).collect();
    if let Some(wrapper) = set.iter().flatten().find(|wrapper| !is_us(&wrapper.program)) {
        return Some(judge("cmake", wrapper, to_do));
    }
    if unset.is_empty() {
        return set[0].as_ref().map(|wrapper| judge("cmake", wrapper, to_do));
    }
    if leads_to_us() {
        return Some(finding(Mark::Ok, "cmake", "finds the compilers by ibid's links"));
    }
    let names: Vec<_> = unset.iter().map(|(name, _)| **name).collect();
    let found = format!("{} is not set", names.join(" and "));
    let found = if names.len() == 2 { "no launcher is set".to_owned() } else { found };
    Some(finding(Mark::Note, "cmake", found).advise(to_do))
}

/// What a build directory, here or in `build`, was configured with.
fn in_cmake_cache(name: &str) -> Option<Wrapper> {
    ["CMakeCache.txt", "build/CMakeCache.txt"].iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let program = line.split_once('=')?.1.to_owned();
        let said_by = format!("{name} in {file}");
        (!program.is_empty()).then_some(Wrapper { program, said_by })
    })
}

/// Whether the first compiler on `PATH` is a link to us.
fn leads_to_us() -> bool {
    let path = env::get(env::PATH);
    let ourselves = Ourselves::default();
    COMPILERS.iter().any(|name| {
        let found = find_tool(OsStr::new(name), path.as_deref(), &|_| false);
        found.path.is_some_and(|path| ourselves.is(&path))
    })
}

fn judge(what: &'static str, wrapper: &Wrapper, to_do: &str) -> Finding {
    let Wrapper { program, said_by } = wrapper;
    match resolved(program) {
        Some(path) if Ourselves::default().is(&path) => {
            finding(Mark::Ok, what, format!("runs {} ({said_by})", path.display()))
        }
        Some(path) => {
            let found = format!("runs {}, which is not this ibid ({said_by})", path.display());
            finding(Mark::Warn, what, found).advise(to_do)
        }
        None => {
            let found = format!("`{program}` is not there ({said_by})");
            finding(Mark::Warn, what, found).advise(to_do)
        }
    }
}

fn is_us(program: &str) -> bool {
    resolved(program).is_some_and(|path| Ourselves::default().is(&path))
}

/// The program that a launcher's first word names.
fn resolved(program: &str) -> Option<PathBuf> {
    let first = program.split(';').next().unwrap_or(program);
    find_tool(OsStr::new(first), env::get(env::PATH).as_deref(), &|_| false).path
}

/// Worktrees of the repository around the working directory.
fn checkouts(remap: Remap) -> Option<Finding> {
    let here = std::env::current_dir().ok()?;
    let git = here.ancestors().map(|dir| dir.join(".git")).find(|git| git.exists())?;
    let common = if git.is_dir() { git } else { main_repository(&git)? };
    let worktrees = fs::read_dir(common.join("worktrees")).ok()?.flatten().count();
    let found = format!("this repository has {} worktrees", worktrees + 1);
    (worktrees > 0).then(|| match remap {
        Remap::Auto => {
            let found = format!("{found}: `remap` is on, results serve all of them");
            finding(Mark::Ok, "checkouts", found)
        }
        Remap::Off => {
            let found = format!("{found}: what names its directory serves only the one that made it");
            finding(Mark::Note, "checkouts", found)
                .advise("to share nearly all: `remap = \"auto\"` in ibid.toml at the root, or IBID_REMAP=auto")
        }
    })
}

/// The repository of a worktree, by its `.git` file.
fn main_repository(file: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    let own = file.parent()?.join(text.strip_prefix("gitdir:")?.trim());
    Some(own.parent()?.parent()?.to_path_buf())
}
