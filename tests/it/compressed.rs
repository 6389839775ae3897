//! What was not used for long is compressed, and is a hit all the same.

use std::fs;
use std::time::Duration;

use crate::cache::{Cache, Outcome};
use crate::call::Through;
use crate::project::Project;
use crate::tools;
use crate::years::{cursor, disk_bytes, inside};

/// More than a small cache holds.
const MOST: usize = 60;

/// A source whose object, with debug information, is some hundred kilobytes long.
fn source(number: usize) -> String {
    format!("#include <map>\n#include <string>\nstd::map<std::string, long> a{number};\n")
}

fn compile(number: usize) -> String {
    format!("g++ -g -c {number}.cc -o {number}.o")
}

fn with_sources(count: usize) -> Project {
    let project = Project::new();
    for number in 0..count {
        project.write(&format!("{number}.cc"), source(number));
    }
    project
}

fn compressed(cache: &Cache, args: &[&str]) -> String {
    let said = cache.say(&[&["gc"], args].concat());
    let line = said.lines().find(|line| line.starts_with("results compressed"));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn what_is_compressed_hits() {
    const COUNT: usize = 6;
    let (cache, project) = (Cache::new(), with_sources(COUNT));
    for number in 0..COUNT {
        project.call(&cache, &compile(number)).check().expect(&Outcome::Miss);
    }
    let before = cache.counters();
    assert!(compressed(&cache, &["--compress", "0s", "--dry-run"]).contains(" 6 ("));
    assert_eq!(cache.counters().get("blobs"), before.get("blobs"));
    let line = compressed(&cache, &["--compress", "0s"]);
    assert!(line.contains(" 6 ("), "{line}");
    let after = cache.counters();
    assert_eq!((after.get("records"), after.get("blobs")), (COUNT as u64, 0));
    assert_eq!(compressed(&cache, &[]), "results compressed     0 (0 B to 0 B)");
    assert!(cache.say(&["verify"]).contains("nothing is damaged"));
    for number in 0..COUNT {
        fs::remove_file(project.at(format!("{number}.o"))).unwrap();
        let line = compile(number);
        let words = ["explain", "--"].into_iter().chain(line.split(' '));
        let said = cache.ibid(words).current_dir(project.path()).output().unwrap();
        assert!(said.stdout.starts_with(b"hit"), "{said:?}");
        project.call(&cache, &compile(number)).check().expect_hit();
        project.call(&cache, &compile(number)).check().expect(&Outcome::InvocationHit);
    }
    assert_eq!(cache.counters().get("misses"), COUNT as u64);
    // A header that is another one now makes no hit.
    project.write("0.cc", source(77));
    project.call(&cache, &compile(0)).check().expect(&Outcome::Miss);
}

/// A cache that is more than half full does it by itself, after the build has gone on: how many sources that took.
fn fill_until_compressed(cache: &Cache, project: &Project, through: &Through) -> usize {
    let miss = |number| {
        let call = project.call(cache, &compile(number)).through(through.clone());
        call.check().expect(&Outcome::Miss);
    };
    miss(0);
    // It is written anew, and not 0, when all is done.
    let note = inside(&cache.dir()).join("compressed");
    let is_done = || fs::read(&note).is_ok_and(|note| note != [0; 8]);
    let mut count = 1;
    while !is_done() {
        assert!(count < MOST, "nothing was compressed");
        miss(count);
        count += 1;
        if disk_bytes(&cache.dir()) > 4_000_000 {
            // Nobody waits for it.
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    count
}

fn small() -> (Cache, Project) {
    (Cache::new().with("IBID_MAX_SIZE", "8M"), with_sources(MOST))
}

#[test]
fn a_full_cache_compresses_what_is_old() {
    let (cache, project) = small();
    let count = fill_until_compressed(&cache, &project, &Through::Wrapper);
    let counters = cache.counters();
    assert!(counters.get("blobs") < counters.get("records"), "{counters:?}");
    // The first is the oldest.
    for number in [0, 1, count - 1] {
        fs::remove_file(project.at(format!("{number}.o"))).unwrap();
        project.call(&cache, &compile(number)).check().expect_hit();
    }
    assert_eq!(cache.counters().get("misses"), count as u64);
    assert!(cache.say(&["verify"]).contains("nothing is damaged"));
}

/// A copy of ibid with the name of a compiler starts ibid, and not that compiler.
#[test]
fn a_full_cache_of_a_copy_named_like_a_compiler() {
    let (cache, project) = small();
    let copy = cache.root().join("g++");
    fs::copy(tools::ibid(), &copy).unwrap();
    fill_until_compressed(&cache, &project, &Through::Masquerade(copy));
    assert!(cache.counters().get("blobs") < cache.counters().get("records"));
}

/// A read-only cache has only what is not compressed: to restore something is to store it.
#[test]
fn a_read_only_cache_restores_nothing() {
    let (mut cache, project) = (Cache::new(), with_sources(1));
    project.call(&cache, &compile(0)).check().expect(&Outcome::Miss);
    compressed(&cache, &["--compress", "0s"]);
    let before = cursor(&cache);
    cache.set("IBID_READONLY", "1");
    let outcome = project.call(&cache, &compile(0)).check().outcome;
    assert!(outcome.is_miss() && cursor(&cache) == before, "{outcome:?}");
    cache.unset("IBID_READONLY");
    project.call(&cache, &compile(0)).check().expect_hit();
}
