//! Runs a tool under the preload observer: places the shim, makes the log, reads it when the tool has ended.
//!
//! How the tool is started is not its business; it only says which variables the tool needs.
//! Read next: `../shim/`, `../trace/`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags, StatVfsMountFlags};

use crate::env;
use crate::observe::loader::{UnseenReads, reads_unseen};
use crate::observe::seccomp::{CallsSeen, Missed, both};
use crate::observe::shim::log::{ShimLog, file_stat};
use crate::observe::shim::log_layout::{self as layout, FileStat, LogEntry, kind};
use crate::observe::shim::{IBID_OBSERVED, log_outer};
use crate::observe::trace::Trace;
use crate::observe::{LeftOut, Observation};
use crate::os::elf::{self, Preloading};
use crate::os::file_system::reserve;

const LD_PRELOAD: &str = "LD_PRELOAD";

static SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.so"));

/// A run of a tool that is about to be observed, or is.
#[derive(Debug)]
pub struct Preload {
    shim: PathBuf,
    /// Where the shim is memory, it lives as long as this.
    _shim_memory: Option<File>,
    log_file: File,
    observed: OsString,
    /// Where the log is a file with a name, which must go.
    log_path: Option<PathBuf>,
    /// What was read of the log so far, and what it means.
    log: ShimLog,
    trace: Trace,
    unseen_reads: UnseenReads,
    /// Why the tool cannot be observed.
    unseen: Option<String>,
}

impl Drop for Preload {
    fn drop(&mut self) {
        if let Some(path) = &self.log_path {
            let _ = fs::remove_file(path);
        }
    }
}

impl Preload {
    /// Makes the shim and an empty log for a tool that will be started in the current directory: in memory, or where
    /// there is no way to that, in the cache directory.
    ///
    /// Fails if the loader could not take a shim from that directory, or there is no place for a log.
    pub fn prepare(cache_dir: &Path) -> io::Result<Preload> {
        Preload::prepare_in(cache_dir, &std::env::current_dir()?)
    }

    /// The same for a tool that will be started in `cwd`, spelled as the kernel does.
    pub fn prepare_in(cache_dir: &Path, cwd: &Path) -> io::Result<Preload> {
        match memory_shim() {
            Ok(memory) => Preload::with(place_of(&memory), Some(memory), cache_dir, cwd),
            Err(_) => Preload::with(place_shim(cache_dir)?, None, cache_dir, cwd),
        }
    }

    /// The same with the shim in the cache directory, whether or not there is a way to memory.
    #[cfg(test)]
    pub fn prepare_on_disk(cache_dir: &Path, cwd: &Path) -> io::Result<Preload> {
        Preload::with(place_shim(cache_dir)?, None, cache_dir, cwd)
    }

    fn with(
        shim: PathBuf,
        shim_memory: Option<File>,
        cache_dir: &Path,
        cwd: &Path,
    ) -> io::Result<Preload> {
        let nonce = RandomState::new().hash_one(std::process::id());
        let (log_file, log_path) = match memory_log() {
            Ok(log) => (log, None),
            Err(_) => file_log(cache_dir, nonce).map(|(log, path)| (log, Some(path)))?,
        };
        let place = log_path.clone().unwrap_or_else(|| place_of(&log_file));
        write_header(&log_file, nonce, cwd, log_path.is_none())?;
        let mut observed = OsString::from(format!("{nonce:016x}:"));
        observed.push(&place);
        Ok(Preload {
            shim,
            _shim_memory: shim_memory,
            log_file,
            observed,
            log_path,
            log: ShimLog::default(),
            trace: Trace::new(cwd.to_owned()),
            unseen_reads: UnseenReads::default(),
            unseen: None,
        })
    }

    /// Looks at the program that will be started, `tool` being the path by which it is. One in which the shim cannot
    /// live will get no variables, and its observation will be incomplete. Says whether it will be observed.
    pub fn check(&mut self, tool: &Path) -> bool {
        let mut path = tool.to_owned();
        for _ in 0..5 {
            match examine(&path) {
                Ok((stat, verdict)) => {
                    self.trace.read(&path, Some(&stat));
                    match verdict {
                        Preloadable::Interpreter(next) => path = next,
                        Preloadable::Possible => return true,
                        Preloadable::Impossible(reason) => {
                            return self.cannot_observe(tool, &reason);
                        }
                    }
                }
                Err(error) => return self.cannot_observe(tool, &error.to_string()),
            }
        }
        true
    }

    fn cannot_observe(&mut self, tool: &Path, reason: &str) -> bool {
        self.unseen = Some(format!("{} {reason}", tool.display()));
        false
    }

    /// The variables that the tool must be given, over its environment, which is ours. Ask for them last before the
    /// start: a shim that is gone (somebody has removed the cache directory) is not named, for the loader would say so on
    /// the tool's standard error. Such a tool is not observed.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        if self.unseen.is_some() || File::open(&self.shim).is_err() {
            return Vec::new();
        }
        // The shim takes itself out again before the tool looks: an empty value must stay one.
        let mut preload = env::get(LD_PRELOAD).unwrap_or_default();
        if env::get(LD_PRELOAD).is_some() {
            preload.push(":");
        }
        preload.push(&self.shim);
        vec![(LD_PRELOAD.into(), preload), (IBID_OBSERVED.into(), self.observed.clone())]
    }

    /// Says what of the tool's doing is not to be noted; before it is started.
    pub fn leave_out(&mut self, left_out: LeftOut<'_>) {
        self.trace.leave_out(left_out);
    }

    /// Takes in what the tool has done so far. Nobody needs to call this; what is taken in while the tool runs need not be
    /// taken in when it has ended, and the build waits. Gives the paths at which it found nothing or which it read since this
    /// was asked last, and whether it read them.
    pub fn attend(&mut self) -> Vec<(PathBuf, bool)> {
        // A log that cannot be read now cannot be read at the end.
        if let Ok(events) = self.log.read_more(&self.log_file) {
            self.trace.add(events);
            if events.iter().any(|event| reads_unseen(&event.what)) {
                self.unseen_reads.add(&mut self.trace, &self.log.events);
            }
        }
        self.trace.take_fresh()
    }

    /// The shim and the log, which processes of the tool tree open and no tool knows of.
    pub fn own_files(&self) -> Vec<PathBuf> {
        let log = self.log_path.clone().unwrap_or_else(|| place_of(&self.log_file));
        vec![self.shim.clone(), log]
    }

    /// What the tool, which has ended, was seen to do.
    pub fn finish(mut self) -> Observation {
        let (mut log, trace, unseen_reads) = self.end();
        if let Some(reason) = self.unseen.take() {
            log.lost = Some(reason);
        }
        unseen_reads.conclude(trace, log)
    }

    /// The same where the system calls were watched as well, and what the shim missed.
    pub fn finish_with(mut self, calls: CallsSeen) -> (Observation, Vec<Missed>) {
        if calls.absent.is_some() {
            return (Observation { unwatched: calls.absent, ..self.finish() }, Vec::new());
        }
        let (log, trace, unseen_reads) = self.end();
        both(calls, log, trace, unseen_reads)
    }

    /// All that the log says.
    fn end(&mut self) -> (ShimLog, Trace, UnseenReads) {
        let (mut log, mut trace) = (std::mem::take(&mut self.log), std::mem::take(&mut self.trace));
        match log.read_rest(&self.log_file) {
            Ok(events) => trace.add(events),
            Err(error) => log.lost = Some(format!("the log cannot be read: {error}")),
        }
        (log, trace, std::mem::take(&mut self.unseen_reads))
    }
}

enum Preloadable {
    Possible,
    Interpreter(PathBuf),
    Impossible(String),
}

fn examine(path: &Path) -> io::Result<(FileStat, Preloadable)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let head = elf::read_head(&file)?;
    let verdict = match elf::preloading(&file, &head) {
        _ if metadata.mode() & 0o6000 != 0 => {
            Preloadable::Impossible("runs as another user".into())
        }
        Preloading::Possible | Preloading::Unknown => Preloadable::Possible,
        Preloading::Impossible(reason) => Preloadable::Impossible(reason.into()),
        Preloading::Script { start, end } => {
            let interpreter = head.get(start..end).unwrap_or_default();
            Preloadable::Interpreter(PathBuf::from(OsStr::from_bytes(interpreter)))
        }
    };
    Ok((file_stat(&metadata), verdict))
}

fn unusable(reason: &str, path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {reason}", path.display()))
}

/// The shim as sealed memory, which no process can cut, overwrite or remove while the tool runs.
fn memory_shim() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut shim = File::from(rustix::fs::memfd_create("ibid-shim", flags)?);
    shim.write_all(SHIM)?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&shim, seals)?;
    File::open(place_of(&shim))?;
    Ok(shim)
}

/// Where there is no such memory (no `/proc`), a file in the cache directory: its path, once it holds exactly the embedded
/// bytes. A damaged one would kill every compile.
fn place_shim(cache_dir: &Path) -> io::Result<PathBuf> {
    let cache_dir = std::path::absolute(cache_dir)?;
    let is_special = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b':' | b';' | b'$');
    if cache_dir.as_os_str().as_bytes().iter().any(is_special) {
        return Err(unusable(
            "the loader cannot take a shim from a path with a blank, `:`, `;` or `$`",
            &cache_dir,
        ));
    }
    if fs::metadata(&cache_dir)?.mode() & 0o022 != 0 {
        return Err(unusable("others may write it, and so replace the shim", &cache_dir));
    }
    if rustix::fs::statvfs(&cache_dir)?.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err(unusable("the file system does not allow programs (noexec)", &cache_dir));
    }
    let path = cache_dir.join(format!("shim-{:016x}.so", xxhash_rust::xxh3::xxh3_64(SHIM)));
    if is_intact(&path) {
        return Ok(path);
    }
    let temporary = cache_dir
        .join(format!("shim-{:016x}.tmp", RandomState::new().hash_one(std::process::id())));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(SHIM).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| path)
}

fn is_intact(path: &Path) -> bool {
    let is_file =
        fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == SHIM.len() as u64);
    is_file && fs::read(path).is_ok_and(|bytes| bytes == SHIM)
}

fn place_of(memory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()))
}

fn memory_log() -> io::Result<File> {
    let log = File::from(rustix::fs::memfd_create("ibid-log", MemfdFlags::CLOEXEC)?);
    log.set_len(layout::LOG_LEN_BYTES as u64)?;
    reserve(&log, layout::CHUNK_LEN_BYTES as u64)?;
    fs::metadata(place_of(&log))?;
    Ok(log)
}

fn file_log(cache_dir: &Path, nonce: u64) -> io::Result<(File, PathBuf)> {
    let path = std::path::absolute(cache_dir)?.join(format!("log-{nonce:016x}"));
    let log = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    let len = layout::LOG_LEN_BYTES as u64;
    if let Err(error) = reserve(&log, len) {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok((log, path))
}

fn write_header(log: &File, nonce: u64, cwd: &Path, is_memory: bool) -> io::Result<()> {
    let cwd = cwd.as_os_str().as_bytes();
    if cwd.len() > layout::FIRST_ENTRY - layout::CWD_AT {
        return Err(io::Error::other("the working directory's path is too long"));
    }
    let ibid =
        fs::metadata("/proc/self/exe").map(|metadata| file_stat(&metadata)).unwrap_or_default();
    let mut header = Vec::with_capacity(layout::CWD_AT + cwd.len());
    header.extend(layout::MAGIC.to_le_bytes());
    header.extend(layout::VERSION.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    header.extend(nonce.to_le_bytes());
    header.extend((layout::FIRST_ENTRY as u64).to_le_bytes());
    let present = if is_memory { layout::CHUNK_LEN_BYTES as u64 } else { 0 };
    header.extend(present.to_le_bytes());
    header.extend(ibid.dev.to_le_bytes());
    header.extend(ibid.ino.to_le_bytes());
    header.extend(u32::try_from(cwd.len()).unwrap_or(0).to_le_bytes());
    header.resize(layout::CWD_AT, 0);
    header.extend(cwd);
    log.write_all_at(&header, 0)
}

/// Whether another ibid further out observes this process.
pub fn nested() -> bool {
    log_outer::open().is_some()
}

/// What a nested ibid, which is static and so has no shim, reports to the outer observer before it becomes the tool.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The tool that it becomes.
    pub tool: &'a Path,
    /// The name that it looked for in `PATH`, if it did.
    pub searched: Option<&'a OsStr>,
    /// Where that was not, each with its error number.
    pub absent: &'a [(PathBuf, u16)],
}

/// Reports a nested ibid to the outer observer; says whether there is one. Call it last before the exec.
pub fn report_in(report: &Report) -> bool {
    let Some(log) = log_outer::open() else { return false };
    let pid = std::process::id();
    let image = fs::read_link("/proc/self/exe").unwrap_or_default();
    let parent = std::os::unix::process::parent_id();
    let append = |kind: u16, text: &OsStr, flags: u32, errno: u16| {
        let path = [text.as_bytes(), b"", b""];
        log.append(
            &LogEntry { kind, errno, pid, flags, path, ..LogEntry::default() },
            log_outer::populate,
        );
    };
    append(kind::START, image.as_os_str(), parent, 0);
    if let Some(name) = report.searched {
        append(kind::SEARCH, name, 0, 0);
    }
    for (path, errno) in report.absent {
        append(kind::LOOK, path.as_os_str(), 0, *errno);
    }
    append(kind::RAN, report.tool.as_os_str(), 0, 0);
    append(kind::EXEC, report.tool.as_os_str(), 0, 0);
    true
}
