//! `ibid monitor` on a real pseudo-terminal, as a terminal shows it.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

/// How long a screen is waited for, so that a test fails and does not hang.
const PATIENCE: Duration = Duration::from_mins(4);

/// A monitor on a terminal of its own.
struct Monitor {
    child: Child,
    controller: File,
    /// The other side, held open: what is set on it is looked at in the end.
    terminal: File,
    before: String,
    said: Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn nonzero(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

impl Monitor {
    fn start(cache: &Cache, rows: u16, columns: u16) -> Monitor {
        let controller: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        tcsetwinsize(&controller, size(rows, columns)).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let terminal = open();
        let before = format!("{:?}", tcgetattr(&terminal).unwrap());
        let mut command = cache.ibid(["monitor"]);
        command.env("TERM", "xterm-256color").env("TZ", "UTC");
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        drop(command);
        let controller = File::from(controller);
        let (sender, said) = channel();
        let mut reader = controller.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends in EIO when the last descriptor of the other side is closed.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let parser = vt100::Parser::new(nonzero(rows), nonzero(columns), 0);
        Monitor { child, controller, terminal, before, said, parser }
    }

    /// Waits until the screen is as `is_it` wants it, and gives it.
    #[track_caller]
    fn until(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let begin = Instant::now();
        loop {
            let text = self.parser.screen().contents();
            if is_it(&text) {
                return text;
            }
            let left = PATIENCE.saturating_sub(begin.elapsed());
            match self.said.recv_timeout(left) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(why) => panic!("{why}: {text}"),
            }
        }
    }

    /// After its end: the terminal is as it was. What it said after the screen was given back.
    #[track_caller]
    fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let after = format!("{:?}", tcgetattr(&self.terminal).unwrap());
        drop(self.terminal);
        while let Ok(bytes) = self.said.recv() {
            self.parser.process(&bytes);
        }
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen(), "the other screen is left");
        assert!(!screen.hide_cursor(), "there is a cursor");
        assert_eq!(self.before, after, "the terminal's settings are as they were");
        (status, screen.contents())
    }

    fn kind(&mut self, keys: &[u8]) {
        self.controller.write_all(keys).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }
}

fn used() -> (Cache, Project) {
    let files = [("a.c", "#include \"h.h\"\nint a = H;\n"), ("h.h", "#define H 1\n")];
    let (mut cache, project) = (Cache::new(), Project::with(&files));
    cache.set("IBID_BUILD", "nightly");
    let line = "gcc -c a.c -o a.o";
    project.call(&cache, line).check().expect(&Outcome::Miss);
    for _ in 0..2 {
        project.call(&cache, line).check().expect(&Outcome::InvocationHit);
    }
    project.write("h.h", "#define H 2\n");
    project.call(&cache, line).check().expect(&Outcome::Miss);
    (cache, project)
}

#[test]
fn at_eighty_by_twenty_four_and_other_sizes() {
    let (cache, _project) = used();
    for (rows, columns) in [(24, 80), (50, 132), (13, 70)] {
        let mut monitor = Monitor::start(&cache, rows, columns);
        let text = monitor.until(|text| text.contains("last misses") && text.contains("h.h"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("ibid monitor ") && lines[0].ends_with("q quits"), "{text}");
        assert_eq!(lines[0].chars().count(), usize::from(columns), "{text}");
        assert_eq!(lines[2], "last build   nightly, hit rate 50.0 %", "{text}");
        assert!(lines[3].starts_with("calls        "), "{text}");
        let has = |begin: &str, end: &str| {
            let found = lines.iter().any(|line| line.starts_with(begin) && line.ends_with(end));
            assert!(found, "{begin}…{end}: {text}");
        };
        has("hit rate", "50.0 %         50.0 %");
        has("size         ", " of 10 GB, 0 %");
        has("no compile runs", "");
        let cause = lines.iter().position(|line| line.contains("h.h has changed"));
        assert!(cause.is_some_and(|at| lines[at].contains("  a.c  ")), "{text}");
        assert_eq!(lines.last().unwrap().contains("not compiled before"), rows > 13, "{text}");
        monitor.kind(b"q");
        let (status, left) = monitor.ended();
        assert_eq!((status.code(), left.trim()), (Some(0), ""));
    }
}

/// A compile that runs is shown, from its beginning to its end, and not after.
#[test]
fn what_runs_now() {
    let (mut cache, project) = used();
    let gcc = tools::path_of("gcc");
    let slow = format!(
        "#!/bin/sh\ncase \"$*\" in *a.c*) read line <go;; esac\nexec {} \"$@\"\n",
        gcc.display()
    );
    project.write_program("bin/gcc", &slow);
    let path = std::env::var("PATH").unwrap();
    cache.set("PATH", format!("{}:{path}", project.at("bin").display()));
    let mut monitor = Monitor::start(&cache, 24, 80);
    monitor.until(|text| text.contains("no compile runs"));
    let done = std::process::Command::new("mkfifo").arg(project.at("go")).status().unwrap();
    assert!(done.success());
    // Two of the same would wait for each other.
    let compile = |level: &str| {
        let mut command = cache.ibid(["gcc", level, "-c", "a.c", "-o", "slow.o"]);
        command.current_dir(project.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut first = compile("-O1");
    let is_shown = |text: &str| text.contains("1 compile runs") && text.contains(" s  gcc ");
    let text = monitor.until(is_shown);
    let row = text.lines().skip_while(|line| line.trim_end() != "1 compile runs").nth(1).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((words[1], words[2..].join(" ")), ("s", "gcc a.c".to_owned()), "{text}");
    let mut second = compile("-O2");
    monitor.until(|text| text.contains("2 compiles run"));
    // What is killed runs no longer, though it noted no end.
    second.kill().unwrap();
    second.wait().unwrap();
    monitor.until(|text| text.contains("1 compile runs"));
    // The tool of the second one may wait, too.
    let status = loop {
        let mut go = File::options().read(true).write(true).open(project.at("go")).unwrap();
        go.write_all(b"go\ngo\n").unwrap();
        thread::sleep(Duration::from_millis(100));
        if let Some(status) = first.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success());
    let text = monitor.until(|text| text.contains("no compile runs"));
    assert!(text.contains("a.c"), "{text}");
    monitor.kind(b"\x1b");
    assert_eq!(monitor.ended().0.code(), Some(0));
}

/// Every way to end it leaves the terminal as it was.
#[test]
fn ends() {
    let (cache, _project) = used();
    let signals = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
    for signal in signals {
        let mut monitor = Monitor::start(&cache, 24, 80);
        monitor.until(|text| text.contains("last misses"));
        assert!(
            monitor.parser.screen().alternate_screen() && monitor.parser.screen().hide_cursor()
        );
        kill_process(monitor.pid(), signal).unwrap();
        let (status, _) = monitor.ended();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{signal:?}");
    }
    for keys in [&b"q"[..], b"Q", b"\x03", b"\x1b", b"xyzq"] {
        let mut monitor = Monitor::start(&cache, 24, 80);
        monitor.until(|text| text.contains("last misses"));
        monitor.kind(keys);
        assert_eq!(monitor.ended().0.code(), Some(0), "{keys:?}");
    }
}

#[test]
fn the_terminal_changes_its_size() {
    let (cache, _project) = used();
    let mut monitor = Monitor::start(&cache, 24, 80);
    monitor.until(|text| text.contains("last misses"));
    tcsetwinsize(&monitor.controller, size(30, 100)).unwrap();
    monitor.parser.screen_mut().set_size(nonzero(30), nonzero(100));
    let is_wide = |text: &str| text.lines().next().is_some_and(|line| line.chars().count() == 100);
    monitor.until(is_wide);
    // The cache goes away and comes back.
    std::fs::rename(cache.dir(), cache.root().join("elsewhere")).unwrap();
    std::fs::write(cache.dir(), "").unwrap();
    monitor.until(|text| text.contains("nothing is cached:"));
    std::fs::remove_file(cache.dir()).unwrap();
    std::fs::rename(cache.root().join("elsewhere"), cache.dir()).unwrap();
    monitor.until(|text| text.contains("last misses"));
    monitor.kind(b"q");
    assert_eq!(monitor.ended().0.code(), Some(0));
}

#[test]
fn without_a_terminal() {
    let cache = Cache::new();
    let done = cache.ibid(["monitor"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{said}");
    let expected = "ibid: standard input and output are no terminal: use `ibid stats`\n";
    assert!(said == expected && done.stdout.is_empty(), "{said}");
    assert!(!cache.dir().exists(), "no cache was made");
    let done = cache.ibid(["monitor", "x"]).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
}
