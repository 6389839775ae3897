//! What an observer's account of a program may depend on beside the program itself: the loader, the locale, the job server,
//! limits. What was found out about a program in one of them is not known in another.
//!
//! Read next: `search.rs` and `locale.rs` (which go by them), `wrapper/trust.rs` (who asks).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::process::{Resource, getrlimit};
use xxhash_rust::xxh3::Xxh3;

use super::locale;
use crate::env;
use crate::observe::known::pseudo;

const LIBRARY_PATH: &[u8] = b"LD_LIBRARY_PATH";
/// Other variables that decide which files libc reads by itself, and which code it loads.
const RARE_VARIABLES: &[&str] =
    &["GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH", "NLSPATH", "TZDIR", "RES_OPTIONS", "HOSTALIASES"];
/// With fewer descriptors libc may go without files that it would read.
const DESCRIPTORS_MIN: u64 = 64;

/// Those of this process, which the tool inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// Equal where they are.
    pub key: String,
    /// Nothing is set that makes the loader or libc look in unusual places.
    pub is_plain: bool,
    /// Code is loaded that sees everything and is seen by nobody (`LD_AUDIT`).
    pub has_auditor: bool,
}

impl Circumstances {
    /// As they are now.
    pub fn now() -> Circumstances {
        let mut hash = Xxh3::new();
        let mut is_plain = true;
        let mut add = |name: &[u8], value: &[u8]| {
            hash.update(&name.len().to_le_bytes());
            hash.update(name);
            hash.update(&value.len().to_le_bytes());
            hash.update(value);
        };
        for (name, value) in env::all_with_prefix("LD_") {
            if name.as_bytes() == LIBRARY_PATH {
                let shape = shape(value.as_bytes());
                // As cargo sets it for each rustc.
                is_plain &= shape == "absolute";
                add(LIBRARY_PATH, shape.as_bytes());
            } else {
                is_plain = false;
                add(name.as_bytes(), value.as_bytes());
                // Code that is in all programs.
                for path in value.as_bytes().split(|byte| matches!(byte, b':' | b' ')) {
                    if let Ok(found) = fs::metadata(OsStr::from_bytes(path)) {
                        let changed_ns = found.ctime_nsec() + found.ctime() * 1_000_000_000;
                        add(b"file", &changed_ns.to_le_bytes());
                    }
                }
            }
        }
        for name in RARE_VARIABLES {
            if let Some(value) = env::get(name) {
                is_plain = false;
                add(name.as_bytes(), value.as_bytes());
            }
        }
        for name in locale::VARIABLES.iter().chain(&["LANGUAGE", "OUTPUT_CHARSET", "TZ"]) {
            if let Some(value) = env::get_nonempty(name) {
                add(name.as_bytes(), value.as_bytes());
            }
        }
        add(b"job server", pseudo::job_server_kind().as_bytes());
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        if descriptors < DESCRIPTORS_MIN {
            is_plain = false;
            add(b"descriptors", &descriptors.to_le_bytes());
        }
        if access(".", Access::EXEC_OK).is_err() {
            is_plain = false;
            add(b"working directory", b"cannot be searched");
        }
        let has_auditor = env::get_nonempty("LD_AUDIT").is_some();
        Circumstances { key: format!("{:016x}", hash.digest()), is_plain, has_auditor }
    }
}

/// Which kinds of elements a list of directories has: the same kinds are searched by the same rules, wherever they are.
fn shape(list: &[u8]) -> String {
    let mut kinds: BTreeSet<&str> = BTreeSet::new();
    if list.contains(&b';') {
        kinds.insert("semicolon");
    }
    for element in list.split(|byte| matches!(byte, b':' | b';')) {
        let path = Path::new(OsStr::from_bytes(element));
        kinds.insert(match element {
            [] => "empty",
            _ if element.contains(&b'$') => "token",
            [b'/', ..] if path.join("glibc-hwcaps").exists() => "variants",
            [b'/', ..] => "absolute",
            _ => "relative",
        });
    }
    kinds.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn lists_of_the_same_kind() {
        assert_eq!(shape(b"/a:/b/c"), shape(b"/d"));
        for other in ["/a:", ":/a", "/a::/b", "/a;/b", "a", "/a:.", "$ORIGIN/../lib"] {
            assert_ne!(shape(b"/a"), shape(other.as_bytes()), "{other}");
        }
    }
}
