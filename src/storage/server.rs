//! What all storage helpers share: the socket, its connections, and the end after a time without requests.
//!
//! It knows nothing of networks: a helper gives it a [`Storage`]. A request is answered before the next one of its connection
//! is read; several connections are served at once. Read next: `src/remote/protocol.rs`, `file.rs` (the smallest helper).

use std::fs;
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use ibid::env;
use ibid::remote::protocol::{Answer, Capability, Greeting, Info, Request};

use super::settings::Settings;

/// Where values are kept. An error is one short line, without credentials.
pub trait Storage: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;
    /// Stores a value; false if there is one already, which is replaced only with `overwrite`.
    fn put(&self, key: &[u8], value: &[u8], overwrite: bool) -> Result<bool, String>;
    /// Removes a value; false if there is none.
    fn remove(&self, key: &[u8]) -> Result<bool, String>;
    /// Whether there is one.
    fn exists(&self, key: &[u8]) -> Result<bool, String>;
}

/// Serves until a client says stop or nobody asks any longer. `open` makes a storage of the settings.
pub fn serve<S: Storage>(
    name: &str,
    open: impl FnOnce(&Settings) -> Result<S, String>,
) -> ExitCode {
    match try_serve(name, open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "{name}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn try_serve<S: Storage>(
    name: &str,
    open: impl FnOnce(&Settings) -> Result<S, String>,
) -> Result<(), String> {
    let settings = Settings::read()?;
    let endpoint = env::get_nonempty("CRSH_IPC_ENDPOINT").ok_or("CRSH_IPC_ENDPOINT is not set")?;
    let idle_s = env::get_nonempty("CRSH_IDLE_TIMEOUT").unwrap_or_default();
    let idle_s: u64 = idle_s.to_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let storage = open(&settings)?;
    let socket = Socket::bind(Path::new(&endpoint))
        .map_err(|error| format!("cannot listen at {}: {error}", Path::new(&endpoint).display()))?;
    let served = Served { storage, identity: format!("{name} {}", env!("CARGO_PKG_VERSION")) };
    let (events, happened) = channel();
    let listener = socket.listener.try_clone().map_err(|error| error.to_string())?;
    thread::spawn(move || accept(&listener, &Arc::new(served), &events));
    wait_for_end(&happened, (idle_s > 0).then(|| Duration::from_secs(idle_s)));
    Ok(())
}

/// What happened on a connection.
enum Event {
    Begun,
    Answered,
    Stop,
}

/// Comes back when a client has said stop, or when no request was there for so long.
fn wait_for_end(happened: &Receiver<Event>, idle: Option<Duration>) {
    let mut being_answered = 0_u64;
    loop {
        let event = match idle {
            Some(idle) if being_answered == 0 => happened.recv_timeout(idle),
            _ => happened.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(Event::Begun) => being_answered += 1,
            Ok(Event::Answered) => being_answered = being_answered.saturating_sub(1),
            Ok(Event::Stop) | Err(_) => return,
        }
    }
}

/// A socket that only this user can use; its name goes with it.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    fn bind(path: &Path) -> io::Result<Socket> {
        // A helper that was killed has left its name.
        match UnixStream::connect(path) {
            Ok(_) => return Err(ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(_) => {}
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let listener = UnixListener::bind(path)?;
        Ok(Socket { listener, path: path.to_path_buf() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

struct Served<S> {
    storage: S,
    identity: String,
}

fn accept<S: Storage>(listener: &UnixListener, served: &Arc<Served<S>>, events: &Sender<Event>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors, mostly: others will end.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let (served, events) = (Arc::clone(served), events.clone());
        let connection = move || drop(served.connection(&stream, &events));
        let _ = thread::Builder::new().spawn(connection);
    }
}

impl<S: Storage> Served<S> {
    fn connection(&self, stream: &UnixStream, events: &Sender<Event>) -> io::Result<()> {
        let (mut from, mut to) = (BufReader::new(stream), BufWriter::new(stream));
        let can = [Capability::Values, Capability::Info, Capability::Exists];
        Greeting::of(&can).write(&mut to)?;
        to.flush()?;
        while let Some(request) = Request::read(&mut from)? {
            let _ = events.send(Event::Begun);
            let is_stop = request == Request::Stop;
            let written = self.answer(request, &mut to).and_then(|()| to.flush());
            let _ = events.send(if is_stop { Event::Stop } else { Event::Answered });
            written?;
        }
        Ok(())
    }

    fn answer(&self, request: Request, to: &mut impl Write) -> io::Result<()> {
        let storage = &self.storage;
        match request {
            Request::Get(key) => answer(storage.get(&key)).write(to),
            Request::Put { key, overwrite, value } => {
                let is_stored = storage.put(&key, &value, overwrite);
                answer(is_stored.map(done)).write(to)
            }
            Request::Remove(key) => answer(storage.remove(&key).map(done)).write(to),
            Request::Exists(key) => answer(storage.exists(&key).map(Some)).write(to),
            Request::Info => {
                Info { identity: self.identity.clone(), diagnostics: Vec::new() }.write(to)
            }
            Request::Stop => Answer::Done(()).write(to),
        }
    }
}

fn done(is_done: bool) -> Option<()> {
    is_done.then_some(())
}

fn answer<T>(result: Result<Option<T>, String>) -> Answer<T> {
    match result {
        Ok(Some(what)) => Answer::Done(what),
        Ok(None) => Answer::Nothing,
        Err(why) => Answer::Failed(why),
    }
}
