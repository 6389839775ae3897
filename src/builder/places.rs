//! The places of a command: the directories whose names say where it runs, and not what it does, and names that a build tool has
//! drawn for the occasion (CMake's `cmTC_1a2b3`).
//!
//! Two commands are the same in two places if they are equal once each name of a place stands as its place-holder. Read next:
//! `place.rs`, `mapped.rs` (whether a result is free of its places), `docs/places.md`.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_128;

use crate::probe::judge::Environment;
use crate::record;
use crate::store::path_set::PathSet;

/// Place-holders, one for each place.
const HOLDERS: [u8; 4] = [1, 2, 3, 6];
/// The last byte that may be a place-holder. No argument that holds one is ever shared.
const LAST_HOLDER: u8 = 8;
/// Stands between two places where they are written down.
const SEPARATOR: u8 = b':';

/// Directories whose names can be looked for. One may lie in another: then what is in both belongs to the inner one. A name that
/// does not begin with a slash was drawn, and may stand anywhere in a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<Vec<u8>>);

/// Whether a directory's name has two parts at least, of characters that stand for themselves wherever they are written.
pub fn is_distinct(directory: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(byte);
    directory.starts_with(b"/")
        && !directory.ends_with(b"/")
        && directory.split(|byte| *byte == b'/').count() > 2
        && directory.iter().all(is_plain)
}

/// Whether `path` is `directory` or lies below it.
pub fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether a text holds a byte by which a place is hidden, so that hidden names could not be told from it.
pub fn holds_holder(text: &[u8]) -> bool {
    text.iter().any(|byte| (1..=LAST_HOLDER).contains(byte))
}

/// Whether a place is a drawn name, and no directory.
fn is_drawn(place: &[u8]) -> bool {
    !place.starts_with(b"/")
}

/// Whether the name of a place that was found in a text at `at` is whole there.
fn is_whole(place: &[u8], text: &[u8], at: usize) -> bool {
    let next = text.get(at + place.len());
    let is_in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if is_drawn(place) {
        let before = text.get(..at).unwrap_or_default();
        !before.last().is_some_and(is_in_word) && !next.is_some_and(is_in_word)
    } else {
        next.is_none_or(|byte| *byte == b'/')
    }
}

/// Whether a text ends in a control sequence of a terminal (`ESC [`, numbers, a letter), as before a coloured path.
fn ends_in_colour(text: &[u8]) -> bool {
    let Some((last, rest)) = text.split_last() else { return false };
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
    let numbers = rest.iter().rev().take_while(|byte| is_number(byte)).count();
    last.is_ascii_alphabetic() && rest[..rest.len() - numbers].ends_with(b"\x1b[")
}

impl Places {
    /// These directories; `None` if they are too many, or the name of one cannot be told from other text.
    pub fn new(directories: Vec<Vec<u8>>) -> Option<Places> {
        let is_once = |one: &Vec<u8>| directories.iter().filter(|it| *it == one).count() == 1;
        let fits = directories.len() <= HOLDERS.len()
            && directories.iter().all(|one| is_distinct(one) && is_once(one));
        fits.then_some(Places(directories))
    }

    /// These directories, whatever their names are.
    pub const fn unchecked(directories: Vec<Vec<u8>>) -> Places {
        Places(directories)
    }

    /// Those that [`Places::joined`] wrote.
    pub fn read(joined: &[u8]) -> Places {
        let parts = joined.split(|byte| *byte == SEPARATOR).filter(|part| !part.is_empty());
        Places(parts.map(<[u8]>::to_vec).collect())
    }

    /// As one text, which a record keeps.
    pub fn joined(&self) -> CString {
        CString::new(self.0.join(&SEPARATOR)).unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with a name that was drawn; as they are if there is no holder left for it.
    #[must_use]
    pub fn with_drawn(mut self, name: Vec<u8>) -> Places {
        if self.0.len() < HOLDERS.len() {
            self.0.push(name);
        }
        self
    }

    /// The directories.
    pub fn directories(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(|place| !is_drawn(place))
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Whether a place's name occurs in a text, in whatever way.
    pub fn occur_in(&self, text: &[u8]) -> bool {
        self.iter().any(|place| memmem::find(text, place).is_some())
    }

    /// As [`Places::occur_in`], also in two and in four bytes a character.
    pub fn occur_in_any_encoding(&self, bytes: &[u8]) -> bool {
        let wide = |place: &[u8], width: usize| -> Vec<u8> {
            let padding = std::iter::repeat_n(0, width - 1);
            place.iter().flat_map(|byte| std::iter::once(*byte).chain(padding.clone())).collect()
        };
        self.occur_in(bytes)
            || self.iter().any(|place| {
                [2, 4].iter().any(|width| memmem::find(bytes, &wide(place, *width)).is_some())
            })
    }

    /// The place at or below which a path lies; the inner one of two.
    pub fn of(&self, path: &[u8]) -> Option<usize> {
        let holds = |(_, place): &(usize, &[u8])| !is_drawn(place) && is_at_or_below(path, place);
        let found = self.iter().enumerate().filter(holds).max_by_key(|(_, place)| place.len());
        found.map(|(at, _)| at)
    }

    /// What follows the name of its place in a path that lies at or below one.
    pub fn below<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        path.get(self.0.get(self.of(path)?)?.len()..)
    }

    /// Whether a place lies below this directory, which is not `/` and in no place itself.
    pub fn are_below(&self, path: &[u8]) -> bool {
        self.of(path).is_none() && self.lie_behind(path)
    }

    /// Whether this directory leads to a place, from above all or from another place, and is none itself.
    pub fn lie_behind(&self, path: &[u8]) -> bool {
        path.starts_with(b"/")
            && self.directories().all(|place| place != path)
            && self.directories().any(|place| is_at_or_below(place, path))
    }

    /// A text with a place-holder in place of each name of a place that a slash or the end of the text follows.
    pub fn hide(&self, text: &[u8]) -> Vec<u8> {
        self.renamed(text, |at| Some(vec![HOLDERS[at]]))
    }

    /// As [`Places::hide`], of drawn names only.
    pub fn hide_drawn(&self, text: &[u8]) -> Vec<u8> {
        self.renamed(text, |at| is_drawn(&self.0[at]).then(|| vec![HOLDERS[at]]))
    }

    /// A text with the names of these places in place of their place-holders.
    pub fn show(&self, text: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(text.len());
        for byte in text {
            let at = HOLDERS.iter().position(|holder| holder == byte);
            let place = at.and_then(|at| self.0.get(at));
            shown.extend_from_slice(place.map_or(std::slice::from_ref(byte), Vec::as_slice));
        }
        shown
    }

    /// A text with the names of other places in place of these.
    pub fn moved(&self, text: &[u8], to: &Places) -> Vec<u8> {
        self.renamed(text, |at| to.0.get(at).cloned())
    }

    /// As [`Places::moved`], of drawn names only.
    pub fn moved_drawn(&self, text: &[u8], to: &Places) -> Vec<u8> {
        self.renamed(text, |at| to.0.get(at).filter(|_| is_drawn(&self.0[at])).cloned())
    }

    /// Whether a text names places only as whole paths or their beginnings: at the text's start, or behind a character that is
    /// in no path's middle.
    pub fn are_paths_in(&self, text: &[u8]) -> bool {
        let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(byte);
        let is_path = |place: &[u8], at: usize| {
            let before = text.get(..at).unwrap_or_default();
            let is_start = !before.last().is_some_and(is_in_name) || ends_in_colour(before);
            (is_start || is_drawn(place)) && is_whole(place, text, at)
        };
        !holds_holder(text)
            && self.iter().all(|place| memmem::find_iter(text, place).all(|at| is_path(place, at)))
    }

    /// A text with other names where `name` gives one.
    fn renamed(&self, text: &[u8], name: impl Fn(usize) -> Option<Vec<u8>>) -> Vec<u8> {
        let mut renamed = Vec::with_capacity(text.len());
        let mut done = 0;
        while let Some((at, place)) = self.first_in(text, done) {
            let end = at + self.0[place].len();
            renamed.extend_from_slice(&text[done..at]);
            renamed.extend(name(place).unwrap_or_else(|| text[at..end].to_vec()));
            done = end;
        }
        renamed.extend_from_slice(&text[done..]);
        renamed
    }

    /// Where the first name of a place begins that is whole, not before `from`, and which it is; of two at one spot the inner
    /// one.
    fn first_in(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let found = self.iter().enumerate().filter_map(|(which, place)| {
            let mut names = memmem::find_iter(&text[from..], place).map(|at| from + at);
            let at = names.find(|at| is_whole(place, text, *at))?;
            Some((at, std::cmp::Reverse(place.len()), which))
        });
        found.min().map(|(at, _, which)| (at, which))
    }

    /// The names of a path set with place-holders in them; `None` if they could not be told from others then.
    pub fn hide_in(&self, set: PathSet) -> Option<PathSet> {
        if self.is_empty() {
            return Some(set);
        }
        let hidden = |path: &CStr| CString::new(self.hide(path.to_bytes())).unwrap_or_default();
        set.renamed(hidden, |path| self.show_path(path).into_owned())
    }

    /// A path as [`Places::show`] gives it.
    pub fn show_path<'p>(&self, path: &'p CStr) -> Cow<'p, CStr> {
        if self.is_empty() {
            return path.into();
        }
        CString::new(self.show(path.to_bytes())).unwrap_or_default().into()
    }
}

/// As `Environment::digest`, with place-holders in the values.
pub fn hidden_digest(
    environment: &Environment,
    name: &CStr,
    flags: u32,
    places: &Places,
) -> Option<[u8; 16]> {
    if flags & record::LOADER == 0 {
        let value = environment.value(name.to_bytes())?;
        return Some(xxh3_128(&places.hide(value)).to_le_bytes());
    }
    let entries = environment.loader_entries();
    let sum = entries.fold(0u128, |sum, it| sum.wrapping_add(xxh3_128(&places.hide(it))));
    Some(sum.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(list: &[&str]) -> Places {
        Places::new(list.iter().map(|it| it.as_bytes().to_vec()).collect()).expect("places")
    }

    #[test]
    fn places_that_can_be_told_from_other_text() {
        for (list, fits) in [
            (&["/srv/me"][..], true),
            (&["/srv/me", "/srv/you"], true),
            (&["/srv/me", "/srv/me2"], true),
            (&["/srv/me", "/srv/me/x"], true),
            (&["/srv/me", "/srv/me"], false),
            (&["/srv"], false),
            (&["/srv/"], false),
            (&["/"], false),
            (&["/srv/a b"], false),
            (&["/srv/\u{e4}"], false),
            (&["srv/me"], false),
        ] {
            let found = Places::new(list.iter().map(|it| it.as_bytes().to_vec()).collect());
            assert_eq!(found.is_some(), fits, "{list:?}");
            if let Some(found) = found {
                assert_eq!(Places::read(found.joined().to_bytes()), found);
            }
        }
        assert!(Places::read(b"").is_empty());
    }

    #[test]
    fn names_are_hidden_shown_and_moved() {
        let (here, there) = (places(&["/srv/me", "/tmp/b"]), places(&["/opt/you/x", "/w/v/u"]));
        for (text, hidden, moved) in [
            ("/srv/me", "\u{1}", "/opt/you/x"),
            ("-I/srv/me/i", "-I\u{1}/i", "-I/opt/you/x/i"),
            ("/srv/me2/i", "/srv/me2/i", "/srv/me2/i"),
            ("/srv/me.d", "/srv/me.d", "/srv/me.d"),
            ("/srv/me/:/tmp/b/c:", "\u{1}/:\u{2}/c:", "/opt/you/x/:/w/v/u/c:"),
            ("/srv/me@2/c", "/srv/me@2/c", "/srv/me@2/c"),
            ("a.c", "a.c", "a.c"),
            ("", "", ""),
        ] {
            assert_eq!(here.hide(text.as_bytes()), hidden.as_bytes(), "{text}");
            assert_eq!(here.show(hidden.as_bytes()), text.as_bytes(), "{text}");
            assert_eq!(here.moved(text.as_bytes(), &there), moved.as_bytes(), "{text}");
            assert_eq!(there.moved(moved.as_bytes(), &here), text.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_place_in_another() {
        let here = places(&["/srv/me", "/srv/me/target"]);
        for (text, hidden) in [
            ("/srv/me/target/d", "\u{2}/d"),
            ("/srv/me/targets", "\u{1}/targets"),
            ("/srv/me/src:/srv/me/target", "\u{1}/src:\u{2}"),
        ] {
            assert_eq!(here.hide(text.as_bytes()), hidden.as_bytes(), "{text}");
            assert_eq!(here.show(hidden.as_bytes()), text.as_bytes(), "{text}");
        }
        assert_eq!(here.of(b"/srv/me/target/d"), Some(1));
        assert_eq!(here.below(b"/srv/me/target/d"), Some(&b"/d"[..]));
        assert!(!here.are_below(b"/srv/me") && here.are_below(b"/srv"));
        let deeper = places(&["/srv/me", "/srv/me/a/target"]);
        for (path, leads) in
            [("/srv", true), ("/srv/me", false), ("/srv/me/a", true), ("/srv/me/b", false)]
        {
            assert_eq!(deeper.lie_behind(path.as_bytes()), leads, "{path}");
        }
    }

    #[test]
    fn drawn_names() {
        let here = places(&["/srv/me"]).with_drawn(b"cmTC_1a2b3".to_vec());
        let there = places(&["/w/you"]).with_drawn(b"cmTC_00000".to_vec());
        assert_eq!(Places::read(here.joined().to_bytes()), here);
        for (text, moved, moved_drawn) in [
            ("cmTC_1a2b3", "cmTC_00000", "cmTC_00000"),
            ("x/cmTC_1a2b3.dir/a.o", "x/cmTC_00000.dir/a.o", "x/cmTC_00000.dir/a.o"),
            ("/srv/me/cmTC_1a2b3", "/w/you/cmTC_00000", "/srv/me/cmTC_00000"),
            ("cmTC_1a2b34", "cmTC_1a2b34", "cmTC_1a2b34"),
            ("xcmTC_1a2b3", "xcmTC_1a2b3", "xcmTC_1a2b3"),
        ] {
            assert_eq!(here.moved(text.as_bytes(), &there), moved.as_bytes(), "{text}");
            assert_eq!(here.moved_drawn(text.as_bytes(), &there), moved_drawn.as_bytes(), "{text}");
            assert_eq!(here.show(&here.hide(text.as_bytes())), text.as_bytes(), "{text}");
        }
        assert_eq!(here.of(b"cmTC_1a2b3/x"), None);
        assert_eq!(here.directories().count(), 1);
        assert!(here.are_paths_in(b"x/cmTC_1a2b3.dir/a.o: a.c"));
        assert!(!here.are_paths_in(b"cmTC_1a2b3x"));
    }

    #[test]
    fn paths_in_text() {
        let here = places(&["/srv/me"]);
        for (text, are_paths) in [
            ("/srv/me/a.c:1:2: warning", true),
            ("In file included from /srv/me/a.c:3,", true),
            ("a '/srv/me/' b", true),
            ("a '/srv/me' b", false),
            ("\u{1b}[01m\u{1b}[K/srv/me/a.c:1", true),
            ("\u{1b}[1m/srv/me/a.c:1", true),
            ("[1m/srv/me/a.c:1", false),
            ("/x/srv/me/a.c", false),
            ("-I/srv/me", false),
            ("/srv/me2/a.c", false),
            ("nothing", true),
            ("\u{1}", false),
        ] {
            assert_eq!(here.are_paths_in(text.as_bytes()), are_paths, "{text}");
        }
    }

    #[test]
    fn a_place_is_found_in_each_encoding() {
        let wide = |width: usize| -> Vec<u8> {
            let text = "x/srv/mex".bytes();
            text.flat_map(|byte| std::iter::once(byte).chain(std::iter::repeat_n(0, width - 1)))
                .collect()
        };
        for width in [1, 2, 4] {
            assert!(places(&["/srv/me"]).occur_in_any_encoding(&wide(width)), "{width}");
        }
        assert!(!places(&["/srv/me"]).occur_in_any_encoding(b"/srv/m e"));
    }

    #[test]
    fn what_lies_where() {
        assert!(is_at_or_below(b"/a/b", b"/a/b") && is_at_or_below(b"/a/b/c", b"/a/b"));
        assert!(!is_at_or_below(b"/a/bc", b"/a/b") && !is_at_or_below(b"/a", b"/a/b"));
        let here = places(&["/srv/me", "/tmp/b"]);
        assert_eq!(
            [&b"/tmp/b/c"[..], b"/srv/me", b"/srv"].map(|it| here.of(it)),
            [Some(1), Some(0), None]
        );
        for (path, are_below) in [("/", false), ("/srv", true), ("/tmp/b", false), ("", false)] {
            assert_eq!(here.are_below(path.as_bytes()), are_below, "{path}");
        }
    }
}
