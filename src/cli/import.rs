//! `ibid import FILE`: adds what `ibid export` has written to the cache, after all of it was verified.
//!
//! Read next: `store/import.rs`, `docs/ci.md`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::args::Import;
use super::progress::Progress;
use super::texts::{bytes, cannot_read, plural};
use crate::config;
use crate::store::Store;
use crate::store::import::{ImportError, ImportFrom, Imported, import};

/// Imports and says what was added; 1 if the file is not as it was written, and then nothing is; 2 if it is none.
pub fn run(asked: &Import, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    if config.readonly {
        return super::refuse(&"`readonly` is set: nothing is stored", stderr);
    }
    let store = match Store::open_configured(&config) {
        Ok(store) => store,
        Err(error) => return super::refuse(&error, stderr),
    };
    let is_stdin = asked.file == Path::new("-");
    let opened = if is_stdin { Ok(None) } else { open(&asked.file).map(Some) };
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(error) => return super::refuse(&cannot_read(&asked.file, &error), stderr),
    };
    let mut bar = Progress::new("importing", stderr);
    let mut progress = |done, total| bar.tell(done, total);
    let done = match &mut opened {
        None => import(&store, ImportFrom::Stream(&mut io::stdin().lock()), &mut progress),
        Some((file, true)) => import(&store, ImportFrom::File(file), &mut progress),
        Some((file, false)) => import(&store, ImportFrom::Stream(file), &mut progress),
    };
    drop(bar);
    let shown = if is_stdin { Path::new("standard input") } else { &asked.file };
    let done = match done {
        Ok(done) => done,
        Err(ImportError::Store(error)) => return super::fail(&error, stderr),
        Err(ImportError::NotAnExport) => {
            let why = ImportError::NotAnExport;
            let advice = "name a file that `ibid export` wrote";
            return super::refuse(&format_args!("{} {why}; {advice}", shown.display()), stderr);
        }
        Err(error) => {
            return super::fail(&format_args!("{} {error}", shown.display()), stderr);
        }
    };
    let Imported { records, blobs, bytes: added, known, left_out } = done;
    let (records, blobs) = (plural(records, "record", "records"), plural(blobs, "blob", "blobs"));
    write!(stdout, "imported {records} and {blobs}, {}", bytes(added))?;
    if known > 0 {
        write!(stdout, "; {} there already", plural(known, "record was", "records were"))?;
    }
    writeln!(stdout)?;
    if left_out > 0 {
        let max = bytes(config.max_size_bytes);
        let left_out = plural(left_out, "older record is", "older records are");
        writeln!(
            stdout,
            "{left_out} left out: the cache has no room for them (max_size is {max})"
        )?;
    }
    Ok(0)
}

/// The file, and whether it is a plain one.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok((file, metadata.is_file()))
}
