//! The bytes between a client and a storage helper: ccache's storage-helper protocol (CRSH), version 1.
//!
//! The source is `doc/remote_storage_helper_spec.md` of ccache. One connection has a greeting, then requests, each with its
//! answer before the next. Integers are in host byte order, since both ends are on one machine. Nothing that is read is
//! believed: a length that the stream does not hold allocates nothing. Read next: `client.rs`; `src/storage/server.rs`, the
//! other end.

use std::io::{self, ErrorKind, Read, Write};

/// The version of the protocol that is spoken here.
pub const VERSION: u8 = 1;
/// The longest value that is taken from the other end.
pub const VALUE_BYTES_MAX: u64 = 1 << 30;
/// The longest key, and the longest message.
pub const SHORT_BYTES_MAX: usize = u8::MAX as usize;

/// What a helper can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Get, put and remove.
    Values = 0,
    /// Say what it is.
    Info = 1,
    /// Say whether a key is there.
    Exists = 2,
}

/// What a helper says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Numbers of capabilities, also of such as are not known here.
    pub capabilities: Vec<u8>,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The value of a key.
    Get(Vec<u8>),
    /// Store a value; an old one is replaced for certain only with `overwrite`.
    Put {
        /// Its key.
        key: Vec<u8>,
        /// Whether an old value is to be replaced.
        overwrite: bool,
        /// The value.
        value: Vec<u8>,
    },
    /// Remove a value.
    Remove(Vec<u8>),
    /// End at once.
    Stop,
    /// Say what the helper is.
    Info,
    /// Whether a key is there.
    Exists(Vec<u8>),
}

/// The answer to a request; `T` is what it brings if it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It was done.
    Done(T),
    /// Not found, not stored, or not removed.
    Nothing,
    /// It failed, for this reason.
    Failed(String),
}

/// What a helper is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Name and version.
    pub identity: String,
    /// What it wants to be logged.
    pub diagnostics: Vec<String>,
}

const GET: u8 = 0;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
const STOP: u8 = 3;
const INFO: u8 = 4;
const EXISTS: u8 = 5;

const DONE: u8 = 0;
const NOTHING: u8 = 1;
const FAILED: u8 = 2;

const OVERWRITE: u8 = 1;

impl Greeting {
    /// That of a helper which can do all of this.
    pub fn of(capabilities: &[Capability]) -> Greeting {
        let capabilities = capabilities.iter().map(|capability| *capability as u8).collect();
        Greeting { capabilities }
    }

    /// Whether the helper can do it.
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&(capability as u8))
    }

    /// Writes it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = vec![VERSION];
        put_short(&mut bytes, &self.capabilities)?;
        to.write_all(&bytes)
    }

    /// Reads one; one of another version is an error.
    pub fn read(from: &mut impl Read) -> io::Result<Greeting> {
        if byte(from)? != VERSION {
            return Err(wrong("another version of the protocol"));
        }
        Ok(Greeting { capabilities: short(from)? })
    }
}

impl Request {
    /// Writes it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (mut bytes, mut after) = (Vec::new(), &[][..]);
        match self {
            Request::Get(key) => put_keyed(&mut bytes, GET, key)?,
            Request::Remove(key) => put_keyed(&mut bytes, REMOVE, key)?,
            Request::Exists(key) => put_keyed(&mut bytes, EXISTS, key)?,
            Request::Put { key, overwrite, value } => {
                put_keyed(&mut bytes, PUT, key)?;
                bytes.push(if *overwrite { OVERWRITE } else { 0 });
                put_len(&mut bytes, value);
                after = value;
            }
            Request::Stop => bytes.push(STOP),
            Request::Info => bytes.push(INFO),
        }
        to.write_all(&bytes)?;
        to.write_all(after)
    }

    /// Reads one; `None` if the client has closed the connection between two.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Request>> {
        let mut request = [0];
        let request = loop {
            match from.read(&mut request) {
                Ok(0) => return Ok(None),
                Ok(_) => break request[0],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        Ok(Some(match request {
            GET => Request::Get(short(from)?),
            PUT => {
                let (key, flags) = (short(from)?, byte(from)?);
                Request::Put { key, overwrite: flags & OVERWRITE != 0, value: value(from)? }
            }
            REMOVE => Request::Remove(short(from)?),
            STOP => Request::Stop,
            INFO => Request::Info,
            EXISTS => Request::Exists(short(from)?),
            _ => return Err(wrong("an unknown request")),
        }))
    }
}

impl<T> Answer<T> {
    fn write_with(
        &self,
        to: &mut impl Write,
        done: impl FnOnce(&T, &mut Vec<u8>),
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        match self {
            Answer::Done(what) => {
                bytes.push(DONE);
                done(what, &mut bytes);
            }
            Answer::Nothing => bytes.push(NOTHING),
            Answer::Failed(why) => {
                bytes.push(FAILED);
                put_short(&mut bytes, message(why).as_bytes())?;
            }
        }
        to.write_all(&bytes)
    }

    fn read_with<R: Read>(
        from: &mut R,
        done: impl FnOnce(&mut R) -> io::Result<T>,
    ) -> io::Result<Answer<T>> {
        match byte(from)? {
            DONE => done(from).map(Answer::Done),
            NOTHING => Ok(Answer::Nothing),
            FAILED => text(from).map(Answer::Failed),
            _ => Err(wrong("an unknown answer")),
        }
    }
}

/// To a get.
impl Answer<Vec<u8>> {
    /// Writes it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        self.write_with(to, |value, bytes| put_len(bytes, value))?;
        if let Answer::Done(value) = self { to.write_all(value) } else { Ok(()) }
    }

    /// Reads one.
    pub fn read(from: &mut impl Read) -> io::Result<Answer<Vec<u8>>> {
        Answer::read_with(from, value)
    }
}

/// To a put, a remove or a stop.
impl Answer<()> {
    /// Writes it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        self.write_with(to, |(), _| {})
    }

    /// Reads one.
    pub fn read(from: &mut impl Read) -> io::Result<Answer<()>> {
        Answer::read_with(from, |_| Ok(()))
    }
}

/// To a question whether a key is there.
impl Answer<bool> {
    /// Writes it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        self.write_with(to, |is_there, bytes| bytes.push(u8::from(*is_there)))
    }

    /// Reads one.
    pub fn read(from: &mut impl Read) -> io::Result<Answer<bool>> {
        Answer::read_with(from, |from| match byte(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(wrong("neither true nor false")),
        })
    }
}

impl Info {
    /// Writes it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::new();
        put_short(&mut bytes, message(&self.identity).as_bytes())?;
        let count = u8::try_from(self.diagnostics.len()).unwrap_or(u8::MAX);
        bytes.push(count);
        for line in self.diagnostics.iter().take(count.into()) {
            put_short(&mut bytes, message(line).as_bytes())?;
        }
        to.write_all(&bytes)
    }

    /// Reads one.
    pub fn read(from: &mut impl Read) -> io::Result<Info> {
        let (identity, count) = (text(from)?, byte(from)?);
        let diagnostics = (0..count).map(|_| text(from)).collect::<io::Result<_>>()?;
        Ok(Info { identity, diagnostics })
    }
}

/// The text as a message: one line, and no longer than a message may be.
fn message(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line[..line.floor_char_boundary(SHORT_BYTES_MAX)].to_owned()
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn put_keyed(to: &mut Vec<u8>, request: u8, key: &[u8]) -> io::Result<()> {
    to.push(request);
    put_short(to, key)
}

/// One byte of length, then the bytes.
fn put_short(to: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let len = u8::try_from(bytes.len()).map_err(|_| wrong("a key of more than 255 bytes"))?;
    to.push(len);
    to.extend_from_slice(bytes);
    Ok(())
}

#[allow(clippy::host_endian_bytes, reason = "the protocol says so: both ends are on one machine")]
fn put_len(to: &mut Vec<u8>, value: &[u8]) {
    to.extend((value.len() as u64).to_ne_bytes());
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn short(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; byte(from)?.into()];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn text(from: &mut impl Read) -> io::Result<String> {
    Ok(message(&String::from_utf8_lossy(&short(from)?)))
}

#[allow(clippy::host_endian_bytes, reason = "the protocol says so: both ends are on one machine")]
fn value(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 8];
    from.read_exact(&mut len)?;
    let len = u64::from_ne_bytes(len);
    if len > VALUE_BYTES_MAX {
        return Err(wrong("a value that is too long"));
    }
    let mut value = Vec::new();
    // It grows with what comes, not with what was announced.
    from.take(len).read_to_end(&mut value)?;
    if value.len() as u64 == len { Ok(value) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests;
