//! A result that another process makes just now is waited for, and not made twice.
//!
//! Builds of several checkouts that catch up with each other compile the same things at the same time. Who waits does no work
//! meanwhile, and looks again when the other process is done. If its result does not serve here, the wait was in vain; the
//! builds are then apart by that time. It never waits for a process that has ended or is stopped, and not much longer than the
//! last such run took. Read next: `store/running.rs`, `docs/content-lookup.md`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Invocation;
use super::content_lookup::first_comparison;
use super::look::Looked;
use super::step::Step;
use crate::os::processes::process;
use crate::probe::command::Command;
use crate::store::Store;
use crate::store::running::Running;

/// The longest wait where it is not known how long the tool takes.
const UNKNOWN: Duration = Duration::from_secs(30);
/// The longest wait is this many times what the last run took, and [`MORE`].
const TIMES: u32 = 2;
const MORE: Duration = Duration::from_secs(1);
/// How long it sleeps before it asks again: first, and at most.
const SLEEP_MIN: Duration = Duration::from_millis(1);
const SLEEP_MAX: Duration = Duration::from_millis(20);

impl Invocation {
    /// What comes of a look-up that found nothing, after a process that makes the same has ended; and the lock by which others wait
    /// for this one, if it is to run the tool.
    pub(super) fn wait_for_others(
        &self,
        store: &Store,
        step: &mut Step,
    ) -> (Looked, Option<Running>) {
        let key = match &step.elsewhere {
            _ if !self.may_store(store) => None,
            // The first comparison of a class lets all others be served.
            Some(_) => first_comparison(store, &step.request.command),
            None => Some(step.request.content_key(store, &step.policy)),
        };
        let Some(key) = key else { return (Looked::Missed, None) };
        let Ok(running) = store.running(&key) else { return (Looked::Missed, None) };
        let mut looked = Looked::Missed;
        if !running.begin().unwrap_or(true) {
            self.log.line("another process makes the same: waits for it");
            let why = wait(&running, longest_wait(store, &step.request.command));
            self.log.line(format_args!("waits no more: {why}"));
            step.request.forget_content_key();
            step.elsewhere = None;
            looked = self.look_up_by_content(store, step);
            if matches!(looked, Looked::Missed | Looked::Undelivered) {
                let _ = running.begin();
            }
        }
        (looked, Some(running))
    }
}

fn longest_wait(store: &Store, command: &Command) -> Duration {
    last_took(store, command).map_or(UNKNOWN, |took| took * TIMES + MORE)
}

/// How long the newest record of a command says that the tool took.
fn last_took(store: &Store, command: &Command) -> Option<Duration> {
    let key = command.direct_key();
    let (_, entry) = store.cache.records(&key).next()?;
    Some(Duration::from_micros(store.draft_of(&entry)?.tool_us))
}

/// Waits until the process that makes a result now has ended, is stopped, or `limit` is over; which of these it was.
fn wait(running: &Running, limit: Duration) -> &'static str {
    let (began, mut pause) = (Instant::now(), SLEEP_MIN);
    let first = running.maker().ok().flatten();
    loop {
        match running.maker().ok().flatten() {
            maker if maker.is_none() || maker != first => return "it is done",
            Some(maker) if process(maker).is_some_and(|process| process.is_stopped) => {
                return "it is stopped";
            }
            _ if began.elapsed() >= limit => return "it takes too long",
            _ => {}
        }
        sleep(pause);
        pause = (pause * 5 / 4).min(SLEEP_MAX);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "another process must hold the lock")]

    use std::process::Command;

    use super::*;
    use crate::store::MAX_BYTES_DEFAULT;

    /// The lock is held by another process: our own would not count.
    #[test]
    fn a_wait_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), MAX_BYTES_DEFAULT).expect("a cache");
        let running = store.running(&[7; 16]).expect("a file");
        assert_eq!(wait(&running, Duration::ZERO), "it is done");
        let script = "import fcntl, sys; f = open(sys.argv[1], 'r+b')\n\
                      fcntl.lockf(f, fcntl.LOCK_EX, 1, 0x07070707); print(1, flush=True); sys.stdin.read()";
        let mut other = Command::new("python3")
            .args(["-c", script])
            .arg(store.directory().join("lock-running"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = [0; 2];
        let said = other.stdout.as_mut().expect("a pipe");
        std::io::Read::read_exact(said, &mut line).expect("locked");
        assert!(!running.begin().expect("asked"));
        assert_eq!(running.maker().expect("asked"), Some(other.id()));
        assert_eq!(wait(&running, Duration::from_millis(5)), "it takes too long");
        drop(other.stdin.take());
        assert_eq!(wait(&running, Duration::from_mins(10)), "it is done");
        let _ = other.wait();
        assert!(running.begin().expect("asked"));
    }
}
