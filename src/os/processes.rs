//! Other processes, as `/proc` shows them.

use std::fs;
use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

/// A process, as it was just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The name of its program, cut to 15 bytes.
    pub name: String,
    /// What started it.
    pub parent: u32,
    /// Its session.
    pub session: u32,
    /// When it began, in ticks since the machine did.
    pub started: u64,
    /// Whether it is stopped, as by ctrl-Z.
    pub is_stopped: bool,
}

impl Process {
    /// When it began, ns since the epoch, exact to a tick; `None` if that cannot be said.
    pub fn began_ns(&self) -> Option<u64> {
        const TICKS_PER_SECOND: u64 = 100;
        let ticks_ns = self.started.checked_mul(1_000_000_000 / TICKS_PER_SECOND)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let ago_ns = since_boot_ns()?.saturating_sub(ticks_ns);
        u64::try_from(now.as_nanos()).ok()?.checked_sub(ago_ns)
    }
}

/// How long the machine runs, with the time that it slept: the clock in which processes begin.
fn since_boot_ns() -> Option<u64> {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to our own value.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, now.as_mut_ptr()) };
    // SAFETY: all bytes were zero before, which is a value.
    let now = unsafe { now.assume_init() };
    let (seconds, ns) = (u64::try_from(now.tv_sec).ok()?, u64::try_from(now.tv_nsec).ok()?);
    (status == 0).then(|| seconds * 1_000_000_000 + ns)
}

/// The process of this number; `None` if there is none, or none that can be seen.
pub fn process(number: u32) -> Option<Process> {
    parse(&fs::read(format!("/proc/{number}/stat")).ok()?)
}

/// `number (name) state parent group session …`, the time of the start in the 22nd field; a name may hold anything.
fn parse(line: &[u8]) -> Option<Process> {
    let line = String::from_utf8_lossy(line);
    let (begin, end) = (line.find('(')?, line.rfind(')')?);
    let name = line.get(begin + 1..end)?.to_owned();
    let fields: Vec<&str> = line.get(end + 1..)?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let small = |at: usize| u32::try_from(number(at)?).ok();
    Some(Process {
        name,
        parent: small(1)?,
        session: small(3)?,
        started: number(19)?,
        is_stopped: matches!(fields.first(), Some(&("T" | "t"))),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::{Process, parse, process};

    #[test]
    fn a_line_of_proc() {
        let line = b"42 (a) b) (c) S 7 42 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n";
        let expected = Process {
            name: "a) b) (c".into(),
            parent: 7,
            session: 5,
            started: 98_765,
            is_stopped: false,
        };
        assert_eq!(parse(line), Some(expected));
        let stopped = String::from_utf8_lossy(line).replace(") S ", ") T ");
        assert!(parse(stopped.as_bytes()).is_some_and(|process| process.is_stopped));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"1 (x) S 1\n"), None);
    }

    #[test]
    fn our_own() {
        let ours = process(std::process::id()).expect("it is there");
        assert_eq!(ours.parent, crate::shm::raw::parent());
        assert_eq!(ours.session, crate::shm::raw::session());
        assert_eq!(process(u32::MAX), None);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
        let began = ours.began_ns().expect("a time");
        assert!(u128::from(began) <= now.as_nanos(), "{began}");
        // No test runs for a day.
        assert!(u128::from(began) + 86_400_000_000_000 > now.as_nanos(), "{began}");
    }
}
