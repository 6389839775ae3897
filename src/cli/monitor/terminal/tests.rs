//! A panic on a real terminal: this test program runs itself again on a pseudo-terminal.
#![allow(clippy::disallowed_methods, reason = "a test starts itself, and reads why it was started")]

use std::fs::File;
use std::io::Read;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcgetattr;

use super::{ENTER, LEAVE, Screen};

const STARTED: &str = "IBID_TEST_PANIC_ON_A_TERMINAL";

#[test]
fn a_panic_leaves_the_terminal_as_it_was() {
    if std::env::var_os(STARTED).is_some() {
        let _screen = Screen::enter().expect("a terminal");
        panic!("on a terminal");
    }
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&controller).expect("a terminal");
    unlockpt(&controller).expect("a terminal");
    let name = ptsname(&controller, Vec::new()).expect("a name");
    let name = name.to_str().expect("text");
    let open = || File::options().read(true).write(true).open(name).expect("a terminal");
    let terminal = open();
    let before = tcgetattr(&terminal).expect("a terminal");
    let test = "cli::monitor::terminal::tests::a_panic_leaves_the_terminal_as_it_was";
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture"]).env(STARTED, "1");
    let mut child = command.stdin(open()).stdout(open()).stderr(open()).spawn().expect("a program");
    drop(command);
    assert!(!child.wait().expect("its end").success());
    let after = tcgetattr(&terminal).expect("a terminal");
    drop(terminal);
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    let mut said = Vec::new();
    // Ends in EIO when the last descriptor of the other side is closed.
    let _ = File::from(controller).read_to_end(&mut said);
    let at = |bytes: &[u8]| said.windows(bytes.len()).position(|part| part == bytes);
    let text = || String::from_utf8_lossy(&said).into_owned();
    let (entered, left) = (at(ENTER).unwrap_or_else(|| panic!("{}", text())), at(LEAVE));
    assert!(left.is_some_and(|left| left > entered), "{}", text());
    assert!(at(b"on a terminal") > left, "{}", text());
}
