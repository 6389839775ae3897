//! `ibid config [list|get|set]`: shows the settings and writes them to the configuration file.
//!
//! Writing keeps the comments and the order of the file. Read next: `config.rs` of the library.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use super::BAD_USAGE;
use super::args::{Config as Asked, ConfigAction};
use crate::config::{self, Config, SETTINGS, Setting};
use crate::env;

/// Runs it.
pub fn run(asked: &Asked, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    match &asked.action {
        None | Some(ConfigAction::List) => list(&config, stdout, stderr),
        Some(ConfigAction::Get { key }) => match Setting::find(key) {
            Some(setting) => {
                writeln!(stdout, "{}", config.show(*setting))?;
                Ok(0)
            }
            None => unknown_key(key, stderr),
        },
        Some(ConfigAction::Set { key, value }) => match Setting::find(key) {
            Some(setting) => set(&config, *setting, value, stderr),
            None => unknown_key(key, stderr),
        },
    }
}

fn list(config: &Config, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let shown = |path: &Option<PathBuf>| match path {
        Some(path) => path.display().to_string(),
        None => "(none: neither HOME nor its own variable is set)".to_owned(),
    };
    writeln!(stdout, "cache directory   {}", shown(&config.cache_dir))?;
    writeln!(stdout, "settings file     {}", shown(&config.config_path))?;
    writeln!(stdout)?;
    let in_file = config.config_path.as_deref().and_then(|path| read(path).ok());
    for setting in SETTINGS {
        let source = if env::get_nonempty(setting.variable).is_some() {
            setting.variable
        } else if in_file.as_ref().is_some_and(|file| file.contains_key(setting.key)) {
            "settings file"
        } else {
            "default"
        };
        let value = config.show(*setting);
        let value = if value.is_empty() { "-" } else { &value };
        writeln!(stdout, "{:<9} {value:<9} {source:<14} {}", setting.key, setting.meaning)?;
    }
    for problem in &config.problems {
        writeln!(stderr, "ibid: {problem}")?;
    }
    Ok(0)
}

fn set(config: &Config, setting: Setting, text: &str, stderr: &mut dyn Write) -> io::Result<u8> {
    let mut value = match setting.value(text) {
        Ok(value) => value,
        Err(problem) => {
            writeln!(stderr, "ibid: {}: {problem}", setting.key)?;
            return Ok(BAD_USAGE);
        }
    };
    let Some(path) = &config.config_path else {
        writeln!(stderr, "ibid: no place for a settings file: HOME is not set")?;
        return Ok(1);
    };
    let mut document = read(path)?;
    if let Some(old) = document.get(setting.key).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    }
    document[setting.key] = Item::Value(value);
    write(path, &document.to_string())?;
    if env::get_nonempty(setting.variable).is_some() {
        writeln!(stderr, "ibid: note: {} is set and wins over the file", setting.variable)?;
    }
    Ok(0)
}

fn unknown_key(key: &str, stderr: &mut dyn Write) -> io::Result<u8> {
    let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    writeln!(stderr, "ibid: unknown key `{key}`; there are {}", keys.join(", "))?;
    Ok(BAD_USAGE)
}

/// The file as it is, or an empty one.
fn read(path: &Path) -> io::Result<DocumentMut> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    text.parse().map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// Replaces the file in one step, through a symlink if it is one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension(format!("toml.{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, &path).inspect_err(|_| drop(fs::remove_file(&new)))
}
