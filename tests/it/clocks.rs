//! Clocks that cannot be trusted: times that were put somewhere else, and a clock that was set back. An edit of the same size
//! must never be served the old result.

use std::time::{Duration, SystemTime};

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

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
