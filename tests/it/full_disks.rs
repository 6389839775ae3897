//! File systems that are too small for a cache, or nearly full: every compile succeeds, and no space is lost.
//!
//! They are mounted in a mount namespace of the test's own, where root is allowed to make one.

use std::fs;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

/// What a script says where the machine does not let it mount what it wants.
const NOT_HERE: i32 = 77;

/// Mounts (`$cache` is the cache directory, `$root` is beside it), then compiles thrice; then makes room, if there is
/// something that takes it (`$root/ballast`), and compiles twice more, the second of which must be a hit.
fn compile_in(mounts: &str, hits_in_the_end: bool) {
    compile_while(mounts, ":", hits_in_the_end);
}

/// The same; `then` happens after the first compile.
fn compile_while(mounts: &str, then: &str, hits_in_the_end: bool) {
    if !tools::is_root() {
        tools::skip("mounting needs root");
        return;
    }
    if !["unshare", "mount", "mkfs.ext4"].into_iter().all(tools::have) {
        return;
    }
    let cache = Cache::new();
    let project = Project::with(&[("a.c", "int a = 1;\n")]);
    fs::create_dir(cache.dir()).unwrap();
    project.shell(&cache, "gcc -c a.c -o bare.o");
    let script = format!(
        r#"
        mount --make-rprivate / || exit {NOT_HERE}
        {mounts}
        compile() {{
            rm -f a.o
            "$ibid" gcc -c a.c -o a.o >said 2>&1 || exit 1
            cmp a.o bare.o || exit 2
            test -s said && {{ cat said; exit 3; }}
        }}
        compile
        {then}
        compile; compile
        rm -f "$cache/ballast"
        compile
        "$ibid" stats --json >before.json 2>said || exit {}
        compile
        "$ibid" stats --json >after.json || exit 5
        "#,
        if hits_in_the_end { 4 } else { 0 },
    );
    let mut command = cache.command("unshare");
    command.args(["-m", "sh", "-c", &script]).current_dir(project.path());
    command.env("ibid", tools::ibid()).env("cache", cache.dir()).env("root", cache.root());
    let done = command.output().unwrap();
    if done.status.code() == Some(NOT_HERE) {
        tools::skip(&format!("cannot mount: {}", String::from_utf8_lossy(&done.stderr).trim()));
        return;
    }
    assert!(done.status.success(), "{mounts}: {done:?}");
    if hits_in_the_end {
        let hits = |name: &str| -> u64 {
            let counters: serde_json::Value = serde_json::from_slice(&project.read(name)).unwrap();
            counters["invocation_hits"].as_u64().unwrap()
        };
        assert_eq!(hits("after.json") - hits("before.json"), 1, "{mounts}");
    }
}

/// An ext4 image of 200 MB of which all but so many MiB are taken.
fn nearly_full_ext4(left_mib: u64) -> String {
    format!(
        r#"
        truncate -s 200M "$root/image" && mkfs.ext4 -q -m 0 "$root/image" || exit {NOT_HERE}
        mount -o loop "$root/image" "$cache" || exit {NOT_HERE}
        chmod 700 "$cache"
        free=$(($(stat -f -c '%a * %S / 1048576' "$cache")))
        fallocate -l $((free - {left_mib}))M "$cache/ballast" || exit 6
        "#
    )
}

#[test]
fn an_ext4_that_is_nearly_full() {
    for left_mib in [0, 1, 20, 68] {
        compile_in(&nearly_full_ext4(left_mib), true);
    }
}

/// The space of a cache is reserved as it is made: what fills the disk up later takes none of it away.
#[test]
fn a_disk_that_is_filled_up_later() {
    let fill = "test -f \"$cache\"/*/seg-0000000000000001 || exit 7
        head -c 400M /dev/zero >\"$cache/ballast\" 2>/dev/null && exit 6";
    compile_while(&nearly_full_ext4(100), fill, true);
    let tmpfs = format!(r#"mount -t tmpfs -o mode=700,size=100m none "$cache" || exit {NOT_HERE}"#);
    compile_while(&tmpfs, fill, true);
}

/// An ext4 or a tmpfs of so many MB.
fn small(mib: u64) -> [String; 2] {
    [
        format!(
            r#"
            truncate -s {mib}M "$root/image" && mkfs.ext4 -q -m 0 "$root/image" || exit {NOT_HERE}
            mount -o loop "$root/image" "$cache" || exit {NOT_HERE}
            chmod 700 "$cache"
            "#
        ),
        format!(r#"mount -t tmpfs -o mode=700,size={mib}m none "$cache" || exit {NOT_HERE}"#),
    ]
}

/// Index and segments begin short, and a segment is no longer than the disk has room for.
#[test]
fn small_disks_with_room_for_a_segment() {
    for mount in [8, 20, 66].iter().flat_map(|mib| small(*mib)) {
        let mount = &mount;
        compile_in(mount, true);
    }
}

#[test]
fn small_disks_without_room_for_a_segment() {
    let doctor = r#""$ibid" doctor -v >said 2>&1; test "$(grep -c 'nothing more is stored' said)" = 1 || { cat said; exit 8; }; : >said"#;
    for mount in &small(1) {
        compile_while(mount, doctor, false);
    }
}

/// Outputs in shared memory are files like others.
#[test]
fn outputs_in_shared_memory() {
    let directory = tempfile::Builder::new().prefix("ibid-test-").tempdir_in("/dev/shm");
    let Ok(directory) = directory else { return tools::skip("/dev/shm cannot be written") };
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n"), ("a.rs", "")]));
    let shown = directory.path().display();
    std::thread::sleep(std::time::Duration::from_millis(60));
    for line in [
        format!("gcc -MMD -c a.c -o {shown}/a.o"),
        format!("clang -c a.c -o {shown}/b.o"),
        format!("rustc --crate-type lib -o {shown}/liba.rlib a.rs"),
        format!("rustc --crate-type lib --emit=metadata={shown}/liba.rmeta a.rs"),
    ] {
        if !tools::have(line.split(' ').next().unwrap()) {
            continue;
        }
        let cache = if line.starts_with("rustc") { crate::rustc::cache() } else { Cache::new() };
        project.call(&cache, &line).check().expect(&Outcome::Miss);
        project.call(&cache, &line).check().expect_hit();
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert!(files > 0, "{line}");
    }
    drop(cache);
}

#[test]
fn a_small_tmpfs() {
    for options in ["size=1m", "size=8m", "size=70m", "size=300m,nr_inodes=5"] {
        let mount =
            format!(r#"mount -t tmpfs -o mode=700,{options} none "$cache" || exit {NOT_HERE}"#);
        compile_in(&mount, false);
    }
}

/// Shared memory that is full, too small for the counters, read-only or no directory at all.
#[test]
fn little_shared_memory() {
    for mount in [
        "mount -t tmpfs -o size=64k none /dev/shm",
        "mount -t tmpfs -o size=4m none /dev/shm && fallocate -l 4M /dev/shm/ballast",
        "mount -t tmpfs -o ro none /dev/shm",
        "mount -t tmpfs -o noexec,size=64m none /dev/shm",
        "mount -t tmpfs none /dev && ln -s /nowhere /dev/shm && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9",
    ] {
        compile_in(&format!("{{ {mount}; }} || exit {NOT_HERE}"), true);
    }
}
