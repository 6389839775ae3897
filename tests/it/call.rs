//! The differential check: the same command with ibid and bare, from the same start, must leave the same world behind.
//!
//! ibid runs first (so that nothing gives the clock time to tick), then the tree is put back without touching what the
//! command did not touch, and the bare tool runs. Compared are exit status and signal, standard output and error, and
//! every file: bytes, mode, links. What comes back says how ibid's invocation was counted.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::cache::{Cache, Outcome};
use crate::tools;
use crate::tree::{Content, Shape, Tree};

/// Every file system of the contract vouches for an input that is this old.
const SETTLED: Duration = Duration::from_millis(60);
/// File times come from a clock that ticks at least this often.
const CLOCK_TICK_NS: i128 = 20_000_000;

#[derive(Debug, Clone)]
pub enum StdIn {
    Null,
    Closed,
    Pipe(Vec<u8>),
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdOut {
    /// Two pipes.
    Pipes,
    /// One pipe for both.
    Merged,
    /// A terminal of so many columns, for all three.
    Terminal(u16),
}

/// How the command comes to ibid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    /// `ibid TOOL ARGS…`
    Wrapper,
    /// `ibid exec -- TOOL ARGS…`
    Exec,
    /// This symlink or copy in place of the tool.
    Masquerade(PathBuf),
}

#[must_use]
pub struct Call<'t> {
    cache: &'t Cache,
    root: PathBuf,
    cwd: PathBuf,
    argv: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    setup: String,
    stdin: StdIn,
    stdout: StdOut,
    through: Through,
    settle: bool,
    unstable: Vec<String>,
    bare_args: Vec<OsString>,
}

/// What ibid's invocation did, which is what the bare tool did.
#[derive(Debug)]
pub struct Seen {
    pub outcome: Outcome,
    pub done: Done,
    /// Every name that the tool made, changed or removed.
    pub written: BTreeMap<PathBuf, Option<Shape>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Seen {
    /// Whether two runs of the tool had the same result, as far as anybody can see it.
    pub fn same_result(&self, other: &Seen) -> bool {
        self.done == other.done && self.written == other.written
    }

    #[track_caller]
    pub fn expect(self, outcome: &Outcome) -> Seen {
        assert_eq!(&self.outcome, outcome, "{:?}", self.done);
        self
    }

    #[track_caller]
    pub fn expect_hit(self) -> Seen {
        assert!(self.outcome.is_hit(), "{:?} {:?}", self.outcome, self.done);
        self
    }

    #[track_caller]
    pub fn expect_miss(self) -> Seen {
        assert!(self.outcome.is_miss(), "{:?} {:?}", self.outcome, self.done);
        self
    }
}

impl<'t> Call<'t> {
    /// `argv` in `root`, which is also the tree that is watched.
    pub fn new<S: AsRef<OsStr>>(
        cache: &'t Cache,
        root: &Path,
        argv: impl IntoIterator<Item = S>,
    ) -> Call<'t> {
        Call {
            cache,
            root: root.to_path_buf(),
            cwd: root.to_path_buf(),
            argv: argv.into_iter().map(|word| word.as_ref().to_os_string()).collect(),
            environment: Vec::new(),
            setup: String::new(),
            stdin: StdIn::Null,
            stdout: StdOut::Pipes,
            through: Through::Wrapper,
            settle: true,
            unstable: Vec::new(),
            bare_args: Vec::new(),
        }
    }

    pub fn arg(mut self, word: impl Into<OsString>) -> Call<'t> {
        self.argv.push(word.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Call<'t> {
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    pub fn env_all(mut self, variables: &[(String, Option<String>)]) -> Call<'t> {
        for (name, value) in variables {
            self.environment.push((name.into(), value.as_ref().map(Into::into)));
        }
        self
    }

    /// Runs in this directory of the tree.
    pub fn cwd(mut self, below: impl AsRef<Path>) -> Call<'t> {
        self.cwd = self.root.join(below);
        self
    }

    pub fn umask(self, mask: Option<u32>) -> Call<'t> {
        mask.iter().fold(self, |call, mask| call.after(&format!("umask {mask:o}")))
    }

    /// A shell does this, and then becomes the command.
    pub fn after(mut self, line: &str) -> Call<'t> {
        self.setup += line;
        self.setup += "; ";
        self
    }

    pub fn stdin(mut self, stdin: StdIn) -> Call<'t> {
        self.stdin = stdin;
        self
    }

    pub fn stdout(mut self, stdout: StdOut) -> Call<'t> {
        self.stdout = stdout;
        self
    }

    pub fn through(mut self, through: Through) -> Call<'t> {
        self.through = through;
        self
    }

    /// Does not wait until the inputs are old enough to be trusted.
    pub fn at_once(mut self) -> Call<'t> {
        self.settle = false;
        self
    }

    /// Files whose bytes differ from run to run of the bare tool: they only have to be there.
    pub fn unstable(mut self, names: &[String]) -> Call<'t> {
        self.unstable.extend(names.iter().cloned());
        self
    }

    /// Arguments that ibid adds by itself: the bare tool is given them before all others.
    pub fn bare_args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Call<'t> {
        self.bare_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Runs both and compares.
    #[track_caller]
    pub fn check(&self) -> Seen {
        if self.settle {
            self.wait_until_settled();
        }
        let before = Tree::read(&self.root);
        let start = now_ns();
        let mut done = None;
        let counted = self.cache.count(|| done = Some(self.run(&self.with_ibid())));
        let done = done.unwrap();
        let with_ibid = Tree::read(&self.root);

        before.put_back();
        let (tool, args) = self.argv.split_first().unwrap();
        let bare: Vec<_> = [tool].into_iter().chain(&self.bare_args).chain(args).cloned().collect();
        let bare_done = self.run(&bare);
        let bare = Tree::read(&self.root);

        let what = format!("{:?} in {} ({counted:?})", self.argv, self.cwd.display());
        assert_eq!(done, bare_done, "status and text of {what}; left: ibid, right: bare");
        self.compare(&with_ibid, &bare, &what);
        if let (Some(earliest), Some(_)) =
            (with_ibid.earliest_write_ns(&before), bare.earliest_write_ns(&before))
        {
            assert!(earliest >= start - CLOCK_TICK_NS, "an output keeps an old time: {what}");
        }
        Seen { outcome: counted.outcome(), done, written: bare.written_since(&before) }
    }

    fn compare(&self, with_ibid: &Tree, bare: &Tree, what: &str) {
        let (ours, theirs) = (self.comparable(with_ibid), self.comparable(bare));
        let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        for name in names {
            let (our, their) = (ours.get(name), theirs.get(name));
            assert!(
                our == their,
                "{}: {what}\n with ibid: {}\n bare:      {}",
                name.display(),
                describe(our),
                describe(their)
            );
        }
    }

    fn comparable(&self, tree: &Tree) -> BTreeMap<PathBuf, Shape> {
        let mut shapes = tree.shapes();
        for (name, shape) in &mut shapes {
            let text = name.to_string_lossy().into_owned();
            if self.unstable.iter().any(|unstable| text.ends_with(unstable.as_str()))
                && matches!(shape.content, Content::File(_))
            {
                shape.content = Content::File(Vec::new());
            }
        }
        shapes
    }

    fn wait_until_settled(&self) {
        let age = now_ns() - Tree::read(&self.root).newest_change_ns();
        let age = Duration::from_nanos(u64::try_from(age.max(0)).unwrap());
        thread::sleep(SETTLED.saturating_sub(age));
    }

    fn with_ibid(&self) -> Vec<OsString> {
        let (tool, args) = self.argv.split_first().unwrap();
        let mut argv: Vec<OsString> = match &self.through {
            Through::Wrapper => vec![tools::ibid().into(), tool.clone()],
            Through::Exec => {
                vec![tools::ibid().into(), "exec".into(), "--".into(), tool.clone()]
            }
            Through::Masquerade(link) => vec![link.clone().into_os_string()],
        };
        argv.extend(args.iter().cloned());
        argv
    }

    fn run(&self, argv: &[OsString]) -> Done {
        let mut command = self.command(argv);
        match self.stdout {
            StdOut::Pipes => {
                let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
                let mut child = child.unwrap_or_else(|error| panic!("{argv:?}: {error}"));
                if let StdIn::Pipe(bytes) = &self.stdin {
                    // A tool that does not read its input closes the pipe early.
                    let _ = child.stdin.take().unwrap().write_all(bytes);
                }
                let output = child.wait_with_output().unwrap();
                done(output.status, &output.stdout, &output.stderr)
            }
            StdOut::Merged => {
                let (mut reader, writer) = std::io::pipe().unwrap();
                command.stdout(writer.try_clone().unwrap()).stderr(writer);
                let mut child = command.spawn().unwrap();
                drop(command);
                let mut text = Vec::new();
                reader.read_to_end(&mut text).unwrap();
                done(child.wait().unwrap(), &text, b"")
            }
            StdOut::Terminal(columns) => on_a_terminal(command, columns),
        }
    }

    fn command(&self, argv: &[OsString]) -> Command {
        let mut setup = self.setup.clone();
        if matches!(self.stdin, StdIn::Closed) {
            setup += "exec <&-; ";
        }
        let mut command = if setup.is_empty() {
            let mut command = self.cache.command(&argv[0]);
            command.args(&argv[1..]);
            command
        } else {
            let mut command = self.cache.command("/bin/sh");
            command.arg("-c").arg(setup + "exec \"$@\"").arg("sh").args(argv);
            command
        };
        command.current_dir(&self.cwd);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(match &self.stdin {
            StdIn::Null | StdIn::Closed => Stdio::null(),
            StdIn::Pipe(_) => Stdio::piped(),
            StdIn::File(path) => File::open(self.root.join(path)).unwrap().into(),
        });
        command
    }
}

fn on_a_terminal(mut command: Command, columns: u16) -> Done {
    let controller: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&controller, size).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut child =
        command.stdin(open()).stdout(open()).stderr(open()).spawn().expect("a child on a terminal");
    drop(command);
    let mut text = Vec::new();
    // Ends in EIO when the last descriptor of the other side is closed.
    let _ = File::from(controller).read_to_end(&mut text);
    done(child.wait().unwrap(), &text, b"")
}

fn done(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Done {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Done {
        code: status.code(),
        signal: status.signal(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

fn describe(shape: Option<&Shape>) -> String {
    let Some(shape) = shape else { return "not there".to_owned() };
    let content = match &shape.content {
        Content::File(bytes) if bytes.len() <= 400 => String::from_utf8_lossy(bytes).into_owned(),
        Content::File(bytes) => format!("{} bytes", bytes.len()),
        other => format!("{other:?}"),
    };
    format!("mode {:o}, {} links {:?}, {content:?}", shape.mode, shape.links, shape.same_file_as)
}

fn now_ns() -> i128 {
    i128::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}
