//! The way of a tool's text to one of our descriptors: a pipe, or a raw pseudo-terminal where ours is a terminal.
//!
//! Bytes are passed on unchanged and at once. Read next: `run.rs`, which owns the loop.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, OFlags, fcntl_setfl, fstat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// How much is read at once. A pipe holds less by default; this is memory of libc's, which no page is taken for until text
/// comes.
pub const PIECE_BYTES: usize = 96 << 10;

/// One way from the tool to one of our descriptors.
#[derive(Debug)]
pub struct ToolStream {
    /// Where the tool's text comes out; `None` once it has ended.
    source: Option<OwnedFd>,
    target: BorrowedFd<'static>,
    is_terminal: bool,
    /// Writing to our descriptor failed: what still comes is dropped.
    deaf: bool,
    /// What comes is only kept.
    is_held: bool,
    /// What came so far.
    pub text: Vec<u8>,
}

/// What one look at a stream gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'b> {
    /// These bytes were passed on.
    Passed(&'b [u8]),
    /// Nothing is there now.
    Nothing,
    /// Nothing more will come.
    Ended,
}

impl ToolStream {
    /// A way to `target`, and the end of it that the tool writes to. What comes `is_held` back until it is released.
    pub fn open(target: BorrowedFd<'static>, is_held: bool) -> io::Result<(ToolStream, OwnedFd)> {
        let is_terminal = tcgetwinsize(target).is_ok();
        let (source, tool_end) = if is_terminal { open_terminal(target)? } else { open_pipe()? };
        fcntl_setfl(&source, OFlags::NONBLOCK | OFlags::RDWR)?;
        let (source, text) = (Some(source), Vec::new());
        let stream = ToolStream { source, target, is_terminal, deaf: false, is_held, text };
        Ok((stream, tool_end))
    }

    /// Whether text may still come.
    pub fn is_open(&self) -> bool {
        self.source.is_some()
    }

    /// What to wait for, while text may still come.
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.source.as_ref().map(|source| PollFd::new(source, PollFlags::IN))
    }

    /// Whether everything that came was also written.
    pub fn is_whole(&self) -> bool {
        !self.deaf
    }

    /// Passes one piece on, by way of `buffer`. Async-signal-safe.
    pub fn pass<'b>(&mut self, buffer: &'b mut [MaybeUninit<u8>]) -> Piece<'b> {
        let Some(source) = &self.source else { return Piece::Ended };
        match rustix::io::read(source, buffer) {
            Ok((piece, _)) if !piece.is_empty() => {
                self.deliver(piece);
                Piece::Passed(piece)
            }
            Err(Errno::AGAIN | Errno::INTR) => Piece::Nothing,
            // A pseudo-terminal that no process holds answers EIO.
            Ok(_) | Err(_) => {
                self.source = None;
                Piece::Ended
            }
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        if self.deaf || self.is_held {
            return;
        }
        match write_all(self.target, bytes) {
            Ok(()) => {}
            // The reader went away: so does ours, and the tool gets SIGPIPE or EPIPE as it would without us.
            Err(Errno::PIPE) => {
                self.deaf = true;
                self.source = None;
            }
            Err(_) => self.deaf = true,
        }
    }

    /// Whether what comes is only kept.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Passes on what was held back; what still comes is held no longer.
    pub fn release(&mut self) {
        if std::mem::take(&mut self.is_held) {
            let text = std::mem::take(&mut self.text);
            self.deliver(&text);
            self.text = text;
        }
    }

    /// Gives the tool's terminal the size that ours has now.
    pub fn copy_size(&self) {
        if let (true, Some(source), Ok(size)) =
            (self.is_terminal, &self.source, tcgetwinsize(self.target))
        {
            let _ = tcsetwinsize(source, size);
        }
    }

    /// The descriptors that a relay of this stream needs, while text may still come.
    pub fn needs(&self) -> Option<[RawFd; 2]> {
        self.source.as_ref().map(|source| [source.as_raw_fd(), self.target.as_raw_fd()])
    }
}

/// Whether both are the same open file, as after `2>&1`.
pub fn is_same_file(one: BorrowedFd, other: BorrowedFd) -> bool {
    let (Ok(one), Ok(other)) = (fstat(one), fstat(other)) else { return false };
    let is_device = FileType::from_raw_mode(one.st_mode).is_char_device();
    let same_device = !is_device || one.st_rdev == other.st_rdev;
    (one.st_dev, one.st_ino, one.st_mode) == (other.st_dev, other.st_ino, other.st_mode)
        && same_device
}

fn open_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// A pseudo-terminal with the settings and the size of `model`, but raw, so that bytes pass unchanged.
fn open_terminal(model: BorrowedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    unlockpt(&ours)?;
    let tools = ioctl_tiocgptpeer(&ours, flags)?;
    let mut settings = tcgetattr(model)?;
    settings.make_raw();
    tcsetattr(&tools, OptionalActions::Now, &settings)?;
    tcsetwinsize(&ours, tcgetwinsize(model)?)?;
    Ok((ours, tools))
}

/// Async-signal-safe.
pub(super) fn write_all(target: BorrowedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(target, bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Somebody who shares our descriptor made it non-blocking.
            Err(Errno::AGAIN) => wait_writable(target)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_writable(target: BorrowedFd) -> Result<(), Errno> {
    let mut fds = [PollFd::from_borrowed_fd(target.as_fd(), PollFlags::OUT)];
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}
