//! Limits of the process (`ulimit`): a hit, and a miss, do under them what the tool does.

use std::fs;

use crate::cache::{Cache, Outcome};
use crate::call::Through;
use crate::project::Project;
use crate::tools;

/// A block of `ulimit -f`, as the standard says.
const BLOCK_BYTES: usize = 512;

#[test]
fn an_output_as_long_as_a_file_may_be_and_a_longer_one() {
    let (cache, project) = (Cache::new(), Project::new());
    let call = |limit: &str| {
        let call = project.call(&cache, "dd if=in of=out status=none").through(Through::Exec);
        call.after(&format!("rm -f out; ulimit -f {limit}"))
    };
    for len_bytes in [2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 1, 100 * BLOCK_BYTES] {
        project.write("in", [&vec![b'x'; len_bytes - 1][..], b"\n"].concat());
        call("unlimited").check().expect_miss();
        call("unlimited").check().expect_hit();
        let (enough, too_few) =
            (len_bytes.div_ceil(BLOCK_BYTES), len_bytes.div_ceil(BLOCK_BYTES) - 1);
        call(&enough.to_string()).check().expect(&Outcome::InvocationHit);
        call(&too_few.to_string()).check().expect(&Outcome::Uncounted);
        call("0").check().expect(&Outcome::Uncounted);
    }
}

#[test]
fn objects_of_compilers() {
    for tool in tools::present(tools::C) {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a[9999] = { 1 };\n")]));
        let call =
            |limit: &str| project.call(&cache, &format!("{tool} -MD -c a.c -o a.o")).after(limit);
        call("ulimit -f 1000").check().expect(&Outcome::Uncounted);
        call(":").check().expect(&Outcome::Miss);
        call("ulimit -f 1000").check().expect(&Outcome::InvocationHit);
        // What clang says as it dies of the signal has addresses in it.
        if tool == "gcc" {
            call("ulimit -f 20").check().expect(&Outcome::Uncounted);
        }
    }
}

/// Text that goes to a file which it would make too long: what comes of that is the tool's affair.
#[test]
fn text_to_a_file_that_may_not_grow() {
    let (cache, project) =
        (Cache::new(), Project::with(&[("a.c", "#warning some text\nint a;\n")]));
    // By way of a shell each time: it sets `PWD`.
    let call = || project.call(&cache, "gcc -c a.c -o a.o").after(":");
    let to_log = |log_bytes: usize| {
        let log = format!("head -c {log_bytes} /dev/zero >log; ulimit -f 10; exec 2>>log");
        call().after(&log).check().outcome
    };
    let room_bytes = 10 * BLOCK_BYTES - call().check().done.stderr.len();
    assert_eq!(to_log(room_bytes), Outcome::InvocationHit);
    assert_eq!(to_log(room_bytes + 1), Outcome::Uncounted);
}

/// A limit that leaves room for a cache, and a log that is nearly as long: text that is passed on must not be what kills us.
#[test]
fn a_long_log() {
    let (cache, project) =
        (Cache::new(), Project::with(&[("a.c", "#warning some text\nint a;\n")]));
    let log = cache.root().join("log");
    let log = format!(
        "truncate -s {} {}; ulimit -f 200000; exec 2>>{}",
        200_000 * BLOCK_BYTES - 9,
        log.display(),
        log.display()
    );
    for _ in 0..2 {
        project.call(&cache, "gcc -c a.c -o a.o").after(&log).check();
    }
}

/// The log of our own is no reason to fail a compile.
#[test]
fn our_own_log() {
    let cache = Cache::new();
    let log = cache.root().join("log");
    let cache = cache.with("IBID_LOG", &log);
    let project = Project::with(&[("a.c", "int a;\n")]);
    fs::write(&log, vec![b'x'; 100 * BLOCK_BYTES]).unwrap();
    project.call(&cache, "gcc -c a.c -o a.o").after("ulimit -f 100").check();
    assert_eq!(fs::metadata(&log).unwrap().len(), 100 * BLOCK_BYTES as u64);
}

#[test]
fn little_memory() {
    for tool in tools::present(tools::C) {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
        let call =
            |limit: &str| project.call(&cache, &format!("{tool} -c a.c -o a.o")).after(limit);
        for limit in ["ulimit -v 40000", "ulimit -v 110000", "ulimit -v 300000", "ulimit -d 30000"]
        {
            call(limit).check().expect(&Outcome::Uncounted);
        }
        call(":").check().expect(&Outcome::Miss);
        for limit in ["ulimit -v 300000", "ulimit -d 30000"] {
            call(limit).check().expect(&Outcome::InvocationHit);
        }
    }
}

/// Where the address space is limited, what the tool may use of it is all the tool's.
#[test]
fn the_address_space_of_a_tool() {
    let (cache, project) = (Cache::new(), Project::new());
    project.write_program("own", "#!/bin/sh\ngrep -c memfd: /proc/self/maps\n:\n");
    let call = |limit: &str| project.call(&cache, "./own").through(Through::Exec).after(limit);
    call("ulimit -v 4000000").check().expect_miss();
    // A tool that is trusted stays so, whatever it was seen to do without the shim.
    let project = Project::with(&[("a.c", "int a;\n")]);
    let call = |limit: &str| project.call(&cache, "gcc -c a.c -o a.o").after(limit);
    call(":").check().expect(&Outcome::Miss);
    project.write("a.c", "int b;\n");
    call("ulimit -v 4000000").check().expect_miss();
    project.write("a.c", "int c;\n");
    call(":").check().expect(&Outcome::Miss);
    call("ulimit -v 4000000").check().expect(&Outcome::InvocationHit);
}

/// With too few descriptors g++ shows less of the source: such a text is not kept for those who have more.
#[test]
fn what_a_tool_makes_of_few_descriptors() {
    let source = "#include <vector>\n#include <string>\nstd::vector<int> v;\nstatic int unused;\n";
    for limit in [14, 17, 20, 24] {
        let (cache, project) = (Cache::new(), Project::with(&[("a.cc", source)]));
        let call = |limit: &str| {
            project.call(&cache, "g++ -Wall -c a.cc -o a.o").after(limit).check();
        };
        // The second one would be given what the first one said.
        call(&format!("ulimit -n {limit}"));
        call(":");
    }
}
