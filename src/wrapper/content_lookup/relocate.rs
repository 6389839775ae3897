//! A record of a result that is free of its place, as it would be had the command run here.
//!
//! Only what names the working directory changes, and that is in no output. What is above the old one is left out; what is above
//! the new one is put in by `refresh.rs`. Read next: `builder/place.rs`, `docs/places.md`.

use std::ffi::CString;

use crate::builder::place::{above, is_at_or_below};
use crate::probe::command::{Command, DIRECTORY, ROOT, fields};
use crate::probe::judge::Environment;
use crate::record;
use crate::store::draft::{Draft, DraftDirectory, DraftInput};

/// The record here; `None` if it is not free of its place, or of another command.
pub fn relocated(mut draft: Draft, command: &Command, environment: &Environment) -> Option<Draft> {
    if draft.flags & record::ANYWHERE == 0 || !is_same_elsewhere(&draft.command, command.bytes()) {
        return None;
    }
    let then = fields(&draft.command).nth(DIRECTORY)?.to_vec();
    let way = Way {
        base_now: above(command.directory(), draft.climb)?,
        base_then: above(&then, draft.climb)?,
        now: command.directory(),
        then: &then,
    };
    for variable in draft.variables.iter_mut().filter(|variable| variable.name == c"PWD") {
        let named = variable.flags & record::NAMES_DIRECTORY != 0;
        let now = environment.value(b"PWD");
        if named != now.is_some() || now.is_some_and(|value| value != command.directory()) {
            return None;
        }
        variable.value = environment.digest(b"PWD", variable.flags);
    }
    let inputs = std::mem::take(&mut draft.inputs).into_iter();
    draft.inputs = inputs
        .filter(|input| !way.is_above(input.path.to_bytes()))
        .map(|input| Some(DraftInput { path: way.moved(&input.path)?, ..input }))
        .collect::<Option<_>>()?;
    let directories = std::mem::take(&mut draft.directories).into_iter();
    draft.directories = directories.filter_map(|directory| way.directory(directory)).collect();
    draft.command = command.bytes().to_vec();
    Some(draft)
}

/// Whether two commands differ in nothing but root and directory.
fn is_same_elsewhere(then: &[u8], now: &[u8]) -> bool {
    let facts = |command: &'_ [u8]| command.get(..8).map(<[u8]>::to_vec);
    let of =
        |command| fields(command).enumerate().filter(|(at, _)| !matches!(*at, ROOT | DIRECTORY));
    facts(then) == facts(now) && of(then).eq(of(now))
}

/// From one place to another.
struct Way<'a> {
    then: &'a [u8],
    now: &'a [u8],
    base_then: &'a [u8],
    base_now: &'a [u8],
}

impl Way<'_> {
    /// Whether a path is a directory above the old working directory. That a directory is there above which others are
    /// needs no question.
    fn is_above(&self, path: &[u8]) -> bool {
        path.starts_with(b"/") && path != self.then && is_at_or_below(self.then, path)
    }

    fn moved(&self, path: &CString) -> Option<CString> {
        let bytes = path.to_bytes();
        for (then, now) in [(self.then, self.now), (self.base_then, self.base_now)] {
            if is_at_or_below(bytes, then) {
                return CString::new([now, &bytes[then.len()..]].concat()).ok();
            }
        }
        Some(path.clone())
    }

    /// A directory without its names that lead to the old working directory; `None` if none is left.
    fn directory(&self, mut directory: DraftDirectory) -> Option<DraftDirectory> {
        let path = directory.path.to_bytes().to_vec();
        let leads_there = |name: &CString| {
            let Some(name) = name.to_bytes().strip_suffix(b"/") else { return false };
            let slash: &[u8] = if path == b"/" { b"" } else { b"/" };
            path.starts_with(b"/") && is_at_or_below(self.then, &[&path[..], slash, name].concat())
        };
        let had_names = !directory.names.is_empty();
        directory.names.retain(|name| !leads_there(name));
        if had_names && directory.names.is_empty() {
            return None;
        }
        directory.path = self.moved(&directory.path)?;
        Some(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::stat::Stamp;

    const WAY: Way = Way {
        then: b"/srv/one/build",
        now: b"/tmp/second/build",
        base_then: b"/srv/one",
        base_now: b"/tmp/second",
    };

    fn text(text: &str) -> CString {
        CString::new(text).expect("no NUL")
    }

    #[test]
    fn paths_that_go_and_that_move() {
        for (path, moved) in [
            ("/srv", None),
            ("/srv/one", None),
            ("/srv/one/build", Some("/tmp/second/build")),
            ("/srv/one/build/x", Some("/tmp/second/build/x")),
            ("/srv/one/src", Some("/tmp/second/src")),
            ("/srv/onetwo", Some("/srv/onetwo")),
            ("/usr/include", Some("/usr/include")),
            ("srv", Some("srv")),
            ("", Some("")),
        ] {
            let found = (!WAY.is_above(path.as_bytes())).then(|| WAY.moved(&text(path)));
            assert_eq!(found, moved.map(|moved| Some(text(moved))), "{path}");
        }
    }

    /// Names on the way to the old place go; a directory of the same name in the working directory stays.
    #[test]
    fn names_in_directories() {
        for (path, names, left) in [
            ("/", &["srv/", "usr/"][..], Some(&["usr/"][..])),
            ("/srv", &["one/"], None),
            ("/srv/one", &["build/", "src/"], Some(&["src/"])),
            ("", &["srv/"], Some(&["srv/"])),
            ("/srv", &["one"], Some(&["one"])),
        ] {
            let owned = |names: &[&str]| names.iter().map(|name| text(name)).collect::<Vec<_>>();
            let (path, stamp) = (text(path), Stamp([0; 16]));
            let directory = DraftDirectory { path, stamp, names: owned(names) };
            let found = WAY.directory(directory).map(|directory| directory.names);
            assert_eq!(found, left.map(owned), "{names:?}");
        }
    }
}
