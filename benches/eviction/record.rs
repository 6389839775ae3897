//! The look-ups of a session of builds, as the events of the cache that they used tell them.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use ibid::shm::events::{Ending, Event};
use ibid::shm::segments::Place;
use ibid::store::Store;

use super::trace::{Entry, Trace};

/// More than any session stores.
const MAX_BYTES: u64 = 100 << 30;

/// What a record gives: equal bytes are the same result, wherever and whenever it was made.
struct Stored {
    result: Vec<u8>,
    bytes: u64,
    cost_us: u64,
}

/// Reads what was asked of the cache in `directory` since it was made.
pub fn record(directory: &Path) -> io::Result<Trace> {
    let store = Store::open(directory, MAX_BYTES)
        .map_err(|error| io::Error::other(format!("{}: {error}", directory.display())))?;
    if store.cache.volatile.events_complete_since_ns() > 0 {
        return Err(io::Error::other("more calls than a cache has events: a shorter session"));
    }
    let mut events: Vec<Event> = Vec::new();
    store.cache.volatile.each_event(|event| events.push(*event));
    events.sort_by_key(|event| event.time_ns);
    let stored = all_stored(&store);
    let mut ids: HashMap<&[u8], usize> = HashMap::new();
    let mut row = Vec::new();
    for event in events {
        let is_look_up = matches!(
            event.ending(),
            Some(Ending::DirectHit | Ending::ContentHit | Ending::Miss | Ending::ToolFailure)
        );
        let place = Place::of_number(event.record).filter(|_| is_look_up);
        let Some(stored) = place.and_then(|place| stored.get(&place)) else { continue };
        let new = ids.len();
        let id = *ids.entry(&stored.result).or_insert(new);
        row.push(Entry { id, bytes: stored.bytes, cost_us: stored.cost_us });
    }
    Ok(Trace { name: String::new(), row })
}

fn all_stored(store: &Store) -> HashMap<Place, Stored> {
    let mut all = HashMap::new();
    store.each_place(|place, entry| {
        let Some(draft) = store.draft_of(entry) else { return };
        let outputs = draft.outputs.iter().map(|output| &output.blob);
        let blobs: Vec<_> = outputs.chain(&draft.stdout).chain(&draft.stderr).collect();
        let mut result: Vec<u8> = draft.command.clone();
        result.extend(blobs.iter().flat_map(|blob| blob.digest));
        let bytes = blobs.iter().map(|blob| blob.len_bytes).sum::<u64>() + entry.header.body_bytes;
        all.insert(place, Stored { result, bytes, cost_us: draft.tool_us });
    });
    all
}
