//! Where the cache is: its directory, its space, its shared memory.
//!
//! Read next: `store/create.rs`, which refuses what is found here.

use std::path::{Path, PathBuf};

use super::super::texts::bytes;
use super::{Finding, Mark, finding};
use crate::config::{Config, Share};
use crate::env;
use crate::error::StoreError;
use crate::os::file_system::{self, FileSystem};
use crate::shm::access::Access;
use crate::shm::counters::VOLATILE_BYTES;
use crate::shm::layout::{SEGMENT_BYTES, SEGMENT_BYTES_MIN};
use crate::store::Store;

/// A cache of less holds no record of a compiler with its headers, because an eighth of it is the most for one.
const SIZE_BYTES_MIN: u64 = 1_000_000;
/// Below this, usual objects are too large.
const SIZE_BYTES_USUAL: u64 = 200_000_000;
/// Where shared memory is.
const SHARED_MEMORY: &str = "/dev/shm";

/// What is free for us where `directory` is.
fn free_bytes(directory: &Path) -> u64 {
    rustix::fs::statvfs(directory)
        .map_or(u64::MAX, |state| state.f_bavail.saturating_mul(state.f_frsize))
}

/// The first of these that is a directory of a file system that can hold a cache, which we may write, with room.
pub fn roomy(candidates: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let may_write = |dir: &Path| {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(dir, access).is_ok()
    };
    candidates.into_iter().find(|dir| {
        dir.is_dir()
            && may_write(dir)
            && matches!(FileSystem::at(dir), Ok(Ok(_)))
            && free_bytes(dir) >= 4 * SEGMENT_BYTES
    })
}

/// A directory that would work, as advice.
fn another_directory() -> String {
    let user = rustix::process::geteuid().as_raw();
    let home = env::get_nonempty(env::HOME).map(PathBuf::from);
    let candidates = ["/var/tmp", "/var/cache", "/scratch", "/local", "/tmp", SHARED_MEMORY];
    match roomy(home.into_iter().chain(candidates.map(PathBuf::from))) {
        Some(dir) if Some(dir.as_os_str()) == env::get_nonempty(env::HOME).as_deref() => {
            format!("export IBID_DIR={}/.cache/ibid", dir.display())
        }
        Some(dir) => format!("export IBID_DIR={}/ibid-{user}", dir.display()),
        None => "set IBID_DIR to a directory on a local disk".to_owned(),
    }
}

/// The directory, its file system and its space.
pub fn directory(config: &Config, opened: &Result<Store, StoreError>) -> Vec<Finding> {
    let shown = config.cache_dir.as_deref().unwrap_or(Path::new("")).display();
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            let failed = finding(Mark::Fail, "cache directory", error.to_string());
            return vec![match error {
                StoreError::FileSizeLimit | StoreError::MemoryLimit => failed.advise("raise it"),
                StoreError::Busy => failed.advise("ask again"),
                _ => failed.advise(another_directory()),
            }];
        }
    };
    let mut findings = vec![match (store.cache.access, config.share) {
        (Access::Group(gid), _) => {
            let risk = "each of its members can put objects into your builds";
            let found = format!("{shown}, shared by group {gid}: {risk}");
            finding(Mark::Ok, "cache directory", found)
        }
        (Access::Own, Share::Off) => {
            finding(Mark::Ok, "cache directory", format!("{shown}, only you may write it"))
        }
        (Access::Own, Share::Group) => {
            let found = format!("{shown}, only you may write it, though `share` is on");
            let found = finding(Mark::Warn, "cache directory", found);
            found.advise("to share an empty one: chgrp GROUP, chmod 2770")
        }
    }];
    if store.is_read_only() {
        let found = format!("{shown} can only be read here: hits work, nothing is stored");
        findings.push(finding(Mark::Warn, "cache directory", found));
    }
    if let Ok(Ok(known)) = FileSystem::at(store.directory()) {
        findings.push(finding(Mark::Ok, "file system", known.name));
    }
    findings.push(size(config.max_size_bytes));
    findings.push(space(store, config.max_size_bytes));
    findings
}

/// Whether the size that is allowed can hold anything.
fn size(max_bytes: u64) -> Finding {
    let each = bytes(max_bytes / 8);
    let found = format!("at most {}, at most {each} for one result", bytes(max_bytes));
    if max_bytes < SIZE_BYTES_MIN {
        let found = finding(Mark::Fail, "size", format!("{found}: no result fits"));
        return found.advise("set IBID_MAX_SIZE=10G, or `ibid config set max_size 10G`");
    }
    if max_bytes < SIZE_BYTES_USUAL {
        let found = finding(Mark::Warn, "size", format!("{found}: larger ones are not stored"));
        return found.advise("a usual size is 10G");
    }
    finding(Mark::Ok, "size", found)
}

fn space(store: &Store, max_bytes: u64) -> Finding {
    let (free, used) = (free_bytes(store.directory()), store.bytes_used());
    let has_segments = store.window().newest > 0;
    let size =
        format!("{} of {} used, {} free on the disk", bytes(used), bytes(max_bytes), bytes(free));
    let disk_bytes = file_system::size(store.directory());
    if free >= SEGMENT_BYTES_MIN {
        if free < max_bytes.saturating_sub(used) {
            let found = finding(Mark::Warn, "space", format!("{size}: the disk fills up first"));
            return found.advise("lower IBID_MAX_SIZE, or make room");
        }
        return finding(Mark::Ok, "space", size);
    }
    let too_little = format!("too little for the next segment of {}", bytes(SEGMENT_BYTES_MIN));
    if has_segments {
        let advice = "when the last one is full, nothing more is stored";
        return finding(Mark::Warn, "space", format!("{size}: {too_little}; {advice}"))
            .advise("make room, or `ibid gc`");
    }
    let found = format!("{size}: {too_little}, so nothing more is stored");
    let found = finding(Mark::Fail, "space", found);
    if disk_bytes < 2 * SEGMENT_BYTES {
        return found.advise(another_directory());
    }
    found.advise(format!("make room, or {}", another_directory()))
}

/// Where the counters and the digests are.
pub fn shared_memory(store: &Store) -> Vec<Finding> {
    let mut findings = vec![volatile(store)];
    let Ok(state) = rustix::fs::statvfs(SHARED_MEMORY) else { return findings };
    let free = state.f_bavail.saturating_mul(state.f_frsize);
    if free < 2 * VOLATILE_BYTES as u64 {
        let needed = bytes(VOLATILE_BYTES as u64);
        let found =
            format!("{SHARED_MEMORY} has {} left, a cache needs {needed} there", bytes(free));
        let found = finding(Mark::Warn, "shared memory", found);
        findings.push(found.advise("make room, or give the container more (--shm-size=64m)"));
    }
    if state.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC) {
        let found = format!("{SHARED_MEMORY} is mounted noexec, and nothing of ibid's runs there");
        findings.push(finding(Mark::Ok, "shared memory", found));
    }
    findings
}

fn volatile(store: &Store) -> Finding {
    if !store.cache.volatile.is_there() {
        let found = "there is none for this cache, and none can be made: nothing is counted";
        return finding(Mark::Warn, "shared memory", found);
    }
    if store.is_volatile_in_memory() {
        return finding(Mark::Ok, "shared memory", "counters and digests are in /dev/shm");
    }
    if store.cache.access != Access::Own {
        let found = "counters and digests are in a file of the cache, since a group shares it";
        return finding(Mark::Ok, "shared memory", found);
    }
    let found = "/dev/shm cannot be used: counters and digests are in a file of the cache, slower";
    finding(Mark::Warn, "shared memory", found)
}
