//! A process that dies at each point of insertion, rotation, eviction, creation and clearing in turn; and what the next
//! one finds.
#![allow(clippy::disallowed_methods, reason = "tests start processes")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, getpid, kill_process};

use super::Scratch;
use super::reference::{insert, look, tell};
use crate::shm::fault;
use crate::shm::layout::SEGMENT_BYTES;
use crate::store::Store;
use crate::store::append::fill;
use crate::store::verify::verify;

const DIRECTORY: &str = "IBID_TEST_DIRECTORY";
const LAST_POINT: &str = "IBID_TEST_LAST_POINT";

/// An index and two segments: the third one evicts.
const MAX_BYTES: u64 = 2 * SEGMENT_BYTES + (1 << 20);

/// Not a test by itself: the process that dies at the point whose number it is given. What it has done it notes.
#[test]
fn as_the_process_that_dies() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let last: usize = std::env::var(LAST_POINT).expect("given").parse().expect("a number");
    let mut points = note(directory, "points");
    let mut passed = 0;
    fault::watch(move |done| {
        passed += 1;
        writeln!(points, "{done}").expect("written");
        if passed == last {
            kill_process(getpid(), Signal::KILL).expect("killed");
        }
    });
    let mut done = note(directory, "done");
    let open = || Store::open(&directory.join("cache"), MAX_BYTES).expect("it opens");
    let store = open();
    for number in 1..=5 {
        if number > 2 {
            fill(&store);
        }
        insert(&store, number).expect("stored");
        writeln!(done, "{number}").expect("written");
    }
    writeln!(done, "clearing").expect("written");
    store.clear().expect("cleared");
    insert(&open(), 6).expect("stored");
}

fn note(directory: &Path, name: &str) -> fs::File {
    OpenOptions::new().create(true).append(true).open(directory.join(name)).expect("opened")
}

/// Runs it; whether it died.
fn die_at(scratch: &Scratch, point: usize) -> bool {
    let done = Command::new(std::env::current_exe().expect("it has a name"))
        .args(["--exact", "store::tests::crash::as_the_process_that_dies"])
        .env(DIRECTORY, scratch.path())
        .env(LAST_POINT, point.to_string())
        .output()
        .expect("it starts");
    assert!(done.status.success() || done.status.signal() == Some(9), "{done:?}");
    !done.status.success()
}

/// What was stored and not evicted is there, all that is found is right, and storing goes on.
fn check(scratch: &Scratch, point: &str) {
    let done = fs::read_to_string(scratch.path().join("done")).unwrap_or_default();
    let is_done = |number: u8| done.lines().any(|line| line == number.to_string());
    // 1 and 2 share the segment that goes when 4 comes, 3 goes when 5 comes.
    let may_be_gone = |number: u8| match number {
        1 | 2 => is_done(3),
        3 => is_done(4),
        _ => false,
    };
    let report = verify(&scratch.path().join("cache"), MAX_BYTES, false, &mut |_, _| {});
    let report = report.unwrap_or_else(|error| panic!("{error}; died after {point}"));
    assert_eq!(report.damage, [], "died after {point}");
    let store = scratch.open_with(MAX_BYTES);
    for number in 1..=6 {
        let is_there = look(&store.cache, number);
        let must_be = is_done(number) && !may_be_gone(number) && !done.contains("clearing");
        assert!(is_there || !must_be, "entry {number} is lost; died after {point}");
    }
    insert(&store, 9).unwrap_or_else(|error| panic!("{error}; died after {point}"));
    fill(&store);
    insert(&store, 10).unwrap_or_else(|error| panic!("{error}; died after {point}"));
    let again = scratch.open_with(MAX_BYTES);
    assert!(look(&again.cache, 9) && look(&again.cache, 10), "died after {point}");
    for number in 1..=6 {
        look(&again.cache, number);
    }
}

#[test]
fn a_death_at_each_point_leaves_what_was_stored_and_nothing_wrong() {
    let mut points = 0;
    loop {
        let scratch = Scratch::new();
        let died = die_at(&scratch, points + 1);
        let passed = fs::read_to_string(scratch.path().join("points")).expect("noted");
        check(&scratch, passed.lines().last().expect("a point"));
        if !died {
            break;
        }
        points += 1;
        assert_eq!(passed.lines().count(), points);
    }
    tell(&format!("deaths at {points} points"));
    assert!(points > 100, "{points}");
}
