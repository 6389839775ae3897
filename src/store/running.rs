//! Which results are being made just now: a process locks a byte for the content key of each, and others may wait for it.
//!
//! The kernel lets a lock go when its holder ends. Two keys may share a byte: a process then waits for nothing, and not for long.
//! Who waits: `wrapper/single_flight.rs`.

use std::fs::{File, OpenOptions};
use std::io;

use super::{Store, files};
use crate::os::byte_lock::{holder_of_byte, lock_byte};

/// The file's name.
const NAME: &str = "lock-running";

/// The byte of a content key.
pub struct Running {
    file: File,
    at: u32,
}

impl Running {
    /// Says that this process makes the result, as long as the value lives; false if another one does.
    pub fn begin(&self) -> io::Result<bool> {
        lock_byte(&self.file, self.at)
    }

    /// The process that makes the result; 0 if it is in another pid namespace.
    pub fn maker(&self) -> io::Result<Option<u32>> {
        holder_of_byte(&self.file, self.at)
    }
}

impl Store {
    /// The runs that make the result of a content key.
    pub fn running(&self, content_key: &[u8; 16]) -> io::Result<Running> {
        let path = self.directory.join(NAME);
        let file = files::file_to_write(&path, OpenOptions::new().read(true).write(true))?;
        let [first, second, third, fourth, ..] = *content_key;
        Ok(Running { file, at: u32::from_le_bytes([first, second, third, fourth]) })
    }
}
