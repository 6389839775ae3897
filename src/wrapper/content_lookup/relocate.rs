//! A record of a result that is free of its place, or of what its outputs are called, as it would be had this command made it.
//!
//! Only what names the working directory changes, and that is in no output. What is above the old one is left out; what is above
//! the new one is put in by `refresh.rs`. Read next: `builder/place.rs`, `docs/places.md`.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::Wanted;
use crate::builder::file_states::names_otherwise;
use crate::builder::likeness::{Likeness, OutputNames};
use crate::builder::path_walker::c_path;
use crate::builder::place::above;
use crate::builder::places::{Places, is_at_or_below};
use crate::builder::root::nearer_repositories;
use crate::builder::search_path;
use crate::compilers::Policy;
use crate::probe::command::{Command, DIRECTORY, TOOL, fields};
use crate::probe::judge::Environment;
use crate::record::{self, BlobRef};
use crate::shm::raw::Errno;
use crate::store::Store;
use crate::store::draft::{Draft, DraftDirectory, DraftInput, DraftVariable};

/// From one command to another, which runs elsewhere or calls its outputs otherwise.
#[derive(Debug)]
pub struct Way {
    /// The directories whose names change; those above them count in neither place. None if both commands run in one place.
    then: Places,
    now: Places,
    /// Whether the tool is given maps of them.
    is_mapped: bool,
    /// What the outputs are called, if the result is free of that.
    names: Option<(OutputNames, OutputNames)>,
}

impl Way {
    /// The way of a record to a command; `None` if it is not free of what differs, or of another command.
    fn of(draft: &Draft, wanted: &Wanted) -> Option<Way> {
        let (command, policy) = (wanted.command.bytes(), wanted.policy);
        let is_free_of = |flag: u32| draft.flags & flag != 0;
        let recorded = Places::read(draft.places.to_bytes());
        let is_in_other = !fields(&draft.command).take(TOOL).eq(fields(command).take(TOOL));
        // A crate that cargo has downloaded is compiled in one directory, whatever it is compiled for.
        let is_for_other = is_free_of(record::MAPPED) && recorded != *wanted.places;
        let is_elsewhere = is_in_other || is_for_other;
        let is_mapped = is_elsewhere && is_free_of(record::MAPPED);
        let none = Places::default();
        let (then, now) = if is_mapped { (&recorded, wanted.places) } else { (&none, &none) };
        let (was, names_then) = Likeness::of(&draft.command, then, policy);
        let (is, names_now) = Likeness::of(command, now, policy);
        let are_hidden_alike = || {
            let hidden = |names: &Option<OutputNames>, places: &Places| {
                names
                    .as_ref()
                    .map(|names| [&names.output, &names.depfile].map(|it| places.hide(it)))
            };
            hidden(&names_then, then) == hidden(&names_now, now)
        };
        if was != is || !is_free_of(record::ANY_OUTPUT) && !are_hidden_alike() {
            return None;
        }
        let names = names_then.zip(names_now).filter(|_| is_free_of(record::ANY_OUTPUT));
        if !is_elsewhere {
            return Some(Way { then: none.clone(), now: none, is_mapped, names });
        }
        if !is_free_of(record::ANYWHERE) || is_mapped == wanted.places.is_empty() {
            return None;
        }
        if is_mapped {
            let is_same = recorded.iter().count() == now.iter().count();
            return is_same.then(|| Way { then: recorded, now: now.clone(), is_mapped, names });
        }
        let then = fields(&draft.command).nth(DIRECTORY)?.to_vec();
        let depth = |path: &[u8]| path.split(|byte| *byte == b'/').count();
        let climb = depth(&then).checked_sub(depth(recorded.iter().next()?))?;
        let base_now = above(wanted.command.directory(), u32::try_from(climb).ok()?)?;
        let now = vec![wanted.command.directory().to_vec(), base_now.to_vec()];
        let then = vec![then, recorded.iter().next()?.to_vec()];
        let (then, now) = (Places::unchecked(then), Places::unchecked(now));
        Some(Way { then, now, is_mapped, names })
    }

    /// Whether the commands run in different places.
    pub fn leads_elsewhere(&self) -> bool {
        !self.then.is_empty()
    }

    /// Whether a path is a directory above the old place. That a directory is there above which others are needs no question.
    fn is_above(&self, path: &[u8]) -> bool {
        if self.is_mapped {
            self.then.lie_behind(path)
        } else {
            // The place is the directory, and not what is above it.
            let directory = self.then.iter().next().unwrap_or_default();
            path.starts_with(b"/") && path != directory && is_at_or_below(directory, path)
        }
    }

    /// A path in the new place; `None` if it names that without lying in the old one: the tool would take it for one in the
    /// place.
    fn moved(&self, path: &CStr) -> Option<CString> {
        let bytes = path.to_bytes();
        if let Some(name) = self.renamed(bytes) {
            return CString::new(name).ok().filter(|name| !name.is_empty());
        }
        let moved = |text: &[u8]| self.then.moved_drawn(text, &self.now);
        let Some(at) = self.then.of(bytes) else {
            let is_taken = self.is_mapped && self.now.occur_in(&self.then.hide_drawn(bytes));
            return CString::new(moved(bytes)).ok().filter(|_| !is_taken);
        };
        let (then, now) = (self.then.iter().nth(at)?, self.now.iter().nth(at)?);
        CString::new([now, &moved(&bytes[then.len()..])].concat()).ok()
    }

    /// The new name of an output.
    fn renamed(&self, path: &[u8]) -> Option<&[u8]> {
        self.names.as_ref().and_then(|(then, now)| then.renamed(path, now))
    }

    /// Takes the names that lead to the old place out of a directory; whether anything is left of it.
    fn leave_out(&self, directory: &mut DraftDirectory) -> bool {
        let path = directory.path.to_bytes();
        let leads_there = |name: &CString| {
            if self.is_nearer_root(path, name.to_bytes()) {
                return true;
            }
            let Some(name) = name.to_bytes().strip_suffix(b"/") else { return false };
            let slash: &[u8] = if path == b"/" { b"" } else { b"/" };
            let inner = [path, slash, name].concat();
            path.starts_with(b"/") && (self.is_above(&inner) || self.is_end(&inner))
        };
        let had_names = !directory.names.is_empty();
        directory.names.retain(|name| !leads_there(name));
        !had_names || !directory.names.is_empty()
    }

    /// Whether a repository of this name in `directory`, on the way from one old place to another, would have been the root.
    fn is_nearer_root(&self, directory: &[u8], name: &[u8]) -> bool {
        self.is_mapped && name == b".git" && self.then.lie_behind(directory)
    }

    /// Whether an absence is that of a nearer root.
    fn is_nearer_root_absent(&self, path: &CStr) -> bool {
        let path = path.to_bytes();
        let slash = path.iter().rposition(|byte| *byte == b'/');
        slash.is_some_and(|at| self.is_nearer_root(&path[..at], &path[at + 1..]))
    }

    /// The absences of nearer roots that are to be recorded in the new place.
    fn nearer_roots(&self, wanted: &Wanted) -> Vec<(CString, u32)> {
        let source = wanted.policy.first_input().filter(|_| self.is_mapped);
        let nearer = source
            .into_iter()
            .flat_map(|source| nearer_repositories(&self.now, wanted.command.directory(), source));
        let leads = |git: &PathBuf| {
            git.parent().is_some_and(|it| self.now.lie_behind(it.as_os_str().as_bytes()))
        };
        let no_entry = Errno::NOENT.raw_os_error().cast_unsigned();
        nearer.filter(leads).filter_map(|path| Some((c_path(&path)?, no_entry))).collect()
    }

    /// Whether a path is where the way to the old place ends.
    fn is_end(&self, path: &[u8]) -> bool {
        let ends = if self.is_mapped { usize::MAX } else { 1 };
        self.then.iter().take(ends).any(|place| place == path)
    }

    /// Gives a variable the value that it has here; `None` if that is not the recorded one in another place.
    fn move_variable(
        &self,
        variable: &mut DraftVariable,
        command: &Command,
        environment: &Environment,
    ) -> Option<()> {
        if !self.leads_elsewhere() {
            return Some(());
        }
        let DraftVariable { name, value, flags } = variable;
        let now = environment.value(name.to_bytes());
        if *flags & record::BY_VALUE != 0 {
            (*value == environment.digest(name.to_bytes(), *flags)).then_some(())?;
        }
        if name.to_bytes() == b"PWD" {
            let named = *flags & record::NAMES_DIRECTORY != 0;
            let is_it = now.is_some_and(|value| value == command.directory());
            let is_other = now.is_some_and(|value| names_otherwise(value, command.directory()));
            (named == is_it && !is_other).then_some(())?;
            *value = environment.digest(b"PWD", *flags);
        } else if *flags & record::VALUE_NAMES_PLACES != 0 {
            // That it is the same but for its places is in the result key.
            *value = environment.digest(name.to_bytes(), *flags);
        } else if self.is_mapped && name.to_bytes() != b"PATH" {
            (!self.now.occur_in(now.unwrap_or_default())).then_some(())?;
        }
        Some(())
    }

    /// Puts into `draft` the texts that name the old place, as the tool writes them in the new one; whether there are any.
    /// `None` if that cannot be done.
    pub fn retell(&self, store: &Store, policy: &Policy, draft: &mut Draft) -> Option<bool> {
        let mut is_retold = false;
        let anew = |blob: &BlobRef, tell: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
            store.put_blob(&tell(&store.read_blob(blob)?)?).ok()
        };
        let move_words = |text: &[u8]| Some(self.then.moved(text, &self.now));
        if draft.flags & record::TEXT_NAMES_PLACES != 0 {
            for text in [&mut draft.stdout, &mut draft.stderr].into_iter().flatten() {
                *text = anew(text, &move_words)?;
                is_retold = true;
            }
        }
        let move_name = |word: &[u8]| {
            self.renamed(word).map_or_else(|| self.then.moved(word, &self.now), <[u8]>::to_vec)
        };
        let move_depfile = |text: &[u8]| policy.renamed_depfile(text, move_name);
        for output in draft.outputs.iter_mut().filter(|it| it.flags & record::NAMES_PLACES != 0) {
            output.blob = anew(&output.blob, &move_depfile)?;
            is_retold = true;
        }
        Some(is_retold)
    }
}

/// The record as it would be of the command that is `wanted`, and the way to it; `None` if there is none. Texts still name the
/// old place and outputs, see [`Way::retell`].
pub fn relocated(mut draft: Draft, wanted: &Wanted) -> Option<(Draft, Way)> {
    let Wanted { command, environment, .. } = wanted;
    let way = Way::of(&draft, wanted)?;
    for variable in &mut draft.variables {
        way.move_variable(variable, command, environment)?;
    }
    // What is an input would be written over.
    let is_output = |path: &CStr| way.names.iter().any(|(_, now)| now.is(path.to_bytes()));
    if draft.inputs.iter().any(|input| is_output(&input.path)) {
        return None;
    }
    let inputs = std::mem::take(&mut draft.inputs).into_iter();
    draft.inputs = inputs
        .filter(|input| !way.is_above(input.path.to_bytes()))
        .map(|input| Some(DraftInput { path: way.moved(&input.path)?, ..input }))
        .collect::<Option<_>>()?;
    draft.directories.retain_mut(|directory| way.leave_out(directory));
    for directory in &mut draft.directories {
        directory.path = way.moved(&directory.path)?;
        for name in &mut directory.names {
            *name = CString::new(way.then.moved_drawn(name.to_bytes(), &way.now)).ok()?;
        }
    }
    draft.absences.retain(|(path, _)| !way.is_nearer_root_absent(path));
    for (path, _) in &mut draft.absences {
        *path = way.moved(path)?;
    }
    draft.absences.extend(way.nearer_roots(wanted));
    for output in &mut draft.outputs {
        output.path = way.moved(&output.path)?;
    }
    let is_here = |path: &CString| way.moved(path).as_ref() == Some(path);
    draft.searches.retain(|(name, _)| search_path::is_program(name) || is_here(name));
    let finds_here = |(_, found): &(CString, CString)| is_here(found);
    if !draft.searches.iter().all(finds_here) {
        return None;
    }
    draft.command = command.bytes().to_vec();
    if way.is_mapped {
        draft.places = way.now.joined();
    } else if way.leads_elsewhere() {
        draft.places = Places::unchecked(vec![way.now.iter().nth(1)?.to_vec()]).joined();
    }
    Some((draft, way))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::stat::Stamp;

    fn places(list: &[&str]) -> Places {
        Places::unchecked(list.iter().map(|it| it.as_bytes().to_vec()).collect())
    }

    /// Without maps, and with them.
    fn ways() -> [Way; 2] {
        [
            Way {
                then: places(&["/srv/one/build", "/srv/one"]),
                now: places(&["/tmp/second/build", "/tmp/second"]),
                is_mapped: false,
                names: None,
            },
            Way {
                then: places(&["/srv/one", "/w/obj"]),
                now: places(&["/tmp/second", "/w/o"]),
                is_mapped: true,
                names: None,
            },
        ]
    }

    fn text(text: &str) -> CString {
        CString::new(text).expect("no NUL")
    }

    #[test]
    fn paths_that_go_and_that_move() {
        let [plain, mapped] = ways();
        for (way, path, moved) in [
            (&plain, "/srv", None),
            (&plain, "/srv/one", None),
            (&plain, "/srv/one/build", Some("/tmp/second/build")),
            (&plain, "/srv/one/build/x", Some("/tmp/second/build/x")),
            (&plain, "/srv/one/src", Some("/tmp/second/src")),
            (&plain, "/srv/onetwo", Some("/srv/onetwo")),
            (&plain, "/usr/include", Some("/usr/include")),
            (&plain, "srv", Some("srv")),
            (&plain, "", Some("")),
            (&mapped, "/srv", None),
            (&mapped, "/w", None),
            (&mapped, "/srv/one", Some("/tmp/second")),
            (&mapped, "/srv/one/build/x", Some("/tmp/second/build/x")),
            (&mapped, "/w/obj/x", Some("/w/o/x")),
            (&mapped, "/usr/include", Some("/usr/include")),
        ] {
            let found = (!way.is_above(path.as_bytes())).then(|| way.moved(&text(path)));
            assert_eq!(found, moved.map(|moved| Some(text(moved))), "{path}");
        }
        // The new place's own name, or one that begins with it, would be mapped there.
        for path in ["/tmp/second/x", "/tmp/second2/x", "/w/o2"] {
            assert_eq!(mapped.moved(&text(path)), None, "{path}");
        }
    }

    /// Names on the way to the old place go; a directory of the same name in the working directory stays.
    #[test]
    fn names_in_directories() {
        let [plain, mapped] = ways();
        for (way, path, names, left) in [
            (&plain, "/", &["srv/", "usr/"][..], Some(&["usr/"][..])),
            (&plain, "/srv", &["one/"], None),
            (&plain, "/srv/one", &["build/", "src/"], Some(&["src/"])),
            (&plain, "", &["srv/"], Some(&["srv/"])),
            (&plain, "/srv", &["one"], Some(&["one"])),
            (&mapped, "/", &["srv/", "w/", "usr/"], Some(&["usr/"])),
            (&mapped, "/srv", &["one/"], None),
            (&mapped, "/srv/one", &["build/", "src/"], Some(&["build/", "src/"])),
        ] {
            let owned = |names: &[&str]| names.iter().map(|name| text(name)).collect::<Vec<_>>();
            let (path, stamp) = (text(path), Stamp([0; 16]));
            let mut directory = DraftDirectory { path, stamp, names: owned(names) };
            let found = way.leave_out(&mut directory).then_some(directory.names);
            assert_eq!(found, left.map(owned), "{names:?}");
        }
    }
}
