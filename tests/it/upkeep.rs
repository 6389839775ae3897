//! Looking after a cache: `verify`, `gc`, `doctor`, and how large it gets.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Output;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::random::Random;
use crate::years::disk_bytes;

fn run(cache: &Cache, args: &[&str]) -> Output {
    cache.ibid(args).current_dir(cache.root()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The directory of this layout.
fn inside(cache: &Cache) -> PathBuf {
    fs::read_dir(cache.dir()).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn verify_lists_what_is_damaged_and_drops_it() {
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a = 1;\n")]));
    let compile = || project.call(&cache, "gcc -c a.c -o a.o").check().outcome;
    assert!(run(&cache, &["verify"]).status.success());
    assert!(!cache.dir().exists(), "verify makes no cache");
    assert_eq!(compile(), Outcome::Miss);
    let said = cache.say(&["verify"]);
    assert!(said.contains("1 record and 1 blob are whole"), "{said}");

    let object = project.read("a.o");
    let segment = inside(&cache).join("seg-0000000000000001");
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(object.len()).position(|window| window == object).unwrap();
    let file = fs::File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&[object[40] ^ 1], at as u64 + 40).unwrap();
    let done = run(&cache, &["verify"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stderr.is_empty(), "no bar where there is no terminal: {done:?}");
    assert!(text(&done.stdout).starts_with("seg-0000000000000001 at "), "{done:?}");

    // Not repaired: the compile stores its result anew all the same.
    assert!(!compile().is_hit());
    assert!(compile().is_hit());
    cache.say(&["verify", "--repair"]);
    assert!(cache.say(&["verify"]).contains("nothing is damaged"));
    assert!(compile().is_hit());
}

/// `mib` megabytes that are not all the same, as the file `name`.
fn large_file(project: &Project, name: &str, mib: usize) {
    let block: Vec<u8> = (0..1u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
    let mut file = fs::File::create(project.at(name)).unwrap();
    for _ in 0..mib {
        std::io::Write::write_all(&mut file, &block).unwrap();
    }
}

#[test]
fn an_object_that_is_larger_than_a_segment() {
    let mib = if crate::tools::long() { 500 } else { 100 };
    let (cache, project) = (Cache::new(), Project::new());
    large_file(&project, "data", mib);
    project.write("a.c", "__asm__(\".data\\n.globl d\\nd: .incbin \\\"data\\\"\\n\");\n");
    let call = project.call(&cache, "gcc -c a.c -o a.o");
    call.check().expect(&Outcome::Miss);
    call.check().expect_hit();
    let said = cache.say(&["verify"]);
    assert!(said.contains("nothing is damaged"), "{said}");
    let small = Cache::new().with("IBID_MAX_SIZE", "300M");
    let call = project.call(&small, "gcc -c a.c -o a.o");
    call.check().expect(&Outcome::NotStored("too_large".into()));
}

/// A large program that is linked anew after each edit does not drive out what took long: in a cache that is more than half
/// full it is stored when it is made again.
#[test]
fn links_of_an_edit_loop() {
    let (cache, project) = (Cache::new().with("IBID_MAX_SIZE", "100M"), Project::new());
    let object = |name: &str, mib: usize| {
        large_file(&project, &format!("{name}.data"), mib);
        let text = format!(
            "__asm__(\".data\\n.globl {name}\\n{name}: .incbin \\\"{name}.data\\\"\\n\");\n"
        );
        project.write(&format!("{name}.c"), &text);
        project.call(&cache, &format!("gcc -c {name}.c -o {name}.o")).check();
    };
    let link =
        |name: &str| project.call(&cache, &format!("gcc -nostdlib -shared {name}.o -o {name}.so"));
    object("first", 11);
    link("first").check().expect(&Outcome::Miss);
    link("first").check().expect_hit();
    for name in ["a", "b", "c", "d"] {
        object(name, 11);
    }
    for name in ["a", "b"] {
        link(name).check().expect(&Outcome::NotStored("made_once".into()));
    }
    link("a").check().expect(&Outcome::Miss);
    link("a").check().expect_hit();
    // Another edit is another result.
    object("a", 10);
    link("a").check().expect(&Outcome::NotStored("made_once".into()));
    // A small one has room.
    project.write("s.c", "int s;\n");
    project.call(&cache, "gcc -c s.c -o s.o").check().expect(&Outcome::Miss);
    link("s").check().expect(&Outcome::Miss);
    link("s").check().expect_hit();
}

#[test]
fn gc_evicts_and_says_so() {
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a = 1;\n")]));
    let call = project.call(&cache, "gcc -c a.c -o a.o");
    call.check().expect(&Outcome::Miss);
    let said = cache.say(&["gc"]);
    assert!(said.contains("segments removed       0"), "{said}");
    call.check().expect_hit();
    let said = cache.say(&["gc", "--max-age", "0s", "--dry-run"]);
    assert!(said.starts_with("nothing is removed"), "{said}");
    assert!(said.contains("segments removed       1") && said.contains("records removed        1"));
    call.check().expect_hit();
    let said = cache.say(&["gc", "--max-age", "0s"]);
    assert!(said.contains("segments removed       1"), "{said}");
    assert!(said.contains("records removed        1 (0 s of compiling)"), "{said}");
    call.check().expect(&Outcome::Miss);
    call.check().expect_hit();
    for wrong in [["--max-age", "much"], ["--max-size", "0"]] {
        assert_eq!(run(&cache, &["gc", wrong[0], wrong[1]]).status.code(), Some(2));
    }
}

/// Results of 8 MB each, more than the cache may hold: never more than the limit is on the disk, or an index and a segment.
#[test]
fn the_size_is_kept() {
    for (max, max_bytes, count, kept) in
        [("1M", 1_000_000, 2, false), ("150M", 150_000_000, 24, true)]
    {
        let (cache, project) = (Cache::new().with("IBID_MAX_SIZE", max), Project::new());
        for number in 0..count {
            // What can be compressed would be.
            project.write("a.bin", Random::new(number).bytes(8 << 20));
            project.write("a.c", "asm(\".incbin \\\"a.bin\\\"\");\n");
            let call = project.call(&cache, "gcc -c a.c -o a.o");
            let outcome = call.check().outcome;
            assert_eq!(outcome == Outcome::Miss, kept, "{max}: {outcome:?}");
            let used = disk_bytes(&cache.dir());
            assert!(used <= max_bytes + 2_000_000, "{max}: {used} bytes");
            if kept && number % 8 == 7 {
                call.check().expect_hit();
            }
        }
        assert_eq!(cache.counters().get("evictions") > 0, kept);
        project.write("a.c", "int a;\n");
        project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
        project.call(&cache, "gcc -c a.c -o a.o").check().expect_hit();
    }
}
