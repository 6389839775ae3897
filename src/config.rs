//! The settings: the environment over the project's `ibid.toml` over the user's `config.toml` over the defaults.
//!
//! It never prints and never fails: what cannot be understood is left at the next best value and becomes one line of
//! [`Config::problems`], which `ibid config` shows and a compile ignores. Read next: `env.rs`, `cli/config.rs`.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Value};

use crate::env;

mod nearest;
mod project;
mod remote;
mod trust;
mod values;

pub use nearest::{distance, nearest};
pub use project::ProjectFile;
pub use remote::Remote;
pub use trust::{PublicKey, SECRET_PREFIX, Trust, is_name as is_key_name};
use values::{absolute, show_size, switch};
pub use values::{parse_size, replace_file, toml_problem};

/// What the cache may hold if nobody says otherwise.
pub const DEFAULT_MAX_SIZE_BYTES: u64 = 10_000_000_000;

/// Everything that the user can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cache directory; `None` if neither `IBID_DIR` nor a home directory is known.
    pub cache_dir: Option<PathBuf>,
    /// The most that the cache may hold.
    pub max_size_bytes: u64,
    /// With whom the cache may be shared.
    pub share: Share,
    /// Use what is stored, store nothing.
    pub readonly: bool,
    /// A cache that is only read, and looked in after the own one.
    pub readonly_dir: Option<PathBuf>,
    /// Run the tool although its result is stored, and store the new one.
    pub recache: bool,
    /// Just run the tool.
    pub disable: bool,
    /// The project's root; `None`: found by looking for `.git`.
    pub root: Option<PathBuf>,
    /// Whether the compiler's own prefix-map flags are added.
    pub remap: Remap,
    /// How the tool is observed.
    pub observer: Observer,
    /// Where the log goes, if it is wanted.
    pub log: Option<Log>,
    /// Storages beyond this machine, in the order in which they are asked.
    pub remotes: Vec<Remote>,
    /// The file of the key that signs what is sent, if it is not the one beside the configuration file.
    pub remote_key: Option<PathBuf>,
    /// Whose results are taken from storages. If what is set cannot be understood, nobody's.
    pub remote_trust: Trust,
    /// Tools whose clock, random numbers and process numbers do not enter their results, as they are called.
    pub tools: Vec<String>,
    /// Where the configuration file is, or would be.
    pub config_path: Option<PathBuf>,
    /// The project's own file, if it has one.
    pub project: Option<ProjectFile>,
    /// What could not be understood, one line each.
    pub problems: Vec<String>,
    /// Where each value comes from, in the order of [`SETTINGS`].
    origins: [Origin; SETTINGS.len()],
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it, or what was set is refused.
    Default,
    /// The settings file.
    File,
    /// The project's file.
    Project,
    /// Its variable.
    Environment,
}

/// See `IBID_SHARE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// With nobody.
    Off,
    /// With the members of its directory's group, if the directory is made for that.
    Group,
}

/// See `IBID_REMAP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remap {
    /// The tool gets exactly the arguments it was given.
    Off,
    /// Prefix-map flags are added.
    Auto,
}

/// See `IBID_OBSERVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observer {
    /// A shared object in the tool's own processes, where it is trusted with them.
    Preload,
    /// The kernel's notice of each system call, beside that.
    Seccomp,
    /// None: everything passes through.
    Off,
}

/// See `IBID_LOG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Log {
    /// Standard error of the invocation.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

/// One setting that has a key in the file and a variable in the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key in `config.toml`.
    pub key: &'static str,
    /// Its variable.
    pub variable: &'static str,
    /// What it does, in a few words.
    pub meaning: &'static str,
    kind: SettingKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SettingKind {
    MaxSize,
    Share,
    ReadOnly,
    ReadOnlyDir,
    Recache,
    Disable,
    Root,
    Remap,
    Observer,
    Log,
    Remote,
    RemoteKey,
    RemoteTrust,
}

const fn setting(
    key: &'static str,
    variable: &'static str,
    kind: SettingKind,
    meaning: &'static str,
) -> Setting {
    Setting { key, variable, meaning, kind }
}

/// All settings that the file knows, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    setting(
        "max_size",
        env::IBID_MAX_SIZE,
        SettingKind::MaxSize,
        "the most that the cache may hold",
    ),
    setting("share", env::IBID_SHARE, SettingKind::Share, "share the cache: group or off"),
    setting(
        "readonly",
        env::IBID_READONLY,
        SettingKind::ReadOnly,
        "use what is stored, store nothing",
    ),
    setting(
        "readonly_dir",
        env::IBID_READONLY_DIR,
        SettingKind::ReadOnlyDir,
        "a second cache, which is only read",
    ),
    setting(
        "recache",
        env::IBID_RECACHE,
        SettingKind::Recache,
        "run the tool, store its result anew",
    ),
    setting("disable", env::IBID_DISABLE, SettingKind::Disable, "just run the tool"),
    setting("root", env::IBID_ROOT, SettingKind::Root, "the project's root"),
    setting("remap", env::IBID_REMAP, SettingKind::Remap, "add prefix-map flags: auto or off"),
    setting(
        "observer",
        env::IBID_OBSERVER,
        SettingKind::Observer,
        "how to watch: preload, seccomp, off",
    ),
    setting("log", env::IBID_LOG, SettingKind::Log, "stderr, or a file to append to"),
    setting("remote", env::IBID_REMOTE, SettingKind::Remote, "storages beyond this machine"),
    setting(
        "remote_key",
        env::IBID_REMOTE_KEY,
        SettingKind::RemoteKey,
        "the key that signs what is sent",
    ),
    setting(
        "remote_trust",
        env::IBID_REMOTE_TRUST,
        SettingKind::RemoteTrust,
        "whose results: anybody, nobody, or keys",
    ),
];

impl Setting {
    /// The setting with this key.
    pub fn find(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    fn is_switch(self) -> bool {
        matches!(self.kind, SettingKind::ReadOnly | SettingKind::Recache | SettingKind::Disable)
    }

    /// Checks `text` as a value of this setting and gives it the type that it has in `config.toml`.
    pub fn value(self, text: &str) -> Result<Value, String> {
        let mut scratch = Config::defaults();
        scratch.apply(self, OsStr::new(text))?;
        Ok(match self.kind {
            _ if self.is_switch() => Value::from(switch(text)?),
            // The file is read in any directory.
            SettingKind::Root | SettingKind::ReadOnlyDir => {
                Value::from(directory(text)?.display().to_string())
            }
            SettingKind::Log if text != "stderr" => {
                Value::from(values::writable_file(text)?.display().to_string())
            }
            SettingKind::RemoteKey => {
                Value::from(absolute(OsStr::new(text))?.display().to_string())
            }
            _ => Value::from(text),
        })
    }

    fn at(self) -> usize {
        SETTINGS.iter().position(|setting| *setting == self).unwrap_or_default()
    }
}

/// The settings of this process.
pub fn load() -> Config {
    let mut config = Config::defaults();
    config.cache_dir = cache_dir();
    config.config_path = config_path();
    if let Some(path) = config.config_path.clone() {
        config.apply_file(&path);
    }
    config.apply_project();
    config.apply_environment();
    config
}

impl Config {
    fn defaults() -> Config {
        Config {
            cache_dir: None,
            max_size_bytes: DEFAULT_MAX_SIZE_BYTES,
            share: Share::Off,
            readonly: false,
            readonly_dir: None,
            recache: false,
            disable: false,
            root: None,
            remap: Remap::Off,
            observer: Observer::Preload,
            log: None,
            remotes: Vec::new(),
            remote_key: None,
            remote_trust: Trust::Anybody,
            tools: Vec::new(),
            config_path: None,
            project: None,
            problems: Vec::new(),
            origins: [Origin::Default; SETTINGS.len()],
        }
    }

    /// The file of the key that signs what is sent, which need not be there.
    pub fn key_path(&self) -> Option<PathBuf> {
        let beside = || Some(self.config_path.as_ref()?.with_file_name("remote.key"));
        self.remote_key.clone().or_else(beside)
    }

    /// Where the value of a setting comes from.
    pub fn origin(&self, setting: Setting) -> Origin {
        self.origins[setting.at()]
    }

    /// The value of a setting as text that [`Setting::value`] takes; empty where nothing is set.
    pub fn show(&self, setting: Setting) -> String {
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map_or_else(String::new, |path| path.display().to_string())
        };
        match setting.kind {
            SettingKind::MaxSize => show_size(self.max_size_bytes),
            SettingKind::Share => match self.share {
                Share::Off => "off".to_owned(),
                Share::Group => "group".to_owned(),
            },
            SettingKind::ReadOnly => self.readonly.to_string(),
            SettingKind::ReadOnlyDir => path(&self.readonly_dir),
            SettingKind::Recache => self.recache.to_string(),
            SettingKind::Disable => self.disable.to_string(),
            SettingKind::Root => path(&self.root),
            SettingKind::Remap => match self.remap {
                Remap::Off => "off".to_owned(),
                Remap::Auto => "auto".to_owned(),
            },
            SettingKind::Observer => match self.observer {
                Observer::Preload => "preload".to_owned(),
                Observer::Seccomp => "seccomp".to_owned(),
                Observer::Off => "off".to_owned(),
            },
            SettingKind::Log => match &self.log {
                None => String::new(),
                Some(Log::Stderr) => "stderr".to_owned(),
                Some(Log::File(file)) => file.display().to_string(),
            },
            SettingKind::Remote => {
                let shown: Vec<_> = self.remotes.iter().map(Remote::shown).collect();
                shown.join(" ; ")
            }
            SettingKind::RemoteKey => path(&self.remote_key),
            SettingKind::RemoteTrust => self.remote_trust.to_string(),
        }
    }

    fn apply(&mut self, setting: Setting, value: &OsStr) -> Result<(), String> {
        let text = value.to_string_lossy();
        match setting.kind {
            SettingKind::MaxSize => self.max_size_bytes = parse_size(&text)?,
            SettingKind::Share => {
                self.share = match &*text {
                    "off" => Share::Off,
                    "group" => Share::Group,
                    _ => return Err(format!("`{text}` is neither `group` nor `off`")),
                }
            }
            SettingKind::ReadOnly => self.readonly = switch(&text)?,
            SettingKind::ReadOnlyDir => self.readonly_dir = Some(absolute(value)?),
            SettingKind::Recache => self.recache = switch(&text)?,
            SettingKind::Disable => self.disable = switch(&text)?,
            SettingKind::Root => self.root = Some(absolute(value)?),
            SettingKind::Remap => {
                self.remap = match &*text {
                    "off" => Remap::Off,
                    "auto" => Remap::Auto,
                    _ => return Err(format!("`{text}` is neither `auto` nor `off`")),
                }
            }
            SettingKind::Observer => {
                self.observer = match &*text {
                    "preload" => Observer::Preload,
                    "off" => Observer::Off,
                    "seccomp" => Observer::Seccomp,
                    _ => return Err(format!("`{text}` is not `preload`, `seccomp` or `off`")),
                }
            }
            SettingKind::Log => self.log = Some(values::log(value)?),
            SettingKind::Remote => self.remotes = Remote::parse_all(&text)?,
            SettingKind::RemoteKey => self.remote_key = Some(values::key_file(value)?),
            SettingKind::RemoteTrust => {
                // Keys that somebody wanted to be needed are not left out because one is misspelt.
                self.remote_trust = Trust::NOBODY;
                self.remote_trust = Trust::parse(&text)?;
            }
        }
        Ok(())
    }

    fn apply_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return;
            }
            Err(error) => {
                self.remote_trust = Trust::NOBODY;
                return self.problem(path.display(), &format!("cannot be read: {error}"));
            }
        };
        let document = match text.parse::<DocumentMut>() {
            Ok(document) => document,
            Err(error) => {
                self.remote_trust = Trust::NOBODY;
                return self.problems.push(toml_problem(path, &text, &error));
            }
        };
        for (key, item) in document.iter() {
            if let Err(problem) = self.apply_item(key, item) {
                self.problem(path.display(), &problem);
            }
        }
    }

    fn apply_item(&mut self, key: &str, item: &Item) -> Result<(), String> {
        if matches!(key, "dir" | "cache_dir") {
            return Err(format!("`{key}` has no key here; make the default directory a symlink"));
        }
        if key == "tools" {
            self.tools = values::tools(item)?;
            return Ok(());
        }
        let setting = *Setting::find(key).ok_or_else(|| unknown_key(key))?;
        let text = match item.as_value() {
            Some(Value::String(text)) if !setting.is_switch() => text.value().clone(),
            Some(Value::Integer(number)) if setting.kind == SettingKind::MaxSize => {
                number.value().to_string()
            }
            Some(Value::Boolean(on)) if setting.is_switch() => on.value().to_string(),
            _ if setting.is_switch() => return Err(format!("{key}: neither `true` nor `false`")),
            _ => {
                if setting.kind == SettingKind::RemoteTrust {
                    self.remote_trust = Trust::NOBODY;
                }
                return Err(format!("{key}: not a string"));
            }
        };
        self.apply(setting, OsStr::new(&text)).map_err(|problem| format!("{key}: {problem}"))?;
        self.origins[setting.at()] = Origin::File;
        Ok(())
    }

    fn apply_environment(&mut self) {
        for &setting in SETTINGS {
            let Some(value) = env::get_nonempty(setting.variable) else { continue };
            match self.apply(setting, &value) {
                Ok(()) => self.origins[setting.at()] = Origin::Environment,
                Err(problem) => self.problem(setting.variable, &problem),
            }
        }
    }

    fn problem(&mut self, place: impl std::fmt::Display, what: &str) {
        self.problems.push(format!("{place}: {what}"));
    }
}

/// Refuses a key, with the one that is most like it.
pub fn unknown_key(key: &str) -> String {
    let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    format!("unknown key `{key}`; is it `{}`?", nearest(key, &keys))
}

/// A directory that is there, from the root on.
fn directory(text: &str) -> Result<PathBuf, String> {
    let path = absolute(OsStr::new(text))?;
    if path.is_dir() { Ok(path) } else { Err(format!("{} is no directory", path.display())) }
}

fn cache_dir() -> Option<PathBuf> {
    if let Some(dir) = env::get_nonempty(env::IBID_DIR) {
        return std::path::absolute(dir).ok();
    }
    Some(base_dir(env::XDG_CACHE_HOME, ".cache")?.join("ibid"))
}

fn config_path() -> Option<PathBuf> {
    if let Some(file) = env::get_nonempty(env::IBID_CONFIG) {
        return std::path::absolute(file).ok();
    }
    Some(base_dir(env::XDG_CONFIG_HOME, ".config")?.join("ibid/config.toml"))
}

/// A base directory as the XDG specification finds it; relative values are to be ignored.
fn base_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    env::get_nonempty(variable).map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(|| {
        let home = PathBuf::from(env::get_nonempty(env::HOME)?);
        home.is_absolute().then(|| home.join(below_home))
    })
}

#[cfg(test)]
mod tests {
    use super::{Config, Origin, SETTINGS, Setting};

    #[test]
    fn what_is_shown_is_taken_again() {
        let config = Config::defaults();
        for setting in SETTINGS {
            let shown = config.show(*setting);
            if !shown.is_empty() {
                setting.value(&shown).expect(setting.key);
                let mut again = Config::defaults();
                again.apply(*setting, std::ffi::OsStr::new(&shown)).expect(setting.key);
                assert_eq!(config.origin(*setting), Origin::Default);
                assert_eq!(again, config, "{}", setting.key);
            }
        }
    }

    #[test]
    fn a_file_with_problems_gives_one_line_for_each() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("config.toml");
        let text =
            "max_size = \"3G\"\nwrong = 1\nreadonly = \"yes\"\nobserver = \"magic\"\ndir = \"x\"\n";
        std::fs::write(&path, text).expect("a file");
        let mut config = Config::defaults();
        config.apply_file(&path);
        assert_eq!(config.max_size_bytes, 3_000_000_000);
        assert_eq!(config.problems.len(), 4, "{:?}", config.problems);
        assert!(config.problems.iter().all(|line| !line.contains('\n')));

        std::fs::write(&path, "max_size = = 3").expect("a file");
        let mut config = Config::defaults();
        config.apply_file(&path);
        assert_eq!(config.problems.len(), 1, "{:?}", config.problems);
    }

    #[test]
    fn keys_are_found() {
        assert_eq!(Setting::find("remap").map(|setting| setting.variable), Some("IBID_REMAP"));
        assert_eq!(Setting::find("dir"), None);
    }
}
