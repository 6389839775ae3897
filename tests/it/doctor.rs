//! What `ibid doctor` finds, and what it says to do about it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs it in a directory of the cache's own.
fn doctor(cache: &Cache, options: &[&str]) -> Output {
    let words = ["doctor"].iter().chain(options);
    cache.ibid(words).current_dir(cache.root()).output().unwrap()
}

/// A directory of programs that is first on `PATH`.
fn first_on_path(cache: &mut Cache) -> PathBuf {
    let bin = cache.root().join("bin");
    fs::create_dir(&bin).unwrap();
    cache.set("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    bin
}

fn write_program(path: &PathBuf, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn fits_a_terminal(said: &str) {
    assert!(said.lines().count() < 24, "{said}");
    for line in said.lines() {
        let is_one_word = line.trim().split(' ').count() == 1;
        assert!(line.chars().count() <= 80 || is_one_word, "{line}");
    }
}

#[test]
fn nothing_is_wrong_here() {
    let mut cache = Cache::new();
    let bin = cache.root().join("links");
    cache.say(&["install", bin.to_str().unwrap()]);
    let said = cache.say(&["doctor"]);
    assert!(said.starts_with("Compiles are cached"), "{said}");
    assert!(!said.contains("fail"), "{said}");
    fits_a_terminal(&said);
    let all = cache.say(&["doctor", "-v"]);
    for what in [
        "cache directory",
        "file system",
        "size",
        "shared memory",
        "binary",
        "observer",
        "compiler",
    ] {
        assert!(all.contains(what), "{what}: {all}");
    }
    assert!(all.contains("was seen to read"), "{all}");
    assert!(all.contains("self-test        gcc: compiled, stored, and served"), "{all}");
    // The worst first.
    let marks: Vec<_> = all.lines().skip(1).map(|line| &line[..4]).collect();
    let ranks = ["fail", "warn", "note", "ok  "];
    let rank = |mark: &&str| ranks.iter().position(|known| known == mark).unwrap();
    assert!(marks.iter().is_sorted_by_key(rank), "{all}");
    let json: Value = serde_json::from_str(&cache.say(&["doctor", "--json"])).unwrap();
    assert_eq!(json["can_cache"], true);
    assert_eq!(json["verdict"].as_str(), said.lines().next());
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(findings.len() + 1, all.lines().count());
    for finding in findings {
        assert!(["ok", "note", "warn"].contains(&finding["mark"].as_str().unwrap()), "{finding}");
        assert!(finding["what"].is_string() && finding["found"].is_string(), "{finding}");
        assert!(finding["do"].is_string() || finding["do"].is_null(), "{finding}");
    }
    assert_eq!(cache.counters().outcomes(), 0, "the self-test has a cache of its own");
    let path = std::env::var("PATH").unwrap();
    cache.set("PATH", format!("{}:{path}", bin.display()));
    let all = cache.say(&["doctor", "-v", "--quick"]);
    assert!(all.contains(&format!("through {}/gcc", bin.display())), "{all}");
    cache.set("PATH", format!("{path}:{}", bin.display()));
    let late = cache.say(&["doctor", "-v", "--quick"]);
    let warning = format!("warn  PATH             ibid's links in {} come after", bin.display());
    assert_eq!(late.matches("come after the compilers").count(), 1, "{late}");
    assert!(late.contains(&warning), "{late}");
}

#[test]
fn settings_and_places() {
    for (name, value, status, words) in [
        ("IBID_DISABLE", "1", 1, &["Nothing is cached", "IBID_DISABLE"][..]),
        ("IBID_OBSERVER", "off", 1, &["Nothing is cached", "IBID_OBSERVER"]),
        ("IBID_READONLY", "1", 0, &["warn", "readonly"]),
        ("IBID_RECACHE", "1", 0, &["warn", "recache"]),
        ("IBID_MAX_SIZE", "much", 1, &["a setting is refused", "`much`"]),
        ("IBID_MAX_SIZE", "10", 1, &["a setting is refused", "`10` has no unit", "`10G`"]),
        ("IBID_MAX_SIZE", "10k", 1, &["Nothing is cached", "no result fits", "IBID_MAX_SIZE=10G"]),
        ("IBID_MAX_SIZE", "50M", 0, &["warn", "larger ones are not stored"]),
        ("IBID_MAXSIZE", "5G", 0, &["IBID_MAXSIZE is no setting", "is it IBID_MAX_SIZE?"]),
        ("IBID_DEBUG", "1", 0, &["IBID_DEBUG is no setting", "`ibid config` lists all"]),
        ("IBID_TEST_LONG", "1", 0, &[]),
        ("IBID_ROOT", "/nowhere", 0, &["warn", "the root /nowhere is no directory"]),
        ("IBID_CONFIG", "/nowhere", 0, &["warn", "settings file /nowhere is not there"]),
        ("IBID_READONLY_DIR", "/nowhere", 0, &["warn", "/nowhere is not looked in", "make it, or"]),
        ("IBID_LOG", "1", 1, &["a setting is refused", "`1` is no file"]),
        ("IBID_LOG", "debug", 1, &["a setting is refused", "`debug` is no file", "stderr"]),
        ("IBID_LOG", "/nowhere/log", 0, &["warn", "is in a directory that is not there"]),
        (
            "IBID_DIR",
            "/proc/nowhere",
            1,
            &["Nothing is cached", "/proc/nowhere", "export IBID_DIR="],
        ),
        ("PATH", "/nowhere", 0, &["none is on PATH"]),
        ("RUSTC_WRAPPER", "/bin/true", 0, &["/bin/true, which is not this ibid (RUSTC_WRAPPER)"]),
        ("RUSTC_WRAPPER", "no-such", 0, &["`no-such` is not there (RUSTC_WRAPPER)"]),
        ("CMAKE_C_COMPILER_LAUNCHER", "/bin/true", 0, &["which is not this ibid"]),
    ] {
        let needed = if name.starts_with("CMAKE") { "cmake" } else { "cargo" };
        if !name.starts_with("IBID") && name != "PATH" && tools::find(needed).is_none() {
            continue;
        }
        let cache = Cache::new().with(name, value);
        let done = doctor(&cache, &["--quick"]);
        let said = text(&done.stdout);
        assert_eq!(done.status.code(), Some(status), "{name}={value}: {said}");
        fits_a_terminal(&said);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(said.contains(word), "{name}={value}, {word}: {said}");
        }
    }
    let cache = Cache::new();
    fs::create_dir(cache.dir()).unwrap();
    fs::set_permissions(cache.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    let done = doctor(&cache, &["-v"]);
    assert!(text(&done.stdout).contains("only you may write") && done.status.code() == Some(1));
}

/// Where there is no compiler by a usual name; an image is tried once.
#[test]
fn compilers_by_other_names() {
    let mut cache = Cache::new();
    let bin = cache.root().join("only");
    fs::create_dir(&bin).unwrap();
    let link = |name: &str, tool: &str| {
        symlink(tools::path_of(tool).canonicalize().unwrap(), bin.join(name)).unwrap();
    };
    for (name, tool) in [
        ("gcc-12", "gcc"),
        ("aarch64-linux-gnu-gcc", "gcc"),
        ("x86_64-linux-gnu-g++-12", "g++"),
        ("as", "as"),
        ("true", "true"),
    ] {
        link(name, tool);
    }
    write_program(&bin.join("arm-none-eabi-gcc"), "#!/bin/sh\necho no headers >&2; exit 1\n");
    cache.set("PATH", &bin);
    let said = cache.say(&["doctor", "-v"]);
    for part in [
        format!("ok    compiler         {}/gcc-12, by `ibid gcc-12`", bin.display()),
        "self-test        aarch64-linux-gnu-gcc: compiled, stored, and served".into(),
        "self-test        x86_64-linux-gnu-g++-12: compiled, stored, and served".into(),
        "self-test        arm-none-eabi-gcc does not work by itself: no headers".into(),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert_eq!(said.matches("  self-test  ").count(), 3, "{said}");
}

/// A page of a terminal, as it is.
#[test]
fn the_page() {
    let cache = Cache::new().with("IBID_MAX_SIZE", "10").with("IBID_READONLY", "1");
    let cache = cache.with("PATH", "/nowhere");
    let done = doctor(&cache, &["--quick"]);
    let expected = "\
Compiles are cached, but a setting is refused.

fail  settings: IBID_MAX_SIZE: `10` has no unit: write `10G`
      -> until then it is ignored
warn  settings: `readonly` is on: nothing is stored
      -> unset IBID_READONLY, or `ibid config unset readonly`
";
    let said = text(&done.stdout);
    assert!(said.starts_with(expected), "{said}");
    assert!(said.ends_with("ll that was looked at: `ibid doctor -v`.\n"), "{said}");
}

#[test]
fn other_caches_in_front() {
    for cache_name in ["ccache", "sccache"] {
        let mut cache = Cache::new();
        let bin = first_on_path(&mut cache);
        let program = cache.root().join(cache_name);
        write_program(&program, "#!/bin/sh\nexit 9\n");
        symlink(&program, bin.join("gcc")).unwrap();
        let said = text(&doctor(&cache, &["-v", "--quick"]).stdout);
        let line = said.lines().find(|line| line.starts_with("warn  PATH")).expect("a warning");
        for part in [
            format!("{cache_name}'s links in {}", bin.display()),
            "come first (gcc)".into(),
            format!("`gcc` runs {cache_name}"),
        ] {
            assert!(line.contains(&part), "{line}");
        }
    }
}

#[test]
fn static_and_script_compilers() {
    let mut cache = Cache::new();
    let bin = first_on_path(&mut cache);
    write_program(&bin.join("gcc"), "#!/bin/sh\nexec /usr/bin/gcc \"$@\"\n");
    let said = text(&doctor(&cache, &["-v", "--quick"]).stdout);
    assert!(said.contains("gcc is a script (/bin/sh)"), "{said}");
    let project = Project::with(&[("a.c", "int main(void) { return 0; }\n")]);
    project.shell(&Cache::new(), &format!("gcc -static a.c -o '{}'", bin.join("clang").display()));
    let said = text(&doctor(&cache, &["-v", "--quick"]).stdout);
    assert!(said.contains("clang is static: it is watched by system calls"), "{said}");
}

#[test]
fn cargo_and_cmake() {
    let mut cache = Cache::new();
    let line = |cache: &Cache, what: &str| {
        let said = text(&doctor(cache, &["-v", "--quick"]).stdout);
        said.lines().find(|line| line[6..].starts_with(what)).unwrap_or_default().to_owned()
    };
    let ibid = tools::ibid().to_str().unwrap();
    if tools::have("cargo") {
        let said = line(&cache, "cargo");
        assert!(said.starts_with("note") && said.contains("RUSTC_WRAPPER=ibid"), "{said}");
        let home = cache.root().join("home/.cargo");
        fs::create_dir(&home).unwrap();
        let config = format!("[build]\nrustc-wrapper = {ibid:?}\n");
        fs::write(home.join("config.toml"), &config).unwrap();
        let said = line(&cache, "cargo");
        assert!(said.starts_with("ok") && said.contains("build.rustc-wrapper in"), "{said}");
        cache.set("RUSTC_WRAPPER", "/bin/true");
        assert!(line(&cache, "cargo").starts_with("warn"));
        cache.set("RUSTC_WRAPPER", ibid);
        assert!(line(&cache, "cargo").contains("(RUSTC_WRAPPER)"));
        // Set to nothing, it is off.
        cache.set("RUSTC_WRAPPER", "");
        assert!(line(&cache, "cargo").starts_with("note"));
    }
    if tools::have("cmake") {
        assert!(line(&cache, "cmake").contains("no launcher is set"));
        cache.set("CMAKE_C_COMPILER_LAUNCHER", ibid);
        let said = line(&cache, "cmake");
        assert!(said.contains("CMAKE_CXX_COMPILER_LAUNCHER is not set"), "{said}");
        let configured = format!("CMAKE_CXX_COMPILER_LAUNCHER:STRING={ibid}\n");
        fs::write(cache.root().join("CMakeCache.txt"), configured).unwrap();
        assert!(line(&cache, "cmake").starts_with("ok"));
    }
}

#[test]
fn several_checkouts() {
    let cache = Cache::new();
    let git = cache.root().join(".git");
    fs::create_dir_all(git.join("worktrees/two")).unwrap();
    let said = text(&doctor(&cache, &["-v", "--quick"]).stdout);
    assert!(said.contains("this repository has 2 worktrees"), "{said}");
    assert!(said.contains("remap = \"auto\""), "{said}");
    fs::write(cache.root().join("ibid.toml"), "remap = \"auto\"\n").unwrap();
    let said = text(&doctor(&cache, &["-v", "--quick"]).stdout);
    assert!(said.contains("`remap` is on, results serve all of them"), "{said}");
    fs::create_dir(cache.root().join("two")).unwrap();
    let file = format!("gitdir: {}\n", git.join("worktrees/two").display());
    fs::write(cache.root().join("two/.git"), file).unwrap();
    let mut command = cache.ibid(["doctor", "-v", "--quick"]);
    let done = command.current_dir(cache.root().join("two")).output().unwrap();
    assert!(text(&done.stdout).contains("this repository has 2 worktrees"), "{done:?}");
}

/// The only compiler puts the time into each object.
#[test]
fn a_compiler_whose_results_cannot_be_stored() {
    let mut cache = Cache::new();
    let bin = cache.root().join("only");
    fs::create_dir(&bin).unwrap();
    let header = cache.root().join("time.h");
    fs::write(&header, "static const char *when = __TIME__;\n").unwrap();
    let gcc = tools::path_of("gcc");
    let program =
        format!("#!/bin/sh\nexec {} -include {} \"$@\"\n", gcc.display(), header.display());
    write_program(&bin.join("gcc"), &program);
    for tool in ["as", "sh", "true"] {
        symlink(tools::path_of(tool), bin.join(tool)).unwrap();
    }
    cache.set("PATH", bin);
    let done = doctor(&cache, &["-v"]);
    let said = text(&done.stdout);
    assert!(said.contains("gcc is not cached: used_time"), "{said}");
    assert!(said.starts_with("Nothing is cached here.") && done.status.code() == Some(1), "{said}");
}

/// What `doctor` says, and its status, where something else is mounted; `None` where that cannot be done.
fn where_mounted(mounts: &str, directory: &str) -> Option<(String, i32)> {
    const NOT_HERE: i32 = 77;
    if !tools::is_root() {
        tools::skip("mounting needs root");
        return None;
    }
    if !["unshare", "mount"].into_iter().all(tools::have) {
        return None;
    }
    let cache = Cache::new();
    fs::create_dir(cache.root().join("disk")).unwrap();
    let script = format!(
        "mount --make-rprivate / && {{ {mounts}; }} || exit {NOT_HERE}
        IBID_DIR=\"{directory}\" \"$ibid\" doctor -v --quick"
    );
    let mut command = cache.command("unshare");
    command.args(["-m", "sh", "-c", &script]).current_dir(cache.root());
    command.env("ibid", tools::ibid()).env("disk", cache.root().join("disk"));
    let done = command.env("cache", cache.dir()).output().unwrap();
    if done.status.code() == Some(NOT_HERE) {
        tools::skip(&format!("cannot mount: {}", text(&done.stderr).trim()));
        return None;
    }
    Some((text(&done.stdout), done.status.code().unwrap()))
}

#[test]
fn shared_memory_and_disks() {
    let tmpfs = |options: &str, place: &str| format!("mount -t tmpfs -o {options} none {place}");
    for (mounts, directory, line, parts, status) in [
        (
            tmpfs("size=64k", "/dev/shm"),
            "$cache",
            "warn  shared memory",
            &["--shm-size=64m"][..],
            0,
        ),
        (tmpfs("ro", "/dev/shm"), "$cache", "warn  shared memory", &["slower"], 0),
        (tmpfs("noexec,size=64m", "/dev/shm"), "$cache", "ok    shared memory", &["noexec"], 0),
        // A disk on which nothing can be made, and one that holds little.
        (
            format!("{} && fallocate -l 1M $disk/ballast", tmpfs("size=1m", "$disk")),
            "$disk/cache",
            "fail  cache directory",
            &["export IBID_DIR="],
            1,
        ),
        (
            format!("{} && fallocate -l 600K $disk/ballast", tmpfs("size=2m", "$disk")),
            "$disk/cache",
            "fail  space",
            &["nothing more is stored"],
            1,
        ),
        (tmpfs("size=40m", "$disk"), "$disk/cache", "warn  space", &["the disk fills up first"], 0),
        // As an NFS home: no file system for a cache.
        (
            "mount -t ramfs none $disk".to_owned(),
            "$disk/cache",
            "fail  cache directory",
            &["export IBID_DIR="],
            1,
        ),
        (tmpfs("ro", "$disk"), "$disk/cache", "fail  cache directory", &["export IBID_DIR="], 1),
    ] {
        let Some((said, code)) = where_mounted(&mounts, directory) else { return };
        let lines: Vec<_> = said.lines().filter(|said| said.starts_with(line)).collect();
        let has_all = |said: &&str| parts.iter().all(|part| said.contains(part));
        assert!(lines.iter().any(has_all), "{mounts}, {parts:?}:\n{said}");
        assert_eq!(code, status, "{mounts}:\n{said}");
        assert_eq!(said.starts_with("Nothing is cached here."), status == 1, "{said}");
    }
}
