//! `ibid export` and `ibid import`: what another cache takes over, and what it does not.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::random::Random;
use crate::{rustc, tools};

fn run(cache: &Cache, args: &[&str]) -> Output {
    cache.ibid(args).current_dir(cache.root()).output().unwrap()
}

/// A subcommand that must fail with one line on standard error; that line. The status is 2 where what was named cannot be
/// used at all, and 1 where the work went wrong.
#[track_caller]
fn refused(cache: &Cache, args: &[&str]) -> String {
    one_line(&run(cache, args), args)
}

#[track_caller]
fn one_line(done: &Output, args: &[&str]) -> String {
    let said = String::from_utf8(done.stderr.clone()).unwrap();
    let is_damage = ["nothing is imported", "full", "Broken pipe"];
    let status = if is_damage.iter().any(|words| said.contains(words)) { 1 } else { 2 };
    assert_eq!(done.status.code(), Some(status), "{args:?}: {done:?}");
    assert!(done.stdout.is_empty() && said.lines().count() == 1, "{args:?}: {done:?}");
    assert!(said.starts_with("ibid: "), "{said}");
    said
}

/// Exports to a file below the cache's root.
fn export(cache: &Cache) -> PathBuf {
    let file = cache.root().join("export");
    cache.say(&["export", file.to_str().unwrap()]);
    file
}

fn import(cache: &Cache, file: &Path) -> String {
    cache.say(&["import", file.to_str().unwrap()])
}

fn is_whole(cache: &Cache) {
    let said = cache.say(&["verify"]);
    assert!(said.contains("nothing is damaged"), "{said}");
}

fn seeded() -> Random {
    let seed = Random::seed();
    tools::say(&format!("export: IBID_TEST_SEED={seed}"));
    Random::new(seed)
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const SOURCES: &[(&str, &str)] = &[
    ("inc/h.h", "#include <stdio.h>\nstatic inline void say(void) { puts(\"said\"); }\n"),
    ("a.c", "#include \"h.h\"\nint a(void) { int unused; say(); return 1; }\n"),
    (
        "a.cc",
        "#include <vector>\n#include \"h.h\"\nint a() { say(); return std::vector<int>(3).size(); }\n",
    ),
    ("m.rs", "pub fn m() -> u32 { 7 }\n"),
    ("a.rs", "mod m;\npub fn a() -> u32 { let unused = 1; m::m() }\n"),
];

/// A compile of each kind: text, several outputs, a dependency file, a module.
fn lines() -> Vec<String> {
    let c = tools::present(&["gcc", "clang"]);
    let cc = tools::present(&["g++", "clang++"]);
    let c = c.iter().map(|tool| format!("{tool} -Wall -g -Iinc -MD -c a.c -o a.o"));
    let cc = cc.iter().map(|tool| format!("{tool} -O1 -Iinc -c a.cc -o a.o"));
    let rust = rustc::toolchain().map(|bin| {
        let tool = bin.join("rustc");
        format!(
            "{} --crate-type lib --emit=link,metadata,dep-info --edition 2021 a.rs",
            tool.display()
        )
    });
    c.chain(cc).chain(rust).collect()
}

/// A cache in which all of them are stored, and what it exports.
fn exporter(project: &Project) -> (Cache, PathBuf) {
    let cache = rustc::cache();
    for line in lines() {
        project.call(&cache, &line).check().expect(&Outcome::Miss);
    }
    let file = export(&cache);
    (cache, file)
}

#[test]
fn another_cache_hits_with_the_very_bytes() {
    let project = Project::with(SOURCES);
    let (_from, file) = exporter(&project);
    let to = rustc::cache();
    let count = lines().len();
    let said = import(&to, &file);
    assert!(said.starts_with(&format!("imported {count} records and ")), "{said}");
    assert_eq!(to.counters().get("stored"), 0);
    is_whole(&to);
    for line in lines() {
        project.call(&to, &line).check().expect(&Outcome::PortableHit);
        project.call(&to, &line).check().expect(&Outcome::InvocationHit);
    }
    let again = import(&to, &file);
    assert!(again.contains(&format!("0 records and 0 blobs, 0 B; {count} records")), "{again}");
    // What it has now it can give to a third one.
    let third = rustc::cache();
    import(&third, &export(&to));
    for line in lines() {
        project.call(&third, &line).check().expect(&Outcome::PortableHit);
    }
    is_whole(&third);
}

/// What failed for a reason that nobody saw fails here only.
#[test]
fn failing_runs_are_never_exported() {
    let project = Project::with(&[("a.c", "int a = nothing;\n"), ("b.c", "int b;\n")]);
    for tool in tools::present(&["gcc", "clang"]) {
        let (cache, to) = (Cache::new(), Cache::new());
        let [broken, good] = ["a.c", "b.c"].map(|source| format!("{tool} -c {source} -o a.o"));
        project.call(&cache, &good).check().expect(&Outcome::Miss);
        for outcome in [Outcome::ToolFailure, Outcome::ToolFailure, Outcome::FailureHit] {
            project.call(&cache, &broken).check().expect(&outcome);
        }
        let said = import(&to, &export(&cache));
        assert!(said.starts_with("imported 1 record and "), "{said}");
        project.call(&to, &good).check().expect(&Outcome::PortableHit);
        // Not even what is known of the first time goes along.
        for outcome in [Outcome::ToolFailure, Outcome::ToolFailure, Outcome::FailureHit] {
            project.call(&to, &broken).check().expect(&outcome);
        }
    }
}

/// The sources come from elsewhere to the same place: other times, other inodes; and HOME is another one, too.
#[test]
fn copied_sources_in_the_same_place() {
    let project = Project::with(SOURCES);
    let (_from, file) = exporter(&project);
    let copy = "mkdir ../copy.$$ && cp -r * ../copy.$$ && rm -r * && mv ../copy.$$/* . &&
        rmdir ../copy.$$ && find . -type f -exec touch -d 2011-11-11 {} +";
    let to = rustc::cache();
    import(&to, &file);
    let before = fs::metadata(project.at("a.c")).unwrap();
    project.shell(&to, copy);
    let after = fs::metadata(project.at("a.c")).unwrap();
    assert!(before.modified().unwrap() != after.modified().unwrap() && before.ino() != after.ino());
    let home = to.root().join("another home");
    fs::create_dir(&home).unwrap();
    for line in lines() {
        project.call(&to, &line).env("HOME", &home).check().expect(&Outcome::PortableHit);
    }
    // And an edit is no hit, whatever its time says.
    project.write_unnoticed("inc/h.h", &SOURCES[0].1.replace("said", "told"));
    for line in lines().iter().filter(|line| line.contains("-Iinc")) {
        project.call(&to, line).check().expect_miss();
    }
}

/// A user imports what another one has exported, and each sees his own files only.
#[test]
fn another_user_imports() {
    if !tools::is_root() {
        return tools::skip("needs root");
    }
    if !["setpriv", "gcc"].into_iter().all(tools::have) {
        return;
    }
    let place = tempfile::Builder::new().prefix("ibid-export-").tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(tools::ibid(), at("ibid")).unwrap();
    let shell = |user: u32, line: &str| {
        let home = at(&user.to_string());
        let done = Command::new("setpriv")
            .args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()])
            .args(["sh", "-c", &format!("set -e; umask 022; {line}")])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs([("HOME", &home), ("XDG_RUNTIME_DIR", &home), ("ibid", &at("ibid"))])
            .current_dir(place.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{user}: {line}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let (ann, bob) = (64_001, 64_002);
    shell(ann, "mkdir 64001 src; echo 'int a = 1;' >src/a.c; sleep 0.1");
    shell(ann, "cd src; \"$ibid\" gcc -c a.c -o a.o; \"$ibid\" export ../export");
    // His own copy in the same place.
    shell(bob, "mkdir 64002; mv src of-ann; mkdir src; cat of-ann/a.c >src/a.c; sleep 0.1");
    shell(
        bob,
        "\"$ibid\" import export; cd src; \"$ibid\" gcc -c a.c -o a.o; cmp a.o ../of-ann/a.o",
    );
    let stats = shell(bob, "\"$ibid\" stats --json; \"$ibid\" verify >/dev/null");
    let counters = crate::cache::Counters::from_json(&stats);
    assert_eq!(counters.outcome(), Outcome::PortableHit, "{stats}");
    assert_eq!(fs::metadata(at("src/a.o")).unwrap().uid(), bob);
}

/// The index, which shows all that is appended or published.
fn index(cache: &Cache) -> Vec<u8> {
    let layout = fs::read_dir(cache.dir()).unwrap().next().unwrap().unwrap().path();
    fs::read(layout.join("index")).unwrap()
}

#[test]
fn a_file_that_is_cut_or_changed_imports_nothing() {
    let project = Project::with(&[("a.c", "int a(void) { return 1; }\n"), ("b.c", "int b;\n")]);
    let from = Cache::new();
    project.call(&from, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    let whole = fs::read(export(&from)).unwrap();

    let to = Cache::new().with("IBID_MAX_SIZE", "200M");
    project.call(&to, "gcc -c b.c -o b.o").check().expect(&Outcome::Miss);
    let before = index(&to);
    let file = to.root().join("changed");
    let check = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).unwrap();
        let said = refused(&to, &["import", file.to_str().unwrap()]);
        assert!(said.contains(file.to_str().unwrap()), "{said}");
        assert!(index(&to) == before, "{what}: {said}");
    };
    let mut random = seeded();
    let count = if tools::long() { 2000 } else { 60 };
    let edges = [0, 1, 7, 8, 40, 63, 64, 65, 191, 192, whole.len() - 129, whole.len() - 128];
    let edges = edges.into_iter().chain([whole.len() - 33, whole.len() - 32, whole.len() - 1]);
    let places = edges.chain((0..count).map(|_| random.below(whole.len())));
    for at in places.collect::<Vec<_>>() {
        check(&whole[..at], &format!("{at} bytes"));
        let mut changed = whole.clone();
        changed[at] ^= 1 << random.below(8);
        check(&changed, &format!("byte {at}"));
    }
    check(&[&whole[..], b"\n"].concat(), "a byte more");
    is_whole(&to);
    fs::write(&file, &whole).unwrap();
    import(&to, &file);
    project.call(&to, "gcc -c a.c -o a.o").check().expect(&Outcome::PortableHit);
}

/// With the digest of what it says now.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 32;
    let digest = *blake3::hash(&bytes[..end]).as_bytes();
    bytes[end..].copy_from_slice(&digest);
    bytes
}

#[test]
fn a_forged_trailer_and_another_version() {
    let project = Project::with(&[("a.c", "int a;\n")]);
    let from = Cache::new();
    project.call(&from, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    let whole = fs::read(export(&from)).unwrap();
    let to = Cache::new();
    let file = to.root().join("forged");
    let trailer = whole.len() - 128;
    let refused = |bytes: Vec<u8>| {
        fs::write(&file, bytes).unwrap();
        refused(&to, &["import", file.to_str().unwrap()])
    };
    for at in [8, 16, 24] {
        let mut counts = whole.clone();
        counts[trailer + at] += 1;
        let said = refused(sealed(counts));
        assert!(said.contains("is damaged at byte"), "{said}");
    }
    // An object's own byte, with a digest of the whole that fits.
    let object = project.read("a.o");
    let at = whole.windows(object.len()).position(|window| window == object).unwrap();
    let mut other = whole.clone();
    other[at + 40] ^= 1;
    let said = refused(sealed(other));
    assert!(said.contains(&format!("is damaged at byte {at}")), "{said}");

    let mut layout = whole.clone();
    layout[8..11].copy_from_slice(b"v9-");
    let check = xxhash_rust::xxh3::xxh3_64(&layout[..56]).to_le_bytes();
    layout[56..64].copy_from_slice(&check);
    let said = refused(sealed(layout));
    assert!(said.contains("another version of ibid (layout v9-"), "{said}");
    assert_eq!(to.counters().get("records"), 0);
    fs::write(&file, sealed(whole)).unwrap();
    import(&to, &file);
    project.call(&to, "gcc -c a.c -o a.o").check().expect(&Outcome::PortableHit);
}

/// What was stored since, and what a build has used since that came from elsewhere.
#[test]
fn since_a_time() {
    let project = Project::with(&[("a.c", "int a;\n"), ("b.c", "int b;\n"), ("c.c", "int c;\n")]);
    let compile = |cache: &Cache, name: &str| {
        project.call(cache, &format!("gcc -c {name}.c -o {name}.o")).check().outcome
    };
    let next_second = || {
        let begin = now_s();
        while now_s() == begin {
            thread::sleep(Duration::from_millis(20));
        }
        now_s()
    };
    // Of the three those that are hits in a cache which imports nothing else.
    let exported = |cache: &Cache, since: &str| -> String {
        let file = cache.root().join("since");
        cache.say(&["export", file.to_str().unwrap(), "--since", since]);
        let to = Cache::new();
        import(&to, &file);
        is_whole(&to);
        ["a", "b", "c"].into_iter().filter(|name| compile(&to, name).is_hit()).collect()
    };
    let from = Cache::new();
    assert_eq!([compile(&from, "a"), compile(&from, "b")], [Outcome::Miss, Outcome::Miss]);
    let later = next_second();
    compile(&from, "c");
    for since in ["1h", "2d", "2020-01-01", "1000000000"] {
        assert_eq!(exported(&from, since), "abc", "{since}");
    }
    assert_eq!(exported(&from, &later.to_string()), "c");
    let date = project.shell(&from, &format!("date -u -d @{later} +%Y-%m-%dT%H:%M:%SZ"));
    assert_eq!(exported(&from, date.trim()), "c");
    assert_eq!(exported(&from, "2100-01-01T00:00:00+01:00"), "");
    for wrong in ["3", "yesterday", "2026-13-01"] {
        let done = run(&from, &["export", "x", "--since", wrong]);
        assert_eq!(done.status.code(), Some(2), "{done:?}");
        assert!(!from.root().join("x").exists());
    }

    // A job that imports, uses some of it and stores something new gives on what it used.
    let job = Cache::new();
    import(&job, &export(&from));
    let begin = next_second();
    assert_eq!(compile(&job, "b"), Outcome::PortableHit);
    project.write("a.c", "int another;\n");
    assert_eq!(compile(&job, "a"), Outcome::Miss);
    assert_eq!(exported(&job, &begin.to_string()), "ab");
}

/// What one build was served and has stored, and nothing of another.
#[test]
fn of_a_build() {
    let project = Project::with(&[("a.c", "int a;\n"), ("b.c", "int b;\n"), ("c.c", "int c;\n")]);
    let cache = Cache::new();
    let compile = |build: &str, name: &str| {
        project
            .call(&cache, &format!("gcc -c {name}.c -o {name}.o"))
            .env("IBID_BUILD", build)
            .check()
    };
    compile("first", "a").expect_miss();
    compile("first", "b").expect_miss();
    compile("second", "b").expect_hit();
    compile("second", "c").expect_miss();
    let file = cache.root().join("of-second");
    let shown = file.to_str().unwrap();
    let said = run(&cache, &["export", shown, "--build", "second"]);
    assert!(
        String::from_utf8_lossy(&said.stdout).starts_with("exported 2 records and "),
        "{said:?}"
    );
    let other = Cache::new();
    import(&other, &file);
    for (name, is_hit) in [("a", false), ("b", true), ("c", true)] {
        let seen = project.call(&other, &format!("gcc -c {name}.c -o {name}.o")).check();
        assert_eq!(seen.outcome.is_hit(), is_hit, "{name}: {:?}", seen.outcome);
    }
    let said = refused(&cache, &["export", shown, "--build", "third"]);
    assert!(said.contains("no build `third` is known"), "{said}");
    let both = run(&cache, &["export", shown, "--build", "first", "--since", "1h"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

#[test]
fn more_than_the_cache_may_hold() {
    let (from, project) = (Cache::new(), Project::new());
    // What can be compressed would be.
    project.write("a.bin", Random::new(1).bytes(8 << 20));
    for number in 0..24 {
        let text = format!("asm(\".incbin \\\"a.bin\\\"\"); int a = {number};\n");
        project.write(&format!("{number}.c"), text);
        let line = format!("gcc -c {number}.c -o a.o");
        project.call(&from, &line).check().expect(&Outcome::Miss);
    }
    let file = export(&from);
    assert!(fs::metadata(&file).unwrap().len() > 24 * (8 << 20));
    let to = Cache::new().with("IBID_MAX_SIZE", "150M");
    let said = import(&to, &file);
    let why = " older records are left out: the cache has no room for them (max_size is 150 MB)\n";
    let left_out = said.strip_suffix(why).and_then(|said| said.lines().last());
    let left_out: usize = left_out.and_then(|left_out| left_out.parse().ok()).expect(&said);
    assert!((8..=16).contains(&left_out), "{said}");
    let used = to.counters().get("bytes_used");
    assert!(used <= 150_000_000, "{used}");
    is_whole(&to);
    for number in [0, left_out - 1, left_out, 23] {
        let line = format!("gcc -c {number}.c -o a.o");
        let outcome = project.call(&to, &line).check().outcome;
        assert_eq!(outcome.is_hit(), number >= left_out, "{number}: {outcome:?}");
    }
}

#[test]
fn files_that_are_none() {
    let mut cache = Cache::new();
    let root = cache.root().to_owned();
    let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
    fs::write(at("text"), "int main;\n").unwrap();
    fs::write(at("empty"), "").unwrap();
    for (file, why) in [
        ("missing".to_owned(), "it is not there"),
        (at("home"), "directory"),
        (at("text"), "is not an export of ibid"),
        (at("empty"), "is not an export of ibid"),
        ("/dev/null".to_owned(), "is not an export of ibid"),
        ("/dev/zero".to_owned(), "is not an export of ibid"),
        ("-".to_owned(), "is not an export of ibid"),
    ] {
        let said = refused(&cache, &["import", &file]);
        assert!(said.contains(why), "{file}: {said}");
    }
    for (file, why) in [
        (at("home"), "directory"),
        (at("home/"), "directory"),
        (at("no/where"), "no is no directory; make it first"),
        (at("text/x"), "text is no directory"),
        ("/dev/full".to_owned(), "its disk is full"),
    ] {
        let said = refused(&cache, &["export", &file]);
        assert!(said.contains(why), "{file}: {said}");
    }
    for words in [&["export"][..], &["import"], &["import", "a", "b"], &["export", "--build", "x"]]
    {
        let done = run(&cache, words);
        assert_eq!(done.status.code(), Some(2), "{done:?}");
        assert!(String::from_utf8(done.stderr).unwrap().lines().count() <= 8);
    }
    assert_eq!(fs::read(at("text")).unwrap(), b"int main;\n");
    cache.set("IBID_READONLY", "1");
    assert!(refused(&cache, &["import", &at("text")]).contains("`readonly` is set"));
    cache.set("IBID_DIR", "/proc/nowhere");
    for command in ["export", "import"] {
        refused(&cache, &[command, &at("text")]);
    }
}

/// Pipes, named pipes, symlinks, and what an old file of that name had.
#[test]
fn where_an_export_goes_and_comes_from() {
    let project = Project::with(&[("a.c", "int a;\n")]);
    let from = Cache::new();
    project.call(&from, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    let place = Project::new();
    let script = r#"
        set -e; umask 027
        "$ibid" export plain; test "$(stat -c %a plain)" = 640
        "$ibid" export - >stdout 2>said; cmp_bodies() { tail -c +65 "$1" | head -c -128 | cksum; }
        test "$(cmp_bodies plain)" = "$(cmp_bodies stdout)"; grep -q "exported 1 record and" said
        mkfifo pipe; cat pipe >fifo & "$ibid" export pipe >said; wait; test -p pipe
        test "$(cmp_bodies plain)" = "$(cmp_bodies fifo)"
        mkdir sub; echo old >sub/old; chmod 604 sub/old; ln -s sub/old link
        "$ibid" export link >said; test -L link; test "$(stat -c %a sub/old)" = 604
        test "$(cmp_bodies plain)" = "$(cmp_bodies sub/old)"
        test "$(ls -A sub)" = old
        if "$ibid" export - 2>said | true; then :; fi
        for way in '"$ibid" import plain' 'cat plain | "$ibid" import -' '"$ibid" import - <plain' \
            'cat plain >pipe & "$ibid" import pipe; wait'; do
            export IBID_DIR="$PWD/cache"; rm -rf cache
            eval "$way" >said; grep -q "^imported 1 record and 1 blob," said
            "$ibid" verify >said; grep -q "^1 record and 1 blob are" said
            test "$(ls cache/*/ | grep -c tmp-)" = 0
        done
    "#;
    let mut command = from.command("bash");
    command.args(["-c", script]).current_dir(place.path()).env("ibid", tools::ibid());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let mut known = ["cache", "fifo", "link", "pipe", "plain", "said", "stdout", "sub"];
    known.sort_unstable();
    assert_eq!(names(place.path()), known);

    // A reader that goes away is a failure here: what it has is not whole.
    let mut child = from.ibid(["export", "-"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = child.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert!(one_line(&done, &["export", "-"]).contains("Broken pipe"));
}

/// Where there is no room, or no permission, nothing stays behind, and an old file is as it was.
#[test]
fn an_export_that_fails_leaves_nothing() {
    if !tools::is_root() {
        return tools::skip("mounting needs root");
    }
    if !["unshare", "mount", "setpriv", "gcc"].into_iter().all(tools::have) {
        return;
    }
    let project = Project::with(&[("a.c", "char a[9 << 20] = { 1 };\n")]);
    let from = Cache::new();
    project.call(&from, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    let place = Project::new();
    let script = r#"
        mkdir small || exit 1
        mount --make-rprivate / && mount -t tmpfs -o size=4m none small || exit 77
        echo old >small/old
        for name in new old; do
            "$ibid" export small/$name >out 2>said && exit 2
            test "$(wc -l <said)" = 1 && grep -q "its disk is full" said || { cat said; exit 3; }
        done
        test "$(ls -A small)" = old && test "$(cat small/old)" = old || exit 4
        mkdir closed; mount -t tmpfs -o ro none closed || exit 77
        "$ibid" export closed/x >out 2>said && exit 5
        test "$(wc -l <said)" = 1 || { cat said; exit 6; }
        # The disk of the cache is full: what is there stays, and nothing is left of the rest.
        "$ibid" export whole >out || exit 7
        mount -o remount,size=40m small || exit 77
        rm small/old; dd if=/dev/zero of=small/ballast bs=1M count=34 2>said || exit 8
        export IBID_DIR="$PWD/small/cache"
        "$ibid" import whole >out 2>said && exit 9
        test "$(wc -l <said)" = 1 || { cat said; exit 10; }
        cat whole | "$ibid" import - >out 2>said && exit 11
        test "$(wc -l <said)" = 1 || { cat said; exit 12; }
        test "$(ls small/cache/*/ | grep -c tmp-)" = 0 || exit 13
        rm small/ballast
        "$ibid" import whole >out 2>said || { cat said; exit 14; }
        grep -q "^imported 1 record and" out || { cat out; exit 15; }
        "$ibid" verify >out || { cat out; exit 16; }
    "#;
    let mut command = from.command("unshare");
    command.args(["-m", "sh", "-c", script]).current_dir(place.path()).env("ibid", tools::ibid());
    let done = command.output().unwrap();
    if done.status.code() == Some(77) {
        return tools::skip(&format!("cannot mount: {}", String::from_utf8_lossy(&done.stderr)));
    }
    assert!(done.status.success(), "{done:?}");
}

/// Killed at any moment: the file is there and whole, or not there; the cache is whole, and the rest comes with the next
/// import.
#[test]
fn killed_exports_and_imports() {
    let (from, project) = (Cache::new(), Project::new());
    for number in 0..12 {
        project.write(&format!("{number}.c"), format!("char a[2 << 20] = {{ {number}, 1 }};\n"));
        let line = format!("gcc -c {number}.c -o {number}.o");
        project.call(&from, &line).check().expect(&Outcome::Miss);
    }
    let place = Project::new();
    let file = place.at("export");
    let mut random = seeded();
    let mut killed = |mut command: Command, most_ms: usize| {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(random.below(most_ms * 1000) as u64));
        let _ = child.kill();
        child.wait().unwrap();
    };
    let checker = Cache::new();
    for _ in 0..if tools::long() { 200 } else { 20 } {
        killed(from.ibid(["export", file.to_str().unwrap()]), 120);
        assert!(matches!(names(place.path()).as_slice(), [] | [_]), "{:?}", names(place.path()));
        if file.exists() {
            import(&checker, &file);
            fs::remove_file(&file).unwrap();
        }
    }
    let file = export(&from);
    let to = Cache::new();
    for _ in 0..if tools::long() { 200 } else { 20 } {
        killed(to.ibid(["import", file.to_str().unwrap()]), 200);
        is_whole(&to);
    }
    import(&to, &file);
    is_whole(&to);
    for number in 0..12 {
        let line = format!("gcc -c {number}.c -o {number}.o");
        project.call(&to, &line).check().expect(&Outcome::PortableHit);
    }
}

/// Several imports of overlapping files while builds fill and evict.
#[test]
fn at_the_same_time() {
    let project = Project::new();
    for number in 0..30 {
        project
            .write(&format!("{number}.c"), format!("int f{number}(void) {{ return {number}; }}\n"));
    }
    let line = |number: usize| format!("gcc -c {number}.c -o {number}.o");
    let caches = [Cache::new(), Cache::new()];
    for number in 0..30 {
        let check = |cache| drop(project.call(cache, &line(number)).check().expect_miss());
        caches.iter().take(1 + number % 2).for_each(check);
    }
    let files = caches.each_ref().map(export);
    let to = Cache::new();
    thread::scope(|scope| {
        for at in 0..4 {
            let (file, to) = (&files[at % 2], &to);
            scope.spawn(move || import(to, file));
        }
        scope.spawn(|| {
            for number in (0..30).rev() {
                let mut compile = to.ibid(["gcc", "-c", &format!("{number}.c"), "-o", "x.o"]);
                assert!(compile.current_dir(project.path()).status().unwrap().success());
            }
        });
    });
    is_whole(&to);
    for number in 0..30 {
        project.call(&to, &line(number)).check().expect_hit();
    }
    assert!(File::open(&files[0]).is_ok());
}
