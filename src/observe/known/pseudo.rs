//! The devices and pseudo files that may be read although they are not files, each with its reason.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::env;
use crate::observe::Unsteady;

/// Paths, and directories that end in `/`, that cannot make a result unrepeatable.
const HARMLESS: &[(&str, &str)] = &[
    ("/dev/null", "always empty"),
    ("/dev/zero", "always zeros"),
    ("/dev/full", "always zeros"),
    ("/dev/random", "every compiler draws random numbers, for temporary names and seeds"),
    ("/dev/urandom", "every compiler draws random numbers, for temporary names and seeds"),
    ("/dev/tty", "diagnostics and their width; standard streams are judged by themselves"),
    ("/proc/self/", "the process's own state"),
    ("/proc/thread-self/", "the thread's own state"),
    ("/proc/meminfo", "sizes of heaps and of thread pools"),
    (
        "/proc/cpuinfo",
        "number and kind of processors; what depends on the kind is judged by the policy",
    ),
    ("/proc/stat", "number and load of processors"),
    ("/proc/loadavg", "load of processors"),
    ("/proc/uptime", "seeds"),
    ("/proc/filesystems", "libselinux asks for it in every program that it is linked to"),
    ("/proc/mounts", "libselinux asks for it in every program that it is linked to"),
    ("/proc/version", "the kernel"),
    ("/proc/sys/vm/overcommit_memory", "libc's malloc asks for it"),
    ("/proc/sys/kernel/", "limits of the kernel"),
    ("/sys/fs/cgroup/", "number of processors and amount of memory"),
    ("/sys/devices/system/cpu", "number of processors"),
    ("/sys/devices/system/node", "number of processors"),
    ("/sys/kernel/mm/", "huge pages"),
];

/// Those of them (not all below the directories) that are the same at each run.
const STEADY: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/tty",
    "/proc/filesystems",
    "/proc/mounts",
    "/proc/sys/vm/overcommit_memory",
    "/sys/kernel/mm/",
];

/// What `uname` says, too.
const HOST: &[&str] = &[
    "/proc/version",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/ostype",
    "/proc/sys/kernel/version",
];

/// What make and cargo say of their job server, to their children and so to us.
static JOB_SERVERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let flags = ["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"].into_iter().filter_map(env::get);
    flags.map(|flags| flags.to_string_lossy().into_owned()).collect()
});

/// What a harmless path (see [`is_harmless`]) says that is not the same at each run.
pub fn unsteady(path: &Path) -> Option<Unsteady> {
    let bytes = path.as_os_str().as_bytes();
    let is_steady = |name: &&str| {
        bytes == name.as_bytes() || name.ends_with('/') && bytes.starts_with(name.as_bytes())
    };
    if matches!(bytes, b"/dev/random" | b"/dev/urandom")
        || bytes.starts_with(b"/proc/sys/kernel/random/")
    {
        Some(Unsteady::Random)
    } else if HOST.iter().any(|name| bytes == name.as_bytes()) {
        Some(Unsteady::Host)
    } else if STEADY.iter().any(is_steady) || is_job_servers_pipe(bytes) {
        None
    } else {
        Some(Unsteady::System)
    }
}

/// Whether a path is a link whose text is the number of the process that asks.
pub fn is_own_number(path: &Path) -> bool {
    matches!(path.as_os_str().as_bytes(), b"/proc/self" | b"/proc/thread-self")
}

/// Whether a path may be read without being an input.
pub fn is_harmless(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    if !bytes.starts_with(b"/dev/") && !is_pseudo_file(path) {
        return is_job_servers_pipe(bytes);
    }
    let is_in_list = HARMLESS.iter().any(|(name, _)| {
        bytes == name.as_bytes()
            || (bytes.starts_with(name.as_bytes())
                && (name.ends_with('/') || bytes.get(name.len()) == Some(&b'/')))
    });
    // All variables at once: no observer can say which of them counted.
    let is_environment = is_pseudo_file(path) && bytes.ends_with(b"/environ");
    is_in_list && !is_descriptor(bytes) && !is_environment
        || is_process(bytes) && !is_environment
        || is_job_servers_pipe(bytes)
}

/// Whether it says nothing that lasts that a path is there, or where it leads (`/proc/self/fd/N`): a pseudo file, or the
/// directory of devices, on the way to each of them.
pub fn is_passing(path: &Path) -> bool {
    path.as_os_str().as_bytes() == b"/dev" || is_pseudo_file(path) || is_harmless(path)
}

/// Whether a path is where devices are; shared memory is files.
pub fn is_device(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

/// Whether a path is one of a file system that is made of the kernel's state.
pub fn is_pseudo_file(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    [&b"/proc"[..], b"/sys"].iter().any(|root| {
        bytes.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    })
}

/// `/proc/self/fd/N` is the file that was opened there.
fn is_descriptor(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|part| part == b"/fd/")
}

/// `/proc/<pid>/…`: a process of the tree, or its parent, by its number.
fn is_process(bytes: &[u8]) -> bool {
    let number =
        bytes.strip_prefix(b"/proc/").and_then(|rest| rest.split(|byte| *byte == b'/').next());
    number.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_digit))
        && !is_descriptor(bytes)
}

/// The pipe of make's or cargo's job server, from which tools take tokens: a named one, by the path that a variable gives, or
/// a descriptor that a variable names and that tools may open anew.
fn is_job_servers_pipe(bytes: &[u8]) -> bool {
    let descriptor = bytes.strip_prefix(b"/dev/fd/").or(bytes.strip_prefix(b"/proc/self/fd/"));
    if let Some(number) = descriptor.and_then(|number| std::str::from_utf8(number).ok()) {
        return number.parse().is_ok_and(is_job_server);
    }
    NAMED_PIPES.iter().any(|pipe| pipe.as_os_str().as_bytes() == bytes)
}

/// Which kind of job server there is: what tools do with one depends on that.
pub fn job_server_kind() -> &'static str {
    match JOB_SERVERS.iter().any(|flags| flags.contains("--jobserver-")) {
        _ if !NAMED_PIPES.is_empty() => "named",
        true => "pipe",
        false => "none",
    }
}

/// The named pipes of job servers: of what a variable names, those that are pipes.
static NAMED_PIPES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let is_pipe = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo());
    JOB_SERVERS.iter().flat_map(|flags| named_pipes(flags)).filter(is_pipe).collect()
});

/// The paths that make's flags name as pipes of the job server; make puts a backslash before a blank.
fn named_pipes(flags: &str) -> Vec<PathBuf> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for letter in flags.chars() {
        match letter {
            '\\' if !is_quoted => is_quoted = true,
            ' ' | '\t' if !is_quoted => words.push(String::new()),
            letter => {
                words.last_mut().expect("never empty").push(letter);
                is_quoted = false;
            }
        }
    }
    words
        .iter()
        .filter_map(|word| word.strip_prefix("--jobserver-auth=fifo:"))
        .map(PathBuf::from)
        .collect()
}

/// Whether a variable names this descriptor as the job server's.
pub fn is_job_server(number: i32) -> bool {
    JOB_SERVERS.iter().any(|flags| names_descriptor(flags, &number.to_string()))
}

/// Whether make's flags name this descriptor as one of the job server's two.
fn names_descriptor(flags: &str, number: &str) -> bool {
    let is_it = |pair: &str| pair.split(',').any(|descriptor| descriptor == number);
    flags
        .split_whitespace()
        .filter_map(|flag| {
            flag.strip_prefix("--jobserver-auth=").or(flag.strip_prefix("--jobserver-fds="))
        })
        .any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_the_job_server() {
        let flags = "-j --jobserver-fds=6,17 --jobserver-auth=6,17";
        assert!(names_descriptor(flags, "6") && names_descriptor(flags, "17"));
        assert!(!names_descriptor(flags, "7") && !names_descriptor(flags, "1"));
        assert!(!names_descriptor("-j8 --jobserver-auth=fifo:/tmp/GMfifo1", "1"));
    }

    #[test]
    fn named_pipes_of_the_job_server() {
        let named = |flags| named_pipes(flags);
        assert_eq!(named("-j4 --jobserver-auth=fifo:/tmp/GMfifo1"), [Path::new("/tmp/GMfifo1")]);
        assert_eq!(named(" -j --jobserver-auth=fifo:/run/pool"), [Path::new("/run/pool")]);
        assert_eq!(named(r"--jobserver-auth=fifo:/a\ b/c -j"), [Path::new("/a b/c")]);
        assert_eq!(named("-j --jobserver-auth=3,4 -- A=fifo:/x"), [] as [PathBuf; 0]);
    }

    #[test]
    fn the_environment_as_a_file() {
        for path in ["/proc/self/environ", "/proc/1/environ", "/proc/thread-self/environ"] {
            assert!(!is_harmless(Path::new(path)), "{path}");
        }
        assert!(is_harmless(Path::new("/proc/self/maps")));
    }
}
