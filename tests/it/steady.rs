//! Tools of the user's own: `ibid exec --check`, and `[tools."…"]` in the settings file.

use std::process::Output;

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

const GENERATOR: &str = "#!/usr/bin/python3\nimport random, os, time\n\
    started = time.time()\nrandom.random()\nos.getpid()\n\
    open('out.c', 'w').write(open('in.txt').read())\n";

fn check(cache: &Cache, project: &Project, words: &[&str]) -> (i32, String) {
    let mut run = cache.ibid(["exec", "--check", "--"]);
    let done: Output = run.args(words).current_dir(project.path()).output().unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
}

#[test]
fn whether_a_tool_repeats_itself() {
    if !tools::have("python3") {
        return;
    }
    let cache = Cache::new().with("PATH", "/usr/bin:/bin");
    let project = Project::with(&[("in.txt", "int x;\n"), ("a.c", "int a;\n")]);
    project.write_program("gen.py", GENERATOR);
    project.write_program("time.sh", "#!/bin/sh\ndate +%s >out.txt\necho same\n");
    project.write_program("text.sh", "#!/bin/sh\necho one\ndate +%s\n");
    project.write_program("fail.sh", "#!/bin/sh\necho x; exit 3\n");
    project.write_program("add.sh", "#!/bin/sh\necho x >>log.txt\n");
    let (status, text) = check(&cache, &project, &["./gen.py"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.starts_with("repeats itself\n") && text.contains("random numbers"), "{text}");
    assert!(project.at("out.c").exists());
    project.remove("out.c");
    let (status, text) = check(&cache, &project, &["./time.sh"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("out.txt differs in line 1"), "{text}");
    let (status, text) = check(&cache, &project, &["./text.sh"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("standard output differs in line 2"), "{text}");
    let (status, text) = check(&cache, &project, &["./fail.sh"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("fails with status 3"), "{text}");
    project.write("log.txt", "first\n");
    let (status, text) = check(&cache, &project, &["./add.sh"]);
    assert_eq!(status, 3, "{text}");
    assert!(text.contains("log.txt"), "{text}");
    let (status, text) = check(&cache, &project, &["./none"]);
    assert_eq!(status, 127, "{text}");
    let (status, text) = check(&cache, &project, &["gcc", "-c", "a.c"]);
    assert_eq!(status, 0, "{text}");
    // Nothing was stored or counted.
    let counters = cache.counters();
    assert_eq!(counters.outcomes() + counters.get("stored"), 0, "{counters:?}");
}

/// The settings file says of a tool that what differs does not enter its result.
#[test]
fn tools_that_the_user_vouches_for() {
    if !tools::have("python3") {
        return;
    }
    let mut cache = Cache::new().with("PATH", "/usr/bin:/bin");
    let project = Project::with(&[("in.txt", "int x;\n"), ("a.c", "int a;\n")]);
    project.write_program("tools/gen.py", GENERATOR);
    project.write_program(
        "date.sh",
        "#!/bin/sh\ncat in.txt >out.c\necho $$ >/dev/null\ndate >/dev/null\n",
    );
    let settings = cache.root().join("config.toml");
    cache.set("IBID_CONFIG", &settings);
    let run = |words: &[&str]| {
        if project.at("out.c").exists() {
            project.remove("out.c");
        }
        let counted = cache.count(|| {
            let mut run = cache.ibid(words);
            assert!(run.current_dir(project.path()).status().unwrap().success());
        });
        assert_eq!(project.read("out.c"), project.read("in.txt"));
        counted
    };
    for _ in 0..3 {
        assert_eq!(run(&["exec", "--", "tools/gen.py"]).hits(), 0);
    }
    std::fs::write(
        &settings,
        "max_size = \"1G\"\n[tools.\"tools/gen.py\"]\n\n[tools.\"./date.sh\"]\nsteady = true\n",
    )
    .unwrap();
    for tool in ["tools/gen.py", "./date.sh"] {
        run(&[tool]);
        run(&[tool]);
        assert_eq!(run(&[tool]).get("invocation_hits"), 1, "{tool}");
    }
    project.write("in.txt", "int y;\n");
    assert_eq!(run(&["tools/gen.py"]).hits(), 0);
    // Such a file is read before libc starts, too; one that says it twice is refused.
    project.call(&cache, "gcc -c a.c -o a.o").check().expect_miss();
    project.call(&cache, "gcc -c a.c -o a.o").check().expect_hit();
    let refused = |text: &str| {
        std::fs::write(&settings, text).unwrap();
        let done = cache.ibid(["config"]).output().unwrap();
        assert!(!done.stderr.is_empty(), "{text}");
        project.call(&cache, "gcc -c a.c -o a.o").check().expect_hit();
    };
    refused("[tools.\"x\"]\nstaedy = true\n");
    refused("[tools.\"x\"]\nsteady = 1\n");
    refused("[tools.\"x\"]\n[tools.\"x\"]\n");
    refused("tools = 1\n");
    std::fs::write(&settings, "[tools.\"tools/gen.py\"]\nsteady = false\n").unwrap();
    project.write("in.txt", "int z;\n");
    for _ in 0..2 {
        assert_eq!(run(&["exec", "--", "tools/gen.py"]).hits(), 0);
    }
}
