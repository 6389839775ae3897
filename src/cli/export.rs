//! `ibid export FILE [--since T | --build ID]`: what the cache holds as one file, for `ibid import`.
//!
//! The file has its name when it is whole: what stops an export on the way leaves nothing. Read next:
//! `store/export.rs`, `docs/ci.md`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::args::Export;
use super::explain::past::build_of;
use super::progress::Progress;
use super::texts::{bytes, cannot_write, plural};
use super::times::Since;
use crate::config;
use crate::store::Store;
use crate::store::export::{Exported, Which, export};
use crate::wrapper::history::History;

/// How much is written at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Exports and says what was written; where that goes to standard output, on standard error.
pub fn run(asked: &Export, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let store = match Store::open_configured(&config::load()) {
        Ok(store) => store,
        Err(error) => return super::refuse(&error, stderr),
    };
    let which = match which(&store, asked) {
        Ok(which) => which,
        Err(why) => return super::refuse(&why, stderr),
    };
    let to_stdout = asked.file == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return super::refuse(&"standard output is a terminal: name a file", stderr);
    }
    let shown = if to_stdout { Path::new("standard output") } else { &asked.file };
    let target = if to_stdout { ExportTarget::stdout() } else { ExportTarget::new(&asked.file) };
    let target = match target {
        Ok(target) => target,
        Err(error) => return super::refuse(&cannot_write(shown, &error), stderr),
    };
    let mut bar = Progress::new("exporting", stderr);
    let write = || {
        let mut to = BufWriter::with_capacity(BUFFER_BYTES, &target.file);
        let exported = export(&store, &which, &mut to, &mut |done, total| bar.tell(done, total))?;
        // What fails while it is dropped is lost.
        to.flush()?;
        drop(to);
        target.finish()?;
        io::Result::Ok(exported)
    };
    let written = write();
    drop(bar);
    let Exported { records, blobs, bytes: len_bytes, left_out } = match written {
        Ok(exported) => exported,
        Err(error) => return super::fail(&cannot_write(shown, &error), stderr),
    };
    let to: &mut dyn Write = if to_stdout { stderr } else { stdout };
    let (records, blobs) = (plural(records, "record", "records"), plural(blobs, "blob", "blobs"));
    write!(to, "exported {records} and {blobs}, {}", bytes(len_bytes))?;
    if left_out > 0 {
        let left_out = plural(left_out, "record is", "records are");
        write!(to, "; {left_out} of no use elsewhere or not whole")?;
    }
    writeln!(to)?;
    Ok(0)
}

fn which(store: &Store, asked: &Export) -> Result<Which, String> {
    let Some(name) = &asked.build else {
        return Ok(Which::Since(asked.since.map_or(0, Since::seconds)));
    };
    let history = History::read(store);
    Ok(Which::At(history.records_of(build_of(&history, name)?)))
}

/// Where an export, or a page, goes.
pub struct ExportTarget {
    /// What it is written to.
    pub file: File,
    name: Name,
}

/// How the file gets its name.
enum Name {
    /// It has one, or is a pipe or a device.
    Settled,
    /// It has none yet.
    Unnamed(PathBuf),
    /// It has a temporary one, the first.
    Temporary(PathBuf, PathBuf),
}

impl ExportTarget {
    fn stdout() -> io::Result<ExportTarget> {
        let file = io::stdout().as_fd().try_clone_to_owned()?.into();
        Ok(ExportTarget { file, name: Name::Settled })
    }

    /// A new file, or what stands there if that is a pipe or a device.
    pub fn new(path: &Path) -> io::Result<ExportTarget> {
        let old = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            old => Some(old?),
        };
        if old.as_ref().is_some_and(fs::Metadata::is_dir)
            || path.as_os_str().as_bytes().ends_with(b"/")
        {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok(ExportTarget { file, name: Name::Settled });
        }
        // Through a symlink.
        let path = if old.is_some() { fs::canonicalize(path)? } else { path.to_path_buf() };
        let target =
            ExportTarget::unnamed(&path).map_or_else(|| ExportTarget::temporary(&path), Ok)?;
        if let Some(old) = old {
            target.file.set_permissions(old.permissions())?;
        }
        Ok(target)
    }

    /// A file without a name, which goes away if this process does.
    fn unnamed(path: &Path) -> Option<ExportTarget> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let file = rustix::fs::open(directory.unwrap_or(Path::new(".")), flags, mode).ok()?;
        let target = ExportTarget { file: file.into(), name: Name::Unnamed(path.to_path_buf()) };
        target.link().exists().then_some(target)
    }

    /// Where file systems know no such files, or there is no `/proc`.
    fn temporary(path: &Path) -> io::Result<ExportTarget> {
        let temporary = beside(path);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        Ok(ExportTarget { file, name: Name::Temporary(temporary, path.to_path_buf()) })
    }

    /// What leads to the open file.
    fn link(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Gives the file its name.
    pub fn finish(mut self) -> io::Result<()> {
        if let Name::Unnamed(path) = &self.name {
            let (temporary, path) = (beside(path), path.clone());
            rustix::fs::linkat(CWD, self.link(), CWD, &temporary, AtFlags::SYMLINK_FOLLOW)?;
            self.name = Name::Temporary(temporary, path);
        }
        if let Name::Temporary(temporary, path) = &self.name {
            fs::rename(temporary, path)?;
            self.name = Name::Settled;
        }
        Ok(())
    }
}

impl Drop for ExportTarget {
    fn drop(&mut self) {
        if let Name::Temporary(temporary, _) = &self.name {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}
