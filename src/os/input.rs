//! Standard input where it is a tool's source: read to its end before the tool runs, and given to it as if it had not been.
//!
//! A file is read beside its offset; a pipe is emptied, and what it held is put into another one. Never: a byte that is
//! lost. Read next: `wrapper/mod.rs`, which makes what was read a part of the key.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{FileType, OFlags, SeekFrom, fcntl_getfl, fcntl_setfl, fstat, seek};
use rustix::io::{Errno, pread, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stdin, stdin};

use super::descriptors::close_all_but;
use super::stream::write_all;
use crate::shm::raw::{self, FileState, Stream};

/// A longer source is left to the tool.
const SOURCE_BYTES_MAX: usize = 1 << 20;
/// How much is read or passed on at once.
const PIECE_BYTES: usize = 16 << 10;

/// A source that came by standard input.
#[derive(Debug)]
pub struct Source {
    /// What was read.
    pub bytes: Vec<u8>,
    /// Whether that is all.
    pub is_whole: bool,
    from: From,
}

#[derive(Debug)]
enum From {
    /// The ends of the pipe into which it is to be put, until that is done.
    Pipe(Option<(OwnedFd, OwnedFd)>),
    /// What the file was before it was read, and where in it the source begins.
    File { state: FileState, offset: u64 },
}

impl Source {
    /// Reads standard input, if it is a pipe or a file; of anything else nothing is touched.
    pub fn take() -> Option<Source> {
        let kind = FileType::from_raw_mode(fstat(stdin()).ok()?.st_mode);
        let mut source = Source { bytes: Vec::new(), is_whole: false, from: From::of(kind)? };
        source.is_whole = source.fill();
        Some(source)
    }

    /// Whether the end was reached.
    fn fill(&mut self) -> bool {
        let mut piece = vec![0; PIECE_BYTES];
        while self.bytes.len() <= SOURCE_BYTES_MAX {
            let answer = match &self.from {
                From::Pipe(_) => read(stdin(), &mut *piece),
                From::File { offset, .. } => {
                    pread(stdin(), &mut *piece, offset + self.bytes.len() as u64)
                }
            };
            match answer {
                Ok(0) => return true,
                Ok(len) => self.bytes.extend_from_slice(&piece[..len]),
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// What a tool may see of it beside its bytes: where in a file it begins, if it comes from one.
    pub fn offset(&self) -> Option<u64> {
        match self.from {
            From::Pipe(_) => None,
            From::File { offset, .. } => Some(offset),
        }
    }

    /// What the file was before it was read, if it comes from one.
    pub fn state(&self) -> Option<FileState> {
        match self.from {
            From::Pipe(_) => None,
            From::File { state, .. } => Some(state),
        }
    }

    /// Leaves standard input as a tool does that has read it.
    pub fn leave_behind(&self) {
        if let Some(offset) = self.offset() {
            let _ = seek(stdin(), SeekFrom::Start(offset + self.bytes.len() as u64));
        }
    }

    /// Whether a tool has read the file to its end, and it is the one that was read here.
    pub fn was_used_up(&self) -> bool {
        let (Some(offset), Some(state)) = (self.offset(), self.state()) else { return true };
        raw::stat_fd(raw::standard(Stream::Input)).is_ok_and(|now| now.stat == state.stat)
            && seek(stdin(), SeekFrom::Current(0)) == Ok(offset + self.bytes.len() as u64)
    }

    /// Makes standard input what it was. An error means that this cannot be done.
    pub fn give_back(&mut self) -> io::Result<()> {
        let From::Pipe(ends) = &mut self.from else { return Ok(()) };
        let Some((reader, writer)) = ends.take() else { return Ok(()) };
        fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        let mut left = &*self.bytes;
        while let Ok(len @ 1..) = write(&writer, left) {
            left = &left[len..];
        }
        fcntl_setfl(&writer, OFlags::empty())?;
        if !left.is_empty() || !self.is_whole {
            leave_feeder(left, &writer)?;
        }
        Ok(dup2_stdin(reader)?)
    }
}

impl From {
    fn of(kind: FileType) -> Option<From> {
        match kind {
            // One that does not wait makes a tool fail that comes too early.
            FileType::Fifo if !fcntl_getfl(stdin()).ok()?.contains(OFlags::NONBLOCK) => {
                Some(From::Pipe(Some(pipe_with(PipeFlags::CLOEXEC).ok()?)))
            }
            FileType::RegularFile => {
                let state = raw::stat_fd(raw::standard(Stream::Input)).ok()?;
                let offset = seek(stdin(), SeekFrom::Current(0)).ok()?;
                Some(From::File { state, offset })
            }
            _ => None,
        }
    }
}

/// Leaves a process behind that writes `head`, and then what still comes by standard input, until no process reads it.
fn leave_feeder(head: &[u8], writer: &OwnedFd) -> io::Result<()> {
    // SAFETY: the child makes only async-signal-safe calls, allocates nothing and ends in `_exit`.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            close_all_but([stdin().as_raw_fd(), writer.as_raw_fd()]);
            let _ = feed(head, writer);
            // SAFETY: ends this process at once; nothing of it is needed.
            unsafe { libc::_exit(0) };
        }
        _ => {}
    }
    Ok(())
}

fn feed(head: &[u8], writer: &OwnedFd) -> Result<(), Errno> {
    write_all(writer.as_fd(), head)?;
    let mut piece = [0; PIECE_BYTES];
    loop {
        match read(stdin(), &mut piece) {
            Ok(0) => return Ok(()),
            Ok(len) => write_all(writer.as_fd(), piece.get(..len).unwrap_or_default())?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
