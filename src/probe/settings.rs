//! The settings that a look-up before libc must know: those that change bytes, and those that leave the call to the wrapper.
//!
//! The settings file is no input of a record: it is read at each call, here in a strict form and in the wrapper as TOML.
//! What is not plainly in that form is left to the wrapper, never guessed. Read next: `config.rs`, `command.rs`.

use core::ffi::CStr;

use super::environment::Environment;
use super::{joined, project};
use crate::shm::raw::{self, AsFd, Errno};

/// The longest settings file that is read here.
const FILE_BYTES_MAX: usize = 16 << 10;

/// What the settings come to: the environment over the project's file over the user's over the defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings<'a> {
    /// The project's root, as it is written; empty if nobody names one.
    pub root: &'a [u8],
    /// Whether prefix-map flags are added.
    pub is_remapped: bool,
    /// Whether the cache may be one that a group shares.
    pub is_shared: bool,
}

impl<'a> Settings<'a> {
    /// Those of the user's file, which is read into `buffer`, of which the rest is given back; `None`: the wrapper must
    /// look, because of what a setting says or because it was not understood.
    pub fn read(
        environment: &Environment,
        buffer: &'a mut [u8],
    ) -> Option<(Settings<'a>, &'a mut [u8])> {
        let (text, rest) = match path(environment, buffer).map(raw::open_read) {
            None | Some(Err(Errno::NOENT | Errno::NOTDIR)) => (&[][..], buffer),
            Some(Ok(file)) => whole(&file, buffer)?,
            Some(Err(_)) => return None,
        };
        Some((Settings::default().parse(text, None)?, rest))
    }

    /// The same with those of the project in which `directory` lies over it, as [`Settings::read`] gives them; the outer `None`: there
    /// is no such file.
    #[inline(never)]
    pub fn of_project(
        self,
        directory: &[u8],
        buffer: &'a mut [u8],
    ) -> Option<Option<(Settings<'a>, &'a mut [u8])>> {
        let mut is_regular = false;
        let len_bytes = project::find(directory, buffer, |_, seen| {
            is_regular = matches!(seen, project::Seen::File(state) if state.is_regular());
        })?;
        let (path, rest) = buffer.split_at_mut_checked(len_bytes)?;
        Some(CStr::from_bytes_with_nul(path).ok().filter(|_| is_regular).and_then(|path| {
            let file = raw::open_read(path).ok()?;
            let (text, rest) = whole(&file, rest)?;
            let path = path.to_bytes();
            let slash = path.iter().rposition(|byte| *byte == b'/')?;
            Some((self.parse(text, path.get(..slash))?, rest))
        }))
    }

    /// The same with the variables of `environment` over it.
    #[must_use]
    pub fn under(self, environment: &Environment) -> Settings<'a> {
        let set = |name: &[u8]| environment.value(name).filter(|value| !value.is_empty());
        Settings {
            root: set(b"IBID_ROOT").unwrap_or(self.root),
            is_remapped: set(b"IBID_REMAP").and_then(remap).unwrap_or(self.is_remapped),
            is_shared: set(b"IBID_SHARE").and_then(share).unwrap_or(self.is_shared),
        }
    }

    /// The same with what a settings file says over it, which is that of a project if its directory is given; `None` if that is
    /// for the wrapper to find out, or to heed.
    fn parse(self, text: &'a [u8], project: Option<&'a [u8]>) -> Option<Settings<'a>> {
        let mut settings = self;
        let mut seen = 0u32;
        let mut table: Option<Table> = None;
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            // Anything else makes TOML refuse the whole file.
            if !line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
                return None;
            }
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            // What is said of single tools, the wrapper heeds where one of them runs.
            if line.starts_with(b"[") {
                table = Some(Table::read(line, text)?);
                continue;
            }
            let (key, value) = entry(line)?;
            if let Some(table) = &mut table {
                table.take(key, value)?;
                continue;
            }
            let at = KEYS.iter().position(|known| *known == key)?;
            // A key that stands there twice makes TOML refuse the file, too.
            if seen & 1 << at != 0 {
                return None;
            }
            seen |= 1 << at;
            match project {
                None => settings.apply(key, value)?,
                Some(directory) => settings.apply_in_project(key, value, directory)?,
            }
        }
        Some(settings)
    }

    fn apply(&mut self, key: &[u8], value: Value<'a>) -> Option<()> {
        match (key, value) {
            (b"max_size", Value::Text(_) | Value::Number)
            | (b"readonly", Value::Switch(_))
            | (b"recache" | b"disable", Value::Switch(false))
            | (b"observer", Value::Text(b"preload" | b"seccomp"))
            | (b"readonly_dir" | b"remote", Value::Text(_)) => {}
            (b"root", Value::Text(text)) if is_plain(text) => self.root = text,
            (b"remap", Value::Text(text)) => self.is_remapped = remap(text)?,
            (b"share", Value::Text(text)) => self.is_shared = share(text)?,
            _ => return None,
        }
        Some(())
    }

    fn apply_in_project(
        &mut self,
        key: &[u8],
        value: Value<'a>,
        directory: &'a [u8],
    ) -> Option<()> {
        match (key, value) {
            (b"root", Value::Text(b".")) => self.root = directory,
            (b"root" | b"remap", value) => return self.apply(key, value),
            _ => return None,
        }
        Some(())
    }
}

/// The bytes of a file, and what is left of the buffer; `None` if it is too long.
fn whole<'b>(file: &raw::Handle, buffer: &'b mut [u8]) -> Option<(&'b [u8], &'b mut [u8])> {
    let room = buffer.get_mut(..FILE_BYTES_MAX)?;
    let len = raw::read_all(file.as_fd(), room).ok().filter(|len| *len < FILE_BYTES_MAX)?;
    let (text, rest) = buffer.split_at_mut_checked(len)?;
    Some((text, rest))
}

/// All keys of the settings file.
const KEYS: [&[u8]; 11] = [
    b"max_size",
    b"share",
    b"readonly",
    b"readonly_dir",
    b"recache",
    b"disable",
    b"root",
    b"remap",
    b"observer",
    b"log",
    b"remote",
];

/// A table `[tools."NAME"]`.
#[derive(Debug, Default)]
struct Table {
    has_entry: bool,
}

impl Table {
    /// That of this line; `None` if it is another one, or if it stands twice in the text.
    fn read(line: &[u8], text: &[u8]) -> Option<Table> {
        let name = line.strip_prefix(b"[tools.\"")?.strip_suffix(b"\"]")?;
        let is_plain = !name.is_empty() && !name.iter().any(|byte| matches!(byte, b'"' | b'\\'));
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let is_once = lines.filter(|other| *other == line).count() == 1;
        (is_plain && is_once).then_some(Table::default())
    }

    fn take(&mut self, key: &[u8], value: Value<'_>) -> Option<()> {
        let is_known = key == b"steady" && matches!(value, Value::Switch(_)) && !self.has_entry;
        self.has_entry = true;
        is_known.then_some(())
    }
}

/// A value as this reader knows it.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Text(&'a [u8]),
    Switch(bool),
    Number,
}

/// `KEY = VALUE`, with a comment behind it perhaps.
fn entry(line: &[u8]) -> Option<(&[u8], Value<'_>)> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (line.get(..at)?.trim_ascii_end(), line.get(at + 1..)?.trim_ascii_start());
    let (value, rest) = if let Some(text) = value.strip_prefix(b"\"") {
        let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        // What a backslash means is TOML's business.
        let rest = text.get(end..)?.strip_prefix(b"\"")?;
        (Value::Text(text.get(..end)?), rest)
    } else {
        let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b'#');
        let end = value.iter().position(is_end).unwrap_or(value.len());
        let (word, rest) = value.split_at_checked(end)?;
        (bare(word)?, rest)
    };
    let rest = rest.trim_ascii_start();
    (rest.is_empty() || rest.starts_with(b"#")).then_some((key, value))
}

fn bare(word: &[u8]) -> Option<Value<'_>> {
    match word {
        b"true" => Some(Value::Switch(true)),
        b"false" => Some(Value::Switch(false)),
        [b'1'..=b'9', rest @ ..] if rest.len() < 18 && rest.iter().all(u8::is_ascii_digit) => {
            Some(Value::Number)
        }
        _ => None,
    }
}

/// Whether a path says the same when it is made absolute.
fn is_plain(path: &[u8]) -> bool {
    path.strip_prefix(b"/").is_some_and(|rest| {
        rest.split(|byte| *byte == b'/').all(|part| !part.is_empty() && part != b".")
    })
}

fn remap(text: &[u8]) -> Option<bool> {
    match text {
        b"auto" => Some(true),
        b"off" => Some(false),
        _ => None,
    }
}

fn share(text: &[u8]) -> Option<bool> {
    match text {
        b"group" => Some(true),
        b"off" => Some(false),
        _ => None,
    }
}

/// `IBID_CONFIG`, else `$XDG_CONFIG_HOME/ibid/config.toml`, else `$HOME/.config/ibid/config.toml`.
fn path<'p>(environment: &Environment, buffer: &'p mut [u8]) -> Option<&'p CStr> {
    let nonempty = |name: &[u8]| environment.value(name).filter(|value| !value.is_empty());
    let is_absolute = |path: &&[u8]| path.starts_with(b"/");
    if let Some(file) = nonempty(b"IBID_CONFIG") {
        joined(file, b"\0", buffer)
    } else if let Some(directory) = nonempty(b"XDG_CONFIG_HOME").filter(is_absolute) {
        joined(directory, b"/ibid/config.toml\0", buffer)
    } else {
        joined(nonempty(b"HOME").filter(is_absolute)?, b"/.config/ibid/config.toml\0", buffer)
    }
}
