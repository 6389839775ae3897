//! Reads the log that the preload shim writes. Every byte is untrusted: damage makes the observation incomplete.
//!
//! Read next: `log_layout.rs` (the bytes), `trace.rs` (what the events mean together).

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::log_layout as layout;
use super::log_layout::{
    CWD_AT, FIRST_ENTRY, FileStat, HEAD_LEN_BYTES, LOG_LEN_BYTES, STAT_LEN_BYTES, fact, kind,
};

/// What a log says.
#[derive(Debug)]
pub struct Log {
    /// The directory in which the tool was started.
    pub cwd: PathBuf,
    /// In the order in which they were written.
    pub events: Vec<Event>,
    /// Why events are missing, if some are.
    pub lost: Option<String>,
}

/// One entry, with the process that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The process.
    pub pid: u32,
    /// What happened.
    pub what: What,
}

/// What happened; see [`kind`] for each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those that `kind` describes")]
pub enum What {
    Start { image: PathBuf, libraries: OsString, parent: u32 },
    Object { path: PathBuf },
    Exit,
    Exec { path: PathBuf },
    ExecFailed { path: PathBuf, errno: i32 },
    Spawn { path: PathBuf, child: u32 },
    Shell { path: PathBuf },
    Ran { path: PathBuf, stat: Option<FileStat> },
    Search { name: OsString },
    Look { path: PathBuf, errno: i32 },
    Open { path: PathBuf, errno: i32, flags: u32, mode: u32, existed: bool, stat: Option<FileStat> },
    Close { stat: FileStat },
    List { path: PathBuf, errno: i32 },
    Rename { from: PathBuf, to: PathBuf, errno: i32, existed: bool, stat: Option<FileStat> },
    Link { from: PathBuf, to: PathBuf, errno: i32, stat: Option<FileStat> },
    Make { path: PathBuf, errno: i32, mode: u32 },
    Remove { path: PathBuf, errno: i32 },
    Attributes { path: PathBuf, stat: Option<FileStat>, is_shown: bool },
    GetEnv { name: OsString },
    Time { caller: PathBuf },
    LocalTime,
    Network,
    Locale,
    Users,
    Iconv,
    Host,
    Session,
    Clock,
    Random,
    Process,
    System,
    LocaleName { name: OsString },
    Load { name: OsString },
    TextDomain { domain: OsString, directory: PathBuf },
    Incomplete { reason: String },
}

/// Reads a log as it is now.
pub fn read(file: &File) -> io::Result<Log> {
    let mut header = vec![0; FIRST_ENTRY];
    file.read_exact_at(&mut header, 0)?;
    let cursor = usize::try_from(u64_at(&header, 24)).unwrap_or(usize::MAX);
    let end = cursor.clamp(FIRST_ENTRY, LOG_LEN_BYTES);
    let mut entries = vec![0; end - FIRST_ENTRY];
    file.read_exact_at(&mut entries, FIRST_ENTRY as u64)?;
    Ok(decode(&header, &entries))
}

/// Decodes the header and the entries behind it.
fn decode(header: &[u8], entries: &[u8]) -> Log {
    let cwd_len = (u32_at(header, 56) as usize).min(FIRST_ENTRY - CWD_AT);
    let cwd = PathBuf::from(text(header, CWD_AT, cwd_len));
    let mut lost = match u32_at(header, 12) {
        0 => None,
        layout::LOST_FULL => Some("the log was full".to_owned()),
        layout::LOST_NO_MEMORY => Some("there was no memory for the log".to_owned()),
        layout::LOST_LONG_PATH => Some("a path was too long for the log".to_owned()),
        _ => Some("the log's header is damaged".to_owned()),
    };
    if u64_at(header, 0) != layout::MAGIC || u32_at(header, 8) != layout::VERSION {
        lost = Some("the log's header is damaged".to_owned());
    }
    let mut events = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let len = u32_at(rest, 0) as usize;
        let entry = rest.get(..len).filter(|_| len >= HEAD_LEN_BYTES && len.is_multiple_of(8));
        let Some((entry, event)) = entry.and_then(|entry| Some((entry, event(entry)?))) else {
            let reason = if len == 0 {
                "the log ends in the middle of an entry"
            } else {
                "the log is damaged"
            };
            lost.get_or_insert_with(|| reason.to_owned());
            break;
        };
        events.push(event);
        rest = &rest[entry.len()..];
    }
    Log { cwd, events, lost }
}

fn event(entry: &[u8]) -> Option<Event> {
    let bits = u32_at(entry, 20);
    let mut at = HEAD_LEN_BYTES;
    let stat = if bits & layout::HAS_STAT == 0 {
        None
    } else {
        at += STAT_LEN_BYTES;
        Some(stat(entry.get(HEAD_LEN_BYTES..at)?))
    };
    let (path_len, second_len) = (u32_at(entry, 24) as usize, u32_at(entry, 28) as usize);
    let second_at = at.checked_add(path_len)?;
    if second_at.checked_add(second_len)? > entry.len() {
        return None;
    }
    let raw = Raw {
        flags: u32_at(entry, 12),
        mode: u32_at(entry, 16),
        errno: i32::from(u16_at(entry, 6)),
        existed: bits & layout::EXISTED != 0,
        stat,
        path: text(entry, at, path_len),
        second: text(entry, second_at, second_len),
    };
    Some(Event { pid: u32_at(entry, 8), what: what(u16_at(entry, 4), raw)? })
}

struct Raw {
    flags: u32,
    mode: u32,
    errno: i32,
    existed: bool,
    stat: Option<FileStat>,
    path: OsString,
    second: OsString,
}

fn what(kind: u16, raw: Raw) -> Option<What> {
    let Raw { flags, mode, errno, existed, stat, path, second } = raw;
    let name = path.clone();
    let path = PathBuf::from(path);
    Some(match kind {
        kind::START => What::Start { image: path, libraries: second, parent: flags },
        kind::OBJECT => What::Object { path },
        kind::EXIT => What::Exit,
        kind::EXEC => What::Exec { path },
        kind::EXEC_FAILED => What::ExecFailed { path, errno },
        kind::SPAWN => What::Spawn { path, child: flags },
        kind::SHELL => What::Shell { path },
        kind::RAN => What::Ran { path, stat },
        kind::SEARCH => What::Search { name },
        kind::LOOK => What::Look { path, errno },
        kind::OPEN => What::Open { path, errno, flags, mode, existed, stat },
        kind::CLOSE => What::Close { stat: stat? },
        kind::LIST => What::List { path, errno },
        kind::RENAME => What::Rename { from: path, to: second.into(), errno, existed, stat },
        kind::LINK => What::Link { from: path, to: second.into(), errno, stat },
        kind::MAKE => What::Make { path, errno, mode },
        kind::REMOVE => What::Remove { path, errno },
        kind::ATTRIBUTES => What::Attributes { path, stat, is_shown: flags == 0 },
        kind::GETENV => What::GetEnv { name },
        kind::FACT => match flags {
            fact::TIME => What::Time { caller: path },
            fact::LOCAL_TIME => What::LocalTime,
            fact::NETWORK => What::Network,
            fact::LOCALE => What::Locale,
            fact::USERS => What::Users,
            fact::ICONV => What::Iconv,
            fact::HOST => What::Host,
            fact::SESSION => What::Session,
            fact::CLOCK => What::Clock,
            fact::RANDOM => What::Random,
            fact::PROCESS => What::Process,
            fact::SYSTEM => What::System,
            _ => return None,
        },
        kind::TEXT_DOMAIN => What::TextDomain { domain: name, directory: second.into() },
        kind::LOCALE => What::LocaleName { name },
        kind::LOAD => What::Load { name },
        kind::INCOMPLETE => What::Incomplete { reason: words(&name, &second) },
        _ => return None,
    })
}

fn words(reason: &OsString, subject: &OsString) -> String {
    let reason = reason.to_string_lossy().into_owned();
    if subject.is_empty() { reason } else { format!("{reason}: {}", subject.to_string_lossy()) }
}

fn stat(bytes: &[u8]) -> FileStat {
    FileStat {
        dev: u64_at(bytes, 0),
        ino: u64_at(bytes, 8),
        size: u64_at(bytes, 16),
        mtime_ns: u64_at(bytes, 24).cast_signed(),
        ctime_ns: u64_at(bytes, 32).cast_signed(),
        mode: u32_at(bytes, 40),
        links: u32_at(bytes, 44),
    }
}

fn text(bytes: &[u8], at: usize, len: usize) -> OsString {
    OsString::from_vec(bytes.get(at..at.saturating_add(len)).unwrap_or_default().to_vec())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = at.checked_add(N).and_then(|end| bytes.get(at..end));
    found.and_then(|found| found.try_into().ok()).unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::{Log, What, decode, layout};

    fn header() -> Vec<u8> {
        let mut header = vec![0; layout::FIRST_ENTRY];
        header[..8].copy_from_slice(&layout::MAGIC.to_le_bytes());
        header[8..12].copy_from_slice(&layout::VERSION.to_le_bytes());
        header
    }

    /// A `GETENV` of `name`.
    fn entry(name: &str) -> Vec<u8> {
        let len = (layout::HEAD_LEN_BYTES + name.len()).next_multiple_of(8);
        let mut entry = vec![0; len];
        entry[0] = u8::try_from(len).expect("short");
        entry[4] = u8::try_from(layout::kind::GETENV).expect("small");
        entry[24] = u8::try_from(name.len()).expect("short");
        entry[32..32 + name.len()].copy_from_slice(name.as_bytes());
        entry
    }

    #[test]
    fn damage_is_incomplete() {
        let whole = [entry("A"), entry("LONGER_NAME")].concat();
        let log = decode(&header(), &whole);
        assert_eq!(log.lost, None);
        assert_eq!(log.events[1].what, What::GetEnv { name: "LONGER_NAME".into() });
        for at in 0..whole.len() {
            for value in [0, 1, 7, 8, 127, 255] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let Log { events, lost, .. } = decode(&header(), &bytes);
                assert!(events.len() <= 2);
                assert!(lost.is_some() || events.len() == 2);
            }
        }
        for end in 1..whole.len() {
            assert!(end == 40 || decode(&header(), &whole[..end]).lost.is_some());
        }
        assert!(decode(&vec![0; layout::FIRST_ENTRY], &whole).lost.is_some());
    }
}
