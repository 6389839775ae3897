//! lld opens the file that it is about to replace, to have it removed in the background: that reads nothing.
//!
//! What it reads it opens long before, and does not remove next. Read next: `written.rs`.

use std::path::Path;

use super::places::Key;
use super::{O_ACCMODE, Trace};
use crate::observe::shim::log::{Event, What};

/// Programs that do so, without a version.
const REMOVERS: &[&str] = &["ld.lld", "lld", "rust-lld"];

/// What is known of a file that may be about to be removed.
#[derive(Debug, Default)]
pub struct Discarded {
    /// Whether such a program has run. The shim does not note which process opens a file.
    has_remover: bool,
    opened: Option<OpenedOnce>,
}

/// A file that was opened for reading for the first time, by the last event but for a look.
#[derive(Debug)]
struct OpenedOnce {
    key: Key,
    looks: usize,
}

impl Trace {
    /// What is removed right behind being opened was not read. Before the event itself is taken in.
    pub(super) fn note_discarded(&mut self, event: &Event) {
        if let What::Start { image, .. } = &event.what {
            self.discarded.has_remover |= is_remover(image);
        }
        if !self.discarded.has_remover {
            return;
        }
        let opened = self.discarded.opened.take();
        match &event.what {
            What::Open { path, errno: 0, flags, .. } if flags & O_ACCMODE == 0 => {
                let key = self.key(path);
                let file = self.files.get(&key);
                let is_first = file.is_none_or(|file| !file.was_read && file.touched.is_none());
                self.discarded.opened = is_first.then_some(OpenedOnce { key, looks: 0 });
            }
            What::Look { path, errno: 0 } => {
                let key = self.key(path);
                // A second one has another purpose than to remove it.
                let opened = opened.filter(|opened| opened.key == key && opened.looks == 0);
                self.discarded.opened = opened.map(|opened| OpenedOnce { looks: 1, ..opened });
            }
            What::Remove { path, errno: 0 } => {
                let key = self.key(path);
                if opened.is_some_and(|opened| opened.key == key)
                    && let Some(file) = self.files.get_mut(&key)
                {
                    file.was_read = false;
                    file.exists = true;
                }
            }
            _ => {}
        }
    }
}

fn is_remover(image: &Path) -> bool {
    let name = image.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    REMOVERS.contains(&name)
}
