//! Sends what is in the queue to the storages that take it: in a process of its own, for which no build waits.
//!
//! What a storage has already is not sent again, unless it was found to be damaged. A storage that fails keeps all that is
//! left in the queue. Read next: `queue.rs`, `packed.rs`.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use super::client::{Connection, Failure};
use super::health::Health;
use super::packed::{self, SETS_PER_SLOT, SLOTS, SignedSet, Slot};
use super::queue::{Job, Queue, become_sender};
use super::runtime::Runtime;
use super::sign::Secret;
use crate::config::{Config, Remote, Trust};
use crate::record;
use crate::store::Store;
use crate::store::export::export_result;

/// How long one value may take.
const VALUE_TIME: Duration = Duration::from_mins(1);
/// A longer result is not sent.
const RESULT_BYTES_MAX: u64 = 256 << 20;
/// How long the sender waits for more before it ends.
const LINGER: Duration = Duration::from_secs(2);
const NAP: Duration = Duration::from_millis(20);

/// Puts a result into the queue of each storage that takes results, and starts a process that sends it, unless one runs or
/// nothing could be sent now. False if a queue is full.
pub fn enqueue(store: &Store, config: &Config, job: &Job) -> io::Result<bool> {
    let mut has_room = true;
    for remote in writable(config) {
        has_room &= Queue::of(store.directory(), remote).push(job)?;
    }
    let is_open = writable(config).any(|remote| !is_paused(remote));
    if is_open && become_sender(store.directory()).is_some() {
        // What cannot be signed as it should be waits.
        Secret::of(config).map_err(|why| io::Error::other(why.0))?;
        store.start_beside(config, &["remote", "send"])?;
    }
    Ok(has_room)
}

fn is_paused(remote: &Remote) -> bool {
    Runtime::of(remote).is_none_or(|it| Health::read(&it.state).paused().is_some())
}

/// The storages that take results.
pub fn writable(config: &Config) -> impl Iterator<Item = &Remote> {
    config.remotes.iter().filter(|remote| !remote.is_read_only)
}

/// Sends until nothing was added for a moment. A storage that fails is left alone.
pub fn send(store: &Store, config: &Config) -> Result<(), Failure> {
    let signer = Secret::of(config)?;
    let signing = Signing { signer: signer.as_ref(), trust: &config.remote_trust };
    let mut result = Ok(());
    while let Some(sender) = become_sender(store.directory()) {
        let mut idle = Instant::now();
        while idle.elapsed() < LINGER {
            let mut is_sent = false;
            for remote in writable(config).filter(|remote| !is_paused(remote)) {
                match send_to(store, remote, signing) {
                    Ok(count) => is_sent |= count > 0,
                    Err(why) => result = Err(why),
                }
            }
            if is_sent {
                idle = Instant::now();
            }
            std::thread::sleep(NAP);
        }
        drop(sender);
        // What was added in the last moment nobody else sends.
        if writable(config).all(|it| is_paused(it) || Queue::of(store.directory(), it).is_empty()) {
            break;
        }
    }
    result
}

/// Sends what waits for a storage; how many results that were.
fn send_to(store: &Store, remote: &Remote, signing: Signing<'_>) -> Result<usize, Failure> {
    let queue = Queue::of(store.directory(), remote);
    let about = |error: io::Error| Failure(format!("the queue: {error}"));
    let jobs = queue.take().map_err(about)?;
    if jobs.is_empty() {
        return Ok(0);
    }
    let no_place = || Failure("no directory for its socket".into());
    let runtime = Runtime::of(remote).ok_or_else(no_place)?;
    let health = Health::read(&runtime.state);
    let mut sender = Sender { store, remote, signing, health };
    if let Err(why) = sender.send(&runtime, &jobs) {
        Health::read(&runtime.state).failed(Duration::ZERO, &why);
        return Err(why);
    }
    queue.done().map_err(about)?;
    Ok(jobs.len())
}

/// With what is signed, and whose signatures need no other.
#[derive(Clone, Copy)]
struct Signing<'s> {
    signer: Option<&'s Secret>,
    trust: &'s Trust,
}

struct Sender<'s> {
    store: &'s Store,
    remote: &'s Remote,
    signing: Signing<'s>,
    health: Health,
}

impl Sender<'_> {
    fn send(&mut self, runtime: &Runtime, jobs: &[Job]) -> Result<(), Failure> {
        let mut connection = Connection::open(self.remote, runtime, Instant::now() + VALUE_TIME)?;
        let mut seen = HashSet::new();
        for job in jobs.iter().filter(|job| seen.insert(**job)) {
            let started = Instant::now();
            connection.deadline = started + VALUE_TIME;
            let sent_bytes = self.result(&connection, job)?;
            if sent_bytes > 0 {
                self.health = Health::read(&runtime.state);
                self.health.sent();
                self.slow_down(sent_bytes, started);
            }
        }
        Ok(())
    }

    /// Sends a result and what leads to it; how many bytes that were.
    fn result(&self, connection: &Connection, job: &Job) -> Result<usize, Failure> {
        let key = packed::result_key(&self.remote.namespace, &job.result_key);
        let mut bytes = Vec::new();
        // One that was evicted meanwhile, or that may not leave this machine, is left out.
        let exported = export_result(self.store, &job.result_key, RESULT_BYTES_MAX, &mut bytes);
        let Ok(Some(flags)) = exported else { return Ok(0) };
        let is_there = job.replaces == 0 && self.has(connection, &key)?;
        let mut sent_bytes = 0;
        if !is_there {
            let value = packed::pack_result(&key, &bytes, self.signing.signer);
            let Some(value) = value else { return Ok(0) };
            sent_bytes = value.len();
            connection.put(&key, value)?;
        }
        self.health.note(&key, false);
        Ok(sent_bytes + self.path_sets(connection, job, flags & record::ANYWHERE != 0)?)
    }

    /// Whether a storage has a result: if we sign, one that is signed by us, or by a key that we trust. What somebody else has put
    /// there first must not keep ours from those who trust us.
    fn has(&self, connection: &Connection, key: &packed::Key) -> Result<bool, Failure> {
        let Signing { signer, trust } = self.signing;
        let is_there = connection.exists(key)?;
        let (Some(true), Some(signer)) = (is_there, signer) else {
            return Ok(is_there == Some(true));
        };
        let value = connection.get(key)?;
        Ok(value.is_some_and(|value| packed::is_accepted(signer, trust, key, &value)))
    }

    /// Adds our path sets to those that the storage has: to the first slot with room, or in place of the oldest of the last.
    fn path_sets(
        &self,
        connection: &Connection,
        job: &Job,
        serves_all: bool,
    ) -> Result<usize, Failure> {
        let mut missing = self.store.path_sets(&job.content_key);
        // The newest is the last.
        missing.reverse();
        let Signing { signer, trust } = self.signing;
        let first = packed::slot_key(&self.remote.namespace, &job.content_key, 0);
        let serves = [!serves_all, serves_all];
        let mut sent_bytes = 0;
        for number in 0..SLOTS {
            let key = packed::slot_key(&self.remote.namespace, &job.content_key, number);
            let old = connection.get(&key)?.and_then(|value| Slot::unpack(&value));
            let mut slot = old.clone().unwrap_or_default();
            slot.serves = [slot.serves[0] | serves[0], slot.serves[1] | serves[1]];
            for known in &mut slot.sets {
                let count = missing.len();
                missing.retain(|set| *set != known.set);
                if missing.len() < count && !known.is_accepted(signer, trust, &first) {
                    *known = SignedSet::new(known.set.clone(), &first, signer);
                }
            }
            while let Some(set) = missing.pop_if(|_| slot.sets.len() < SETS_PER_SLOT) {
                slot.sets.push(SignedSet::new(set, &first, signer));
            }
            if number + 1 == SLOTS && !missing.is_empty() {
                let signed = missing.drain(..).map(|set| SignedSet::new(set, &first, signer));
                slot.sets.extend(signed);
                slot.sets.drain(..slot.sets.len().saturating_sub(SETS_PER_SLOT));
            }
            if old.as_ref() != Some(&slot)
                && let Some(value) = slot.pack()
            {
                sent_bytes += value.len();
                connection.put(&key, value)?;
            }
            self.health.note(&key, false);
            if slot.sets.len() < SETS_PER_SLOT {
                break;
            }
        }
        Ok(sent_bytes)
    }

    /// Waits until no more than the allowed bytes a second were sent.
    fn slow_down(&self, sent_bytes: usize, started: Instant) {
        let Some(rate) = self.remote.upload_bytes_per_s else { return };
        let due_ms = (sent_bytes as u64).saturating_mul(1000) / rate.max(1);
        std::thread::sleep(Duration::from_millis(due_ms).saturating_sub(started.elapsed()));
    }
}

/// Sends all that waits, here or by the process that does it already; how many results are left after so long.
pub fn flush(store: &Store, config: &Config, time: Duration) -> Result<u64, Failure> {
    let started = Instant::now();
    let signer = Secret::of(config)?;
    let signing = Signing { signer: signer.as_ref(), trust: &config.remote_trust };
    let mut result = Ok(());
    while waiting(store, config) > 0 && result.is_ok() && started.elapsed() < time {
        if let Some(_sender) = become_sender(store.directory()) {
            for remote in writable(config) {
                // The others get theirs all the same.
                if let Err(why) = send_to(store, remote, signing) {
                    result = Err(why);
                }
            }
        }
        std::thread::sleep(NAP);
    }
    result.map(|()| waiting(store, config))
}

/// How many results wait, for all storages.
pub fn waiting(store: &Store, config: &Config) -> u64 {
    writable(config).map(|remote| Queue::of(store.directory(), remote).len()).sum()
}
