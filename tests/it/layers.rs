//! A second cache that is only read (`IBID_READONLY_DIR`): it serves where the own one has nothing, and nothing that is done
//! to it disturbs a compile.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

const LINE: &str = "gcc -c a.c -o a.o";

/// A cache that has a result of `LINE`, and a project in which that is true.
fn filled() -> (Cache, Project) {
    let (base, project) = (Cache::new(), Project::with(&[("a.c", "#include <stdio.h>\nint a;\n")]));
    project.call(&base, LINE).check().expect(&Outcome::Miss);
    (base, project)
}

/// The same before a script has filled it: what a shell passes on to gcc is not what a test passes on.
fn to_be_filled() -> (Cache, Project) {
    (Cache::new(), Project::with(&[("a.c", "#include <stdio.h>\nint a;\n")]))
}

fn above(base: &Cache) -> Cache {
    Cache::new().with("IBID_READONLY_DIR", base.dir())
}

fn inside(cache: &Path) -> PathBuf {
    fs::read_dir(cache).unwrap().next().unwrap().unwrap().path()
}

fn segments(cache: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(inside(cache)).unwrap().flatten().map(|entry| entry.path());
    names.filter(|path| path.to_str().unwrap().contains("/seg-")).collect()
}

/// Each file of a directory with its bytes, its inode and its times.
fn state(directory: &Path) -> Vec<(PathBuf, Vec<u8>, u64, i64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, state) = (entry.path(), entry.metadata().unwrap());
        if state.is_dir() {
            found.extend(self::state(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap(), state.ino(), state.mtime()));
        }
    }
    found.sort();
    found
}

/// What doctor says of the layer, which is one line.
fn doctor(cache: &Cache) -> String {
    let said = cache.ibid(["doctor", "-v", "--quick"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("read-only cache")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    lines[0].to_owned()
}

#[test]
fn a_layer_serves_and_is_copied_up() {
    let (base, project) = filled();
    let cache = above(&base);
    let before = state(&base.dir());
    project.call(&cache, LINE).check().expect(&Outcome::PortableHit);
    project.call(&cache, LINE).check().expect(&Outcome::InvocationHit);
    assert!(state(&base.dir()) == before, "it was written");
    assert!(doctor(&cache).starts_with("ok"));
    // What it does not have is a miss, stored in the own one; what was copied stays without it.
    project.write("b.c", "int b;\n");
    project.call(&cache, "gcc -c b.c -o b.o").check().expect(&Outcome::Miss);
    fs::remove_dir_all(base.dir()).unwrap();
    project.touch("a.c");
    project.call(&cache, LINE).check().expect(&Outcome::PortableHit);
    assert!(doctor(&cache).starts_with("warn"));
    assert!(cache.say(&["verify"]).contains("nothing is damaged"));
}

/// Two states of a header, each with its result, and a third one that nobody has compiled.
#[test]
fn each_state_of_a_header_has_its_own_result() {
    let (base, project) =
        (Cache::new(), Project::with(&[("a.c", "#include \"a.h\"\nint a = A;\n")]));
    let state = |number: u32| project.write("a.h", format!("#define A {number}\n"));
    for number in 1..3 {
        state(number);
        project.call(&base, LINE).check().expect(&Outcome::Miss);
    }
    let cache = above(&base);
    for number in [1, 2, 1] {
        state(number);
        project.call(&cache, LINE).check().expect(&Outcome::PortableHit);
    }
    state(3);
    project.call(&cache, LINE).check().expect(&Outcome::Miss);
    // One that was looked for in vain appears.
    state(1);
    fs::create_dir(project.at("include")).unwrap();
    let line = "gcc -Iinclude -I. -c a.c -o a.o -include stddef.h";
    project.call(&base, line).check().expect(&Outcome::Miss);
    project.write("include/stddef.h", "#define A 7\n");
    project.call(&above(&base), line).check().expect(&Outcome::Miss);
}

/// A source with the same content, and one with another.
#[test]
fn only_what_is_true_is_served() {
    let (base, project) = filled();
    project.write("a.c", "#include <stdio.h>\nint a = 1;\n");
    project.call(&above(&base), LINE).check().expect(&Outcome::Miss);
    project.write("a.c", "#include <stdio.h>\nint a;\n");
    project.call(&above(&base), "gcc -O1 -c a.c -o a.o").check().expect(&Outcome::Miss);
    project.call(&above(&base), LINE).check().expect(&Outcome::PortableHit);
    project.write("stdio.h", "int b;\n");
    project.call(&above(&base), "gcc -I. -c a.c -o a.o").check().expect(&Outcome::Miss);
}

#[test]
fn explain_knows_it() {
    let (base, project) = filled();
    let cache = above(&base);
    let explain = || {
        let mut command = cache.ibid(["explain", "--"]);
        let done = command.args(LINE.split(' ')).current_dir(project.path()).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(explain().starts_with("hit"), "{}", explain());
    project.write("a.c", "int c;\n");
    assert!(explain().starts_with("miss"), "{}", explain());
}

#[test]
fn nothing_can_be_stored() {
    let (base, project) = filled();
    let cache = above(&base).with("IBID_READONLY", "1");
    for _ in 0..2 {
        project.call(&cache, LINE).check().expect(&Outcome::PortableHit);
    }
    assert!(segments(&cache.dir()).is_empty());
    project.write("b.c", "int b;\n");
    let outcome = Outcome::NotStored("read_only".to_owned());
    project.call(&cache, "gcc -c b.c -o b.o").check().expect(&outcome);
}

/// What failed elsewhere may have lacked what is here.
#[test]
fn failing_runs_are_not_taken_from_it() {
    let (base, project) = (Cache::new(), Project::with(&[("a.c", "int a\n")]));
    for _ in 0..3 {
        project.call(&base, LINE).check();
    }
    assert_eq!(base.counters().get("failure_hits"), 1);
    for readonly in ["0", "1"] {
        let cache = above(&base).with("IBID_READONLY", readonly);
        project.call(&cache, LINE).check();
        assert_eq!(cache.counters().get("tool_failures"), 1);
        assert_eq!(cache.counters().get("failure_hits"), 0);
    }
}

#[test]
fn a_layer_that_others_may_write() {
    let (base, project) = filled();
    let inner = inside(&base.dir());
    let segment = segments(&base.dir()).remove(0);
    for path in [base.dir(), inner.clone(), inner.join("index"), segment] {
        let mode = fs::metadata(&path).unwrap().permissions();
        for bit in [0o020, 0o002] {
            fs::set_permissions(&path, Permissions::from_mode(mode.mode() | bit)).unwrap();
            let cache = above(&base);
            project.call(&cache, LINE).check().expect(&Outcome::Miss);
            let said = doctor(&cache);
            assert!(said.starts_with("warn") && said.contains("written by others"), "{said}");
        }
        fs::set_permissions(&path, mode).unwrap();
    }
    project.call(&above(&base), LINE).check().expect(&Outcome::PortableHit);
}

/// Each byte of what is used is flipped, in steps; the files are cut, or filled with zeros.
#[test]
fn a_layer_that_is_damaged() {
    let (base, project) = filled();
    let inner = inside(&base.dir());
    let segment = segments(&base.dir()).remove(0);
    let whole = fs::read(&segment).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let step = if tools::long() { 97 } else { 4999 };
    for at in (0..used).step_by(step) {
        let file = File::options().write(true).open(&segment).unwrap();
        file.write_all_at(&[whole[at] ^ 0x40], at as u64).unwrap();
        let outcome = project.call(&above(&base), LINE).check().outcome;
        assert!(matches!(outcome, Outcome::Miss | Outcome::PortableHit), "{at}: {outcome:?}");
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
    project.call(&above(&base), LINE).check().expect(&Outcome::PortableHit);
    for name in [segment, inner.join("index")] {
        let whole = fs::read(&name).unwrap();
        for cut in [0, 100, 5000, whole.len() / 2] {
            for is_short in [true, false] {
                let mut bytes = whole[..cut].to_vec();
                if !is_short {
                    bytes.resize(whole.len(), 0);
                }
                fs::write(&name, bytes).unwrap();
                let cache = above(&base);
                let outcome = project.call(&cache, LINE).check().outcome;
                assert!(matches!(outcome, Outcome::Miss | Outcome::PortableHit), "{outcome:?}");
                if is_short || cut < 5000 {
                    assert!(outcome.is_miss());
                }
                // Of a segment only the head is looked at, and its length.
                if is_short || cut == 0 {
                    assert!(doctor(&cache).starts_with("warn"), "{} {cut}", name.display());
                }
            }
        }
        fs::write(&name, whole).unwrap();
    }
    project.call(&above(&base), LINE).check().expect(&Outcome::PortableHit);
}

/// Segments come, go and are exchanged while compiles look in it.
#[test]
fn a_layer_that_changes_underneath() {
    let (base, project) = filled();
    let (other, kept) = (Cache::new(), base.root().join("kept"));
    project.write("b.c", "int b;\n");
    project.call(&other, "gcc -c b.c -o b.o").check().expect(&Outcome::Miss);
    let segment = segments(&base.dir()).remove(0);
    let foreign = segments(&other.dir()).remove(0);
    let done = base.root().join("done");
    fs::copy(&segment, &kept).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !done.exists() {
                round += 1;
                match round % 4 {
                    0 => drop(fs::remove_file(&segment)),
                    1 => drop(fs::copy(&foreign, &segment).unwrap()),
                    2 => File::options().write(true).open(&segment).unwrap().set_len(9000).unwrap(),
                    _ => drop(fs::copy(&kept, &segment).unwrap()),
                }
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        });
        for _ in 0..40 {
            let outcome = project.call(&above(&base), LINE).check().outcome;
            assert!(matches!(outcome, Outcome::Miss | Outcome::PortableHit), "{outcome:?}");
        }
        fs::write(&done, "").unwrap();
    });
}

#[test]
fn what_doctor_says() {
    let (base, project) = filled();
    let says = |cache: &Cache, words: &str| {
        project.call(cache, LINE).check().expect(&Outcome::Miss);
        let said = doctor(cache);
        assert!(said.starts_with("warn") && said.contains(words), "{words}: {said}");
    };
    let at = |path: &Path| Cache::new().with("IBID_READONLY_DIR", path);
    says(&at(Path::new("/nowhere/at/all")), "cannot read");
    says(&at(&project.at("a.c")), "cannot read");
    let empty = base.root().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, Permissions::from_mode(0o755)).unwrap();
    says(&at(&empty), "no cache is in it");
    // One that a newer version made.
    let inner = inside(&base.dir());
    let newer = inner.with_file_name("v7-abcd-le64");
    fs::rename(&inner, &newer).unwrap();
    says(&above(&base), "v7-abcd-le64");
    fs::rename(&newer, &inner).unwrap();
    // A segment from the future is no segment of it.
    let future = inner.join("seg-00000000000fffff");
    fs::copy(segments(&base.dir()).remove(0), &future).unwrap();
    let cache = above(&base);
    project.call(&cache, LINE).check().expect(&Outcome::PortableHit);
    assert!(doctor(&cache).starts_with("warn"));
    fs::remove_file(future).unwrap();
    // The cache itself.
    let mut cache = base;
    cache.set("IBID_READONLY_DIR", cache.dir());
    project.call(&cache, LINE).check().expect_hit();
    assert!(doctor(&cache).contains("the cache directory itself"));
}

/// The setting in the file.
#[test]
fn the_key_in_the_settings_file() {
    let (base, project) = filled();
    let cache = Cache::new();
    cache.say(&["config", "set", "readonly_dir", base.dir().to_str().unwrap()]);
    project.call(&cache, LINE).check().expect(&Outcome::PortableHit);
    project.call(&cache, LINE).check().expect(&Outcome::InvocationHit);
}

/// A container image that has a cache: it is packed and restored elsewhere, with other inodes and times, and so are the sources.
#[test]
fn a_layer_that_was_baked_into_an_image() {
    let (base, project) = filled();
    let image = Cache::new();
    let line = "tar -C \"$from\" -cf image.tar . && mkdir opt && tar -C opt -xmf image.tar && chmod -R a+rX,go-w opt";
    let mut pack = image.command("sh");
    pack.args(["-c", line]).env("from", base.dir()).current_dir(image.root());
    assert!(pack.status().unwrap().success());
    fs::remove_dir_all(base.dir()).unwrap();
    project.touch("a.c");
    let baked = image.root().join("opt");
    let before = state(&baked);
    let cache = Cache::new().with("IBID_READONLY_DIR", baked.clone());
    project.call(&cache, LINE).check().expect(&Outcome::PortableHit);
    project.call(&cache, LINE).check().expect(&Outcome::InvocationHit);
    // In another checkout, where nothing names the place: the first one may be compared with the tool's own.
    let other = Project::with(&[("a.c", "#include <stdio.h>\nint a;\n")]);
    let cache = Cache::new().with("IBID_READONLY_DIR", baked.clone());
    other.call(&cache, LINE).check();
    other.call(&cache, LINE).check().expect_hit();
    assert!(state(&baked) == before, "it was written");
}

/// A result that the own cache has no room for is delivered from the layer.
#[test]
fn what_the_own_cache_has_no_room_for() {
    let (base, project) = (Cache::new(), Project::with(&[("a.c", "char a[4 << 20] = { 1 };\n")]));
    project.call(&base, LINE).check().expect(&Outcome::Miss);
    let cache = above(&base).with("IBID_MAX_SIZE", "16M");
    for _ in 0..2 {
        project.call(&cache, LINE).check().expect(&Outcome::PortableHit);
    }
}

fn in_a_shell(mut command: std::process::Command, script: &str) {
    let done = command.args(["sh", "-c", script]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_layer_of_another_user() {
    if !tools::is_root() {
        return tools::skip("another user's cache needs root");
    }
    let (base, project) = filled();
    let own = |user: u32| {
        let line = format!("chown -R {user}:{user} '{}'", base.dir().display());
        project.shell(&base, &line);
    };
    own(65534);
    project.call(&above(&base), LINE).check().expect(&Outcome::PortableHit);
    // A part of it is a third user's.
    let segment = segments(&base.dir()).remove(0);
    std::os::unix::fs::chown(&segment, Some(12345), None).unwrap();
    let cache = above(&base);
    project.call(&cache, LINE).check().expect(&Outcome::Miss);
    assert!(doctor(&cache).contains("belongs to another user"));
}

/// Where others may put a directory of their own in its place, another user's is not used; root's and one's own are.
#[test]
fn a_name_that_others_may_take() {
    if !tools::is_root() {
        return tools::skip("another user's cache needs root");
    }
    let (base, project) = filled();
    let outer = base.root().join("outer");
    fs::create_dir(&outer).unwrap();
    let (layer, link) = (outer.join("layer"), base.root().join("link"));
    fs::rename(base.dir(), &layer).unwrap();
    std::os::unix::fs::symlink(&layer, &link).unwrap();
    let chown = |path: &Path, user: u32| std::os::unix::fs::chown(path, Some(user), None).unwrap();
    let chmod = |mode: u32| fs::set_permissions(&outer, Permissions::from_mode(mode)).unwrap();
    let at = |path: &Path| Cache::new().with("IBID_READONLY_DIR", path);
    let serves = |path: &Path| project.call(&at(path), LINE).check().expect(&Outcome::PortableHit);
    let refuses = |path: &Path, words: &str| {
        let cache = at(path);
        project.call(&cache, LINE).check().expect(&Outcome::Miss);
        let said = doctor(&cache);
        assert!(said.starts_with("warn") && said.contains(words), "{words}: {said}");
    };
    for mode in [0o755, 0o777, 0o1777] {
        chmod(mode);
        serves(&layer);
        serves(&link);
    }
    project.shell(&base, &format!("chown -R 65534 '{}'", layer.display()));
    for mode in [0o777, 0o775, 0o1777] {
        chmod(mode);
        refuses(&layer, "others may put a directory");
    }
    chmod(0o755);
    serves(&layer);
    refuses(&link, "reached by a symlink");
    chown(&outer, 65534);
    serves(&layer);
    chown(&outer, 12345);
    refuses(&layer, "others may put a directory");
}

/// A user who is not root looks in a layer of root's, and in one whose files he may not read.
#[test]
fn by_another_user() {
    if !tools::is_root() || !tools::have("setpriv") {
        return tools::skip("another user needs root");
    }
    let (base, project) = to_be_filled();
    // Root's own directories, which may be in a test's `PATH`, are not there for others.
    let cache = above(&base).with("PATH", "/usr/bin:/bin");
    let script = r#"
        IBID_DIR="$layer" "$ibid" gcc -c a.c -o bare.o && IBID_DIR="$layer" "$ibid" gcc -c a.c -o a.o || exit 9
        mkdir "$root/program" && cp "$ibid" "$root/program/ibid" || exit 9
        chmod 755 "$layer/.." && chmod -R a+rX "$layer" && chown -R 65534:65534 "$root" . || exit 9
        user="setpriv --reuid=65534 --regid=65534 --clear-groups env"
        compile() { rm -f a.o log; $user IBID_LOG=log "$root/program/ibid" gcc -c a.c -o a.o >said 2>&1 || exit 1; test -s said && exit 2; cmp a.o bare.o || exit 3; }
        compile; grep -q "content hit" log || { cat log; exit 4; }
        compile; grep -q "direct hit" log || { cat log; exit 5; }
        chmod -R go-rX "$layer"/*; rm -rf "$root/cache"
        compile; grep -q "miss" log || { cat log; exit 6; }
        $user "$root/program/ibid" doctor -v --quick >said; grep -q "^warn  read-only cache.*cannot read" said || { cat said; exit 7; }
    "#;
    let mut command = cache.command("env");
    command.current_dir(project.path()).env("ibid", tools::ibid());
    command.env("layer", base.dir()).env("root", cache.root());
    in_a_shell(command, script);
}

/// The layer is on a read-only mount, and then the own cache is, too.
#[test]
fn a_layer_on_a_read_only_mount() {
    if !tools::is_root() || !["unshare", "mount"].into_iter().all(tools::have) {
        return tools::skip("mounting needs root");
    }
    let (base, project) = to_be_filled();
    let cache = above(&base);
    let script = r#"
        IBID_DIR="$base" "$ibid" gcc -c a.c -o bare.o && IBID_DIR="$base" "$ibid" gcc -c a.c -o a.o || exit 9
        compile() { rm -f a.o log; IBID_LOG=log "$ibid" gcc -c a.c -o a.o >said 2>&1 || exit 1; test -s said && exit 2; cmp a.o bare.o || exit 3; }
        mount --make-rprivate / && cp -a "$base" "$base.copy" && mount -t tmpfs -o mode=700 none "$base" || exit 9
        cp -a "$base.copy/." "$base" && mount -o remount,ro "$base" || exit 9
        compile; grep -q "content hit" log || { cat log; exit 4; }
        "$ibid" clear && "$ibid" stats >said || exit 5
        mount --bind "$own" "$own" && mount -o remount,bind,ro "$own" || exit 9
        for readonly in 0 1; do
            export IBID_READONLY=$readonly
            compile; grep -q "content hit" log || { cat log; exit 6; }
        done
    "#;
    let mut command = cache.command("unshare");
    command.arg("-m").current_dir(project.path()).env("own", cache.dir());
    command.env("ibid", tools::ibid()).env("base", base.dir());
    in_a_shell(command, script);
}
