//! `ibid install --cargo`, `ibid install --cmake`: what makes cargo and cmake run ibid, without links.
//!
//! A file is changed only after asking, and keeps its comments and its order. Read next: `doctor/builds.rs`, which finds out
//! what is set up.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use toml_edit::{DocumentMut, Item, Table, value};

use super::in_words;
use crate::cli::refuse;
use crate::config::{replace_file, toml_problem};
use crate::env;

/// The key below `[build]`.
const KEY: &str = "rustc-wrapper";

/// Prints presets for cmake: nothing else, so that they can be sent to a file.
pub fn cmake(stdout: &mut dyn Write) -> io::Result<u8> {
    let ibid = std::env::current_exe()?.display().to_string();
    let presets = json!({
        "version": 3,
        "configurePresets": [{
            "name": "ibid",
            "displayName": "Compiles are cached by ibid",
            "binaryDir": "${sourceDir}/build",
            "cacheVariables": {
                "CMAKE_C_COMPILER_LAUNCHER": ibid,
                "CMAKE_CXX_COMPILER_LAUNCHER": ibid,
            },
        }],
    });
    writeln!(stdout, "{presets:#}")?;
    Ok(0)
}

/// Writes ibid as `build.rustc-wrapper` into the user's configuration of cargo; 1 if that is not wanted.
pub fn cargo(is_agreed: bool, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let ibid = std::env::current_exe()?.display().to_string();
    change(is_agreed, stdout, stderr, &Wanted::Is(ibid))
}

/// Takes ibid out of it.
pub fn without_cargo(
    is_agreed: bool,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    change(is_agreed, stdout, stderr, &Wanted::IsNotOurs)
}

/// What the wrapper is to be.
enum Wanted {
    Is(String),
    IsNotOurs,
}

fn change(
    is_agreed: bool,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    wanted: &Wanted,
) -> io::Result<u8> {
    let Some(path) = cargo_configuration() else {
        return refuse(&"no place for cargo's configuration: set HOME or CARGO_HOME", stderr);
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(in_words(&path, &error)),
    };
    let mut document: DocumentMut =
        text.parse().map_err(|error| io::Error::other(toml_problem(&path, &text, &error)))?;
    let build = document.entry("build").or_insert_with(|| Item::Table(Table::new()));
    let Some(build) = build.as_table_like_mut() else {
        return refuse(&format!("{}: `build` is no table", path.display()), stderr);
    };
    let old = build.get(KEY).and_then(Item::as_str).map(str::to_owned);
    let shown = path.display();
    let question = match (wanted, &old) {
        (Wanted::Is(ibid), Some(old)) if old == ibid => {
            writeln!(stdout, "{shown}: {KEY} is {ibid} already")?;
            note_variable(ibid, stdout)?;
            return Ok(0);
        }
        (Wanted::Is(ibid), _) => {
            build.insert(KEY, value(ibid));
            let instead = old.map_or_else(String::new, |old| format!(" instead of `{old}`"));
            format!("Write `{KEY} = \"{ibid}\"`{instead} below [build] in {shown}?")
        }
        (Wanted::IsNotOurs, Some(old)) if is_ours(old) => {
            build.remove(KEY);
            format!("Remove `{KEY} = \"{old}\"` from {shown}?")
        }
        (Wanted::IsNotOurs, _) => {
            writeln!(stdout, "nothing to remove: {KEY} in {shown} is not ibid")?;
            return Ok(0);
        }
    };
    if !is_agreed && !agrees(&question, stdout)? {
        writeln!(stdout, "nothing is changed")?;
        return Ok(1);
    }
    replace_file(&path, &document.to_string()).map_err(|error| in_words(&path, &error))?;
    writeln!(stdout, "{shown} is written")?;
    if let Wanted::Is(ibid) = wanted {
        note_variable(ibid, stdout)?;
    }
    Ok(0)
}

/// A variable wins over the file.
fn note_variable(ibid: &str, stdout: &mut dyn Write) -> io::Result<()> {
    match env::get("RUSTC_WRAPPER") {
        Some(other) if other != ibid => {
            writeln!(stdout, "Note: RUSTC_WRAPPER is `{}`, and wins: unset it.", other.display())
        }
        _ => Ok(()),
    }
}

/// Asks, and reads a line; nothing is a no.
fn agrees(question: &str, stdout: &mut dyn Write) -> io::Result<bool> {
    write!(stdout, "{question} [y/N] ")?;
    stdout.flush()?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer)?;
    if read == 0 || !answer.ends_with('\n') {
        writeln!(stdout)?;
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether a wrapper is this ibid, or another one.
fn is_ours(wrapper: &str) -> bool {
    let is_this = std::env::current_exe().is_ok_and(|ibid| ibid == Path::new(wrapper));
    is_this || Path::new(wrapper).file_name().is_some_and(|name| name == "ibid")
}

/// The user's own file; the name without an ending, which older versions of cargo knew, still wins.
fn cargo_configuration() -> Option<PathBuf> {
    let home = env::get_nonempty("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| Some(PathBuf::from(env::get_nonempty(env::HOME)?).join(".cargo")))?;
    let old = home.join("config");
    Some(if old.is_file() { old } else { home.join("config.toml") })
}
