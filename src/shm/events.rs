//! Event rings: how the last invocations ended, one ring for each shard of the counters, in the volatile segment.
//!
//! Events are written without a lock. One that is half written, or that two processes wrote at once, fails its check and is
//! absent. Nothing is decided by what stands here. Read next: `docs/events.md`, `counters.rs`.

use bytemuck::{Pod, Zeroable};
use xxhash_rust::xxh3::xxh3_64;

use super::words::{Ordering, Shared, Word};

/// Words of an event.
pub const EVENT_WORDS: usize = size_of::<Event>() / 8;
/// Words before the texts.
const HEAD_WORDS: usize = core::mem::offset_of!(Event, text) / 8;
/// Room for the texts.
pub const TEXT_BYTES: usize = 184;
/// How much of the name of a build is kept.
pub const BUILD_BYTES_MAX: usize = 32;

/// In the place of the process of make, ninja or cargo: there is none. (It is the kernel's first process.)
pub const NO_BUILDER: u32 = 1;

/// The texts of an event, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The name of the build (`IBID_BUILD`).
    Build,
    /// The tool as it was called, without directories.
    Tool,
    /// The source as it was named.
    Source,
    /// The working directory.
    Directory,
    /// What the cause is about: a path, or the name of a variable.
    What,
}

/// How an invocation ended. Append, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// The tool runs (or was killed together with us).
    Running = 1,
    /// Served by stamps.
    DirectHit = 2,
    /// Served by digests.
    ContentHit = 3,
    /// The tool ran and succeeded.
    Miss = 4,
    /// We became the tool.
    PassedThrough = 5,
    /// The tool ran and failed.
    ToolFailure = 6,
}

impl Ending {
    /// All of them, in the order of their numbers, which begin at 1.
    pub const ALL: [Ending; 6] = [
        Ending::Running,
        Ending::DirectHit,
        Ending::ContentHit,
        Ending::Miss,
        Ending::PassedThrough,
        Ending::ToolFailure,
    ];
}

/// One invocation. 256 bytes; all zero where nothing was written.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Event {
    /// XXH3-64 of what follows, up to the end of the texts; never 0.
    pub check: u64,
    /// Its number in its ring, from 1.
    pub number: u64,
    /// When the invocation ended (while the tool runs: when it began), ns since the epoch.
    pub time_ns: u64,
    /// Where the record stands that was delivered or stored: segment number `<< 20 |` unit; 0 if there is none.
    pub record: u64,
    /// Hash of `IBID_BUILD`; 0 if it is not set.
    pub build: u64,
    /// The session; 0 where the build has a name.
    pub session: u32,
    /// The process that started ibid; 0 where the build has a name.
    pub parent: u32,
    /// ibid's own process.
    pub process: u32,
    /// The process of make, ninja or cargo above; 0 if that was not looked for, [`NO_BUILDER`] if there is none.
    pub builder: u32,
    /// How long the tool ran, microseconds.
    pub took_us: u32,
    /// How long the tool ran when the delivered result was made, microseconds.
    pub saved_us: u32,
    /// [`Ending`].
    pub ending: u8,
    /// Number of the reason, from 1: of a miss `NotStored`, of what passed through why; 0 if there is none.
    pub reason: u8,
    /// Number of the cause of a miss, from 1; 0 if it is not known.
    pub cause: u8,
    /// Lengths of the texts.
    pub text_lens: [u8; 5],
    /// The texts, one behind the other.
    pub text: [[u8; 8]; TEXT_BYTES / 8],
}

const _: () = assert!(size_of::<Event>() == 256);
const _: () = assert!(core::mem::offset_of!(Event, text) == 72);

impl Event {
    /// One of which only the ending is known.
    pub fn new(ending: Ending) -> Event {
        Event { ending: ending as u8, ..Event::zeroed() }
    }

    /// Puts a text behind those that are there: texts come in the order of [`Text`]. What is too long loses its beginning.
    pub fn push(&mut self, text: Text, bytes: &[u8]) {
        let used = self.text_bytes();
        let room = self.text.as_flattened_mut().get_mut(used..).unwrap_or(&mut []);
        let len = bytes.len().min(room.len());
        let tail = bytes.get(bytes.len() - len..).unwrap_or(&[]);
        if let (Some(place), Some(length)) =
            (room.get_mut(..len), self.text_lens.get_mut(text as usize))
        {
            place.copy_from_slice(tail);
            *length = u8::try_from(len).unwrap_or(0);
        }
    }

    /// One of the texts; empty if it is not there.
    pub fn text(&self, text: Text) -> &[u8] {
        let before = self.text_lens.iter().take(text as usize).map(|len| usize::from(*len)).sum();
        let len = self.text_lens.get(text as usize).map_or(0, |len| usize::from(*len));
        self.text.as_flattened().get(before..).and_then(|rest| rest.get(..len)).unwrap_or(&[])
    }

    /// How the invocation ended; `None` if that number is not known.
    pub fn ending(&self) -> Option<Ending> {
        Ending::ALL.get(usize::from(self.ending).checked_sub(1)?).copied()
    }

    fn text_bytes(&self) -> usize {
        self.text_lens.iter().map(|len| usize::from(*len)).sum::<usize>().min(TEXT_BYTES)
    }

    /// Words that are written.
    fn words(&self) -> usize {
        HEAD_WORDS + self.text_bytes().div_ceil(8)
    }

    fn expected_check(&self) -> u64 {
        let bytes = bytemuck::bytes_of(self);
        // Never that of a place to which nothing was written.
        xxh3_64(bytes.get(8..self.words() * 8).unwrap_or(&[])) | 1
    }
}

/// A ring of events.
#[derive(Debug, Clone, Copy)]
pub struct Ring<'a, W = Word> {
    /// How many events were written to it.
    written: &'a W,
    slots: &'a [W],
}

impl<'a, W: Shared> Ring<'a, W> {
    /// A ring in `slots`, [`EVENT_WORDS`] for each event; `written` counts them.
    pub fn new(written: &'a W, slots: &'a [W]) -> Ring<'a, W> {
        Ring { written, slots }
    }

    /// Writes an event in the place of the oldest; its number.
    pub fn write(&self, event: &mut Event) -> u64 {
        self.put(event, self.written.add(1, Ordering::Relaxed).wrapping_add(1))
    }

    /// Writes an event in the place of the one with this number, if that is still there, else in that of the oldest. No
    /// event has number 0.
    pub fn write_over(&self, number: u64, event: &mut Event) -> u64 {
        let is_there =
            number != 0 && self.slot(number).is_some_and(|slot| read(slot).number == number);
        if is_there { self.put(event, number) } else { self.write(event) }
    }

    /// Visits the events that are whole, in no particular order.
    pub fn each(&self, mut visit: impl FnMut(&Event)) {
        let is_used =
            |slot: &&[W]| slot.first().is_some_and(|word| word.get(Ordering::Relaxed) != 0);
        for slot in self.slots.chunks_exact(EVENT_WORDS).filter(is_used) {
            let event = read(slot);
            if event.check == event.expected_check() {
                visit(&event);
            }
        }
    }

    /// Removes all events.
    pub fn clear(&self) {
        self.slots.iter().for_each(|word| word.set(0, Ordering::Relaxed));
    }

    fn put(&self, event: &mut Event, number: u64) -> u64 {
        event.number = number;
        event.check = event.expected_check();
        let words = event.words();
        let bytes = bytemuck::bytes_of(event);
        for (word, value) in
            self.slot(number).unwrap_or(&[]).iter().zip(bytes.chunks_exact(8)).take(words)
        {
            let value = value.try_into().map_or(0, u64::from_le_bytes);
            word.set(value, Ordering::Relaxed);
        }
        number
    }

    fn slot(&self, number: u64) -> Option<&'a [W]> {
        let slots = (self.slots.len() / EVENT_WORDS).max(1);
        let at = usize::try_from(number % slots as u64).ok()? * EVENT_WORDS;
        self.slots.get(at..at + EVENT_WORDS)
    }
}

fn read<W: Shared>(slot: &[W]) -> Event {
    let mut event = Event::zeroed();
    let bytes = bytemuck::bytes_of_mut(&mut event);
    for (place, word) in bytes.chunks_exact_mut(8).zip(slot) {
        place.copy_from_slice(&word.get(Ordering::Relaxed).to_le_bytes());
    }
    event
}

#[cfg(test)]
mod tests;
