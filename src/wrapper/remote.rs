//! The storages beyond this machine, on the way of a miss: asked before the tool runs, told after it.
//!
//! What is fetched is judged by the look-up by content, as anything that is stored here. Read next: `remote/fetch.rs`.

use super::content_lookup::{self, ByContent, Wanted};
use super::step::Step;
use super::{Invocation, Stored};
use crate::config::{Config, Remote};
use crate::outcome::NotStored;
use crate::remote::fetch::{Fetched, fetch};
use crate::remote::queue::Job;
use crate::remote::upload;
use crate::shm::counters::Counter;
use crate::shm::segments::Place;
use crate::store::Store;

/// What the storages came to in this invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beyond {
    /// Nothing.
    #[default]
    Nothing,
    /// A result was fetched.
    Found,
    /// A damaged one was.
    Damaged,
}

impl Invocation {
    /// Looks a command up by content: here, then in what is compressed here, then in the layer, then in the storages.
    pub(super) fn look_by_content(
        &self,
        store: &Store,
        wanted: &Wanted,
        arena: &mut [u8],
    ) -> ByContent {
        let keep = self.may_store(store);
        let mut found = content_lookup::look(store, wanted, arena, keep);
        if matches!(found, ByContent::Miss) && keep && content_lookup::restore(store, wanted) {
            self.log.line("a compressed result is restored");
            found = content_lookup::look(store, wanted, arena, keep);
        }
        if matches!(found, ByContent::Miss) {
            found = self.look_in_layer(store, wanted, arena, keep);
        }
        if !matches!(found, ByContent::Miss) || !keep || self.config.remotes.is_empty() {
            return found;
        }
        let mut now = content_lookup::ResultKeys::new(store, wanted);
        let mut told = |remote: &Remote, why: &str| {
            self.log.line(format_args!("{}: {why}", remote.shown_url()));
        };
        let Config { remotes, remote_trust, .. } = &self.config;
        let key = &wanted.content_key;
        match fetch(store, remotes, remote_trust, key, &mut |set| now.of(set), &mut told) {
            Fetched::Found(_) => self.beyond.set(Beyond::Found),
            Fetched::Damaged(_) => self.beyond.set(Beyond::Damaged),
            Fetched::Nothing | Fetched::Untrusted => {}
        }
        if self.beyond.get() != Beyond::Found {
            return found;
        }
        self.log.line("fetched from a remote storage");
        let found = content_lookup::look(store, wanted, arena, keep);
        if matches!(found, ByContent::Hit(_)) {
            store.cache.volatile.count_more(Counter::REMOTE_HITS);
        }
        found
    }

    /// Puts what was stored into the queue for the storages.
    pub(super) fn send(&self, store: &Store, step: &Step, stored: &Result<Stored, NotStored>) {
        let place = match stored {
            Ok(Stored::New(place)) => place,
            Ok(Stored::Confirmed(_)) => {
                if self.beyond.get() == Beyond::Found {
                    store.cache.volatile.count_more(Counter::REMOTE_HITS);
                }
                return;
            }
            Ok(Stored::Noted) | Err(_) => return,
        };
        if upload::writable(&self.config).next().is_none() {
            return;
        }
        let Some(result_key) = result_key_at(store, *place) else { return };
        let replaces = self.config.recache || self.beyond.get() == Beyond::Damaged;
        let content_key = step.request.content_key(store, &step.policy);
        let job = Job { content_key, result_key, replaces: replaces.into() };
        match upload::enqueue(store, &self.config, &job) {
            Ok(true) => {}
            Ok(false) => self.log.line("the queue for remote storages is full"),
            Err(error) => {
                self.log.line(format_args!("the queue for remote storages: {error}"));
            }
        }
    }
}

/// The result key of the record at a place; `None` if it is found by stamps only.
fn result_key_at(store: &Store, place: Place) -> Option<[u8; 16]> {
    let key = store.cache.segments.entry(place)?.header.key;
    key.last_chunk().copied().filter(|key| *key != [0; 16])
}
