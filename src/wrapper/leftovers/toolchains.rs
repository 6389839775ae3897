//! Which records were made by programs that are removed, or have been replaced.
//!
//! Only programs of installed toolchains count, not those that a project has made: in doubt a record stays.
//! Read next: `docs/store.md`.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::checkouts::is_in_project;
use crate::probe::command::{DIRECTORY, TOOL, fields};
use crate::record;
use crate::shm::raw::{self, Errno};
use crate::store::Store;
use crate::store::digest::digest_link;
use crate::store::draft::{Draft, DraftInput};

/// Where toolchains are installed for all users.
const INSTALLED: [&str; 8] =
    ["/usr", "/opt", "/bin", "/sbin", "/lib", "/lib64", "/nix/store", "/snap"];

/// What became of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is as it was, or that cannot be said.
    There,
    /// Its file is another one.
    Replaced,
    Removed,
}

/// What is known of programs.
pub struct Toolchains<'s> {
    store: &'s Store,
    fates: HashMap<(CString, [u8; 32]), Fate>,
    known: HashMap<CString, bool>,
}

impl<'s> Toolchains<'s> {
    /// Nothing yet.
    pub fn new(store: &'s Store) -> Toolchains<'s> {
        Toolchains { store, fates: HashMap::new(), known: HashMap::new() }
    }

    /// Whether a record needs a program of a toolchain that is not there any more.
    pub fn lack(&mut self, draft: &Draft) -> bool {
        let tool = tool_of(draft);
        let is_program = |input: &&DraftInput| {
            let name = input.path.to_bytes();
            let runs = input.mode & 0o111 != 0 && !name.windows(3).any(|part| part == b".so");
            matches!(input.kind, record::CONTENT | record::REMADE)
                && name.starts_with(b"/")
                && (runs || tool.as_deref() == Some(input.path.as_c_str()))
        };
        let programs: Vec<_> = draft.inputs.iter().filter(is_program).collect();
        programs.into_iter().any(|program| {
            self.is_toolchain(&program.path)
                && match self.fate(program) {
                    Fate::There => false,
                    Fate::Removed => true,
                    // By a link that leads elsewhere now, it may be there under another name.
                    Fate::Replaced => !is_by_changed_link(draft, &program.path),
                }
        })
    }

    fn is_toolchain(&mut self, path: &CStr) -> bool {
        if let Some(known) = self.known.get(path) {
            return *known;
        }
        let program = Path::new(OsStr::from_bytes(path.to_bytes()));
        let is_hidden = program.components().any(|part| {
            let part = part.as_os_str().as_bytes();
            part.starts_with(b".") && part != b".."
        });
        let is_installed = INSTALLED.iter().any(|place| program.starts_with(place));
        let is_one = (is_installed || is_hidden) && !program.parent().is_some_and(is_in_project);
        self.known.insert(path.to_owned(), is_one);
        is_one
    }

    fn fate(&mut self, program: &DraftInput) -> Fate {
        let key = (program.path.clone(), program.digest);
        let store = self.store;
        *self.fates.entry(key).or_insert_with(|| fate(store, program))
    }
}

fn fate(store: &Store, program: &DraftInput) -> Fate {
    let state = match raw::stat(&program.path) {
        Ok(state) if state.is_regular() => state,
        Ok(_) => return Fate::Replaced,
        Err(Errno::NOENT | Errno::NOTDIR) if is_removed(&program.path) => return Fate::Removed,
        Err(_) => return Fate::There,
    };
    match store.digest_file(&program.path, &state, false) {
        Some(digest) if digest != program.digest => Fate::Replaced,
        _ => Fate::There,
    }
}

/// Not where its disk is only not mounted.
fn is_removed(path: &CStr) -> bool {
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    let there = path.ancestors().skip(1).find(|above| above.is_dir());
    there.and_then(|there| std::fs::read_dir(there).ok()?.next()).is_some()
}

/// The tool as it was found.
fn tool_of(draft: &Draft) -> Option<CString> {
    let tool = fields(&draft.command).nth(TOOL)?;
    if tool.contains(&b'/') {
        let directory = Path::new(OsStr::from_bytes(fields(&draft.command).nth(DIRECTORY)?));
        return CString::new(directory.join(OsStr::from_bytes(tool)).as_os_str().as_bytes()).ok();
    }
    let found = draft.searches.iter().find(|(name, _)| name.to_bytes() == tool);
    found.map(|(_, found)| found.clone())
}

/// Whether a link on the way to a program leads elsewhere now.
fn is_by_changed_link(draft: &Draft, program: &CStr) -> bool {
    let program = Path::new(OsStr::from_bytes(program.to_bytes()));
    let is_on_way = |link: &&DraftInput| {
        link.kind == record::LINK && program.starts_with(OsStr::from_bytes(link.path.to_bytes()))
    };
    let mut links = draft.inputs.iter().filter(is_on_way);
    links.any(|link| digest_link(&link.path) != Some(link.digest))
}
