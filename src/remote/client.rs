//! A connection to a storage's helper, which is started where none runs; everything until one deadline.
//!
//! It is one blocking socket. After the deadline it is closed: an answer that comes late is read by nobody. Read next:
//! `protocol.rs`.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::protocol::{Answer, Capability, Greeting, Info, Request};
use super::runtime::{Runtime, open};
use crate::config::Remote;
use crate::env;
use crate::os::detached::{Detached, spawn};

/// How long a helper stays without being asked.
const IDLE_S: u32 = 600;
/// How long to wait before a helper that is being started is tried again.
const NAP: Duration = Duration::from_millis(1);
/// A helper that has said something and cannot be reached for so long has said why.
const LAST_WORDS: Duration = Duration::from_millis(30);

/// Why a storage did not do what it was asked for: one line without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure("no answer in time".into()),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                Failure("the helper has ended".into())
            }
            _ => Failure(format!("helper: {error}")),
        }
    }
}

/// A connection to a helper.
pub struct Connection<'r> {
    stream: UnixStream,
    remote: &'r Remote,
    greeting: Greeting,
    /// Until when everything has to be done.
    pub deadline: Instant,
}

/// The stream, with what is left of the time for each read and write.
struct Timed<'c> {
    stream: &'c UnixStream,
    deadline: Instant,
}

impl Timed<'_> {
    fn set(&self, which: Timeout) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(set_socket_timeout(self.stream, which, Some(left))?)
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.set(Timeout::Recv)?;
        self.stream.read(into)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.set(Timeout::Send)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'r> Connection<'r> {
    /// Connects to the helper of a storage, and starts it first if need be.
    pub fn open(
        remote: &'r Remote,
        runtime: &Runtime,
        deadline: Instant,
    ) -> Result<Connection<'r>, Failure> {
        let mut stream = connect_or_start(remote, runtime, deadline)?;
        let mut greeting = Greeting::read(&mut Timed { stream: &stream, deadline });
        // One that nobody has asked for long may have ended just now.
        if greeting.as_ref().is_err_and(is_gone) {
            stream = connect_or_start(remote, runtime, deadline)?;
            greeting = Greeting::read(&mut Timed { stream: &stream, deadline });
        }
        let greeting = greeting?;
        if !greeting.has(Capability::Values) {
            return Err(Failure("the helper stores no values".into()));
        }
        Ok(Connection { stream, remote, greeting, deadline })
    }

    fn timed(&self) -> Timed<'_> {
        Timed { stream: &self.stream, deadline: self.deadline }
    }

    fn ask(&self, request: &Request) -> Result<Timed<'_>, Failure> {
        request.write(&mut self.timed())?;
        Ok(self.timed())
    }

    fn failed(&self, why: &str) -> Failure {
        Failure(self.remote.without_secrets(why))
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let mut from = self.ask(&Request::Get(key.to_vec()))?;
        match Answer::<Vec<u8>>::read(&mut from)? {
            Answer::Done(value) => Ok(Some(value)),
            Answer::Nothing => Ok(None),
            Answer::Failed(why) => Err(self.failed(&why)),
        }
    }

    /// Stores a value in place of an old one.
    pub fn put(&self, key: &[u8], value: Vec<u8>) -> Result<(), Failure> {
        let mut from = self.ask(&Request::Put { key: key.to_vec(), overwrite: true, value })?;
        match Answer::<()>::read(&mut from)? {
            Answer::Done(()) => Ok(()),
            Answer::Nothing => Err(Failure("the storage does not take it".into())),
            Answer::Failed(why) => Err(self.failed(&why)),
        }
    }

    /// Whether a key is there; `None` if the helper cannot say.
    pub fn exists(&self, key: &[u8]) -> Result<Option<bool>, Failure> {
        if !self.greeting.has(Capability::Exists) {
            return Ok(None);
        }
        let mut from = self.ask(&Request::Exists(key.to_vec()))?;
        match Answer::<bool>::read(&mut from)? {
            Answer::Done(is_there) => Ok(Some(is_there)),
            Answer::Nothing => Ok(None),
            Answer::Failed(why) => Err(self.failed(&why)),
        }
    }

    /// What the helper is, if it says so.
    pub fn identity(&self) -> Result<Option<String>, Failure> {
        if !self.greeting.has(Capability::Info) {
            return Ok(None);
        }
        let mut from = self.ask(&Request::Info)?;
        Ok(Some(self.remote.without_secrets(&Info::read(&mut from)?.identity)))
    }
}

/// Whether an error says that no helper listens.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// Whether an error says that the other end has closed the connection.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

fn connect_or_start(
    remote: &Remote,
    runtime: &Runtime,
    deadline: Instant,
) -> Result<UnixStream, Failure> {
    match connect_to(&runtime.socket, deadline) {
        Err(error) if is_nobody(&error) && remote.scheme() != "crsh" => {
            start(remote, runtime, deadline)
        }
        connected => Ok(connected?),
    }
}

/// Connects in time: a helper that is frozen takes no connection once many wait.
fn connect_to(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let stream = UnixStream::from(stream);
    Timed { stream: &stream, deadline }.set(Timeout::Send)?;
    connect(&stream, &address)?;
    Ok(stream)
}

/// Starts the helper, unless another process does just now, and connects to it.
fn start(remote: &Remote, runtime: &Runtime, deadline: Instant) -> Result<UnixStream, Failure> {
    let program = find(remote)?;
    let about = |path: &Path, error: io::Error| Failure(format!("{}: {error}", path.display()));
    let open = |path: &Path| open(path).map_err(|error| about(path, error));
    let lock = open(&runtime.lock)?;
    while rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if let Ok(stream) = connect_to(&runtime.socket, deadline) {
            return Ok(stream);
        }
        nap(deadline)?;
    }
    if let Ok(stream) = connect_to(&runtime.socket, deadline) {
        return Ok(stream);
    }
    let said = open(&runtime.said)?;
    said.set_len(0)?;
    let spec = Detached {
        program: &program,
        name: program.as_os_str(),
        args: &[],
        env: &environment(remote, runtime),
        env_prefix: Some("CRSH_"),
        stderr: Some(said.as_fd()),
    };
    spawn(&spec).map_err(|error| about(&program, error))?;
    let mut silence = None;
    loop {
        match connect_to(&runtime.socket, deadline) {
            Err(error) if is_nobody(&error) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(too_late()),
            connected => return Ok(connected?),
        }
        if fs::metadata(&runtime.said).is_ok_and(|state| state.len() > 0) {
            let since = *silence.get_or_insert_with(Instant::now);
            if since.elapsed() > LAST_WORDS {
                return Err(Failure(last_words(remote, runtime)));
            }
        }
        nap(deadline)?;
    }
}

fn too_late() -> Failure {
    Failure("the helper did not start in time".into())
}

fn nap(deadline: Instant) -> Result<(), Failure> {
    if Instant::now() + NAP >= deadline {
        return Err(too_late());
    }
    std::thread::sleep(NAP);
    Ok(())
}

/// The first line that a helper has written before it ended.
fn last_words(remote: &Remote, runtime: &Runtime) -> String {
    let said = fs::read(&runtime.said).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line: String = said.lines().next().unwrap_or_default().chars().take(200).collect();
    remote.without_secrets(&line)
}

/// What a helper is told.
fn environment(remote: &Remote, runtime: &Runtime) -> Vec<(String, OsString)> {
    let mut env = vec![
        ("CRSH_IPC_ENDPOINT".to_owned(), runtime.socket.clone().into_os_string()),
        ("CRSH_URL".to_owned(), OsString::from(&remote.url)),
        ("CRSH_IDLE_TIMEOUT".to_owned(), OsString::from(IDLE_S.to_string())),
        ("CRSH_NUM_ATTR".to_owned(), OsString::from(remote.attributes.len().to_string())),
    ];
    for (at, (key, value)) in remote.attributes.iter().enumerate() {
        env.push((format!("CRSH_ATTR_KEY_{at}"), OsString::from(key)));
        env.push((format!("CRSH_ATTR_VALUE_{at}"), OsString::from(value)));
    }
    env
}

/// The program that speaks to a storage: the one that is named, else by its name beside ibid and on `PATH`.
pub fn find(remote: &Remote) -> Result<PathBuf, Failure> {
    if let Some(helper) = &remote.helper {
        let missing = || Failure(format!("there is no helper {}", helper.display()));
        return Some(helper.clone()).filter(|path| path.is_file()).ok_or_else(missing);
    }
    let scheme = remote.scheme();
    let names = match scheme {
        "rediss" | "redis+unix" => vec![scheme, "redis"],
        _ => vec![scheme],
    };
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_path_buf()));
    let path = env::get(env::PATH).unwrap_or_default();
    let directories: Vec<_> = beside.into_iter().chain(std::env::split_paths(&path)).collect();
    let files = names.iter().flat_map(|name| {
        directories.iter().map(move |directory| directory.join(format!("ccache-storage-{name}")))
    });
    let missing = || Failure(format!("no helper ccache-storage-{scheme} beside ibid or on PATH"));
    files.into_iter().find(|file| file.is_file()).ok_or_else(missing)
}
