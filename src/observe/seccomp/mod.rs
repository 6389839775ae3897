//! The seccomp observer: a thread to which the kernel reports each system call before it is made; it notes it and lets it go on.
//!
//! It sees static programs and raw calls, and every path that libc or the loader uses by itself. It sees neither
//! variables nor what reads the clock in the process's own memory: for those the shim is loaded where it can be, see
//! `both.rs`. Another thread of a process may change a path between our look and the kernel's; no compiler does.
//! Read next: `calls.rs` (what each call means), `pending.rs` (what it came to), `os/watch/` (how the kernel asks).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::Timespec;

use crate::observe::known::numbers::{self, Question};
use crate::observe::shim::log::{Event, What};
use crate::observe::shim::log_layout::FileStat;
use crate::os::watch::{
    self, Clockless, ClocklessStart, Door, Filter, Listener, Privileges, Waited,
};
use crate::os::without_signals;

mod arguments;
mod both;
mod calls;
mod changes;
mod missed;
mod pending;
mod place;
mod programs;

pub use both::both;
pub use missed::Missed;

use pending::Pending;

/// Why there is no watch below another one; the next time there may be none.
pub const WATCHED_ALREADY: &str =
    "system calls cannot be watched: somebody further out watches them already";

/// Why there is no watch of a tool that would watch itself: the kernel lets only one do so.
pub const WATCHES_ITSELF: &str = "system calls cannot be watched: the tool watches them itself";

/// A tool that is being watched, or about to be.
#[derive(Debug)]
pub struct Watch {
    /// Closing it ends the thread.
    stop: OwnedFd,
    thread: JoinHandle<CallsSeen>,
}

/// What the watch saw.
#[derive(Debug, Default)]
pub struct CallsSeen {
    /// In the order in which it happened.
    pub events: Vec<Event>,
    /// What was asked, and by which image.
    pub asked: BTreeSet<(Question, PathBuf)>,
    /// Processes that had to ask the kernel for the time, with the image that they ran.
    pub clockless: HashSet<(u32, PathBuf)>,
    /// Why it could not watch at all.
    pub absent: Option<String>,
}

impl Watch {
    /// Makes the filter that the tool is to be started with, and the thread that waits for it. `cwd` is where the tool
    /// will be started, `own_files` are files of ours that it opens; `hide_clocks`: of programs that could have the shim, too.
    pub fn begin(
        privileges: Privileges,
        cwd: PathBuf,
        own_files: Vec<PathBuf>,
        hide_clocks: bool,
    ) -> io::Result<(Filter, Watch)> {
        let (filter, door) = watch::prepare(&numbers::harmless(), privileges)?;
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let tracer = Tracer { cwd, own_files, hide_clocks, ..Tracer::default() };
        let work = move || tracer.work(door, &stopped);
        let thread = without_signals(|| std::thread::Builder::new().spawn(work))?;
        Ok((filter, Watch { stop, thread }))
    }

    /// What was seen of the tool, which has ended or was never started; its filter must have been dropped. What the tool
    /// left behind goes on, attended by a process of ours.
    pub fn finish(self) -> CallsSeen {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

/// A program that a process is about to become.
#[derive(Debug)]
struct Starting {
    path: PathBuf,
    /// The file that the process will run; of a script, that is its interpreter.
    image: (u64, u64),
    /// The one that it ran before.
    before: Option<(u64, u64)>,
}

/// The thread's own.
#[derive(Debug, Default)]
struct Tracer {
    cwd: PathBuf,
    own_files: Vec<PathBuf>,
    hide_clocks: bool,
    seen: CallsSeen,
    pending: Vec<Pending>,
    starting: HashMap<u32, Starting>,
    /// The process that starts without a clock just now.
    clockless: Option<(u32, Clockless)>,
    hidden: HashSet<u32>,
    /// The process of each thread that has made a call.
    processes: HashMap<u32, u32>,
    /// Directories that were opened, by inode.
    directories: HashMap<(u64, u64), Opened>,
}

/// An open directory.
#[derive(Debug)]
struct Opened {
    /// As it was spelled.
    path: PathBuf,
    /// Whether it was listed since it was opened last.
    is_listed: bool,
}

/// How often we look at a process that is becoming a program.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000 };
/// How long we wait for processes that have ended to be gone.
const GRACE: Duration = Duration::from_millis(20);

impl Tracer {
    fn work(mut self, door: Door, stopped: &OwnedFd) -> CallsSeen {
        let mut listener = match door.wait() {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                self.seen.absent = Some(WATCHED_ALREADY.to_owned());
                return self.seen;
            }
            Err(error) => {
                self.seen.absent = Some(format!("system calls cannot be watched: {error}"));
                return self.seen;
            }
        };
        let is_gone = loop {
            let glance = self.clockless.map(|_| &GLANCE);
            match listener.wait(Some(stopped.as_fd()), glance) {
                Waited::Call => self.answer(&listener),
                Waited::Nothing => {}
                Waited::Gone => break true,
                Waited::Stop => break self.see_off(&mut listener),
            }
            self.glance();
        };
        if is_gone {
            listener.end();
        } else {
            listener.leave();
        }
        self.settle(None);
        if !is_gone {
            self.incomplete(0, "a process outlived the tool".to_owned());
        }
        self.seen
    }

    /// The tool has ended: says whether what it started has, too, or does so in a moment.
    fn see_off(&mut self, listener: &mut Listener) -> bool {
        let end = Instant::now() + GRACE;
        let nap = Timespec { tv_sec: 0, tv_nsec: i64::from(GRACE.subsec_nanos()) };
        while Instant::now() < end {
            match listener.wait(None, Some(&nap)) {
                Waited::Call => self.answer(listener),
                Waited::Gone => return true,
                Waited::Nothing | Waited::Stop => {}
            }
        }
        false
    }

    fn answer(&mut self, listener: &Listener) {
        let Some(asked) = listener.receive() else { return };
        self.recognize(asked.thread);
        self.settle(Some(asked.thread));
        let came_back = self.clockless.take_if(|(thread, _)| *thread == asked.thread);
        self.note(&asked, listener);
        match came_back {
            Some((_, clockless)) => clockless.give_up(listener),
            None => listener.go_on(),
        }
    }

    /// Finds out which process a thread belongs to. That of a thread which has ended may not be that of another one with
    /// its number.
    fn recognize(&mut self, thread: u32) {
        let known = self.processes.get(&thread);
        if known.is_none_or(|process| !watch::is_thread_of(thread, *process)) {
            self.processes.insert(thread, programs::process_of(thread));
        }
    }

    /// Sees to the process that starts without a clock.
    fn glance(&mut self) {
        let Some((process, clockless)) = self.clockless else { return };
        match clockless.attend() {
            ClocklessStart::Ahead => return,
            ClocklessStart::Done => _ = self.hidden.insert(process),
            ClocklessStart::Failed => {}
        }
        self.clockless = None;
    }

    /// Notes the changes that have happened by now; those of `thread`, which makes another call, are over.
    fn settle(&mut self, thread: Option<u32>) {
        let mut waiting = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let returned = thread.is_none_or(|thread| thread == pending.thread)
                || !watch::is_there(pending.thread);
            match pending.settle(returned) {
                Some(what) => self.event(pending.thread, what),
                None => waiting.push(pending),
            }
        }
        self.pending = waiting;
        if let Some(thread) = thread {
            self.started(thread);
        } else {
            self.never_started();
            self.ended();
        }
    }

    /// Notes what a thread did: its process did it.
    fn event(&mut self, thread: u32, what: What) {
        let pid = self.processes.get(&thread).copied().unwrap_or(thread);
        self.seen.events.push(Event { pid, what });
    }

    fn incomplete(&mut self, pid: u32, reason: String) {
        self.event(pid, What::Incomplete { reason });
    }
}

fn inode(stat: &FileStat) -> (u64, u64) {
    (stat.dev, stat.ino)
}
