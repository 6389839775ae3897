//! What is to be sent to a storage: a file in the cache's directory, to which builds append and which one process empties.
//!
//! It is bounded: what does not fit is not sent. A process that dies leaves its part to the next. Read next: `upload.rs`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use rustix::fs::FlockOperation;

use super::runtime::{identity, open};
use crate::config::Remote;
use crate::shm::raw;

/// The longest that the file may be: 16,384 results.
const QUEUE_BYTES_MAX: u64 = 16_384 * size_of::<Job>() as u64;

/// A result that is to be sent.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Job {
    /// Under which its path sets are found.
    pub content_key: [u8; 16],
    /// Under which its record is found.
    pub result_key: [u8; 16],
    /// Whether it takes the place of what the storage has.
    pub replaces: u64,
}

/// The files of a storage's queue.
pub struct Queue {
    waiting: PathBuf,
    taken: PathBuf,
    lock: PathBuf,
}

/// The right to send what is in this user's queues of a cache, if no other process has it. It ends with the file.
pub fn become_sender(directory: &Path) -> Option<File> {
    let file = open(&directory.join(format!("remote-sender-{}", raw::user()))).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

impl Queue {
    /// That of a storage, in a store's directory.
    pub fn of(directory: &Path, remote: &Remote) -> Queue {
        let at = |name: &str| directory.join(format!("remote-{name}-{:016x}", identity(remote)));
        Queue { waiting: at("waiting"), taken: at("taken"), lock: at("lock") }
    }

    /// Appends a job; false if there is no room for it.
    pub fn push(&self, job: &Job) -> io::Result<bool> {
        let _lock = locked(&self.lock)?;
        let mut file = open(&self.waiting)?;
        if file.metadata()?.len() >= QUEUE_BYTES_MAX {
            return Ok(false);
        }
        file.write_all(bytemuck::bytes_of(job))?;
        Ok(true)
    }

    /// Takes all jobs: those that an earlier process has not finished, else those that wait. For the sender only.
    pub fn take(&self) -> io::Result<Vec<Job>> {
        if !self.taken.exists() {
            let _lock = locked(&self.lock)?;
            match fs::rename(&self.waiting, &self.taken) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                renamed => renamed?,
            }
        }
        read(&self.taken)
    }

    /// What was taken is done.
    pub fn done(&self) -> io::Result<()> {
        fs::remove_file(&self.taken)
    }

    /// How many jobs there are.
    pub fn len(&self) -> u64 {
        let jobs_in =
            |path| fs::metadata(path).map_or(0, |state| state.len() / size_of::<Job>() as u64);
        jobs_in(&self.waiting) + jobs_in(&self.taken)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file of jobs; what a process that died wrote in part is left out.
fn read(path: &Path) -> io::Result<Vec<Job>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(QUEUE_BYTES_MAX * 2).read_to_end(&mut bytes)?;
    Ok(bytes.chunks_exact(size_of::<Job>()).map(bytemuck::pod_read_unaligned).collect())
}

/// Held for a few system calls only.
fn locked(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(directory: &tempfile::TempDir) -> Queue {
        let remotes = Remote::parse_all("file:///nowhere").expect("right");
        Queue::of(directory.path(), &remotes[0])
    }

    fn job(number: u8) -> Job {
        Job { content_key: [number; 16], result_key: [number; 16], replaces: 0 }
    }

    #[test]
    fn jobs_are_taken_once_and_kept_until_they_are_done() {
        let directory = tempfile::tempdir().expect("a directory");
        let queue = queue(&directory);
        assert!(queue.is_empty() && queue.take().expect("read").is_empty());
        for number in 0..3 {
            assert!(queue.push(&job(number)).expect("written"));
        }
        assert_eq!(queue.take().expect("read"), [job(0), job(1), job(2)]);
        queue.push(&job(3)).expect("written");
        assert_eq!(queue.len(), 4);
        // The process died: the next one has them again.
        assert_eq!(queue.take().expect("read").len(), 3);
        queue.done().expect("removed");
        assert_eq!(queue.take().expect("read"), [job(3)]);
        queue.done().expect("removed");
        assert!(queue.is_empty());
    }

    #[test]
    fn it_is_bounded() {
        let directory = tempfile::tempdir().expect("a directory");
        let queue = queue(&directory);
        let full = vec![0; usize::try_from(QUEUE_BYTES_MAX).expect("small")];
        fs::write(&queue.waiting, full).expect("written");
        assert!(!queue.push(&job(1)).expect("looked at"));
        assert_eq!(queue.len(), 16_384);
    }

    #[test]
    fn there_is_one_sender() {
        let directory = tempfile::tempdir().expect("a directory");
        let sender = become_sender(directory.path()).expect("the first");
        assert!(become_sender(directory.path()).is_none());
        drop(sender);
        assert!(become_sender(directory.path()).is_some());
    }
}
