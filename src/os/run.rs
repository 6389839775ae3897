//! Runs a tool with the same surroundings as without us, and passes its text on.
//!
//! It inherits descriptors (a jobserver's), limits, process group and standard input; only stdout and stderr are
//! streams of ours. One thread, one poll loop. Never: a tool that is run twice, or that waits for us to end.
//! Read next: `stream.rs` (one of them), `signals.rs` (forwarding), `exec.rs` (the command, and ending alike).
#![allow(clippy::disallowed_methods, reason = "this module starts processes")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::stdio::{stderr, stdout};

use super::descriptors::close_all_but;
use super::exec::{EnvChange, command};
use super::signals::{Forwarding, inherited, set_disposition, take_resized, tell_resized};
use super::status::Status;
use super::stream::{PIECE_BYTES, Piece, ToolStream, is_same_file, write_all};
use super::watch::Filter;
use crate::shm::raw::{self, Limited};
use crate::shm::text::can_take;

/// A tool to run.
#[derive(Debug, Clone, Copy)]
pub struct Spawn<'a> {
    /// The file to run.
    pub program: &'a Path,
    /// Its own name, as the tool sees it.
    pub arg0: &'a OsStr,
    /// The arguments after its name.
    pub args: &'a [OsString],
    /// What its environment has that ours has not.
    pub env: &'a [EnvChange],
    /// Through which its system calls are watched, if they are.
    pub filter: Option<&'a Filter>,
    /// If it prints more than this, its text is passed on but not kept.
    pub keep_max_bytes: usize,
    /// Whether its text is held back until it ends, and left to [`show`]; text that cannot be kept is passed on all the same.
    pub holds_text: bool,
}

/// How a tool ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status.
    pub status: Status,
    /// What it printed; `None` if that is more than was to be kept, or could not all be seen or passed on.
    pub text: Option<Text>,
    /// Something that it started still holds its stdout or stderr, and may print more.
    pub left_behind: bool,
    /// From before it was started until its text was passed on.
    pub wall: Duration,
    /// When its end was seen.
    pub ended_at: SystemTime,
}

impl Ended {
    /// What it printed to each stream; nothing if that is not known.
    pub fn texts(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.text.iter().flat_map(|text| [&text.stdout, &text.stderr])
    }
}

/// What a tool printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Whether its stdout and stderr were one.
    pub streams: StreamPair,
    /// Its stdout; if they were one, all of its text.
    pub stdout: Vec<u8>,
    /// Its stderr; empty if they were one.
    pub stderr: Vec<u8>,
}

/// Whether stdout and stderr are one open file, as after `2>&1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPair {
    /// They are two.
    Separate,
    /// They are one: the order of what is written to them shows.
    Merged,
}

/// What our own stdout and stderr are now: the same judgement that `run` makes for the tool.
pub fn our_streams() -> StreamPair {
    let [_, out_closed, err_closed] = inherited().closed;
    if !out_closed && !err_closed && is_same_file(stdout(), stderr()) {
        StreamPair::Merged
    } else {
        StreamPair::Separate
    }
}

/// Whether our stdout or stderr was closed when we began: Rust's runtime has opened something there since.
pub fn is_mute() -> bool {
    let [_, out_closed, err_closed] = inherited().closed;
    out_closed || err_closed
}

/// Runs a tool to its end, and from time to time does something else meanwhile. An error means that it was not started.
pub fn run(spec: &Spawn, meanwhile: &mut dyn FnMut()) -> io::Result<Ended> {
    let started = Instant::now();
    let mut forwarding = Forwarding::begin();
    let mut child = command(spec.program, spec.arg0, spec.args, spec.env);
    if let Some(filter) = spec.filter {
        filter.install_in(&mut child)?;
    }
    let mut streams = ToolStreams::open(&mut child, spec)?;
    let mut tool = start(child)?;
    // Without a pidfd (an old kernel, no descriptor left) the loop asks from time to time instead.
    if let Ok(pidfd) = pidfd_open(Pid::from_child(&tool), PidfdFlags::empty()) {
        forwarding.forward_to(pidfd);
    }
    let status = streams.attend(&mut tool, &forwarding, meanwhile);
    let ended_at = SystemTime::now();
    streams.drain();
    streams.let_go_of_open_ones();
    let left_behind = streams.leave_relay();
    drop(forwarding);
    Ok(Ended {
        status: Status::from_raw(status.into_raw()),
        text: streams.into_text(),
        left_behind,
        wall: started.elapsed(),
        ended_at,
    })
}

/// Writes a text that was held back to our stdout and stderr.
pub fn show(text: &Text) {
    for (target, text) in [(stdout(), &text.stdout), (stderr(), &text.stderr)] {
        // As where it is passed on at once: what cannot be written is dropped.
        let _ = write_all(target, text);
    }
}

/// Whether text of this length can be held back here (see [`Spawn::holds_text`]).
pub fn can_hold_text(keep_max_bytes: usize) -> bool {
    let nothing = OsStr::new("");
    let spec = Spawn {
        program: Path::new(nothing),
        arg0: nothing,
        args: &[],
        env: &[],
        filter: None,
        keep_max_bytes,
        holds_text: true,
    };
    ToolStreams::open(&mut Command::new(nothing), &spec).is_ok()
}

/// Whether a program, run with these arguments, succeeds and says nothing. It writes no depfiles that variables ask for.
pub fn is_silent(program: &Path, args: &[OsString]) -> io::Result<bool> {
    let unset = ["DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES"].map(|name| (name.into(), None));
    let mut child = command(program, program.as_os_str(), args, &unset);
    let ended = child.stdin(Stdio::null()).output()?;
    Ok(ended.status.success() && ended.stdout.is_empty() && ended.stderr.is_empty())
}

/// Starts it; the command, and with it our copies of the tool's ends, goes away here.
fn start(mut command: Command) -> io::Result<Child> {
    command.spawn()
}

/// The tool's streams to our stdout and stderr.
struct ToolStreams {
    streams: StreamPair,
    out: Option<ToolStream>,
    err: Option<ToolStream>,
    /// How much text may still be kept.
    room_bytes: usize,
    holds_text: bool,
    /// Not all of the text was seen, kept and passed on.
    lost: bool,
    buffer: Box<[MaybeUninit<u8>]>,
}

/// What a wait came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Something,
    /// The tool has ended, or that cannot be known.
    PerhapsItsEnd,
}

/// Text that is longer is rare.
const USUAL_TEXT_BYTES: u64 = 1 << 20;

/// How long to sleep before something else is done for the first time; each time a tenth longer, up to the longest: when
/// the tool ends, what it did in the last tenth of its time is left at most.
const NAP_NS: i64 = 2_000_000;
const NAP_NS_MAX: i64 = 256_000_000;
/// How long a stream may stay open when the tool has ended: a child of mold's gives back its memory, about a millisecond.
const LINGERING_MAX: Duration = Duration::from_millis(10);
/// How long to sleep where the tool's end cannot be waited for.
const BLIND_NAP_NS: i64 = 10_000_000;

impl ToolStreams {
    fn open(command: &mut Command, spec: &Spawn) -> io::Result<ToolStreams> {
        let [_, out_closed, err_closed] = inherited().closed;
        let mut streams = ToolStreams {
            streams: our_streams(),
            out: None,
            err: None,
            room_bytes: spec.keep_max_bytes,
            holds_text: spec.holds_text,
            lost: false,
            buffer: Box::new_uninit_slice(PIECE_BYTES),
        };
        let mut merged = None;
        if !out_closed && let Some((stream, end)) = streams.way(stdout())? {
            if streams.streams == StreamPair::Merged {
                merged = Some(end.try_clone()?);
            }
            streams.out = Some(stream);
            command.stdout(end);
        }
        if streams.streams == StreamPair::Merged {
            command.stderr(merged.map_or_else(Stdio::inherit, Stdio::from));
        } else if !err_closed && let Some((stream, end)) = streams.way(stderr())? {
            streams.err = Some(stream);
            command.stderr(end);
        }
        if spec.holds_text && streams.lost {
            return Err(io::Error::other("its text cannot be held back"));
        }
        Ok(streams)
    }

    /// A way to `target`; none where no pseudo-terminal can be had, or where the tool itself may fail to write (a limit of file
    /// sizes, a full disk, a pipe without a reader): then the tool gets ours, and its text is not seen.
    fn way(&mut self, target: BorrowedFd<'static>) -> io::Result<Option<(ToolStream, OwnedFd)>> {
        let outgrows =
            raw::outgrows(raw::limit(Limited::FileBytes), target, self.room_bytes as u64);
        if outgrows || !can_take(target, USUAL_TEXT_BYTES) {
            self.lost = true;
            return Ok(None);
        }
        match ToolStream::open(target, self.holds_text) {
            Ok(way) => Ok(Some(way)),
            Err(_) if rustix::termios::isatty(target) => {
                self.lost = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Passes text on until the tool ends.
    fn attend(
        &mut self,
        tool: &mut Child,
        forwarding: &Forwarding,
        meanwhile: &mut dyn FnMut(),
    ) -> ExitStatus {
        let mut nap_ns = NAP_NS;
        loop {
            if take_resized() {
                self.each(|stream, _| stream.copy_size());
                tell_resized();
            }
            let tool_fd = forwarding.tool();
            let most_ns = if tool_fd.is_some() { nap_ns } else { BLIND_NAP_NS };
            let seen = self.wait_for_something(tool_fd, most_ns);
            if seen == Seen::Nothing {
                meanwhile();
                nap_ns = NAP_NS_MAX.min(nap_ns + nap_ns / 10);
                continue;
            }
            self.pass_once();
            // Until it ends nobody asks for its status: what a watched tool stands still for would be reported as well.
            if seen != Seen::PerhapsItsEnd {
                continue;
            }
            match tool.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) => {}
                // Somebody else reaped it: nobody knows how it ended, so it did not end well.
                Err(_) => return ExitStatus::from_raw(1 << 8),
            }
        }
    }

    fn wait_for_something(&self, tool: Option<BorrowedFd>, nap_ns: i64) -> Seen {
        let tool_fd = tool.as_ref().map(|tool| PollFd::new(tool, PollFlags::IN));
        let streams = self.out.iter().chain(&self.err).filter_map(ToolStream::poll_fd);
        let mut fds: Vec<PollFd> = tool_fd.into_iter().chain(streams).collect();
        let nap = Timespec { tv_sec: 0, tv_nsec: nap_ns };
        // EINTR and the like: the next turn looks at everything anyway.
        let answer = poll(&mut fds, Some(&nap));
        if tool.is_none() || fds.first().is_some_and(|fd| !fd.revents().is_empty()) {
            Seen::PerhapsItsEnd
        } else if answer == Ok(0) {
            Seen::Nothing
        } else {
            Seen::Something
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut ToolStream, &mut [MaybeUninit<u8>])) {
        for stream in self.out.iter_mut().chain(&mut self.err) {
            act(stream, &mut self.buffer);
        }
    }

    /// Passes on at most one piece from each stream; says how much that was.
    fn pass_once(&mut self) -> usize {
        let (mut room, mut lost, mut passed) = (self.room_bytes, self.lost, 0);
        self.each(|stream, buffer| {
            let Piece::Passed(piece) = stream.pass(buffer) else { return };
            passed += piece.len();
            lost |= piece.len() > room || !stream.is_whole();
            room = room.saturating_sub(piece.len());
            if !lost || stream.is_held() {
                stream.text.extend_from_slice(piece);
            }
        });
        if lost {
            self.each(|stream, _| {
                stream.release();
                stream.text = Vec::new();
            });
        }
        (self.room_bytes, self.lost) = (room, lost);
        passed
    }

    /// The tool has ended: passes on what is there, but not for ever if somebody keeps writing. Who still holds a stream may
    /// be about to end as well, and is waited for a little.
    fn drain(&mut self) {
        /// The largest pipe that anybody may make by default.
        const PIPE_MAX_BYTES: usize = 1 << 20;
        let ended = Instant::now();
        let mut drained_bytes = 0;
        while drained_bytes < 2 * PIPE_MAX_BYTES {
            let len = self.pass_once();
            drained_bytes += len;
            if len > 0 {
                continue;
            }
            let left = LINGERING_MAX.saturating_sub(ended.elapsed());
            if left.is_zero() || !self.is_any_open() {
                return;
            }
            self.wait_for_something(None, i64::try_from(left.as_nanos()).unwrap_or_default());
        }
    }

    fn is_any_open(&self) -> bool {
        self.out.iter().chain(&self.err).any(ToolStream::is_open)
    }

    /// What was held back of streams that somebody still holds comes before what will come.
    fn let_go_of_open_ones(&mut self) {
        let is_held = |stream: &ToolStream| stream.is_held() && stream.is_open();
        if self.out.iter().chain(&self.err).any(is_held) {
            self.lost = true;
            self.each(|stream, _| stream.release());
        }
    }

    /// If somebody still holds a stream, leaves a process behind that passes on what will come; says whether.
    fn leave_relay(&mut self) -> bool {
        if !self.is_any_open() {
            return false;
        }
        // SAFETY: the child makes only async-signal-safe calls, allocates nothing and ends in `_exit`.
        if unsafe { libc::fork() } == 0 {
            self.relay();
            // SAFETY: ends this process at once; nothing of it is needed.
            unsafe { libc::_exit(0) };
        }
        true
    }

    /// Passes on until nobody holds the streams. Runs in a forked child: no allocation.
    fn relay(&mut self) {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGTSTP] {
            set_disposition(signal, libc::SIG_IGN);
        }
        self.close_all_else();
        let _ = rustix::process::chdir("/");
        loop {
            let mut fds = self.out.iter().chain(&self.err).filter_map(ToolStream::poll_fd);
            let polled = match (fds.next(), fds.next()) {
                (Some(one), Some(two)) => poll(&mut [one, two], None),
                (Some(one), None) => poll(&mut [one], None),
                _ => return,
            };
            drop(fds);
            if polled.is_err_and(|error| error != rustix::io::Errno::INTR) {
                return;
            }
            self.each(|stream, buffer| {
                stream.pass(buffer);
            });
        }
    }

    fn close_all_else(&self) {
        let mut needed = [-1; 4];
        let open = self.out.iter().chain(&self.err).filter_map(ToolStream::needs).flatten();
        for (slot, fd) in needed.iter_mut().zip(open) {
            *slot = fd;
        }
        close_all_but(needed);
    }

    fn into_text(self) -> Option<Text> {
        let text = |stream: Option<ToolStream>| stream.map_or_else(Vec::new, |stream| stream.text);
        (!self.lost).then(|| Text {
            streams: self.streams,
            stdout: text(self.out),
            stderr: text(self.err),
        })
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
