//! A question to the storages: is there a result of this command, with what its files contain now?
//!
//! Two steps, as the look-up here: the content key leads to path sets, a path set with what its names contain to a result,
//! which is stored here as if it were imported. Nothing is delivered: the look-up by content judges it as any other.
//! Read next: `packed.rs`, `health.rs`, `wrapper/remote.rs`.

use std::time::{Duration, Instant};

use super::client::{Connection, Failure};
use super::health::Health;
use super::packed::{self, Refusal, SETS_PER_SLOT, SLOTS, Slot};
use super::runtime::Runtime;
use crate::config::{Remote, Trust};
use crate::store::Store;
use crate::store::import::import_result_in;
use crate::store::path_set::PathSet;

/// The longest that is waited for the first answer.
const FIRST_ANSWER: Duration = Duration::from_millis(500);

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// A result is in the store now; how long its tool took.
    Found(Duration),
    /// Nobody has one.
    Nothing,
    /// Something was found that is damaged: what is made here is to take its place.
    Damaged(String),
    /// Something was found, but nothing that a trusted key has signed.
    Untrusted,
}

/// Asks the storages in their order. `keys` gives the result keys of a path set in this place and in all places, `None` if
/// one of its names is not there. `told` is told what failed.
pub fn fetch(
    store: &Store,
    remotes: &[Remote],
    trust: &Trust,
    content_key: &[u8; 16],
    keys: &mut dyn FnMut(&PathSet) -> Option<[[u8; 16]; 2]>,
    told: &mut dyn FnMut(&Remote, &str),
) -> Fetched {
    let mut outcome = Fetched::Nothing;
    for remote in remotes {
        let Some(runtime) = Runtime::of(remote) else {
            told(remote, "no directory for its socket");
            continue;
        };
        let mut health = Health::read(&runtime.state);
        let Some(allowance) = health.allowance(remote.loss_max) else { continue };
        if health.is_absent(&packed::slot_key(&remote.namespace, content_key, 0)) {
            continue;
        }
        let started = Instant::now();
        let question =
            Question { store, remote, trust, runtime: &runtime, content_key, health: &health };
        match question.ask(allowance, keys) {
            Ok(Fetched::Found(saved)) => {
                health.answered(started.elapsed(), Some(saved));
                return Fetched::Found(saved);
            }
            Ok(Fetched::Nothing) => health.answered(started.elapsed(), None),
            Ok(Fetched::Untrusted) => {
                health.refused(started.elapsed());
                told(remote, "what it has is signed by no trusted key");
            }
            Ok(Fetched::Damaged(why)) => {
                health.answered(started.elapsed(), None);
                told(remote, &why);
                outcome = Fetched::Damaged(why);
            }
            Err(why) => {
                health.failed(started.elapsed(), &why);
                told(remote, &why.0);
            }
        }
    }
    outcome
}

struct Question<'q> {
    store: &'q Store,
    remote: &'q Remote,
    trust: &'q Trust,
    runtime: &'q Runtime,
    content_key: &'q [u8; 16],
    health: &'q Health,
}

impl Question<'_> {
    fn ask(
        &self,
        allowance: Duration,
        keys: &mut dyn FnMut(&PathSet) -> Option<[[u8; 16]; 2]>,
    ) -> Result<Fetched, Failure> {
        let started = Instant::now();
        let soon = started + allowance.min(FIRST_ANSWER.max(allowance / 2));
        let mut connection = Connection::open(self.remote, self.runtime, soon)?;
        let first = packed::slot_key(&self.remote.namespace, self.content_key, 0);
        let mut nothing = Fetched::Nothing;
        for number in 0..SLOTS {
            let key = packed::slot_key(&self.remote.namespace, self.content_key, number);
            let Some(value) = connection.get(&key)? else {
                self.health.note(&key, number == 0);
                break;
            };
            connection.deadline = started + allowance;
            let Some(slot) = Slot::unpack(&value) else {
                return Ok(Fetched::Damaged("damaged path sets".into()));
            };
            for signed in slot.sets.iter().rev() {
                // Not even its names are looked at.
                if !signed.is_trusted(self.trust, &first) {
                    nothing = Fetched::Untrusted;
                    continue;
                }
                let set = &signed.set;
                let Some(both) = keys(set) else { continue };
                for (key, _) in both.iter().zip(slot.serves).filter(|(_, serves)| *serves) {
                    match self.result(&connection, set, key)? {
                        Fetched::Nothing => {}
                        Fetched::Untrusted => nothing = Fetched::Untrusted,
                        found => return Ok(found),
                    }
                }
            }
            if slot.sets.len() < SETS_PER_SLOT {
                break;
            }
        }
        Ok(nothing)
    }

    /// Fetches one result, and stores it under its path set.
    fn result(
        &self,
        connection: &Connection,
        set: &PathSet,
        result_key: &[u8; 16],
    ) -> Result<Fetched, Failure> {
        let key = packed::result_key(&self.remote.namespace, result_key);
        if self.health.is_absent(&key) {
            return Ok(Fetched::Nothing);
        }
        let Some(value) = connection.get(&key)? else {
            self.health.note(&key, true);
            return Ok(Fetched::Nothing);
        };
        let bytes = match packed::unpack_result(&key, &value, self.trust) {
            Ok(bytes) => bytes,
            Err(Refusal::Damaged) => return Ok(Fetched::Damaged("a damaged result".into())),
            Err(Refusal::Untrusted) => return Ok(Fetched::Untrusted),
        };
        match import_result_in(self.store, &bytes, result_key) {
            Ok(tool_us) => {
                // Without it the record is not found, which is a miss.
                let _ = self.store.put_path_set(self.content_key, set, result_key);
                Ok(Fetched::Found(Duration::from_micros(tool_us)))
            }
            Err(error) => Ok(Fetched::Damaged(format!("a result that {error}"))),
        }
    }
}
