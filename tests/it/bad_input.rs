//! Whatever is wrong with the cache or with the command: the build goes on exactly as without ibid.
//!
//! Each case ends in the differential check, which also sees to it that nothing of ours is on stdout or stderr.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crate::cache::{Cache, Outcome};
use crate::call::Call;
use crate::project::Project;
use crate::tools::{self, C};

const HELLO: &[(&str, &str)] = &[("a.c", "int a = 1;\n"), ("b.c", "int b = 2;\n")];

fn compiles(cache: &Cache) {
    for tool in tools::present(C) {
        let project = Project::with(HELLO);
        for _ in 0..2 {
            let seen = project.call(cache, &format!("{tool} -MD -c a.c -o a.o")).check();
            assert_eq!(seen.done.code, Some(0));
        }
    }
}

#[test]
fn the_cache_directory_is_missing_and_its_parents_too() {
    let mut cache = Cache::new();
    let deep = cache.root().join("x/y/z");
    cache.set("IBID_DIR", deep.clone());
    compiles(&cache);
    assert!(deep.is_dir());
    assert!(cache.counters().hits() > 0);
}

#[test]
fn the_cache_directory_is_a_file() {
    let cache = Cache::new();
    fs::write(cache.dir(), "not a directory").unwrap();
    compiles(&cache);
    assert_eq!(fs::read(cache.dir()).unwrap(), b"not a directory");
}

#[test]
fn the_cache_directory_cannot_be_made() {
    for place in ["/proc/ibid", "/dev/null/ibid", "relative/and/missing", "\u{1}"] {
        let cache = Cache::new().with("IBID_DIR", place);
        let project = Project::with(HELLO);
        let below = [project.at("relative"), project.at("\u{1}")];
        let mut compile = cache.ibid(["gcc", "-c", "a.c", "-o", "a.o"]);
        let done = compile.current_dir(project.path()).output().unwrap();
        assert!(
            done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(),
            "{done:?}"
        );
        assert!(project.at("a.o").is_file(), "{place} {below:?}");
    }
}

#[test]
fn the_cache_directory_is_not_writable_or_of_somebody_else() {
    let cache = Cache::new();
    fs::create_dir(cache.dir()).unwrap();
    fs::set_permissions(cache.dir(), fs::Permissions::from_mode(0o500)).unwrap();
    compiles(&cache);
    if tools::is_root() {
        let cache = Cache::new();
        fs::create_dir(cache.dir()).unwrap();
        std::os::unix::fs::chown(cache.dir(), Some(65534), Some(65534)).unwrap();
        compiles(&cache);
    }
}

#[test]
fn no_home() {
    let mut cache = Cache::new();
    cache.unset("HOME");
    cache.unset("IBID_DIR");
    let project = Project::with(HELLO);
    let mut compile = cache.ibid(["gcc", "-c", "a.c", "-o", "a.o"]);
    let done = compile.current_dir(project.path()).output().unwrap();
    assert!(done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
    let mut failing = cache.ibid(["gcc", "-c", "missing.c", "-o", "a.o"]);
    assert_eq!(failing.current_dir(project.path()).output().unwrap().status.code(), Some(1));
}

#[test]
fn no_runtime_directory() {
    let mut cache = Cache::new();
    cache.set("XDG_RUNTIME_DIR", "/nowhere");
    compiles(&cache);
}

#[test]
fn a_full_disk() {
    if !tools::is_root() || !tools::have("mount") {
        return;
    }
    for options in ["size=64k", "size=6m", "size=9m", "nr_inodes=3", "size=40m,nr_inodes=9"] {
        let cache = Cache::new();
        fs::create_dir(cache.dir()).unwrap();
        let mut mount = cache.command("mount");
        mount.args(["-t", "tmpfs", "-o", "mode=700", "-o", options, "ibid-test"]).arg(cache.dir());
        if !mount.output().unwrap().status.success() {
            return;
        }
        let result = std::panic::catch_unwind(|| compiles(&cache));
        assert!(cache.command("umount").arg("-l").arg(cache.dir()).status().unwrap().success());
        result.unwrap();
    }
}

#[test]
fn a_read_only_file_system() {
    if !tools::is_root() || !tools::have("mount") {
        return;
    }
    let cache = Cache::new();
    fs::create_dir(cache.dir()).unwrap();
    let mut mount = cache.command("mount");
    mount.args(["-t", "tmpfs", "-o", "ro,mode=700", "ibid-test"]).arg(cache.dir());
    if !mount.output().unwrap().status.success() {
        return;
    }
    let result = std::panic::catch_unwind(|| compiles(&cache));
    assert!(cache.command("umount").arg("-l").arg(cache.dir()).status().unwrap().success());
    result.unwrap();
}

#[test]
fn bytes_that_are_no_text() {
    let cache = Cache::new();
    let project = Project::with(HELLO);
    let bytes = OsStr::from_bytes(b"-DX=\"\xff\xfe\"");
    let base = ["gcc", "-c", "a.c"].map(OsStr::new);
    let call = Call::new(&cache, project.path(), base).arg(bytes).arg("-o");
    let call = call.arg(OsStr::from_bytes(b"\xf0\x28.o")).env("UNREAD", OsStr::from_bytes(b"\xff"));
    call.check().expect(&Outcome::Miss);
    call.check().expect_hit();
}

#[test]
fn many_arguments() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let mut call = project.call(&cache, &format!("{tool} -c a.c -o a.o"));
        let mut bytes = 0;
        while bytes < 128 * 1024 {
            let define = format!("-DNAME_{bytes}={}", "9".repeat(100));
            bytes += define.len() + 1;
            call = call.arg(define);
        }
        call.check();
        call.check();
    }
}

#[test]
fn one_huge_argument_and_none() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let huge = format!("-DX={}", "1".repeat(100_000));
    let call = project.call(&cache, "gcc -c a.c -o a.o").arg(huge);
    call.check();
    call.check();
    project.call(&cache, "gcc -c a.c -o a.o").arg("").check();
    project.call(&cache, "gcc").check();
}

#[test]
fn a_source_that_is_not_there() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::new());
        project
            .call(&cache, &format!("{tool} -c a.c -o a.o"))
            .check()
            .expect(&Outcome::ToolFailure);
        project.write("a.c", "int a;\n");
        project.call(&cache, &format!("{tool} -c a.c -o a.o")).check().expect(&Outcome::Miss);
    }
}

#[test]
fn a_source_that_cannot_be_read_or_is_strange() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        project.mkdir("dir.c");
        for name in ["dir.c", "a.c/x.c", "empty.c"] {
            project.write("empty.c", "");
            project.call(&cache, &format!("{tool} -c {name} -o a.o")).check();
        }
    }
}

#[test]
fn a_compiler_that_is_killed_half_way() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let script = "#!/bin/sh\nprintf half > a.o\nkill -9 $$\n";
    project.write_program("gcc", script);
    for _ in 0..2 {
        let seen = project.call(&cache, "./gcc -c a.c -o a.o").check();
        assert_eq!((seen.outcome, seen.done.signal), (Outcome::ToolFailure, Some(9)));
    }
}

#[test]
fn a_compiler_that_crashes() {
    for tool in tools::present(&["clang"]) {
        let (cache, project) = (Cache::new(), Project::new());
        project.write("a.c", "#pragma clang __debug crash\n");
        let line = format!("{tool} -fno-crash-diagnostics -c a.c -o a.o");
        let mut seen = None;
        let counted = cache.count(|| {
            let words: Vec<&str> = line.split(' ').collect();
            seen = Some(cache.ibid(words).current_dir(project.path()).output().unwrap());
        });
        assert!(!seen.unwrap().status.success());
        assert_eq!(counted.outcome(), Outcome::ToolFailure);
    }
}

#[test]
fn a_tool_that_is_no_program() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    project.write("gcc", "this is text\n");
    for mode in [0o644, 0o755] {
        project.chmod("gcc", mode);
        let done = cache.ibid(["./gcc", "-c", "a.c"]).current_dir(project.path()).output().unwrap();
        assert!(!done.status.success());
        assert!(String::from_utf8_lossy(&done.stderr).lines().count() <= 2, "{done:?}");
    }
}

#[test]
fn the_cache_is_removed_while_it_is_used() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let script = format!("#!/bin/sh\nrm -rf '{}'\nexec gcc \"$@\"\n", cache.dir().display());
    project.write_program("gcc", &script);
    for _ in 0..2 {
        project.call(&cache, "./gcc -c a.c -o a.o").check();
        project.call(&cache, "gcc -c b.c -o b.o").check();
    }
    fs::remove_dir_all(cache.dir()).unwrap_or_default();
    project.call(&cache, "gcc -c b.c -o b.o").check().expect(&Outcome::Miss);
    project.call(&cache, "gcc -c b.c -o b.o").check().expect_hit();
}

#[test]
fn the_shared_memory_is_removed() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let call = project.call(&cache, "gcc -c a.c -o a.o");
    call.check().expect(&Outcome::Miss);
    let runtime = cache.root().join("runtime");
    fs::remove_dir_all(&runtime).unwrap();
    fs::create_dir(&runtime).unwrap();
    call.check().expect_hit();
}

/// Files of the store, cut, emptied and scrambled: never a wrong object, never a word.
#[test]
fn a_damaged_store() {
    for damage in ["cut", "empty", "zero", "scramble"] {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        for name in ["a", "b"] {
            project.call(&cache, &format!("gcc -c {name}.c -o {name}.o")).check();
        }
        let mut files = Vec::new();
        collect(&cache.dir(), &mut files);
        assert!(!files.is_empty());
        for file in files {
            let mut bytes = fs::read(&file).unwrap();
            match damage {
                "cut" => bytes.truncate(bytes.len() / 2),
                "empty" => bytes.clear(),
                "zero" => bytes.fill(0),
                _ => bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x5a),
            }
            fs::write(&file, bytes).unwrap();
            for name in ["a", "b"] {
                let line = format!("gcc -c {name}.c -o {name}.o");
                project.call(&cache, &line).check();
            }
        }
    }
}

/// Something else stands in the place of a segment or a lock: it is not waited for, not written to, and soon left.
#[test]
fn something_else_in_a_file_s_place() {
    for what in
        ["mkfifo '{}'", "mkdir '{}'", "ln -s '{victim}' '{}'", "true", "truncate -s 999 '{}'"]
    {
        for place in ["seg-0000000000000001", "lock"] {
            let (cache, project) = (Cache::new(), Project::with(HELLO));
            project.write("victim", "precious");
            project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
            let inside = fs::read_dir(cache.dir()).unwrap().next().unwrap().unwrap().path();
            if place == "lock" {
                fs::remove_file(inside.join("index")).unwrap();
            }
            fs::remove_file(inside.join(place)).unwrap();
            let path = inside.join(place).to_str().unwrap().to_owned();
            let victim = project.at("victim").to_str().unwrap().to_owned();
            project.shell(&cache, &what.replace("{}", &path).replace("{victim}", &victim));
            project.call(&cache, "gcc -c b.c -o b.o").check().expect(&Outcome::Miss);
            project.call(&cache, "gcc -c b.c -o b.o").check().expect_hit();
            assert_eq!(project.read("victim"), b"precious");
        }
    }
}

/// A container that shares `/dev/shm` with us has a cache where we see none: its counters are not ours to sweep away.
#[test]
fn the_volatile_segment_of_another_mount_namespace() {
    if !tools::is_root() || !tools::have("unshare") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let hidden = cache.root().join("hidden");
    fs::create_dir(&hidden).unwrap();
    // Two namespaces with a `/dev/shm` of their own; the outer one makes a cache after the inner one has made its.
    let inner = format!(
        "mount -t tmpfs -o size=200m,mode=700 ibid-test '{0}' || exit 9; IBID_DIR='{0}/cache'; \
         export IBID_DIR; '{1}' gcc -c a.c -o a.o; touch made; \
         while [ ! -e go ]; do sleep 0.02; done; '{1}' stats --json",
        hidden.display(),
        tools::ibid().display()
    );
    project.write("inner.sh", inner);
    let outer = format!(
        "mount -t tmpfs ibid-test /dev/shm || exit 9; unshare -m sh inner.sh & \
         while [ ! -e made ] && kill -0 $!; do sleep 0.02; done; '{}' gcc -c b.c -o b.o; touch go; wait $!",
        tools::ibid().display()
    );
    let mut shell = cache.command("unshare");
    let done = shell.args(["-m", "sh", "-c", &outer]).current_dir(project.path()).output().unwrap();
    if !done.status.success() {
        return tools::skip("no mounts or namespaces here");
    }
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.contains("\"misses\": 1"), "{text}");
}

fn collect(dir: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

#[test]
fn a_working_directory_that_is_gone() {
    let cache = Cache::new();
    let project = Project::with(HELLO);
    let run = |prefix: &str| {
        let gone = "mkdir gone && cd gone && rmdir ../gone";
        let root = project.path().display();
        let line = format!("{gone} && {prefix} gcc -c {root}/a.c -o {root}/a.o");
        cache.command("sh").args(["-c", &line]).current_dir(project.path()).output().unwrap()
    };
    let (bare, ours) = (run(""), run(&tools::ibid().display().to_string()));
    assert_eq!(bare, ours);
}

#[test]
fn a_settings_file_that_is_nonsense() {
    let mut cache = Cache::new();
    let file = cache.root().join("config.toml");
    cache.set("IBID_CONFIG", file.clone());
    for text in [&b"= = ="[..], b"\xff\xfe", b"max_size = 'much'\nwrong = 1\n", b""] {
        fs::write(&file, text).unwrap();
        compiles(&cache);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    compiles(&cache);
}

#[test]
fn bad_values_in_the_environment() {
    for (name, value) in [
        ("IBID_MAX_SIZE", "much"),
        ("IBID_OBSERVER", "magic"),
        ("IBID_REMAP", "perhaps"),
        ("IBID_LOG", "/nowhere/at/all"),
        ("IBID_ROOT", "/nowhere"),
    ] {
        compiles(&Cache::new().with(name, value));
    }
}

#[test]
fn few_descriptors_and_little_memory() {
    for limit in ["ulimit -n 12", "ulimit -v 4000000", "ulimit -f 100000"] {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        for _ in 0..2 {
            let ibid = tools::ibid().display();
            project.shell(&cache, &format!("{limit}; {ibid} gcc -c a.c -o a.o"));
        }
        let expected = project.read("a.o");
        project.shell(&cache, "gcc -c a.c -o a.o");
        assert!(project.read("a.o") == expected);
    }
}
