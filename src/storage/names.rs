//! The names of values where they stand in directories: files, paths of a server, objects of a bucket.
//!
//! Read next: `settings.rs`.

use super::settings::{Settings, hex};

/// The name of a key, in directories of two digits if `has_folders`.
pub fn name_of(key: &[u8], has_folders: bool) -> String {
    let name = hex(key);
    match name.split_at_checked(2) {
        Some((folder, rest)) if has_folders && !rest.is_empty() => format!("{folder}/{rest}"),
        _ => name,
    }
}

/// Whether values stand in directories of two digits: attribute `layout`.
pub fn has_folders(settings: &Settings) -> Result<bool, String> {
    match settings.get("layout").unwrap_or("subdirs") {
        "subdirs" => Ok(true),
        "flat" => Ok(false),
        other => Err(format!("layout: `{other}` is not known")),
    }
}
