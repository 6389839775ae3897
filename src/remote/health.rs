//! What is known of a storage: whether it is to be asked, what it costs, what it does not have. A small file for each.
//!
//! A storage that failed is left alone for a time, which doubles with each failure. One that costs a build more than it may
//! is left alone for the rest of the build. Processes write it without locks: a lost figure makes a difference of one
//! question. Read next: `fetch.rs`, `docs/remote.md`.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use bytemuck::{Pod, Zeroable};

use super::client::Failure;
use crate::shm::raw::now_ns;

/// First bytes of the file.
const MAGIC: [u8; 8] = *b"ibidREM1";
/// After so long without a question another build has begun.
const BUILD_GAP: Duration = Duration::from_secs(30);
/// How long a storage is left alone after its first failure.
const PAUSE_S: u64 = 10;
const PAUSE_S_MAX: u64 = 600;
/// With less time than this left a question is not worth asking.
const ALLOWANCE_MIN: Duration = Duration::from_millis(5);
/// How long it is believed that a key is not there.
const ABSENT_S: u64 = 60;
/// Where the keys that are not there begin, and how many there can be.
const ABSENT_OFFSET: u64 = 4096;
const ABSENT_KEYS: u64 = 4096;
/// The longest line that is kept.
const LINE_BYTES: usize = 256;

/// The figures.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Figures {
    magic: [u8; 8],
    /// Until when it is left alone, nanoseconds since the epoch.
    paused_until_ns: u64,
    /// How often it failed since it last did not.
    failures: u64,
    /// What this build has lost.
    lost_ns: u64,
    /// When it was asked last.
    asked_ns: u64,
    hits: u64,
    misses: u64,
    uploads: u64,
    /// When it failed last, and how.
    failed_ns: u64,
    line_bytes: u64,
    line: [u8; LINE_BYTES],
    /// Questions whose answers no trusted key has signed; they are misses, too.
    untrusted: u64,
}

/// The state of a storage.
pub struct Health {
    file: Option<File>,
    figures: Figures,
}

/// What a person is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Results that were fetched.
    pub hits: u64,
    /// Questions that found nothing.
    pub misses: u64,
    /// Questions, of those that found nothing, whose answers no trusted key has signed.
    pub untrusted: u64,
    /// Results that were sent.
    pub uploads: u64,
    /// How much longer it is left alone.
    pub paused: Option<Duration>,
    /// How long ago it failed last, and how.
    pub failure: Option<(Duration, String)>,
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The time in seconds, as the word of a key holds it.
fn now_s() -> u64 {
    (now_ns() / 1_000_000_000) & 0xffff_ffff
}

/// Where the word of a key that is not there stands, and its upper half; the lower half is the time, in seconds.
fn absent_word(key: &[u8; 32]) -> Option<(u64, u64)> {
    let hash = u64::from_le_bytes(*key.first_chunk()?);
    Some((ABSENT_OFFSET + hash % ABSENT_KEYS * 8, hash & !0xffff_ffff))
}

impl Health {
    /// Reads the state; where there is none, or where it cannot be kept, nothing is known.
    pub fn read(path: &Path) -> Health {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).ok();
        let mut figures = Figures::zeroed();
        let read =
            file.as_ref().map(|file| file.read_exact_at(bytemuck::bytes_of_mut(&mut figures), 0));
        if !matches!(read, Some(Ok(()))) || figures.magic != MAGIC {
            figures = Figures { magic: MAGIC, ..Figures::zeroed() };
        }
        Health { file, figures }
    }

    fn write(&self) {
        if let Some(file) = &self.file {
            let _ = file.write_all_at(bytemuck::bytes_of(&self.figures), 0);
        }
    }

    /// How much longer it is left alone. A clock that was set back ends a pause, too.
    pub fn paused(&self) -> Option<Duration> {
        let left = Duration::from_nanos(self.figures.paused_until_ns.checked_sub(now_ns())?);
        (!left.is_zero() && left <= Duration::from_secs(PAUSE_S_MAX)).then_some(left)
    }

    /// How long a question may take now; `None` if it is not to be asked. Where the state cannot be kept, it never is: every
    /// call would lose its time anew.
    pub fn allowance(&mut self, loss_max: Duration) -> Option<Duration> {
        self.file.as_ref()?;
        if self.paused().is_some() {
            return None;
        }
        if now_ns().saturating_sub(self.figures.asked_ns) > ns(BUILD_GAP) {
            self.figures.lost_ns = 0;
        }
        let left = loss_max.saturating_sub(Duration::from_nanos(self.figures.lost_ns));
        (left >= ALLOWANCE_MIN).then_some(left)
    }

    /// A question was answered; what was found saved so much.
    pub fn answered(&mut self, took: Duration, saved: Option<Duration>) {
        let figures = &mut self.figures;
        figures.asked_ns = now_ns();
        figures.failures = 0;
        match saved {
            Some(_) => figures.hits += 1,
            None => figures.misses += 1,
        }
        let lost = figures.lost_ns.saturating_add(ns(took));
        figures.lost_ns = lost.saturating_sub(saved.map_or(0, ns));
        self.write();
    }

    /// A question was answered, by what no trusted key has signed.
    pub fn refused(&mut self, took: Duration) {
        self.figures.untrusted += 1;
        self.answered(took, None);
    }

    /// A question came to nothing because of this.
    pub fn failed(&mut self, took: Duration, why: &Failure) {
        let now = now_ns();
        let figures = &mut self.figures;
        figures.asked_ns = now;
        figures.lost_ns = figures.lost_ns.saturating_add(ns(took));
        figures.failures = figures.failures.saturating_add(1);
        let pause_s = PAUSE_S << (figures.failures - 1).min(10);
        let pause = Duration::from_secs(pause_s.min(PAUSE_S_MAX));
        figures.paused_until_ns = now.saturating_add(ns(pause));
        figures.failed_ns = now;
        let line = why.0.lines().next().unwrap_or_default();
        let end = line.floor_char_boundary(LINE_BYTES);
        figures.line = [0; LINE_BYTES];
        figures.line[..end].copy_from_slice(&line.as_bytes()[..end]);
        figures.line_bytes = end as u64;
        self.write();
    }

    /// It was tried and works: it is asked again at once.
    pub fn works(&mut self) {
        (self.figures.paused_until_ns, self.figures.failures) = (0, 0);
        self.write();
    }

    /// A result was sent.
    pub fn sent(&mut self) {
        self.figures.uploads += 1;
        self.write();
    }

    /// Whether the key was not there a moment ago.
    pub fn is_absent(&self, key: &[u8; 32]) -> bool {
        let Some((at, tag)) = absent_word(key) else { return false };
        let mut word = [0; 8];
        let is_read =
            self.file.as_ref().is_some_and(|file| file.read_exact_at(&mut word, at).is_ok());
        let word = u64::from_le_bytes(word);
        let age_s = now_s().wrapping_sub(word & 0xffff_ffff);
        is_read && word & !0xffff_ffff == tag && age_s < ABSENT_S
    }

    /// Notes that a key is not there, or that it is.
    pub fn note(&self, key: &[u8; 32], is_absent: bool) {
        let (Some((at, tag)), Some(file)) = (absent_word(key), &self.file) else { return };
        if !is_absent && !self.is_absent(key) {
            return;
        }
        let word = if is_absent { tag | now_s() } else { 0 };
        let _ = file.write_all_at(&word.to_le_bytes(), at);
    }

    /// What a person is shown.
    pub fn shown(&self) -> Shown {
        let figures = &self.figures;
        let line = figures.line.get(..usize::try_from(figures.line_bytes).unwrap_or(0));
        let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
        let ago = Duration::from_nanos(now_ns().saturating_sub(figures.failed_ns));
        Shown {
            hits: figures.hits,
            misses: figures.misses,
            untrusted: figures.untrusted,
            uploads: figures.uploads,
            paused: self.paused(),
            failure: (figures.failed_ns > 0).then_some((ago, line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn health() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        (directory, path)
    }

    #[test]
    fn a_failure_pauses_for_all_processes_and_longer_each_time() {
        let (_directory, path) = health();
        assert_eq!(Health::read(&path).allowance(SECOND), Some(SECOND));
        Health::read(&path).failed(300 * MS, &Failure("it\nbroke".into()));
        let mut after = Health::read(&path);
        assert_eq!(after.allowance(SECOND), None);
        let first = after.shown();
        assert!(first.paused.is_some_and(|left| left <= 10 * SECOND && left > 5 * SECOND));
        assert_eq!(first.failure.map(|(_, line)| line), Some("it".to_owned()));
        after.failed(300 * MS, &Failure("x".repeat(1000)));
        assert!(after.shown().paused.is_some_and(|left| left > 10 * SECOND));
        (0..100).for_each(|_| after.failed(MS, &Failure(String::new())));
        assert!(after.shown().paused.is_some_and(|left| left <= 600 * SECOND));
        after.works();
        let mut now = Health::read(&path);
        // What was lost is still lost: less than nothing is left.
        assert_eq!((now.shown().paused, now.allowance(SECOND)), (None, Some(300 * MS)));
        now.answered(MS, None);
        assert_eq!(Health::read(&path).figures.failures, 0);
    }

    #[test]
    fn a_clock_that_was_set_back_ends_a_pause() {
        let (_directory, path) = health();
        let mut health = Health::read(&path);
        health.failed(MS, &Failure(String::new()));
        assert!(health.paused().is_some() && health.allowance(SECOND).is_none());
        health.figures.paused_until_ns += ns(1000 * SECOND);
        assert_eq!((health.paused(), health.shown().paused), (None, None));
        assert!(health.allowance(SECOND).is_some());
    }

    #[test]
    fn a_build_loses_no_more_than_it_may() {
        let (_directory, path) = health();
        let mut health = Health::read(&path);
        for at in 0..10 {
            assert_eq!(health.allowance(SECOND), Some((1000 - 100 * at) * MS), "{at}");
            health.answered(100 * MS, None);
        }
        assert_eq!(Health::read(&path).allowance(SECOND), None);
        // What a hit saves counts against it.
        let mut health = Health::read(&path);
        health.answered(100 * MS, Some(700 * MS));
        assert_eq!(health.allowance(SECOND), Some(600 * MS));
        health.answered(100 * MS, Some(100 * SECOND));
        assert_eq!(health.allowance(SECOND), Some(SECOND));
        // Another build.
        health.answered(5 * SECOND, None);
        assert_eq!(health.allowance(SECOND), None);
        health.figures.asked_ns -= 31_000_000_000;
        assert_eq!(health.allowance(SECOND), Some(SECOND));
        let shown = health.shown();
        assert_eq!((shown.hits, shown.misses, shown.failure), (2, 11, None));
    }

    #[test]
    fn keys_that_are_not_there() {
        let (_directory, path) = health();
        let health = Health::read(&path);
        let keys: Vec<[u8; 32]> =
            (0..50u32).map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
        for key in &keys {
            assert!(!health.is_absent(key));
            health.note(key, true);
            assert!(Health::read(&path).is_absent(key));
        }
        health.note(&keys[7], false);
        assert!(!health.is_absent(&keys[7]) && health.is_absent(&keys[8]));
    }

    #[test]
    fn without_a_place_for_its_state_nothing_is_asked() {
        let mut health = Health::read(Path::new("/nowhere/state"));
        assert_eq!(health.allowance(SECOND), None);
        health.failed(MS, &Failure(String::new()));
        // Other bytes are no state.
        let (_directory, path) = health_of(b"garbage".repeat(99).as_slice());
        assert_eq!(Health::read(&path).allowance(SECOND), Some(SECOND));
    }

    fn health_of(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let (directory, path) = health();
        std::fs::write(&path, bytes).expect("written");
        (directory, path)
    }
}
