//! Why invocations were no hits, by what they noted; where nothing was stored for a command, by the nearest of all records
//! that were stored before.

use std::collections::HashMap;

use super::{Entry, History};
use crate::outcome::Cause;
use crate::probe;
use crate::probe::event::number_of;
use crate::shm::events::Text;
use crate::shm::layout::Kind;
use crate::wrapper::event::Names;
use crate::wrapper::explain::PastedWords;

/// With how many records, the newest first, a command is compared.
const COMPARED_MAX: usize = 32;

/// Why an invocation was no hit.
#[derive(Debug, Clone)]
pub struct Explained<'e> {
    /// The invocation.
    pub entry: &'e Entry,
    /// What it was about.
    pub names: Names,
    /// Why there was no hit; `None` if that is not known.
    pub cause: Option<Cause>,
    /// A path, the name of a variable, or what differs in words; may be empty.
    pub what: String,
}

impl History<'_> {
    /// Why these invocations were no hits.
    pub fn explain<'e>(&self, entries: &[&'e Entry]) -> Vec<Explained<'e>> {
        let mut all: Vec<Explained> = entries.iter().map(|entry| self.noted(entry)).collect();
        let commands: HashMap<u64, Vec<u8>> = all
            .iter()
            .filter(|explained| explained.cause == Some(Cause::NoRecord))
            .filter_map(|explained| {
                let event = &explained.entry.event;
                Some((event.record, self.command(event.record)?))
            })
            .collect();
        if commands.is_empty() {
            return all;
        }
        let stored = self.stored_like(commands.values());
        for explained in &mut all {
            let record = explained.entry.event.record;
            let Some(command) = commands.get(&record) else { continue };
            let older = stored.get(&key(command)).into_iter().flatten();
            let older = older.rev().filter(|(place, _)| *place < record).take(COMPARED_MAX);
            let ours = PastedWords::of(command);
            let nearest = older
                .map(|(_, command)| PastedWords::of(command))
                .min_by_key(|recorded| ours.distance(recorded));
            (explained.cause, explained.what) = match nearest {
                Some(recorded) => {
                    let (cause, words) = ours.first_difference(&recorded);
                    (Some(cause), words)
                }
                None => (Some(Cause::NewSource), String::new()),
            };
        }
        all
    }

    fn noted<'e>(&self, entry: &'e Entry) -> Explained<'e> {
        let at = usize::from(entry.event.cause).checked_sub(1);
        let cause = at.and_then(|at| Cause::ALL.get(at)).copied();
        let what = String::from_utf8_lossy(entry.event.text(Text::What)).into_owned();
        Explained { entry, names: self.names(&entry.event), cause, what }
    }

    /// The commands of all records of the same tools and sources, the oldest first, each with its place.
    fn stored_like<'c>(
        &self,
        commands: impl Iterator<Item = &'c Vec<u8>>,
    ) -> HashMap<Vec<u8>, Vec<(u64, Vec<u8>)>> {
        let mut found: HashMap<Vec<u8>, Vec<(u64, Vec<u8>)>> =
            commands.map(|command| (key(command), Vec::new())).collect();
        let mut arena = Vec::new();
        self.store.each_place(|place, entry| {
            if entry.header.kind() != Some(Kind::Record) {
                return;
            }
            arena.resize(usize::try_from(entry.header.hot_bytes).unwrap_or(0), 0);
            let Some((record, _)) = probe::hot_part(&self.store.cache.segments, entry, &mut arena)
            else {
                return;
            };
            let Some(command) = record.command() else { return };
            if let Some(list) = found.get_mut(&key(command)) {
                list.push((number_of(place), command.to_vec()));
            }
        });
        for list in found.values_mut() {
            list.sort_by_key(|(place, _)| *place);
        }
        found
    }
}

/// The tool and the source of a command.
fn key(command: &[u8]) -> Vec<u8> {
    let names = Names::of_command(command).unwrap_or_default();
    [names.tool.as_slice(), b"\0", &names.source].concat()
}
