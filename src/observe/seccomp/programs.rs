//! System calls that start programs and make processes, and those that close descriptors.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::arguments::{numbers, word};
use super::place::{Base, WatchedPath};
use super::{Starting, Tracer, inode};
use crate::observe::known::numbers as n;
use crate::observe::known::pseudo;
use crate::observe::shim::log::{Event, What, file_stat};
use crate::observe::shim::log_layout::FileStat;
use crate::os::elf::{self, Elf, Preloading};
use crate::os::watch::{Asked, Clockless};

const SCRIPT_DEPTH_MAX: usize = 5;
const CLOSE_ON_EXEC: u32 = 4;
/// Processes that are to live among other files, or to see other processes.
const NAMESPACES: u64 = 0x7e02_0080;

impl Tracer {
    /// Notes a call that runs something, or closes descriptors. Says whether this is one.
    pub fn runs(&mut self, asked: &Asked, number: i64) -> bool {
        let [a, b, c, _, e, _] = asked.arguments;
        match number {
            libc::SYS_execve => self.execute(asked, Base::Working, a),
            libc::SYS_execveat if word(e) & libc::AT_EMPTY_PATH.cast_unsigned() == 0 => {
                self.execute(asked, Base::of(a), b);
            }
            libc::SYS_execveat => {
                self.incomplete(asked.thread, "ran a program by its descriptor".to_owned());
            }
            libc::SYS_clone | libc::SYS_clone3 => {
                let flags = if number == libc::SYS_clone { Some([a]) } else { numbers(asked, a) };
                if flags.is_some_and(|[flags]| flags & NAMESPACES != 0) {
                    self.incomplete(asked.thread, "left a namespace".to_owned());
                }
            }
            libc::SYS_seccomp => {
                if b & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
                    self.seen.absent = Some(super::WATCHES_ITSELF.to_owned());
                }
            }
            libc::SYS_close => self.closes(asked, word(a).cast_signed()),
            n::DUP2 | libc::SYS_dup3 => {
                if word(a) != word(b) {
                    self.closes(asked, word(b).cast_signed());
                }
            }
            libc::SYS_close_range => {
                if word(c) & CLOSE_ON_EXEC == 0 {
                    self.close_between(asked, word(a), word(b));
                }
            }
            _ => return false,
        }
        true
    }

    fn close_between(&mut self, asked: &Asked, first: u32, last: u32) {
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", asked.thread)) else { return };
        for entry in open.flatten() {
            let fd = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            if let Some(fd) = fd.filter(|fd| (first..=last).contains(fd)) {
                self.closes(asked, fd.cast_signed());
            }
        }
    }

    fn execute(&mut self, asked: &Asked, base: Base, address: u64) {
        let Some(place) = self.place(asked, base, address) else { return };
        let process = process_of(asked.thread);
        let path = place.spelled.clone();
        let (stat, preloading) = match self.files_of_program(asked, place) {
            Ok(program) => program,
            Err(errno) => return self.event(asked.thread, What::Look { path, errno }),
        };
        self.close_between(asked, 0, u32::MAX);
        if stat.mode & 0o6000 != 0 {
            let reason = format!("ran a program that runs as another user: {}", path.display());
            self.incomplete(asked.thread, reason);
        } else if (self.hide_clocks || matches!(preloading, Preloading::Impossible(_)))
            && process == asked.thread
        {
            // One at a time; another that starts in that moment keeps its clock, and counts as one that does.
            if self.clockless.is_none()
                && let Ok(clockless) = Clockless::begin(process)
            {
                self.clockless = Some((process, clockless));
            }
        }
        let before = fs::metadata(format!("/proc/{process}/exe"));
        let before = before.ok().map(|found| file_stat(&found));
        let before = before.as_ref().map(inode);
        self.starting.insert(process, Starting { path, image: inode(&stat), before });
    }

    /// Notes what the kernel reads to run a program: the file, the interpreters of scripts, the loader. Gives the file that
    /// the process will be seen to run.
    fn files_of_program(
        &mut self,
        asked: &Asked,
        place: WatchedPath,
    ) -> Result<(FileStat, Preloading), i32> {
        let mut place = place;
        for depth in 0.. {
            let stat = place.stat()?;
            // A link of the process's own leads us to a file with a name.
            let is_own = pseudo::is_pseudo_file(&place.spelled);
            let real = is_own.then(|| fs::read_link(place.here()).ok()).flatten();
            let path = real.unwrap_or_else(|| place.spelled.clone());
            self.event(asked.thread, What::Ran { path, stat: Some(stat) });
            let Ok(file) = File::open(place.here()) else {
                return Ok((stat, Preloading::Impossible("cannot be read")));
            };
            let head = elf::read_head(&file).unwrap_or_default();
            match elf::preloading(&file, &head) {
                Preloading::Script { start, end } if depth < SCRIPT_DEPTH_MAX => {
                    let text = head.get(start..end).unwrap_or_default();
                    match WatchedPath::of(asked.thread, Base::Working, text, &self.cwd) {
                        Some(next) => place = next,
                        None => return Ok((stat, Preloading::Unknown)),
                    }
                }
                preloading => {
                    self.loader_of(asked, &file, &head);
                    return Ok((stat, preloading));
                }
            }
        }
        Err(libc::ELOOP)
    }

    fn loader_of(&mut self, asked: &Asked, file: &File, head: &[u8]) {
        let mut room = [0; 256];
        if let Some(elf) = Elf::parse(file, head)
            && let Some(loader) = elf.interpreter(&mut room)
        {
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(loader));
            let stat = WatchedPath::at(asked.thread, path.clone(), &self.cwd).stat().ok();
            self.event(asked.thread, What::Ran { path, stat });
        }
    }

    /// A process makes its first call after it was to become a program: has it?
    pub fn started(&mut self, process: u32) {
        let Some(starting) = self.starting.remove(&process) else { return };
        let exe = format!("/proc/{process}/exe");
        let now = fs::metadata(&exe).ok();
        let now = now.map(|found| inode(&file_stat(&found)));
        let was_hidden = self.hidden.remove(&process);
        if now == Some(starting.image) {
            let image = fs::read_link(&exe).unwrap_or_default();
            if was_hidden {
                self.seen.clockless.insert((process, image.clone()));
            }
            self.event(process, What::Exec { path: starting.path });
            let libraries = std::ffi::OsString::new();
            self.event(process, What::Start { image, libraries, parent: 0 });
        } else if now == starting.before {
            self.event(process, What::Look { path: starting.path, errno: 0 });
        } else {
            let reason = format!("{} is run by another program", starting.path.display());
            self.incomplete(process, reason);
        }
    }

    /// Programs that never made a call that the filter reports, or calls of `execve` that failed and were the last.
    pub fn never_started(&mut self) {
        for (process, starting) in std::mem::take(&mut self.starting) {
            let path = self.cwd.join(&starting.path);
            let image = fs::canonicalize(&path).unwrap_or(path);
            if self.hidden.remove(&process) {
                self.seen.clockless.insert((process, image.clone()));
            }
            self.event(process, What::Exec { path: starting.path });
            let libraries = std::ffi::OsString::new();
            self.event(process, What::Start { image, libraries, parent: 0 });
        }
    }

    /// All programs have ended. Whether each did so by itself, calls do not show: see `both.rs`.
    pub fn ended(&mut self) {
        let started = |event: &Event| matches!(event.what, What::Start { .. });
        let events = &self.seen.events;
        let ended: BTreeSet<u32> =
            events.iter().filter(|event| started(event)).map(|event| event.pid).collect();
        self.seen.events.extend(ended.into_iter().map(|pid| Event { pid, what: What::Exit }));
    }
}

/// The process that a thread belongs to.
pub fn process_of(thread: u32) -> u32 {
    let status = fs::read_to_string(Path::new("/proc").join(thread.to_string()).join("status"));
    let process = status.ok().and_then(|status| {
        status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
    });
    process.unwrap_or(thread)
}
