//! Many processes at once: all bytes right, every invocation counted.

use std::thread;

use crate::cache::Cache;
use crate::project::Project;
use crate::tools::{self, C};

const WORKERS: usize = 8;
const FILES: usize = 6;

fn sources() -> Project {
    let project = Project::with(&[("h.h", "#define H 7\n")]);
    for number in 0..FILES {
        project.write(
            &format!("{number}.c"),
            format!("#include \"h.h\"\nint a{number} = H + {number};\n"),
        );
    }
    thread::sleep(std::time::Duration::from_millis(60));
    project
}

fn compile(cache: &Cache, project: &Project, tool: &str, number: usize, object: &str) {
    let source = format!("{number}.c");
    let mut compile = cache.ibid([tool, "-MD", "-c", &source, "-o", object]);
    let done = compile.current_dir(project.path()).output().unwrap();
    assert!(done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
}

/// Each worker compiles all files, in an order of its own, to objects of its own.
#[test]
fn eight_processes_with_objects_of_their_own() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), sources());
        let work = |pass: usize| {
            thread::scope(|scope| {
                for worker in 0..WORKERS {
                    let (cache, project) = (&cache, &project);
                    scope.spawn(move || {
                        for step in 0..FILES {
                            let number = (step * 5 + worker + pass) % FILES;
                            compile(cache, project, tool, number, &format!("{worker}-{number}.o"));
                        }
                    });
                }
            });
        };
        for pass in 0..2 {
            let counted = cache.count(|| work(pass));
            assert_eq!(counted.outcomes(), (WORKERS * FILES) as u64, "{counted:?}");
            assert_eq!(
                counted.get("tool_failures") + counted.sum("passed_through"),
                0,
                "{counted:?}"
            );
            if pass == 1 {
                assert_eq!(counted.hits(), (WORKERS * FILES) as u64, "{counted:?}");
            }
        }
        for number in 0..FILES {
            for worker in 0..WORKERS {
                let name = format!("{worker}-{number}");
                let (object, depfile) =
                    (project.read(&format!("{name}.o")), project.read(&format!("{name}.d")));
                project.shell(&cache, &format!("{tool} -MD -c {number}.c -o {name}.o"));
                assert!(project.read(&format!("{name}.o")) == object, "{name}.o");
                assert!(project.read(&format!("{name}.d")) == depfile, "{name}.d");
            }
        }
    }
}

/// All workers write the same objects: whoever is last, what is there at the end is right.
#[test]
fn eight_processes_with_the_same_objects() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), sources());
        let work = || {
            thread::scope(|scope| {
                for worker in 0..WORKERS {
                    let (cache, project) = (&cache, &project);
                    scope.spawn(move || {
                        for step in 0..FILES {
                            let number = (step + worker) % FILES;
                            compile(cache, project, tool, number, &format!("{number}.o"));
                        }
                    });
                }
            });
        };
        for _ in 0..2 {
            let counted = cache.count(work);
            assert_eq!(counted.outcomes(), (WORKERS * FILES) as u64, "{counted:?}");
        }
        for number in 0..FILES {
            // One more alone: what the storm stored must be whole.
            compile(&cache, &project, tool, number, &format!("{number}.o"));
            let object = project.read(&format!("{number}.o"));
            project.shell(&cache, &format!("{tool} -MD -c {number}.c -o {number}.o"));
            assert!(project.read(&format!("{number}.o")) == object, "{number}.o");
        }
    }
}

/// The first processes of all make the cache at the same moment.
#[test]
fn eight_processes_make_the_cache() {
    for _ in 0..if tools::long() { 20 } else { 4 } {
        let (cache, project) = (Cache::new(), sources());
        let start = std::sync::Barrier::new(WORKERS);
        thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (cache, project, start) = (&cache, &project, &start);
                scope.spawn(move || {
                    start.wait();
                    compile(cache, project, "gcc", worker % FILES, &format!("{worker}.o"));
                });
            }
        });
        let counters = cache.counters();
        assert_eq!(counters.outcomes(), WORKERS as u64, "{counters:?}");
        assert_eq!(counters.sum("internal_errors"), 0, "{counters:?}");
    }
}

/// Others clear the cache all the while.
#[test]
fn cleared_while_it_is_used() {
    let (cache, project) = (Cache::new(), sources());
    thread::scope(|scope| {
        for worker in 0..4 {
            let (cache, project) = (&cache, &project);
            scope.spawn(move || {
                for step in 0..12 {
                    let number = (step + worker) % FILES;
                    compile(cache, project, "gcc", number, &format!("{worker}-{number}.o"));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                cache.say(&["clear"]);
                thread::sleep(std::time::Duration::from_millis(20));
            }
        });
    });
    for number in 0..FILES {
        for worker in 0..4 {
            let object = project.read(&format!("{worker}-{number}.o"));
            project.shell(&cache, &format!("gcc -MD -c {number}.c -o {worker}-{number}.o"));
            assert!(project.read(&format!("{worker}-{number}.o")) == object);
        }
    }
}

/// Reads, writes, and takes its time before it ends.
const SLOW: &str = "#include <fcntl.h>\n#include <unistd.h>\n\
    int main(void) { char text[9]; int in = open(\"in\", O_RDONLY); long n = read(in, text, 9); close(in);\n\
    int out = creat(\"out\", 0666); write(out, text, n); close(out); usleep(700000); return 0; }\n";

/// cargo gives a crate a second name while others read it.
#[test]
fn an_input_that_gets_a_second_name_meanwhile() {
    let project = Project::with(&[("slow.c", SLOW), ("in", "one")]);
    let cache = Cache::new();
    project.shell(&cache, "gcc slow.c -o slow");
    thread::sleep(std::time::Duration::from_millis(60));
    let run = |meanwhile: &dyn Fn()| {
        let _ = std::fs::remove_file(project.at("out"));
        cache.count(|| {
            let mut command = cache.ibid(["exec", "--", "./slow"]);
            command.current_dir(project.path()).stdin(std::process::Stdio::null());
            let mut child = command.spawn().unwrap();
            while !project.at("out").exists() {
                thread::sleep(std::time::Duration::from_millis(5));
            }
            // So that it is read, and looked at.
            thread::sleep(std::time::Duration::from_millis(200));
            meanwhile();
            assert!(child.wait().unwrap().success());
        })
    };
    let changed = run(&|| std::fs::write(project.at("in"), "two").unwrap());
    assert_eq!(changed.get("stored"), 0, "{changed:?}");
    project.write("in", "one");
    thread::sleep(std::time::Duration::from_millis(60));
    let linked = run(&|| project.hard_link("in", "second"));
    assert_eq!(linked.get("stored"), 1, "{linked:?}");
    let hit = run(&|| {});
    assert_eq!(hit.hits(), 1, "{hit:?}");
    assert_eq!(project.read("out"), b"one");
}
