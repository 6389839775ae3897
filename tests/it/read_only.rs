//! Caches that can only be read: a mount that is read-only, and files without a permission to write. What is stored is
//! used; nothing is stored, nothing is counted, and no compile is disturbed.

use std::fs;
use std::process::Command;

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

/// What a script says where the machine does not let it mount what it wants.
const NOT_HERE: i32 = 77;

/// Stores a result, in the environment of the script.
const STORE: &str = r#"
    "$ibid" gcc -c a.c -o a.o || exit 10
"#;

/// Compiles what is stored (a hit: its log says so), what is not, and at last what is touched.
const CHECKS: &str = r#"
    compile() { rm -f x.o log; IBID_LOG=log "$ibid" gcc "$@" >said 2>&1 || exit 11; test -s said && exit 12; }
    for readonly in 0 1; do
        export IBID_READONLY=$readonly
        rm -f a.o; "$ibid" gcc -c a.c -o a.o >said 2>&1 || exit 13; test -s said && exit 14
        cmp a.o bare.o || exit 15
        compile -c a.c -o a.o; grep -q "direct hit" log || { cat log; exit 16; }
        cmp a.o bare.o || exit 17
        compile -O3 -c a.c -o x.o; grep -q "not stored, read_only" log || { cat log; exit 18; }
        cmp x.o bare3.o || exit 19
    done
    unset IBID_READONLY
    touch a.c; sleep 0.1
    compile -c a.c -o a.o; grep -q "content hit" log || { cat log; exit 20; }
    cmp a.o bare.o || exit 21
    "$ibid" stats --json >/dev/null || exit 22
    "$ibid" doctor -v --quick >doctor; grep -q "can only be read" doctor || { cat doctor; exit 23; }
    "$ibid" verify >verify 2>&1 || { cat verify; exit 24; }
    for command in clear gc; do
        "$ibid" $command >said 2>&1 && exit 25
        test "$(wc -l <said)" = 1 || { cat said; exit 26; }
    done
    echo "int b;" >a.c; gcc -c a.c -o bare.o; sleep 0.1
    compile -c a.c -o a.o; grep -q "not stored, read_only" log || { cat log; exit 27; }
    cmp a.o bare.o || exit 28
"#;

fn prepared() -> (Cache, Project) {
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
    project.shell(&cache, "gcc -c a.c -o bare.o && gcc -O3 -c a.c -o bare3.o; sleep 0.1");
    (cache, project)
}

fn run(mut command: Command, script: &str) {
    let done = command.args(["sh", "-c", script]).output().unwrap();
    if done.status.code() == Some(NOT_HERE) {
        return tools::skip(&format!("cannot mount: {}", String::from_utf8_lossy(&done.stderr)));
    }
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_mount_that_is_read_only() {
    if !tools::is_root() {
        return tools::skip("mounting needs root");
    }
    if !["unshare", "mount"].into_iter().all(tools::have) {
        return;
    }
    for shared_memory in [":", "mount -t tmpfs none /dev/shm", "mount -t tmpfs -o ro none /dev/shm"]
    {
        let (cache, project) = prepared();
        let script = format!(
            "{STORE} {{ mount --make-rprivate / && mount --bind \"$cache\" \"$cache\" && mount -o remount,bind,ro \"$cache\" && {shared_memory}; }} || exit {NOT_HERE}\n{CHECKS}"
        );
        let mut command = cache.command("unshare");
        command.arg("-m").current_dir(project.path());
        command.env("ibid", tools::ibid()).env("cache", cache.dir());
        run(command, &script);
        // Where it can be written it goes on.
        project.call(&cache, "gcc -O2 -c a.c -o a.o").check().expect_miss();
    }
}

/// Where a cache is on such a mount that is not there yet.
#[test]
fn an_empty_mount_that_is_read_only() {
    if !tools::is_root() {
        return tools::skip("mounting needs root");
    }
    if !["unshare", "mount"].into_iter().all(tools::have) {
        return;
    }
    let (cache, project) = prepared();
    fs::create_dir(cache.dir()).unwrap();
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs -o ro,mode=700 none \"$cache\" || exit {NOT_HERE}
        for readonly in 0 1; do
            IBID_READONLY=$readonly \"$ibid\" gcc -c a.c -o a.o >said 2>&1 || exit 1
            test -s said && exit 2
            cmp a.o bare.o || exit 3
        done
        \"$ibid\" doctor -v >said; grep -q '^fail  cache directory' said || exit 4"
    );
    let mut command = cache.command("unshare");
    command.arg("-m").current_dir(project.path());
    command.env("ibid", tools::ibid()).env("cache", cache.dir());
    run(command, &script);
}

#[test]
fn files_that_may_not_be_written() {
    if tools::is_root() && !tools::have("setpriv") {
        return;
    }
    let (cache, project) = prepared();
    // Root may write everything: another user it is, with a program where he can reach it.
    let user: &[&str] = if tools::is_root() {
        &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env"]
    } else {
        &["env"]
    };
    let ibid = cache.root().join("program/ibid");
    fs::create_dir(ibid.parent().unwrap()).unwrap();
    let own = if tools::is_root() { "chown -R 65534:65534 \"$1\" ." } else { ":" };
    let prepare = format!(
        "cp '{}' '{}' && set -- '{}' && {own}",
        tools::ibid().display(),
        ibid.display(),
        cache.root().display()
    );
    project.shell(&cache, &prepare);
    let script = format!(
        "{STORE}
        chmod -R a-w \"$cache\"
        rm -f /dev/shm/$(cd \"$cache\"/v*; tr -d '\\0' <index | head -c 200 | grep -ao 'ibid-[0-9]*-[0-9a-f]*')
        {CHECKS}
        chmod -R u+w \"$cache\""
    );
    let mut command = cache.command(user[0]);
    command.args(&user[1..]).current_dir(project.path());
    command.env("ibid", &ibid).env("cache", cache.dir());
    run(command, &script);
}
