//! `ibid config [list|get|set|unset]`: shows the settings and writes them to the settings file.
//!
//! Writing keeps the comments and the order of the file. Read next: `config.rs` of the library.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use super::BAD_USAGE;
use super::args::{ConfigAction, ConfigArgs as Asked};
use crate::config::{
    self, Config, Origin, SETTINGS, Setting, replace_file, toml_problem, unknown_key,
};
use crate::env;

/// Runs it.
pub fn run(asked: &Asked, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let key = match &asked.action {
        None | Some(ConfigAction::List) => return list(&config, stdout, stderr),
        Some(
            ConfigAction::Get { key } | ConfigAction::Set { key, .. } | ConfigAction::Unset { key },
        ) => key,
    };
    let Some(setting) = Setting::find(key) else {
        writeln!(stderr, "ibid: {}", unknown_key(&key.escape_debug().to_string()))?;
        return Ok(BAD_USAGE);
    };
    match &asked.action {
        Some(ConfigAction::Set { value, .. }) => set(&config, *setting, value, stderr),
        Some(ConfigAction::Unset { .. }) => unset(&config, *setting, stderr),
        _ => {
            writeln!(stdout, "{}", config.show(*setting))?;
            let is_its_own = |problem: &&String| {
                problem.starts_with(setting.variable)
                    || problem.contains(&format!(": {}: ", setting.key))
            };
            for problem in config.problems.iter().filter(is_its_own) {
                writeln!(stderr, "ibid: {problem}")?;
            }
            Ok(0)
        }
    }
}

/// The word for where a value comes from.
fn origin(config: &Config, setting: Setting) -> &'static str {
    match config.origin(setting) {
        Origin::Environment => setting.variable,
        Origin::File => "settings file",
        Origin::Project => "project file",
        Origin::Default => "default",
    }
}

fn list(config: &Config, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let shown = |path: &Option<PathBuf>| match path {
        Some(path) => path.display().to_string(),
        None => "(none: neither HOME nor its own variable is set)".to_owned(),
    };
    writeln!(stdout, "cache directory   {}", shown(&config.cache_dir))?;
    writeln!(stdout, "settings file     {}", shown(&config.config_path))?;
    if let Some(project) = &config.project {
        writeln!(stdout, "project file      {}", project.path.display())?;
    }
    writeln!(stdout)?;
    for setting in SETTINGS {
        let value = config.show(*setting);
        let value = if value.is_empty() { "-" } else { &value };
        let origin = origin(config, *setting);
        writeln!(stdout, "{:<12} {value:<9} {origin:<14} {}", setting.key, setting.meaning)?;
    }
    for problem in &config.problems {
        writeln!(stderr, "ibid: {problem}")?;
    }
    Ok(0)
}

/// Writes a value into the settings file; 2 if it is refused.
pub(super) fn set(
    config: &Config,
    setting: Setting,
    text: &str,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let mut value = match setting.value(text) {
        Ok(value) => value,
        Err(problem) => {
            writeln!(stderr, "ibid: {}: {problem}", setting.key)?;
            return Ok(BAD_USAGE);
        }
    };
    change(config, setting, stderr, |document| {
        if let Some(old) = document.get(setting.key).and_then(Item::as_value) {
            *value.decor_mut() = old.decor().clone();
        }
        document[setting.key] = Item::Value(value);
        true
    })
}

fn unset(config: &Config, setting: Setting, stderr: &mut dyn Write) -> io::Result<u8> {
    change(config, setting, stderr, |document| document.remove(setting.key).is_some())
}

/// Changes the settings file; `edit` says whether there is something to write.
fn change(
    config: &Config,
    setting: Setting,
    stderr: &mut dyn Write,
    edit: impl FnOnce(&mut DocumentMut) -> bool,
) -> io::Result<u8> {
    let Some(path) = &config.config_path else {
        writeln!(stderr, "ibid: no place for a settings file: set HOME or IBID_CONFIG")?;
        return Ok(1);
    };
    let mut document = read(path)?;
    if edit(&mut document) {
        replace_file(path, &document.to_string()).map_err(|error| about(path, &error))?;
    }
    if env::get_nonempty(setting.variable).is_some() {
        writeln!(stderr, "ibid: note: {} is set and wins over the file", setting.variable)?;
    } else if let (Origin::Project, Some(project)) = (config.origin(setting), &config.project) {
        writeln!(stderr, "ibid: note: {} says it here, and wins", project.path.display())?;
    }
    Ok(0)
}

/// The file as it is, or an empty one.
fn read(path: &Path) -> io::Result<DocumentMut> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(about(path, &error)),
    };
    text.parse().map_err(|error| io::Error::other(toml_problem(path, &text, &error)))
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
