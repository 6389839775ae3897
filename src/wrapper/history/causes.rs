//! Why invocations were no hits, by what they noted; where nothing was stored for a command, by the nearest of all records
//! that were stored before.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{Entry, History};
use crate::compilers::{Decision, Policy, ShowsDirectory, decide};
use crate::outcome::Cause;
use crate::probe;
use crate::probe::command::{fields, has_source};
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
    /// Whether the cause is another directory, and the tool can be given maps that hide it.
    pub maps_may_serve: bool,
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
                    explained.maps_may_serve =
                        cause == Cause::OtherDirectory && takes_maps(command);
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
        let names = self.names(&entry.event);
        Explained { entry, names, cause, what, maps_may_serve: false }
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

/// Whether the tool was not given maps of its places, could be, and they would hide all that its options show.
fn takes_maps(command: &[u8]) -> bool {
    let mut words: Vec<OsString> =
        fields(command).map(|word| OsStr::from_bytes(word).to_owned()).collect();
    if has_source(command) {
        words.pop();
    }
    let [_, remap, _, tool, args @ ..] = &words[..] else { return false };
    let decision = decide(tool, args, false, || None);
    let is_mapped = |policy: &Policy| {
        policy.takes_maps && policy.shows_directory <= ShowsDirectory::UnlessMapped
    };
    remap.is_empty() && matches!(&decision, Decision::Cache(policy) if is_mapped(policy))
}

/// The tool and the source of a command.
fn key(command: &[u8]) -> Vec<u8> {
    let names = Names::of_command(command).unwrap_or_default();
    [names.tool.as_slice(), b"\0", &names.source].concat()
}
