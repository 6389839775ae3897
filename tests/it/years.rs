//! A cache for years: reboots, restores and copies cost little disk, the limit holds, and what hits is kept.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ibid::shm::layout::CURSOR_OFFSET;

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

const LIMIT_BYTES: u64 = 200_000_000;
/// Where the epoch stands in an index.
const EPOCH_OFFSET: u64 = 768;
const BASES: usize = 3;

/// What `du` says.
pub fn disk_bytes(path: &Path) -> u64 {
    let state = fs::symlink_metadata(path).unwrap();
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    state.blocks() * 512 + entries.map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}

/// The directory of this layout.
pub fn inside(cache: &Path) -> PathBuf {
    fs::read_dir(cache).unwrap().next().unwrap().unwrap().path()
}

/// Where the next entry of a cache goes: it changes with each entry.
pub fn cursor(cache: &Cache) -> u64 {
    let index = fs::File::open(inside(&cache.dir()).join("index")).unwrap();
    let mut bytes = [0; 8];
    index.read_exact_at(&mut bytes, CURSOR_OFFSET as u64).unwrap();
    u64::from_le_bytes(bytes)
}

fn rounds() -> usize {
    if tools::long() { 50 } else { 12 }
}

fn small() -> (Cache, Project) {
    let (cache, project) = (Cache::new().with("IBID_MAX_SIZE", "200M"), Project::new());
    for base in 0..BASES {
        project.write(&format!("base{base}.c"), format!("int base{base};\n"));
        project.call(&cache, &base_line(base)).check().expect(&crate::cache::Outcome::Miss);
    }
    (cache, project)
}

fn base_line(base: usize) -> String {
    format!("gcc -c base{base}.c -o base{base}.o")
}

/// All that was there in the beginning hits, and one new thing does not.
fn a_round(cache: &Cache, project: &Project, round: usize) {
    for base in 0..BASES {
        project.call(cache, &base_line(base)).check().expect_hit();
    }
    project.write("new.c", format!("int new{round};\n"));
    let outcome = project.call(cache, "gcc -c new.c -o new.o").check().outcome;
    assert!(outcome.is_miss(), "round {round}: {outcome:?}");
}

fn is_kept(cache: &Cache, project: &Project, added_bytes_max: u64) {
    let used = disk_bytes(&cache.dir());
    assert!(used <= added_bytes_max.min(LIMIT_BYTES), "{used} bytes on the disk");
    let counters = cache.counters();
    assert_eq!(counters.get("bytes_used"), used, "stats show what du shows");
    assert_eq!(counters.get("evictions"), 0);
    cache.say(&["gc"]);
    for base in 0..BASES {
        project.call(cache, &base_line(base)).check().expect_hit();
    }
    assert!(cache.say(&["verify"]).contains("nothing is damaged"));
}

#[test]
fn an_empty_cache_and_the_first_object() {
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
    cache.say(&["doctor", "--json"]);
    cache.counters();
    let empty = disk_bytes(&cache.dir());
    assert!(empty < 1_000_000, "{empty}");
    project.call(&cache, "gcc -c a.c -o a.o").check();
    let first = disk_bytes(&cache.dir());
    assert!(first < empty + 5_000_000, "{first}");
    assert_eq!(cache.counters().get("bytes_used"), first);
    cache.say(&["clear"]);
    let cleared = disk_bytes(&cache.dir());
    assert!(cleared < 1_000_000, "{cleared}");
    assert_eq!(cache.counters().get("bytes_used"), cleared);
}

/// A job of CI restores a cache, compiles one new thing and saves the cache, again and again.
#[test]
fn restores_with_one_miss_each() {
    let (cache, project) = small();
    let pack = "tar -C .. -cf ../saved.tar cache && rm -rf ../cache && tar -C .. -xpf ../saved.tar";
    for round in 0..rounds() {
        let line = pack.replace("..", cache.root().to_str().unwrap());
        assert!(cache.command("sh").args(["-c", &line]).status().unwrap().success());
        a_round(&cache, &project, round);
    }
    // The index, an open segment, and 200 kB for each object and its record.
    is_kept(&cache, &project, 3_000_000 + 200_000 * (rounds() + BASES) as u64);
}

/// A machine that is started anew each day.
#[test]
fn reboots_with_one_miss_each() {
    let (cache, project) = small();
    for round in 0..rounds() {
        let index = inside(&cache.dir()).join("index");
        let index = fs::File::options().write(true).open(index).unwrap();
        index.write_all_at(&(round as u64 + 1).to_le_bytes(), EPOCH_OFFSET).unwrap();
        a_round(&cache, &project, round);
    }
    is_kept(&cache, &project, 3_000_000 + 200_000 * (rounds() + BASES) as u64);
}

/// Two copies of a cache go on, each for itself; then one is restored over the other, file by file.
#[test]
fn copies_that_both_go_on_and_are_merged() {
    let (mut cache, project) = small();
    let (one, two) = (cache.dir(), cache.root().join("two"));
    for round in 0..rounds() / 2 {
        for line in ["rm -rf ../two; cp -a ../cache ../two", "cp -a ../two/. ../cache/"] {
            let line = line.replace("..", cache.root().to_str().unwrap());
            assert!(cache.command("sh").args(["-c", &line]).status().unwrap().success());
            for (which, dir) in [&one, &two].into_iter().enumerate() {
                cache.set("IBID_DIR", dir.clone());
                for base in 0..BASES {
                    project.call(&cache, &base_line(base)).check().expect_hit();
                }
                project.write("new.c", format!("int new{};\n", 2 * round + which));
                project.call(&cache, "gcc -c new.c -o new.o").check();
            }
        }
    }
    for dir in [one, two] {
        cache.set("IBID_DIR", dir.clone());
        let used = disk_bytes(&dir);
        assert!(used <= 3_000_000 + 400_000 * (rounds() + BASES) as u64, "{used}");
        for base in 0..BASES {
            project.call(&cache, &base_line(base)).check().expect_hit();
        }
    }
}

/// A source that is touched before each compile, and the same files in other checkouts: what the record says is not stored again.
#[test]
fn a_touched_source_in_a_loop() {
    if !tools::have("g++") {
        return;
    }
    let cache = Cache::new().with("IBID_MAX_SIZE", "8M");
    let project = Project::new();
    let places: Vec<String> = (0..20).map(|number| format!("checkout-{number}/deep")).collect();
    for place in &places {
        project.write(&format!("{place}/a.cc"), "#include <bits/stdc++.h>\n#include \"a.h\"\n");
        project.write(&format!("{place}/a.h"), "inline int a = 1;\n");
    }
    let compile = |place: &str| {
        let mut command = cache.ibid(["g++", "-c", "a.cc", "-o", "a.o"]);
        let here = project.at(place);
        assert!(command.current_dir(&here).env("PWD", &here).status().unwrap().success());
    };
    // The first of a place that is not the first is compared, and stored whole.
    for place in &places[..2] {
        compile(place);
    }
    let before = disk_bytes(&cache.dir());
    let counted = cache.count(|| {
        for _ in 0..100 {
            project.touch(&format!("{}/a.cc", places[0]));
            compile(&places[0]);
        }
        for place in &places[2..] {
            compile(place);
            compile(place);
        }
    });
    assert_eq!((counted.get("misses"), counted.get("evictions")), (0, 0), "{counted:?}");
    assert!(counted.get("invocation_hits") >= 18, "{counted:?}");
    let added = disk_bytes(&cache.dir()) - before;
    // 118 records, each of 64 kB if it were whole; one or two of them may be drawn, compared and stored so.
    assert!(added < 1_200_000, "{added} bytes");
    let said = cache.say(&["verify"]);
    assert!(said.contains("nothing is damaged"), "{said}");
}

/// A cache packed on one machine and unpacked on another, as CI does: another user, home and directory, other times and inodes.
#[test]
fn unpacked_by_another_user_elsewhere() {
    if !tools::is_root() || !tools::have("setpriv") {
        return tools::skip("becoming another user needs root and setpriv");
    }
    let cache = Cache::new();
    let source = "#include \"a.h\"\n#include <vector>\nstd::vector<int> a{B};\n";
    let project =
        Project::with(&[("src/a.cc", source), ("src/a.h", "#define B 1\n"), ("c.c", "int c;\n")]);
    let script = r#"
        exec 2>&1; set -eu; umask 022
        lines() {
            $1 gcc -O2 -c c.c -o c.o
            IBID_REMAP=auto $1 g++ -g -O1 -MD -c "$PWD/src/a.cc" -o a.o
        }
        mkdir -p one/project/.git one/home another/far/away program; cp -r src c.c one/project; cp "$ibid" program/ibid
        export IBID_DIR=$PWD/one/cache HOME=$PWD/one/home program=$PWD/program/ibid
        sleep 1.1; (cd one/project; lines $program)
        rm one/project/*.[od]
        tar -cf all.tar -C one . && tar --no-same-owner -xmf all.tar -C another/far/away
        mv another/far/away/project another/far/away/checkout; rm -r one
        chown -R 65534:65534 another .; cd another/far/away
        as_user="setpriv --reuid=65534 --regid=65534 --clear-groups env XDG_RUNTIME_DIR=$PWD IBID_DIR=$PWD/cache HOME=$PWD/home"
        cd checkout; sleep 1.1
        lines "$as_user IBID_LOG=$PWD/log $program"
        cat log; grep -c "content hit" log | grep -qx 2
        cp c.o first.o; cp a.o first_a.o; cp a.d first_a.d
        lines "$as_user IBID_RECACHE=1 $program"
        cmp c.o first.o; cmp a.o first_a.o; cmp a.d first_a.d
        grep -q "$PWD/src/a.h" a.d; test "$(stat -c %u a.o)" = 65534"#;
    let mut command = cache.command("sh");
    command.args(["-c", script]).current_dir(project.path()).env("ibid", tools::ibid());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}
