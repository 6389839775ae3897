//! Reads the log that the preload shim writes. Every byte is untrusted: damage makes the observation incomplete.
//!
//! Read next: `log_layout.rs` (the bytes), `trace/` (what the events mean together).

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use super::log_layout as layout;
use super::log_layout::{
    FIRST_ENTRY, FileStat, HEAD_LEN_BYTES, LOG_LEN_BYTES, STAT_LEN_BYTES, fact, kind,
};

/// As much of the header as is read: all but the working directory.
const HEADER_BYTES: usize = 64;

/// What a log says, as far as it has been read.
#[derive(Debug)]
pub struct ShimLog {
    /// In the order in which they were written.
    pub events: Vec<Event>,
    /// Why events are missing, if some are.
    pub lost: Option<String>,
    /// Where the next entry begins.
    next: usize,
}

impl Default for ShimLog {
    fn default() -> ShimLog {
        ShimLog { events: Vec::new(), lost: None, next: FIRST_ENTRY }
    }
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
    Object { path: PathBuf, is_plugin: bool },
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
    Zone,
    Network,
    Locale,
    Users,
    Iconv,
    Host,
    Session,
    Clock { plugin: Option<PathBuf> },
    Random,
    Process { plugin: Option<PathBuf> },
    System,
    Plugin(PluginQuestion),
    LocaleName { name: OsString },
    Load { name: OsString },
    TextDomain { domain: OsString, directory: PathBuf },
    Incomplete { reason: String },
}

/// What a plugin asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginQuestion {
    /// The state of a file.
    State {
        /// The plugin.
        plugin: PathBuf,
        /// The file.
        file: FileStat,
    },
    /// The working directory.
    Directory,
    /// A variable of this name.
    Variable(OsString),
}

impl ShimLog {
    /// Reads the entries that are whole by now and were not read before; gives their events. The tool may go on writing.
    pub fn read_more(&mut self, file: &File) -> io::Result<&[Event]> {
        let whole_bytes = whole(&self.unread(file)?);
        // Read once more: only what is read after its length was seen is sure to be all there.
        let mut entries = vec![0; whole_bytes];
        file.read_exact_at(&mut entries, self.next as u64)?;
        Ok(self.decode(&entries))
    }

    /// Reads the rest when no process writes; gives its events. An entry that is not whole then stays so.
    pub fn read_rest(&mut self, file: &File) -> io::Result<&[Event]> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        self.lost = lost(&header);
        let entries = self.unread(file)?;
        Ok(self.decode(&entries))
    }

    fn unread(&self, file: &File) -> io::Result<Vec<u8>> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let cursor = usize::try_from(u64_at(&header, 24)).unwrap_or(usize::MAX);
        let mut entries = vec![0; cursor.clamp(self.next, LOG_LEN_BYTES) - self.next];
        file.read_exact_at(&mut entries, self.next as u64)?;
        Ok(entries)
    }

    /// Decodes the entries that follow those which were read.
    fn decode(&mut self, entries: &[u8]) -> &[Event] {
        let first = self.events.len();
        let mut rest = entries;
        while !rest.is_empty() {
            let Some((len, event)) = entry(rest).and_then(|e| Some((e.len(), event(e)?))) else {
                let reason = if u32_at(rest, 0) == 0 {
                    "the log ends in the middle of an entry"
                } else {
                    "the log is damaged"
                };
                self.lost.get_or_insert_with(|| reason.to_owned());
                break;
            };
            self.events.push(event);
            self.next += len;
            rest = rest.get(len..).unwrap_or_default();
        }
        self.events.get(first..).unwrap_or_default()
    }
}

/// What the header says of entries that are missing.
fn lost(header: &[u8]) -> Option<String> {
    if u64_at(header, 0) != layout::MAGIC || u32_at(header, 8) != layout::VERSION {
        return Some("the log's header is damaged".to_owned());
    }
    let reason = match u32_at(header, 12) {
        0 => return None,
        layout::LOST_FULL => "the log was full",
        layout::LOST_NO_MEMORY => "there was no memory for the log",
        layout::LOST_LONG_PATH => "a path was too long for the log",
        _ => "the log's header is damaged",
    };
    Some(reason.to_owned())
}

/// The first entry of `rest`, if it is whole.
fn entry(rest: &[u8]) -> Option<&[u8]> {
    let len = u32_at(rest, 0) as usize;
    rest.get(..len).filter(|_| len >= HEAD_LEN_BYTES && len.is_multiple_of(8))
}

/// How many bytes of `entries` are whole entries.
fn whole(entries: &[u8]) -> usize {
    let mut at = 0;
    while let Some(entry) = entries.get(at..).and_then(entry) {
        at += entry.len();
    }
    at
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
        kind::START => started(&name, second, flags),
        kind::OBJECT => What::Object { path, is_plugin: flags != 0 },
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
            fact::CLOCK => What::Clock { plugin: plugin(path) },
            fact::RANDOM => What::Random,
            fact::PROCESS => What::Process { plugin: plugin(path) },
            fact::SYSTEM => What::System,
            fact::ZONE => What::Zone,
            fact::STATE => What::Plugin(PluginQuestion::State { plugin: path, file: stat? }),
            fact::DIRECTORY => What::Plugin(PluginQuestion::Directory),
            fact::VARIABLE => What::Plugin(PluginQuestion::Variable(path.into_os_string())),
            _ => return None,
        },
        kind::TEXT_DOMAIN => What::TextDomain { domain: name, directory: second.into() },
        kind::LOCALE => What::LocaleName { name },
        kind::LOAD => What::Load { name },
        kind::INCOMPLETE => What::Incomplete { reason: words(&name, &second) },
        _ => return None,
    })
}

/// The image stands before a zero byte, the working directory (if it is not the tool's) behind it.
fn started(name: &OsStr, mut loading: OsString, parent: u32) -> What {
    let mut parts = name.as_bytes().split(|byte| *byte == 0).map(OsStr::from_bytes);
    let image = PathBuf::from(parts.next().unwrap_or_default());
    loading.push("\0");
    loading.push(parts.next().unwrap_or_default());
    What::Start { image, libraries: loading, parent }
}

fn plugin(path: PathBuf) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then_some(path)
}

fn words(reason: &OsString, subject: &OsString) -> String {
    let reason = reason.to_string_lossy().into_owned();
    if subject.is_empty() { reason } else { format!("{reason}: {}", subject.to_string_lossy()) }
}

/// What a log would say of a file.
pub fn file_stat(metadata: &Metadata) -> FileStat {
    let device = metadata.dev();
    FileStat {
        dev: u64::from(rustix::fs::major(device)) << 32 | u64::from(rustix::fs::minor(device)),
        ino: metadata.ino(),
        size: metadata.size(),
        mtime_ns: metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec()),
        ctime_ns: metadata.ctime().wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec()),
        mode: metadata.mode(),
        links: u32::try_from(metadata.nlink()).unwrap_or(u32::MAX),
    }
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
    use super::{Event, ShimLog, What, layout, lost};

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

    fn decode(entries: &[u8]) -> ShimLog {
        let mut log = ShimLog::default();
        log.decode(entries);
        log
    }

    #[test]
    fn damage_is_incomplete() {
        let whole = [entry("A"), entry("LONGER_NAME")].concat();
        let log = decode(&whole);
        assert_eq!(log.lost, None);
        assert_eq!(log.events[1].what, What::GetEnv { name: "LONGER_NAME".into() });
        for at in 0..whole.len() {
            for value in [0, 1, 7, 8, 127, 255] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let ShimLog { events, lost, .. } = decode(&bytes);
                assert!(events.len() <= 2);
                assert!(lost.is_some() || events.len() == 2);
            }
        }
        for end in 1..whole.len() {
            assert!(end == 40 || decode(&whole[..end]).lost.is_some());
        }
        assert!(lost(&[0; super::HEADER_BYTES]).is_some());
    }

    /// Writes `entries`, then the header with a cursor behind them.
    fn write(file: &std::fs::File, entries: &[u8]) {
        use std::os::unix::fs::FileExt as _;
        let mut header = [0; super::HEADER_BYTES];
        header[..8].copy_from_slice(&layout::MAGIC.to_le_bytes());
        header[8..12].copy_from_slice(&layout::VERSION.to_le_bytes());
        let cursor = layout::FIRST_ENTRY + entries.len();
        header[24..32].copy_from_slice(&(cursor as u64).to_le_bytes());
        file.write_all_at(entries, layout::FIRST_ENTRY as u64).expect("room");
        file.write_all_at(&header, 0).expect("room");
    }

    #[test]
    fn what_is_not_whole_yet_is_read_later() {
        let file = tempfile::tempfile().expect("a temporary file");
        let names = |events: &[Event]| -> Vec<String> {
            events.iter().map(|event| format!("{:?}", event.what)).collect()
        };
        let (a, b, c) = (entry("A"), entry("B"), entry("C"));
        let unfinished = vec![0; b.len()];
        let mut log = ShimLog::default();
        write(&file, &[a.clone(), unfinished.clone(), c.clone()].concat());
        assert_eq!(names(log.read_more(&file).expect("a log")), [r#"GetEnv { name: "A" }"#]);
        assert_eq!(names(log.read_more(&file).expect("a log")), [""; 0]);
        write(&file, &[a.clone(), b, c.clone()].concat());
        assert_eq!(log.read_more(&file).expect("a log").len(), 2);
        assert_eq!(log.read_rest(&file).expect("a log").len(), 0);
        assert_eq!(log.lost, None);

        let mut log = ShimLog::default();
        write(&file, &[a, unfinished, c].concat());
        log.read_more(&file).expect("a log");
        assert_eq!(log.lost, None);
        log.read_rest(&file).expect("a log");
        assert_eq!((log.events.len(), log.lost.is_some()), (1, true));
    }
}
