//! Real tools under `run`, each in a process of its own: this test program starts itself again as the wrapper.
#![allow(clippy::disallowed_methods, clippy::exit, reason = "tests start processes and end them")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::OpenptFlags;

use super::*;
use crate::os::exec::{end_like, exec};

const TOOL: &str = "IBID_TEST_TOOL";
const REPORT: &str = "IBID_TEST_REPORT";
const EXEC: &str = "IBID_TEST_EXEC";

/// Not a test by itself: what `wrapper` starts. Descriptors 8 and 9 become stdout and stderr, because the test
/// harness has printed to the usual ones by now.
#[test]
fn as_the_wrapper() {
    let Some(tool) = std::env::var_os(TOOL) else { return };
    for (fd, usual) in [(8, 1), (9, 2)] {
        // SAFETY: takes any numbers; a closed one is an error without effect.
        unsafe { libc::dup2(fd, usual) };
        // SAFETY: nothing owns this number.
        unsafe { libc::close(fd) };
    }
    let tool = tool.into_string().expect("UTF-8");
    let mut words: Vec<OsString> = tool.split(' ').map(OsString::from).collect();
    if !tool.starts_with('/') {
        words = vec!["/bin/sh".into(), "-c".into(), tool.into()];
    }
    let (program, args) = words.split_first().expect("a program");
    let env = [("ADDED".into(), Some("yes".into())), (TOOL.into(), None)];
    if std::env::var_os(EXEC).is_some() {
        let error = exec(program.as_ref(), program, args, &env);
        panic!("{error}");
    }
    let keep_max_bytes = 1 << 20;
    let arg0 = program;
    let spec = Spawn {
        program: program.as_ref(),
        arg0,
        args,
        env: &env,
        filter: None,
        keep_max_bytes,
        holds_text: false,
    };
    let ended = run(&spec, &mut || ()).expect("it starts");
    if let Some(report) = std::env::var_os(REPORT) {
        let kept = ended.text.as_ref().map(|text| {
            let [out, err] = [&text.stdout, &text.stderr].map(|text| String::from_utf8_lossy(text));
            (text.streams, out, err)
        });
        let status = fs::read_to_string("/proc/self/status").expect("proc");
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
        fs::write(report, format!("{kept:?} {} {peak}", ended.left_behind)).expect("a report");
    }
    let code = end_like(ended.status);
    std::process::exit(code.into());
}

/// `tool` (a shell script, or the words of a command) under `run`, after `setup` (another) set its surroundings up.
fn wrapper(setup: &str, tool: &str) -> Command {
    let me = std::env::current_exe().expect("this program");
    let script = format!(
        "{setup}\nexec $AS \"$0\" --exact os::run::tests::as_the_wrapper --test-threads=1 --nocapture"
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c".as_ref(), script.as_ref(), me.as_os_str()]).env(TOOL, tool);
    command
}

const SEPARATE: &str = "exec 8>&1 9>&2 >/dev/null 2>/dev/null";
const MERGED: &str = "exec 8>&1 9>&1 >/dev/null 2>/dev/null";

fn output(setup: &str, tool: &str) -> Output {
    wrapper(setup, tool).output().expect("a wrapper")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn codes_and_text() {
    for code in [0, 1, 2, 77, 127, 128, 130, 255] {
        let output = output(SEPARATE, &format!("echo out $ADDED; echo err >&2; exit {code}"));
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(
            (text(&output.stdout), text(&output.stderr)),
            ("out yes\n".into(), "err\n".into())
        );
    }
}

#[test]
fn deaths() {
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM, libc::SIGINT, libc::SIGRTMIN()] {
        let output = output(SEPARATE, &format!("echo last words; kill -{signal} $$"));
        assert_eq!(output.status.signal(), Some(signal));
        assert!(!output.status.core_dumped());
        assert_eq!(text(&output.stdout), "last words\n");
    }
}

#[test]
fn order_stays_where_both_are_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let report = dir.path().join("report");
    let tool = "for n in 1 2 3 4 5; do echo out $n; echo err $n >&2; done";
    let output = wrapper(MERGED, tool).env(REPORT, &report).output().expect("a wrapper");
    let expected = (1..=5).fold(String::new(), |all, n| format!("{all}out {n}\nerr {n}\n"));
    assert_eq!(text(&output.stdout), expected);
    let report = fs::read_to_string(report).expect("a report");
    assert!(report.starts_with(&format!("Some((Merged, {expected:?}, \"\")) false")), "{report}");
}

#[test]
fn a_background_child_does_not_hold_us_and_is_still_heard() {
    let dir = tempfile::tempdir().expect("a directory");
    let report = dir.path().join("report");
    let tool = "(sleep 0.7; echo late) & echo now";
    let mut child = wrapper(SEPARATE, tool)
        .env(REPORT, &report)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a wrapper");
    let mut out = child.stdout.take().expect("a pipe");
    assert!(child.wait().expect("an end").success());
    let report = fs::read_to_string(report).expect("a report");
    assert!(report.starts_with("Some((Separate, \"now\\n\", \"\")) true"), "{report}");
    let mut all = String::new();
    out.read_to_string(&mut all).expect("text");
    assert_eq!(all, "now\nlate\n");
}

#[test]
fn much_text_passes_without_being_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let report = dir.path().join("report");
    let mut child = wrapper(SEPARATE, "head -c 100000000 /dev/zero; echo end >&2")
        .env(REPORT, &report)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a wrapper");
    let out = child.stdout.take().expect("a pipe");
    assert_eq!(std::io::copy(&mut { out }, &mut std::io::sink()).expect("text"), 100_000_000);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(text(&output.stderr), "end\n");
    let report = fs::read_to_string(report).expect("a report");
    assert!(report.starts_with("None false"), "{report}");
    let peak_kb: u32 = report.split_whitespace().rev().nth(1).expect("kB").parse().expect("kB");
    assert!(peak_kb < 50_000, "{report}");
}

#[test]
fn closed_descriptors_are_closed_for_the_tool() {
    let dir = tempfile::tempdir().expect("a directory");
    let seen = dir.path().join("seen");
    let look = "for n in 0 1 2; do test -e /proc/$$/fd/$n && has=\"$has$n\"; done";
    let tool = format!("{look}; echo \"$has\" > {}; echo heard", seen.display());
    for (setup, tool_has, heard) in [
        ("exec 8>&1 <&- >/dev/null 2>&-", "1", "heard\n"),
        ("exec 9>&2 8>&- >&- 2>/dev/null", "02", ""),
    ] {
        let mut child = wrapper(setup, &tool);
        let output = child.stdin(Stdio::null()).output().expect("a wrapper");
        assert_eq!(text(&output.stdout), heard);
        let seen = fs::read_to_string(&seen).expect("a list");
        assert_eq!(seen.trim(), tool_has, "{setup}");
    }
}

#[test]
fn a_reader_that_goes_away_stops_the_tool() {
    let dir = tempfile::tempdir().expect("a directory");
    let gone = dir.path().join("gone");
    let tool = format!("(while echo y; do :; done) 2>/dev/null; echo $? > {}", gone.display());
    let mut child =
        wrapper(SEPARATE, &tool).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("up");
    let mut first = [0; 2];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("text");
    assert!(child.wait().expect("an end").success());
    assert_eq!(fs::read_to_string(&gone).expect("a status"), "141\n", "died of SIGPIPE");
}

/// Those of a few signals that a `/proc/PID/status` shows as ignored.
fn ignored_signals(status: &str) -> Vec<u32> {
    let line = status.lines().find(|line| line.starts_with("SigIgn")).expect("a line");
    let mask = line.split_whitespace().nth(1).expect("a mask");
    let mask = u64::from_str_radix(mask, 16).expect("a mask");
    [1, 10, 12, 13, 17].into_iter().filter(|signal| mask & (1_u64 << (signal - 1)) != 0).collect()
}

#[test]
fn ignored_signals_stay_ignored() {
    for how in ["", "1"] {
        for (setup, expected) in [
            ("trap '' PIPE USR1 HUP; AS='env --ignore-signal=CHLD'", &[1, 10, 13, 17][..]),
            ("trap '' USR2", &[12]),
            (":", &[]),
        ] {
            // A shell would make SIGCHLD a default one.
            let tool = "/bin/grep SigIgn /proc/self/status";
            let mut child = wrapper(&format!("{setup}; {SEPARATE}"), tool);
            if !how.is_empty() {
                child.env(EXEC, how);
            }
            let output = child.output().expect("a wrapper");
            assert!(output.status.success(), "{setup}");
            let ignored = ignored_signals(&text(&output.stdout));
            // Others may be ignored where the tests run (under nohup); std ignores SIGPIPE only for the test itself.
            let mut all = ignored_signals(&fs::read_to_string("/proc/self/status").expect("read"));
            all.retain(|signal| *signal != 13);
            all.extend(expected);
            all.sort_unstable();
            all.dedup();
            assert_eq!(ignored, all, "{setup}");
        }
    }
}

#[test]
fn other_descriptors_stdin_and_group_are_ours() {
    let setup = format!("exec 3</dev/zero 4>/dev/null; {SEPARATE}");
    let tool =
        "head -c 3 <&3 | wc -c; echo x >&4 && read line && echo $line; cut -d' ' -f5 /proc/$$/stat";
    let mut child = wrapper(&setup, tool);
    let mut child = child
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("a wrapper");
    let pid = child.id();
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), b"hello\n").expect("write");
    let output = child.wait_with_output().expect("an end");
    let words = text(&output.stdout);
    let words: Vec<&str> = words.split_whitespace().collect();
    assert_eq!(words, ["3", "hello", &pid.to_string()], "{}", text(&output.stderr));
}

#[test]
fn signals_to_us_reach_the_tool() {
    for (trap, code, killed_by) in
        [("trap 'echo got; exit 7' TERM", Some(7), None), (":", None, Some(libc::SIGTERM))]
    {
        let tool = format!("{trap}; echo ready; while :; do sleep 0.05; done");
        let mut child = wrapper(SEPARATE, &tool)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a wrapper");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "text comes while the tool runs");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("a signal");
        let status = child.wait().expect("an end");
        assert_eq!((status.code(), status.signal()), (code, killed_by));
        line.clear();
        out.read_to_string(&mut line).expect("the rest");
        assert_eq!(line, if code.is_some() { "got\n" } else { "" });
    }
}

/// Runs `tool` under us with stdout and stderr on a new terminal of 33 by 77; what the terminal got.
fn on_terminal(tool: &str, report: &Path) -> (Option<i32>, String) {
    let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    rustix::pty::unlockpt(&ours).expect("unlocked");
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags).expect("its other end");
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&ours, size).expect("a size");
    let mut command = wrapper(SEPARATE, tool);
    command.env(REPORT, report).stdout(theirs.try_clone().expect("a copy")).stderr(theirs);
    let mut child = command.spawn().expect("a wrapper");
    drop(command);
    let mut all = Vec::new();
    // Ends with EIO when the last holder of the terminal is gone.
    let _ = fs::File::from(ours).read_to_end(&mut all);
    (child.wait().expect("an end").code(), text(&all))
}

#[test]
fn a_terminal_stays_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let report = dir.path().join("report");
    let tool = "test -t 1 && test -t 2 && stty size <&1 && printf 'a\\tb\\n' >&2; exit 5";
    let (code, shown) = on_terminal(tool, &report);
    assert_eq!(code, Some(5));
    // Our terminal, not the tool's, turns \n into \r\n.
    assert_eq!(shown, "33 77\r\na\tb\r\n");
    let report = fs::read_to_string(report).expect("a report");
    assert!(report.starts_with(r#"Some((Merged, "33 77\na\tb\n", "")) false"#), "{report}");
}

#[test]
fn only_the_terminal_is_a_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    let report = dir.path().join("report");
    let tool = "test -t 1; echo $?; test -t 2; echo $?";
    let output = wrapper(SEPARATE, tool).env(REPORT, report).output().expect("a wrapper");
    assert_eq!(text(&output.stdout), "1\n1\n");
}

#[test]
fn all_of_a_long_text_reaches_the_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, shown) = on_terminal("seq 20000", &dir.path().join("report"));
    assert_eq!(code, Some(0));
    assert!(shown.lines().eq((1..=20000).map(|n| n.to_string())));
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let missing = Path::new("/nonexistent/tool");
    let spec = Spawn {
        program: missing,
        arg0: "tool".as_ref(),
        args: &[],
        env: &[],
        filter: None,
        keep_max_bytes: 0,
        holds_text: false,
    };
    assert_eq!(run(&spec, &mut || ()).expect_err("no such file").kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_same_file_is_recognised() {
    let dir = tempfile::tempdir().expect("a directory");
    let one = fs::File::create(dir.path().join("one")).expect("a file");
    let other = fs::File::create(dir.path().join("other")).expect("a file");
    let copy = one.try_clone().expect("a copy");
    let same = |one: &fs::File, other: &fs::File| is_same_file(one.as_fd(), other.as_fd());
    assert!(same(&one, &copy));
    assert!(!same(&one, &other));
}
