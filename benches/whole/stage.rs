//! The directory in which everything happens: sources, every tool's own cache, home and runtime directory.
//!
//! Nothing outside is read or written, and all of it goes at the end, the cache's shared memory included.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ibid::index::Index;
use ibid::index::cache::{SHARED_MEMORY, open_layout_directory};
use ibid::shm::raw::AsFd;
use tempfile::TempDir;

/// Directories for one run of a bench.
pub struct Stage {
    root: TempDir,
    path: OsString,
}

impl Stage {
    /// Makes them, below `parent` or where temporary files go.
    pub fn new(parent: Option<&Path>) -> io::Result<Stage> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("ibid-bench-");
        let root = match parent {
            Some(parent) => builder.tempdir_in(fs::canonicalize(parent)?)?,
            None => builder.tempdir()?,
        };
        let stage = Stage { root, path: search_path() };
        for below in ["ibid", "ccache", "home", "runtime"] {
            use std::os::unix::fs::DirBuilderExt;
            fs::DirBuilder::new().mode(0o700).create(stage.below(below))?;
        }
        Ok(stage)
    }

    /// A path inside.
    pub fn below(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The whole environment of every process that is measured.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let directory = |name: &str, below: &str| (name.into(), self.below(below).into_os_string());
        vec![
            ("PATH".into(), self.path.clone()),
            ("LC_ALL".into(), "C".into()),
            directory("HOME", "home"),
            directory("XDG_RUNTIME_DIR", "runtime"),
            directory("IBID_DIR", "ibid"),
            directory("CCACHE_DIR", "ccache"),
        ]
    }

    /// Where a program is, as the measured processes will find it.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path).map(|dir| dir.join(program)).find(|path| path.is_file())
    }

    /// Makes a directory with these files and goes there; sources are old enough for every cache when it returns.
    pub fn enter(&self, name: &str, files: &[(String, String)]) -> io::Result<()> {
        let directory = self.below(name);
        fs::create_dir(&directory)?;
        for (name, text) in files {
            fs::write(directory.join(name), text)?;
        }
        // ccache distrusts a header of the same second as the compile, ibid one of the same tick.
        std::thread::sleep(Duration::from_millis(1100));
        std::env::set_current_dir(directory)
    }

    /// The kernel's name of the shared memory of ibid's cache, as the head of its index says.
    fn shared_memory(&self) -> Option<PathBuf> {
        let cache = CString::new(self.below("ibid").into_os_string().as_bytes()).ok()?;
        let directory = open_layout_directory(&cache)?;
        let name = Index::open(directory.as_fd())?.header().volatile;
        let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
        Some(Path::new(SHARED_MEMORY.to_str().ok()?).join(std::str::from_utf8(name).ok()?))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(path) = self.shared_memory() {
            let _ = fs::remove_file(path);
        }
        let _ = std::env::set_current_dir("/");
    }
}

/// `PATH` without the directories in which a compiler's name leads to a cache.
fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_cache = |file: PathBuf| {
        let target = fs::canonicalize(file).unwrap_or_default();
        target.file_name().is_some_and(|name| {
            ["ibid", "ccache", "sccache", "zccache", "kache"].iter().any(|cache| name == *cache)
        })
    };
    let kept = std::env::split_paths(&path).filter(|dir| {
        dir.is_absolute()
            && !["gcc", "g++", "clang", "clang++"].iter().any(|tool| is_cache(dir.join(tool)))
    });
    std::env::join_paths(kept).unwrap_or_default()
}
