//! A content hit stores only what differs from the record that it was found by: it costs little, and whatever becomes of that or
//! of the record is a hit or a miss, never another result.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

const LINE: &str = "gcc -c a.c -o a.o";
const RECORD: u32 = 1;
const DELTA: u32 = 5;
/// Where entries begin, and at which multiples.
const FIRST: usize = 4096;
const UNIT: usize = 64;
const HEADER: usize = 128;

fn segment(cache: &Cache) -> PathBuf {
    let inside = fs::read_dir(cache.dir()).unwrap().next().unwrap().unwrap().path();
    inside.join("seg-0000000000000001")
}

/// Where the entries of a kind stand, and how long they are.
fn entries(cache: &Cache, kind: u32) -> Vec<(usize, usize)> {
    let bytes = fs::read(segment(cache)).unwrap();
    let magic = &bytes[FIRST..FIRST + 4];
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let heads = (FIRST..bytes.len()).step_by(UNIT).filter(|at| bytes[*at..].starts_with(magic));
    let of_kind: Vec<_> = heads.clone().filter(|at| word(at + 4) == kind).collect();
    let end = |at: usize| heads.clone().find(|next| *next > at);
    of_kind.iter().map(|at| (*at, end(*at).map_or(HEADER, |end| end - at))).collect()
}

/// A project with some headers, whose source was touched after it was compiled.
fn touched() -> (Cache, Project) {
    let (cache, project) =
        (Cache::new(), Project::with(&[("a.c", "#include <stdio.h>\nint a;\n")]));
    project.call(&cache, LINE).check().expect(&Outcome::Miss);
    again(&cache, &project);
    (cache, project)
}

fn again(cache: &Cache, project: &Project) {
    project.touch("a.c");
    project.call(cache, LINE).check().expect(&Outcome::PortableHit);
    project.call(cache, LINE).check().expect(&Outcome::InvocationHit);
}

#[test]
fn a_touched_file_costs_little() {
    let (cache, project) = touched();
    let (records, deltas) = (entries(&cache, RECORD), entries(&cache, DELTA));
    assert_eq!((records.len(), deltas.len()), (1, 1));
    for _ in 0..5 {
        again(&cache, &project);
    }
    assert_eq!((entries(&cache, RECORD).len(), entries(&cache, DELTA).len()), (1, 6));
    assert!(entries(&cache, DELTA).iter().all(|(_, len)| *len <= 1024));
    let said = cache.say(&["verify"]);
    assert!(said.contains("2 records and 1 blob are whole"), "{said}");
    // What else changes is stored in full.
    project.write("stdio.h", "int b;\n");
    project.call(&cache, "gcc -I. -c a.c -o a.o").check().expect(&Outcome::Miss);
    assert_eq!(entries(&cache, RECORD).len(), 2);
    fs::remove_file(project.at("stdio.h")).unwrap();
    project.call(&cache, LINE).check().expect_hit();
    project.write("a.c", "int c;\n");
    project.call(&cache, LINE).check().expect(&Outcome::Miss);
}

/// Bytes of the delta, and some of the record's, are flipped.
#[test]
fn damage() {
    let (cache, project) = touched();
    let path = segment(&cache);
    let whole = fs::read(&path).unwrap();
    let (delta, len) = entries(&cache, DELTA)[0];
    let (record, record_len) = entries(&cache, RECORD)[0];
    let step = if tools::long() { 1 } else { 7 };
    let in_record = (record..record + record_len).step_by(step * 97);
    for at in (delta..delta + len).step_by(step).chain(in_record) {
        let cache = copy_of(&cache);
        let file = File::options().write(true).open(segment(&cache)).unwrap();
        file.write_all_at(&[whole[at] ^ 0x20], at as u64).unwrap();
        let outcome = project.call(&cache, LINE).check().outcome;
        let is_of_delta = at < record || at >= record + record_len;
        assert!(outcome.is_hit() || !is_of_delta, "{at}: {outcome:?}");
        project.call(&cache, LINE).check().expect_hit();
    }
}

/// The same cache in another place.
fn copy_of(cache: &Cache) -> Cache {
    let copy = Cache::new();
    let mut command = cache.command("cp");
    assert!(command.arg("-a").arg(cache.dir()).arg(copy.dir()).status().unwrap().success());
    copy
}

/// The record goes: by `gc`, whole pages of it, or with its words alone.
#[test]
fn without_its_record() {
    let (cache, project) = touched();
    let root = project.path().to_str().unwrap().to_owned();
    let said = cache.say(&["gc", "--root", &root]);
    assert!(said.contains("results dropped        1"), "{said}");
    assert!(cache.say(&["verify"]).contains("nothing is damaged"));
    project.call(&cache, LINE).check().expect(&Outcome::Miss);
    project.call(&cache, LINE).check().expect(&Outcome::InvocationHit);
    cache.say(&["clear"]);
    project.call(&cache, LINE).check().expect(&Outcome::Miss);
}

#[test]
fn what_was_used_is_exported() {
    let (cache, project) = touched();
    let file = cache.root().join("export");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let since = crate::export::now_s().to_string();
    let export = |cache: &Cache| {
        cache.say(&["export", file.to_str().unwrap(), "--since", &since]);
        let other = Cache::new();
        other.say(&["import", file.to_str().unwrap()]);
        other
    };
    project.call(&export(&cache), LINE).check().expect(&Outcome::Miss);
    again(&cache, &project);
    let other = export(&cache);
    project.call(&other, LINE).check().expect(&Outcome::PortableHit);
    project.call(&other, LINE).check().expect(&Outcome::InvocationHit);
}

/// Those are forgotten by their records, which a delta must not bring back.
#[test]
fn failing_runs_are_stored_in_full() {
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a\n")]));
    for _ in 0..3 {
        project.call(&cache, LINE).check();
    }
    project.touch("a.c");
    project.call(&cache, LINE).check();
    assert_eq!(cache.counters().get("failure_hits"), 2);
    assert!(entries(&cache, DELTA).is_empty());
}

#[test]
fn explain_and_statistics_know_them() {
    let (cache, project) = touched();
    let explain = || {
        let mut command = cache.ibid(["explain", "--"]);
        let done = command.args(LINE.split(' ')).current_dir(project.path()).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(explain().starts_with("hit (a direct hit)"), "{}", explain());
    project.touch("a.c");
    assert!(explain().starts_with("hit (a content hit)"), "{}", explain());
    project.write("a.c", "#include <stdio.h>\nint b;\n");
    assert!(explain().contains("a.c has changed"), "{}", explain());
}
