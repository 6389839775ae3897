//! `IBID_LOG`: one line for each invocation, and one for each thing of ours that did not work.
//!
//! It prints names, paths and reasons, never a value of the environment. A log that cannot be written is no error.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use crate::config::Log as Target;

/// Where lines go, if they go anywhere.
pub struct Log {
    target: Option<Target>,
    started: Instant,
}

impl Log {
    /// A log to `target`.
    pub fn new(target: Option<Target>) -> Log {
        Log { target, started: Instant::now() }
    }

    /// Writes a line, with the time since ibid's own start.
    pub fn line(&self, text: impl Display) {
        let Some(target) = &self.target else { return };
        let ms = self.started.elapsed().as_secs_f64() * 1e3;
        let line = format!("ibid[{}] {ms:.2} ms: {text}\n", std::process::id());
        let _ = match target {
            Target::Stderr => std::io::stderr().write_all(line.as_bytes()),
            Target::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .and_then(|mut file| file.write_all(line.as_bytes())),
        };
    }
}
