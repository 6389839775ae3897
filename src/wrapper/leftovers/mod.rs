//! Which records nobody is likely to use again: those of a directory, of checkouts and of toolchains that are removed.
//!
//! It only chooses; who drops them is `store/discard.rs`. Read next: `checkouts.rs`, `toolchains.rs`.

mod checkouts;
mod toolchains;

use std::path::{Path, PathBuf};

use crate::store::Store;
use crate::store::draft::Draft;
use checkouts::{Missing, is_of, names_of};
use toolchains::Toolchains;

/// Which records are chosen: those to which any of it applies.
#[derive(Debug, Default, Clone)]
pub struct Asked {
    /// Made in one of these directories.
    pub roots: Vec<PathBuf>,
    /// Made in a checkout that is removed, and of use only there.
    pub gone: bool,
    /// Made by a toolchain that is removed or has been replaced.
    pub unused_toolchains: bool,
}

impl Asked {
    /// Whether anything is chosen.
    pub fn is_something(&self) -> bool {
        !self.roots.is_empty() || self.gone || self.unused_toolchains
    }
}

/// What says of each record whether it is chosen.
pub struct Leftovers<'s> {
    roots: Vec<PathBuf>,
    missing: Option<Missing>,
    toolchains: Option<Toolchains<'s>>,
}

impl<'s> Leftovers<'s> {
    /// Looks at all records of `store` and at what is there now.
    pub fn new(store: &'s Store, asked: &Asked) -> Leftovers<'s> {
        let missing = asked.gone.then(|| {
            let mut missing = Missing::default();
            store.each_record(|draft| missing.note(draft));
            missing
        });
        Leftovers {
            roots: asked.roots.iter().map(Path::new).flat_map(names_of).collect(),
            missing,
            toolchains: asked.unused_toolchains.then(|| Toolchains::new(store)),
        }
    }

    /// Whether a record is one of them.
    pub fn have(&mut self, draft: &Draft) -> bool {
        is_of(draft, &self.roots)
            || self.missing.as_mut().is_some_and(|missing| missing.has(draft))
            || self.toolchains.as_mut().is_some_and(|toolchains| toolchains.lack(draft))
    }
}
