//! Real projects, not written here: built bare, cold and warm; the results must be the same, and warm has no misses.
//!
//! Their sources come from published crates through cargo's ordinary cache. Where that cannot be reached, the test says
//! so and, outside CI, goes home.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

/// A project whose files are those of `below` in a published crate.
fn published(name: &str, version: &str, below: &str) -> Option<Project> {
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\n{name} = \"={version}\"\n"
    );
    let scratch = Project::with(&[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
    let cargo = |args: &[&str]| {
        Command::new(env!("CARGO")).args(args).current_dir(scratch.path()).output().unwrap()
    };
    let fetched = cargo(&["fetch", "--quiet"]);
    if !fetched.status.success() {
        let why = String::from_utf8_lossy(&fetched.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none(), "{name} cannot be fetched: {why}");
        tools::skip(&format!("{name} {version} cannot be fetched"));
        return None;
    }
    let metadata = cargo(&["metadata", "--offline", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == name).unwrap();
    let crate_dir = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
    let project = Project::new();
    let mut copy = Command::new("cp");
    copy.args(["-rL", "--no-preserve=mode,timestamps"])
        .arg(crate_dir.join(below).join("."))
        .arg(project.path());
    assert!(copy.status().unwrap().success());
    Some(project)
}

/// All files below that were compiled or linked, with their bytes.
fn results(project: &Project, below: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut to_do = vec![project.at(below)];
    while let Some(dir) = to_do.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                if path.file_name().unwrap() != "CMakeFiles" || below == "b" {
                    to_do.push(path);
                }
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let try_compile = path.components().any(|part| {
                part.as_os_str().to_string_lossy().starts_with("3.")
                    || part.as_os_str() == "CMakeTmp"
            });
            if bytes.starts_with(b"\x7fELF") && !try_compile {
                found.insert(path.strip_prefix(project.at(below)).unwrap().to_path_buf(), bytes);
            }
        }
    }
    found
}

#[track_caller]
fn assert_same(ours: &BTreeMap<PathBuf, Vec<u8>>, bare: &BTreeMap<PathBuf, Vec<u8>>) {
    assert!(!bare.is_empty());
    assert_eq!(ours.keys().collect::<Vec<_>>(), bare.keys().collect::<Vec<_>>());
    for (name, bytes) in bare {
        assert!(ours[name] == *bytes, "{} differs", name.display());
    }
}

/// bzip2, with its own Makefile and its own tests (which are part of its default target).
fn bzip2_with(how: impl Fn(&Cache) -> (String, String)) {
    if !tools::have("make") {
        return;
    }
    let Some(project) = published("bzip2-sys", "0.1.13+1.0.8", "bzip2-1.0.8") else { return };
    for words in ["words1", "words2", "words3"] {
        if !project.at(words).exists() {
            project.write(words, "");
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(60));
    let cache = Cache::new();
    let compilers = project.shell(&cache, "make -n bzip2 | grep -c -e ' -c '");
    let objects: u64 = compilers.trim().parse().unwrap();
    assert!(objects >= 7, "{objects}");
    project.shell(&cache, "make -j2 CC=gcc bzip2 bzip2recover && make CC=gcc check");
    let bare = results(&project, "");
    let (prefix, cc) = how(&cache);
    for pass in 0..3 {
        project.shell(&cache, "make clean");
        let counted = cache.count(|| {
            project.shell(&cache, &format!("{prefix} make -j2 'CC={cc}' bzip2 bzip2recover"));
        });
        if pass == 0 {
            assert!(counted.get("misses") >= objects, "{counted:?}");
            assert_eq!(counted.get("stored"), counted.get("misses"), "{counted:?}");
        } else {
            assert_eq!(counted.get("misses"), 0, "pass {pass}: {counted:?}");
            assert!(counted.get("invocation_hits") >= objects, "{counted:?}");
        }
        project.shell(&cache, "make CC=gcc check");
        assert_same(&results(&project, ""), &bare);
    }
}

#[test]
fn bzip2_with_make_and_ibid_in_cc() {
    bzip2_with(|_| (String::new(), format!("{} gcc", tools::ibid().display())));
}

#[test]
fn bzip2_with_make_and_masquerade() {
    bzip2_with(|cache| {
        let bin = cache.root().join("bin");
        cache.say(&["install", bin.to_str().unwrap()]);
        (format!("PATH='{}':\"$PATH\"", bin.display()), "gcc".to_owned())
    });
}

/// Lua's own sources; the crate has them without their Makefile.
#[test]
fn lua_with_make() {
    if !tools::have("make") {
        return;
    }
    let Some(project) = published("lua-src", "547.1.0", "lua-5.4.7") else { return };
    project.write(
        "main.c",
        "#include \"lua.h\"\n#include \"lauxlib.h\"\n#include \"lualib.h\"\n#include <stdio.h>\n\
         int main(int argc, char **argv) { lua_State *L = luaL_newstate(); luaL_openlibs(L);\n\
         if (luaL_dofile(L, argv[1])) { puts(lua_tostring(L, -1)); return 1; } lua_close(L); return argc != 2; }\n",
    );
    project.write(
        "check.lua",
        "local t = {} for i = 1, 1000 do t[i] = (i * 7919) % 1009 end table.sort(t)\n\
         for i = 2, #t do assert(t[i - 1] <= t[i]) end\n\
         assert(string.format('%5.2f|%q', 3.14159, 'a\\nb') == ' 3.14|\"a\\\\\\nb\"')\n\
         assert(select('#', string.find('key = value', '(%w+) = (%w+)')) == 4)\n\
         assert(not pcall(error, 'x')) assert(math.type(2^53) == 'float' and 7 // 2 == 3)\n\
         local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)\n\
         assert(co(1) == 2 and co(21) == 42)\n",
    );
    project.write(
        "Makefile",
        "CFLAGS = -O2 -Wall -DLUA_USE_LINUX -MD\nOBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))\n\
         lua: $(OBJECTS)\n\t$(CC) -o $@ $^ -lm -ldl\nclean:\n\trm -f *.o *.d lua\n",
    );
    std::thread::sleep(std::time::Duration::from_millis(60));
    let cache = Cache::new();
    project.shell(&cache, "make -j2 CC=gcc && ./lua check.lua");
    let bare = results(&project, "");
    let ibid = tools::ibid().display();
    let objects = u64::try_from(bare.len()).unwrap() - 1;
    for pass in 0..3 {
        project.shell(&cache, "make clean");
        let counted =
            cache.count(|| drop(project.shell(&cache, &format!("make -j2 CC='{ibid} gcc'"))));
        // The last one is the link.
        let calls = objects + 1;
        let expected = if pass == 0 { (calls, 0) } else { (0, calls) };
        assert_eq!((counted.get("misses"), counted.hits()), expected, "{counted:?}");
        project.shell(&cache, "./lua check.lua");
        assert_same(&results(&project, ""), &bare);
    }
}

/// lz4 with cmake and ninja, through the launcher variable.
#[test]
fn lz4_with_cmake_and_ninja() {
    if !["cmake", "ninja"].iter().all(|tool| tools::have(tool)) {
        return;
    }
    let Some(project) = published("lz4-sys", "1.11.1+lz4-1.10.0", "liblz4") else { return };
    std::thread::sleep(std::time::Duration::from_millis(60));
    let cache = Cache::new();
    let configure =
        "cmake -S build/cmake -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=gcc";
    let round_trip =
        "cat lib/*.c > t.in && b/lz4 -9 -f t.in t.lz4 && b/lz4 -d -f t.lz4 t.out && cmp t.in t.out";
    project.shell(&cache, &format!("{configure} -B b && ninja -C b && {round_trip}"));
    let bare = results(&project, "b");
    project.touch("lib/lz4.h");
    let bare_rebuilt = built(&project.shell(&cache, "ninja -C b"));
    assert!(!bare_rebuilt.is_empty());
    project.remove("b");

    let launcher = format!("-DCMAKE_C_COMPILER_LAUNCHER={}", tools::ibid().display());
    project.shell(&cache, &format!("{configure} -B b {launcher}"));
    let cold = cache.count(|| drop(project.shell(&cache, "ninja -C b")));
    let objects = cold.get("misses");
    assert!(objects >= 8 && cold.get("stored") == objects, "{cold:?}");
    assert_same(&results(&project, "b"), &bare);
    for _ in 0..2 {
        project.shell(&cache, "ninja -C b -t clean");
        let warm = cache.count(|| drop(project.shell(&cache, "ninja -C b")));
        assert_eq!((warm.get("misses"), warm.hits()), (0, objects), "{warm:?}");
        assert_same(&results(&project, "b"), &bare);
        project.shell(&cache, round_trip);
        assert_eq!(built(&project.shell(&cache, "ninja -C b")), BTreeSet::new(), "nothing to do");
    }
    project.touch("lib/lz4.h");
    std::thread::sleep(std::time::Duration::from_millis(60));
    let touched = cache.count(|| {
        let rebuilt = built(&project.shell(&cache, "ninja -C b"));
        assert_eq!(
            rebuilt, bare_rebuilt,
            "a touched header rebuilds what it rebuilds without ibid"
        );
    });
    assert_eq!(touched.get("misses"), 0, "{touched:?}");
    assert_eq!(built(&project.shell(&cache, "ninja -C b")), BTreeSet::new(), "nothing to do");
}

/// The same build, driven from two directories: what is compiled is the same.
#[test]
fn ninja_from_two_directories() {
    if !tools::have("ninja") {
        return;
    }
    let cache = Cache::new();
    let project = Project::with(&[
        ("a.c", "#include \"h.h\"\nint a = H;\n"),
        ("h.h", "#define H 1\n"),
        ("sub/keep", ""),
    ]);
    let rule = "rule cc\n  command = $ibid gcc -g -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\n";
    let ibid = tools::ibid().display();
    project.write("build/build.ninja", format!("ibid = {ibid}\n{rule}build a.o: cc ../a.c\n"));
    std::thread::sleep(std::time::Duration::from_millis(60));
    let cold = cache.count(|| drop(project.shell(&cache, "ninja -C build")));
    assert_eq!(cold.get("misses"), 1);
    let object = project.read("build/a.o");
    project.shell(&cache, "ninja -C build -t clean");
    let warm = cache.count(|| drop(project.shell(&cache, "cd sub && ninja -C ../build")));
    assert_eq!(warm.hits(), 1, "{warm:?}");
    assert!(project.read("build/a.o") == object);
    assert!(project.shell(&cache, "ninja -C build").contains("no work to do"));
}

/// What ninja says that it built, without the numbers; lz4's own targets for symlinks are never up to date.
fn built(output: &str) -> BTreeSet<String> {
    let step = |line: &str| Some(line.strip_prefix('[')?.split_once("] ")?.1.to_owned());
    let steps = output.lines().filter_map(step);
    steps.filter(|step| !step.starts_with("Creating symlink")).collect()
}
