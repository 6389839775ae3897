//! The directory in which a workload is measured: sources, every tool's own empty cache, home and runtime directory.
//!
//! Nothing outside is written, and all of it goes at the end, daemons and the shared memory of ibid's cache included.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ibid::index::Index;
use ibid::index::cache::{SHARED_MEMORY, open_layout_directory};
use ibid::shm::raw::AsFd;
use tempfile::TempDir;

/// What the caches make use of.
const OF_CACHES: [&str; 7] = ["home", "runtime", "ibid", "ccache", "sccache", "zccache", "kache"];

/// Directories for one workload.
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
        stage.make_directories()?;
        Ok(stage)
    }

    fn make_directories(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        OF_CACHES.iter().try_for_each(|below| builder.create(self.below(below)))
    }

    /// Empties every cache; their daemons are gone.
    pub fn empty_caches(&self) -> io::Result<()> {
        self.end_caches()?;
        OF_CACHES.iter().try_for_each(|below| fs::remove_dir_all(self.below(below)))?;
        self.make_directories()
    }

    /// Ends the daemons, and removes what ibid has outside its directory.
    fn end_caches(&self) -> io::Result<()> {
        let ended = self.end_processes();
        if let Some(path) = self.shared_memory() {
            let _ = fs::remove_file(path);
        }
        ended
    }

    /// A copy of a program, as `cargo install` and package managers leave it. What a linker has just written lies in single
    /// pages in memory, and is slower by some 5 % of a hit (0.283 ms against 0.268) for as long as it is there.
    pub fn install(&self, program: &Path) -> io::Result<PathBuf> {
        let installed = self.below("bin").join(program.file_name().unwrap_or_default());
        fs::create_dir_all(self.below("bin"))?;
        fs::copy(program, &installed)?;
        Ok(installed)
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
            directory("SCCACHE_DIR", "sccache"),
            directory("SCCACHE_SERVER_UDS", "runtime/sccache"),
            directory("ZCCACHE_CACHE_DIR", "zccache"),
            ("ZCCACHE_DAEMON_NAMESPACE".into(), "bench".into()),
            directory("KACHE_CACHE_DIR", "kache"),
            directory("KACHE_RUNTIME_DIR", "runtime/kache"),
        ]
    }

    /// Where a program is, as the measured processes will find it.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path).map(|dir| dir.join(program)).find(|path| path.is_file())
    }

    /// Ends what still runs with our environment, which are daemons, and waits until they are gone.
    fn end_processes(&self) -> io::Result<()> {
        let root = self.root.path().as_os_str().as_bytes();
        let is_ours = |process: &Path| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            environment.windows(root.len()).any(|window| window == root)
        };
        let all = fs::read_dir("/proc")?.flatten().map(|entry| entry.path());
        for process in all.filter(|process| is_ours(process)) {
            let pid = process.file_name().and_then(|name| name.to_str()?.parse().ok());
            let pid = pid.and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
            }
            while is_ours(&process) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// The kernel's name of the shared memory of ibid's cache, as the head of its index says.
    pub fn shared_memory(&self) -> Option<PathBuf> {
        let cache = CString::new(self.below("ibid").into_os_string().as_bytes()).ok()?;
        let (directory, _) = open_layout_directory(&cache, false)?;
        let name = Index::open(directory.as_fd())?.header().volatile;
        let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
        Some(Path::new(SHARED_MEMORY.to_str().ok()?).join(std::str::from_utf8(name).ok()?))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.end_caches();
        let _ = std::env::set_current_dir("/");
    }
}

/// `PATH` without the directories in which a compiler's name leads to a cache, and with the Rust toolchain itself before
/// rustup's proxies, which would cost more than a hit.
fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned());
    let toolchain = sysroot.map(|sysroot| Path::new(&sysroot).join("bin"));
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
    std::env::join_paths(toolchain.into_iter().chain(kept)).unwrap_or_default()
}
