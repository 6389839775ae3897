//! `ibid import FILE`: adds what `ibid export` has written to the cache, after all of it was verified.
//!
//! Read next: `store/import.rs`, `docs/ci.md`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::args::Import;
use super::progress::Progress;
use super::texts::{bytes, plural};
use crate::config;
use crate::store::Store;
use crate::store::import::{ImportError, ImportFrom, Imported, import};

/// Imports and says what was added; 1 if the file is not as it was written, and then nothing is.
pub fn run(asked: &Import, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    if config.readonly {
        return super::refuse(&"`readonly` is set: nothing is stored", stderr);
    }
    let store = match Store::open_configured(&config) {
        Ok(store) => store,
        Err(error) => return super::refuse(&error, stderr),
    };
    let mut bar = Progress::new("importing", stderr);
    let mut progress = |done, total| bar.tell(done, total);
    let is_stdin = asked.file == Path::new("-");
    let done = if is_stdin {
        import(&store, ImportFrom::Stream(&mut io::stdin().lock()), &mut progress)
    } else {
        File::open(&asked.file).map_err(ImportError::Read).and_then(|mut file| {
            let is_file = file.metadata().map_err(ImportError::Read)?.is_file();
            let source =
                if is_file { ImportFrom::File(&file) } else { ImportFrom::Stream(&mut file) };
            import(&store, source, &mut progress)
        })
    };
    drop(bar);
    let done = match done {
        Ok(done) => done,
        Err(ImportError::Store(error)) => return super::refuse(&error, stderr),
        Err(error) => {
            let shown = if is_stdin { Path::new("standard input") } else { &asked.file };
            return super::refuse(&format_args!("{} {error}", shown.display()), stderr);
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
