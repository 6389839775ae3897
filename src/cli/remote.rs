//! `ibid remote [status|flush|key]`: the storages beyond this machine: whether they answer, what was fetched, what waits to be sent.
//!
//! What is shown holds no credentials. `send` is how a build starts the process that sends. Read next: `remote/upload.rs`,
//! `docs/remote.md`.

mod key;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::args::{RemoteAction, RemoteArgs};
use crate::config::{self, Config, Remote};
use crate::remote::client::{Connection, Failure};
use crate::remote::health::{Health, Shown};
use crate::remote::packed::{Key, slot_key};
use crate::remote::runtime::Runtime;
use crate::remote::sign::Secret;
use crate::remote::upload;
use crate::store::Store;

/// How long a person waits for a storage.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs it; 1 if a storage does not answer, or if something could not be sent.
pub fn run(asked: &RemoteArgs, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    if let Some(RemoteAction::Key(asked)) = &asked.action {
        return key::run(&config, asked, stdout, stderr);
    }
    let store = match Store::open_configured(&config) {
        Ok(store) => store,
        Err(error) => return super::refuse(&error, stderr),
    };
    match &asked.action {
        None | Some(RemoteAction::Status | RemoteAction::Key(_)) => status(&store, &config, stdout),
        Some(RemoteAction::Flush { timeout }) => {
            flush(&store, &config, Duration::from_secs(*timeout), stdout, stderr)
        }
        Some(RemoteAction::Send) => Ok(u8::from(upload::send(&store, &config).is_err())),
    }
}

fn status(store: &Store, config: &Config, stdout: &mut dyn Write) -> io::Result<u8> {
    if config.remotes.is_empty() {
        writeln!(stdout, "no remote storage is set: IBID_REMOTE, or `ibid config set remote`")?;
        return Ok(0);
    }
    let mut is_failing = false;
    for remote in &config.remotes {
        let how = if remote.is_read_only { " (read-only)" } else { "" };
        writeln!(stdout, "{}{how}", remote.shown_url())?;
        let Tried { health, took, answer } = try_out(remote);
        match &answer {
            Ok(identity) => {
                let by = identity.as_ref().map_or_else(String::new, |by| format!(", by {by}"));
                writeln!(stdout, "  answers          in {:.1} ms{by}", took.as_secs_f64() * 1e3)?;
            }
            Err(why) => writeln!(stdout, "  does not answer  {why}")?,
        }
        is_failing |= answer.is_err();
        if let Some(Shown { hits, misses, untrusted, uploads, paused, failure }) = health {
            writeln!(stdout, "  fetched, sent    {hits} of {}, {uploads}", hits + misses)?;
            if untrusted > 0 {
                writeln!(stdout, "  not trusted      {untrusted}: signed by no trusted key")?;
            }
            if let Some(left) = paused {
                writeln!(stdout, "  left alone       for {} s", left.as_secs() + 1)?;
            }
            if let Some((ago, line)) = failure {
                writeln!(stdout, "  last failure     {} s ago: {line}", ago.as_secs())?;
            }
        }
    }
    writeln!(stdout, "waiting to be sent {}", upload::waiting(store, config))?;
    for (what, line) in key::lines(config) {
        writeln!(stdout, "{what:<18} {line}")?;
    }
    let is_refused = Secret::of(config).is_err() && upload::writable(config).next().is_some();
    Ok(u8::from(is_failing || is_refused))
}

/// What came of trying a storage.
pub struct Tried {
    /// What was known of it before and is now; none without a place for that.
    pub health: Option<Shown>,
    /// How long the answer took.
    pub took: Duration,
    /// What its helper is.
    pub answer: Result<Option<String>, Failure>,
}

/// Asks a storage for a key that nobody has. If it answers, builds ask it again at once.
pub fn try_out(remote: &Remote) -> Tried {
    let Some(runtime) = Runtime::of(remote) else {
        let why = Failure("there is no directory for its helper's socket".into());
        return Tried { health: None, took: Duration::ZERO, answer: Err(why) };
    };
    let started = Instant::now();
    let nobodys: Key = slot_key("ibid remote status", &[0; 16], 0);
    let ask = || {
        let connection = Connection::open(remote, &runtime, started + PATIENCE)?;
        connection.get(&nobodys)?;
        connection.identity()
    };
    let answer = ask();
    let took = started.elapsed();
    let mut health = Health::read(&runtime.state);
    let shown = health.shown();
    match &answer {
        Ok(_) => health.works(),
        Err(why) => health.failed(Duration::ZERO, why),
    }
    Tried { health: Some(Shown { paused: health.paused(), ..shown }), took, answer }
}

fn flush(
    store: &Store,
    config: &Config,
    time: Duration,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    if upload::writable(config).next().is_none() {
        return super::fail(&"no remote storage takes results", stderr);
    }
    match upload::flush(store, config, time) {
        Ok(0) => {
            writeln!(stdout, "nothing waits to be sent")?;
            Ok(0)
        }
        Ok(left) => super::fail(&format_args!("{left} results still wait to be sent"), stderr),
        Err(why) => super::fail(&format_args!("not all could be sent: {why}"), stderr),
    }
}
