//! Clocks that cannot be trusted: file systems that count whole seconds, times that were put somewhere else, a clock that was set
//! back. An edit of the same size must never be served the old result.

use std::time::{Duration, SystemTime};

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

/// What a script says where the machine does not let it mount what it wants.
const NOT_HERE: i32 = 77;

/// Inodes of 128 bytes have no room for parts of a second.
const WHOLE_SECONDS: &str = r##"
    mount --make-rprivate / || exit 77
    truncate -s 64M image && mkfs.ext4 -q -I 128 image && mkdir m && mount -o loop image m || exit 77
    cd m && mkdir one two
    check() {
        "$ibid" gcc -Ione -Itwo -c a.c -o a.o && gcc -Ione -Itwo -c a.c -o bare.o || exit 1
        cmp a.o bare.o || { echo "$1"; exit 2; }
    }
    hit() {
        "$ibid" stats --json > ../before.json; check "once more"; "$ibid" stats --json > ../after.json
    }
    for round in 0 1 2 3; do
        echo "#include <h.h>
int a = H + 10$round;" > a.c
        echo "#define H 2$round" > two/h.h; check "after both"
        echo "#define H 3$round" > two/h.h; check "after an edit"
        touch -d 2001-01-01 two/h.h; check "old time"
        echo "#define H 4$round" > two/h.h; touch -d 2001-01-01 two/h.h; check "after an edit with the time put back"
        echo "#define H 5$round" > one/h.h; check "after one more"
        rm one/h.h; check "after one less"
        echo "#define H 6$round" > two/new; touch -d 2031-01-01 two/new; mv two/new two/h.h; check "a time to come"
    done
    touch -d 2001-01-01 two/h.h
    sleep 3.1
    check "settled"
    hit
    echo "#define H 70" > two/h.h; check "edited at last"
    echo "#define H 80" > two/h.h; check "edited once more"
"##;

#[test]
fn a_file_system_that_counts_whole_seconds() {
    if !tools::is_root() {
        return tools::skip("mounting needs root");
    }
    if !["unshare", "mount", "mkfs.ext4", "gcc"].into_iter().all(tools::have) {
        return;
    }
    let (cache, project) = (Cache::new(), Project::new());
    let mut shell = cache.command("unshare");
    shell.args(["-m", "sh", "-c", WHOLE_SECONDS]).current_dir(project.path());
    let done = shell.env("ibid", tools::ibid()).output().unwrap();
    if done.status.code() == Some(NOT_HERE) {
        return tools::skip(&format!("cannot mount: {}", String::from_utf8_lossy(&done.stderr)));
    }
    assert!(done.status.success(), "{done:?}");
    let hits = |name: &str| -> u64 {
        let counters: serde_json::Value = serde_json::from_slice(&project.read(name)).unwrap();
        counters["invocation_hits"].as_u64().unwrap()
    };
    // When enough seconds have passed, it is cached after all.
    assert_eq!(hits("after.json") - hits("before.json"), 1);
}

/// As seen by a build whose clock went back between the edit and the compile: files from times to come, each edit under
/// the very time of the one before.
#[test]
fn edits_under_one_and_the_same_time() {
    if !tools::have("gcc") {
        return;
    }
    let now = SystemTime::now();
    let (hour, year) = (Duration::from_hours(1), Duration::from_secs(31_556_952));
    for time in [now, now + hour, now - hour, now + year, SystemTime::UNIX_EPOCH] {
        let (cache, project) = (Cache::new(), Project::new());
        for round in 0..4 {
            project.write("h.h", format!("#define H {round}\n"));
            project.write("a.c", format!("#include \"h.h\"\nint a = H + {};\n", round / 2));
            for name in ["h.h", "a.c"] {
                project.set_time(name, time);
            }
            project.call(&cache, "gcc -c a.c -o a.o").at_once().check().expect_miss();
            let again = project.call(&cache, "gcc -c a.c -o a.o").check();
            // Where times are coarse, those to come vouch for nothing.
            if time <= now {
                project.call(&cache, "gcc -c a.c -o a.o").check().expect_hit();
            } else {
                assert!(again.outcome.is_hit() || again.outcome.is_miss(), "{:?}", again.outcome);
            }
        }
    }
}
