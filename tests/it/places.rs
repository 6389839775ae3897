//! Where a cache may lie and who may see it: file systems, shared memory, copies, neighbours, modes, secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

const HELLO: &[(&str, &str)] = &[("a.c", "int a = 1;\n"), ("b.c", "int b = 2;\n")];

/// Runs a shell script in a mount namespace of its own; `None`, and said so, where that cannot be. The script says by
/// status 9 that it could not mount something.
fn in_namespace(cache: &Cache, project: &Project, script: &str) -> Option<Output> {
    if !tools::is_root() || !tools::have("unshare") || !tools::have("mount") {
        tools::skip("needs root");
        return None;
    }
    let script = format!("ibid='{}'\n{script}", tools::ibid().display());
    let mut unshare = cache.command("unshare");
    let done =
        unshare.args(["-m", "sh", "-c", &script]).current_dir(project.path()).output().unwrap();
    if done.status.code() == Some(9) || String::from_utf8_lossy(&done.stderr).contains("unshare:") {
        tools::skip("no mounts or namespaces here");
        return None;
    }
    Some(done)
}

/// Three compiles, of which the third is a hit; then the counters and the doctor's findings, all in one text.
const COMPILES: &str = "$ibid gcc -c a.c -o a.o && mv a.o first.o && $ibid gcc -c a.c -o a.o && cmp a.o first.o \
    && $ibid stats --json && $ibid doctor -v --quick";

#[test]
fn shared_memory_that_cannot_be_used() {
    for (what, mount) in [
        (
            "full",
            "mount -t tmpfs -o size=64k ibid-test /dev/shm && head -c 70000 /dev/zero > /dev/shm/full 2>/dev/null; true",
        ),
        ("tiny", "mount -t tmpfs -o size=256k ibid-test /dev/shm"),
        ("read-only", "mount -t tmpfs -o ro ibid-test /dev/shm"),
        (
            "absent",
            "mkdir dev && for i in null:3 zero:5 urandom:9; do mknod dev/${i%:*} c 1 ${i#*:}; done && mount --bind dev /dev",
        ),
    ] {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let script = format!("({mount}) || exit 9\n{COMPILES}");
        let Some(done) = in_namespace(&cache, &project, &script) else { return };
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && done.stderr.is_empty(), "{what}: {done:?}");
        assert!(
            said.contains("\"invocation_hits\": 1") && said.contains("\"stored\": 1"),
            "{what}: {said}"
        );
        assert!(said.contains("/dev/shm cannot be used"), "{what}: {said}");
    }
}

#[test]
fn shared_memory_of_a_container() {
    for options in ["size=64m", "size=64m,noexec,nosuid,nodev"] {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let script =
            format!("mount -t tmpfs -o {options} ibid-test /dev/shm || exit 9\n{COMPILES}");
        let Some(done) = in_namespace(&cache, &project, &script) else { return };
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && done.stderr.is_empty(), "{options}: {done:?}");
        assert!(said.contains("\"invocation_hits\": 1"), "{options}: {said}");
        assert!(said.contains("are in /dev/shm"), "{options}: {said}");
    }
}

/// What is in shared memory has its space reserved: that others fill it up later does no harm.
#[test]
fn shared_memory_that_is_filled_up_later() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let script = format!(
        "mount -t tmpfs -o size=8m ibid-test /dev/shm || exit 9
        $ibid gcc -c b.c -o b.o || exit 1
        head -c 9000000 /dev/zero > /dev/shm/full 2>/dev/null && exit 2
        {COMPILES}"
    );
    let Some(done) = in_namespace(&cache, &project, &script) else { return };
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    assert!(said.contains("\"invocation_hits\": 1") && said.contains("\"stored\": 2"), "{said}");
    assert!(said.contains("are in /dev/shm"), "{said}");
}

/// There is room for a segment, but not for a large object beside it: nothing of it stays, and what is small is stored.
#[test]
fn a_disk_that_is_too_full_for_a_large_object() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let script =
        "mkdir -m 700 $IBID_DIR && mount -t tmpfs -o size=66m,mode=700 ibid-test $IBID_DIR || exit 9
        export IBID_MAX_SIZE=10G
        head -c 70000000 /dev/zero >big && $ibid exec -- cp big out && cmp big out || exit 1
        $ibid gcc -c a.c -o a.o && $ibid gcc -c a.c -o a.o && $ibid stats --json && ls $IBID_DIR/*";
    let Some(done) = in_namespace(&cache, &project, script) else { return };
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    assert!(
        said.contains("\"store_failed\": 1") && said.contains("\"invocation_hits\": 1"),
        "{said}"
    );
    assert!(said.contains("seg-") && !said.contains("tmp-"), "{said}");
}

#[test]
fn a_file_system_that_is_not_known() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let script =
        "mkdir -m 700 \"$IBID_DIR\" && mount -t ramfs -o mode=700 ibid-test \"$IBID_DIR\" || exit 9
        $ibid gcc -c a.c -o a.o && gcc -c a.c -o b.o && cmp a.o b.o || exit 1
        ls -A \"$IBID_DIR\"/*
        $ibid doctor -v; test $? = 1";
    let Some(done) = in_namespace(&cache, &project, script) else { return };
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    assert!(said.contains("fail") && said.contains("ramfs"), "{said}");
    // One that would work is named.
    assert!(said.contains("; export IBID_DIR=/"), "{said}");
    assert!(!said.contains("seg-"), "nothing is made there: {said}");
}

/// A cache in a lower layer, as in the image of a container: it is used, and what is added goes to the upper layer.
#[test]
fn a_cache_on_an_overlay() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let script =
        "mkdir scratch && mount -t tmpfs -o size=300m ibid-test scratch && cd scratch || exit 9
        mkdir lower upper work merged && cp ../a.c ../b.c . && real=$IBID_DIR
        IBID_DIR=$PWD/lower/cache $ibid gcc -c a.c -o a.o || exit 1
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work ibid-test merged || exit 9
        export IBID_DIR=$PWD/merged/cache
        for i in 1 2 3; do $ibid gcc -c a.c -o a.o && $ibid gcc -c b.c -o b.o || exit 1; done
        $ibid verify && $ibid stats --json && ls upper/cache/*";
    let Some(done) = in_namespace(&cache, &project, script) else { return };
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    assert!(said.contains("nothing is damaged") && said.contains("\"records\": 2"), "{said}");
    assert!(said.contains("\"invocation_hits\": 5"), "{said}");
    assert!(said.contains("seg-0000000000000002"), "a segment of its own: {said}");
}

#[test]
fn copies_of_a_cache() {
    for copy in
        ["cp -a '{from}' '{to}'", "mkdir '{to}' && tar -C '{from}' -cf - . | tar -C '{to}' -xpf -"]
    {
        let (mut cache, project) = (Cache::new(), Project::with(HELLO));
        project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
        let (from, to) = (cache.dir(), cache.root().join("copy"));
        let line = copy.replace("{from}", from.to_str().unwrap());
        project.shell(&cache, &line.replace("{to}", to.to_str().unwrap()));
        fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();
        let before = names_in(&layout(&to));
        cache.set("IBID_DIR", to.clone());
        project.call(&cache, "gcc -c a.c -o a.o").check().expect_hit();
        project.call(&cache, "gcc -c b.c -o b.o").check().expect(&Outcome::Miss);
        project.call(&cache, "gcc -c b.c -o b.o").check().expect_hit();
        let after = names_in(&layout(&to));
        assert!(after.contains(&"seg-0000000000000002".to_owned()), "{before:?} {after:?}");
        assert!(cache.say(&["verify"]).contains("nothing is damaged"));
        cache.set("IBID_DIR", from);
        project.call(&cache, "gcc -c a.c -o a.o").check().expect_hit();
        assert!(cache.say(&["verify"]).contains("nothing is damaged"));
    }
}

/// Another version keeps its own directory beside ours; neither touches the other's.
#[test]
fn two_layouts_in_one_cache_directory() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    let other = cache.dir().join("v1-ffff-le64");
    fs::create_dir(&other).unwrap();
    for name in ["index", "seg-0000000000000001", "lock"] {
        fs::write(other.join(name), name).unwrap();
    }
    project.call(&cache, "gcc -c a.c -o a.o").check().expect_hit();
    project.call(&cache, "gcc -c b.c -o b.o").check().expect(&Outcome::Miss);
    for args in [&["clear"][..], &["gc", "--max-age", "0s"], &["verify", "--repair"]] {
        cache.say(args);
    }
    project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    for name in ["index", "seg-0000000000000001", "lock"] {
        assert_eq!(fs::read(other.join(name)).unwrap(), name.as_bytes());
    }
}

/// Whatever the mask of the user says, nobody else can read what is stored.
#[test]
fn nobody_else_may_look() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let ibid = tools::ibid().display();
    project
        .shell(&cache, &format!("umask 0; '{ibid}' gcc -c a.c -o a.o; '{ibid}' stats >stats.txt"));
    let mut all = vec![cache.dir(), layout(&cache.dir())];
    all.extend(names_in(&layout(&cache.dir())).iter().map(|name| layout(&cache.dir()).join(name)));
    assert!(all.len() > 4, "{all:?}");
    for path in all {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

/// Values of variables, also of those that the tool reads, are neither in the cache nor in the log.
#[test]
fn values_of_variables_are_not_kept() {
    let (mut cache, project) = (Cache::new(), Project::with(HELLO));
    let log = cache.root().join("log");
    cache.set("IBID_LOG", log.clone());
    cache.set("GCC_COLORS", "error=01;31:s3cr3t-value");
    cache.set("A_TOKEN", "s3cr3t-value");
    project.write_program("tool", "#!/bin/sh\necho made > out\n");
    for _ in 0..2 {
        project.call(&cache, "gcc -c a.c -o a.o").check();
        project.shell(&cache, &format!("'{}' exec -- ./tool", tools::ibid().display()));
    }
    assert!(cache.counters().get("stored") > 0);
    let mut files: Vec<PathBuf> = vec![log];
    files
        .extend(names_in(&layout(&cache.dir())).iter().map(|name| layout(&cache.dir()).join(name)));
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let is_kept = bytes.windows(12).any(|window| window == b"s3cr3t-value");
        let is_lock = file.file_name().unwrap().to_str().unwrap().starts_with("lock");
        assert!(!is_kept && !bytes.is_empty() || is_lock, "{}", file.display());
    }
}

fn layout(directory: &Path) -> PathBuf {
    let is_ours = |path: &PathBuf| path.join("index").exists() && !path.ends_with("v1-ffff-le64");
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).find(is_ours).unwrap()
}

fn names_in(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
