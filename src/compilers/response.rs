//! Response files (`@file`): expanded to judge a command; the tool itself always gets what was typed.
//!
//! The quoting rules are those of GNU libiberty's `buildargv`, which clang follows. Never read from a pipe here: the tool
//! would find it empty. Read next: `command.rs`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::outcome::PassReason;

/// More files than this are a circle (gcc itself gives up at 2000).
const FILES_MAX: usize = 200;
/// More text than this is not worth the reading.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// The arguments with every response file replaced by what is in it.
pub fn expand(args: &[OsString]) -> Result<Vec<OsString>, PassReason> {
    let mut expanded = Vec::with_capacity(args.len());
    let mut files_left = FILES_MAX;
    let mut todo: Vec<OsString> = args.iter().rev().cloned().collect();
    while let Some(arg) = todo.pop() {
        let Some(file) = arg.as_bytes().strip_prefix(b"@").filter(|file| !file.is_empty()) else {
            expanded.push(arg);
            continue;
        };
        match read(OsStr::from_bytes(file))? {
            // A file that is not there: the tool takes the word as it is.
            None => expanded.push(arg),
            Some(_) if files_left == 0 => return Err(PassReason::Unparsed),
            Some(text) => {
                files_left -= 1;
                todo.extend(words(&text).into_iter().rev());
            }
        }
    }
    Ok(expanded)
}

fn read(file: &OsStr) -> Result<Option<Vec<u8>>, PassReason> {
    match fs::metadata(file) {
        Ok(found) if found.is_file() && found.len() <= FILE_MAX_BYTES => {
            fs::read(file).map(Some).map_err(|_| PassReason::Unparsed)
        }
        Ok(found) if found.is_file() || found.is_dir() => Err(PassReason::Unparsed),
        Ok(_) => Err(PassReason::StandardInput),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(_) => Err(PassReason::Unparsed),
    }
}

/// Splits text into words: blanks separate, quotes of both kinds hold together, a backslash takes the next byte as it is.
pub fn words(text: &[u8]) -> Vec<OsString> {
    let mut all = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            _ if quote == Some(byte) => quote = None,
            _ if quote.is_some() => word.get_or_insert_default().push(byte),
            b'\'' | b'"' => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => all.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    all.extend(word);
    all.into_iter().map(OsString::from_vec).collect()
}
