//! What can be typed: help, version, refusals, config, install, completions, demo.

use std::fs;
use std::process::Output;

use crate::cache::Cache;
use crate::tools;

fn run(cache: &Cache, args: &[&str]) -> Output {
    cache.ibid(args).current_dir(cache.root()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn refusals_are_one_line() {
    let cache = Cache::new();
    for args in [
        &["--wrong"][..],
        &["stats", "--wrong"],
        &["stats", "more"],
        &["-s", "-z"],
        &["stat"],
        &["nothing-of-the-kind"],
        &["config", "wrong"],
        &["config", "get"],
        &["config", "get", "wrong"],
        &["config", "set", "max_size", "much"],
        &["completions", "wrong"],
        &["completions"],
        &["exec"],
        &["explain"],
        &["-c", "a.c"],
        &["demo", "x"],
        &["install", "a", "b"],
        &["stats", "--format", "xml"],
        &["gc", "--max-size", "10"],
        &["explain", "--last", "many"],
        &["export"],
        &["report", "--json", "a"],
        &["remote", "wrong"],
        &[],
    ] {
        let done = run(&cache, args);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
        assert!(done.stdout.is_empty(), "{args:?}: {done:?}");
        let said = text(&done.stderr);
        assert!(said.starts_with("ibid: ") && said.lines().count() == 1, "{args:?}: {said}");
    }
}

/// A file or directory that cannot serve: one line with its name, status 2.
#[test]
fn bad_paths_are_one_line() {
    let mut cache = Cache::new();
    fs::write(cache.root().join("file"), "text\n").unwrap();
    let refuses = |cache: &Cache, args: &[&str], words: &[&str]| {
        let done = run(cache, args);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with("ibid: ") && said.lines().count() == 1, "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?}: {said}");
        }
    };
    for (args, words) in [
        (&["export", "no/where"][..], &["cannot write no/where: no is no directory; make it"][..]),
        (&["export", "."], &["cannot write .: it is a directory; name a file"]),
        (&["export", "file/x"], &["file is no directory"]),
        (&["import", "none"], &["cannot read none: it is not there; name another file"]),
        (&["import", "."], &["cannot read .: it is a directory"]),
        (&["import", "file"], &["file is not an export of ibid; name a file that"]),
        (&["report", "no/where.html"], &["no is no directory; make it first"]),
        (&["report", "--build", "none", "x.html"], &["no build `none` is known"]),
        (&["explain", "--build", "none"], &["no build `none` is known"]),
        (&["install", "file"], &["cannot make file", "name another directory"]),
        (&["install", "/proc/none"], &["cannot make /proc/none"]),
        (&["uninstall", "file"], &["file: Not a directory"]),
        (&["config", "set", "log", "no/where"], &["log: ", "/no is no directory; make it first"]),
        (&["config", "set", "log", "."], &["log: . is a directory; name a file"]),
        (&["config", "set", "root", "none"], &["root: ", "none is no directory"]),
        (&["config", "set", "readonly_dir", "none"], &["readonly_dir: ", "none is no directory"]),
    ] {
        refuses(&cache, args, words);
    }
    for directory in ["/proc/none", "/dev/null", "file"] {
        cache.set("IBID_DIR", directory);
        for args in [
            &["clear"][..],
            &["gc"],
            &["export", "x"],
            &["import", "file"],
            &["explain", "--last"],
            &["report", "x.html"],
            &["remote"],
        ] {
            refuses(&cache, args, &[directory, "choose another IBID_DIR"]);
        }
        // It makes none.
        if directory != "/proc/none" {
            refuses(&cache, &["verify"], &[directory, "choose another IBID_DIR"]);
        }
        // Figures there are everywhere.
        let done = run(&cache, &["stats", "--json"]);
        let said = text(&done.stderr);
        assert!(done.status.success() && said.contains(directory), "{said}");
        assert!(said.lines().count() == 1 && text(&done.stdout).starts_with('{'), "{done:?}");
    }
    let left = fs::read_dir(cache.root()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name == "x" || name == "x.html"));
}

/// A build that takes `ibid` alone for the compiler, as Rust's cc crate does of `CC="ibid gcc"`: one line says what to do.
#[test]
fn a_compile_without_a_compiler() {
    let cache = Cache::new();
    for args in [
        &["-E", "detect_compiler_family.c"][..],
        &["-c", "a.c"],
        &["-O2", "-c", "a.c", "-o", "a.o"],
        &["-o", "a", "a.o", "-lm"],
        &["-MMD", "-x", "c", "-"],
        &["-Wall"],
    ] {
        let done = run(&cache, args);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
        let said = text(&done.stderr);
        assert!(done.stdout.is_empty() && said.lines().count() == 1, "{args:?}: {said}");
        for word in
            ["compiler is missing", "CC_KNOWN_WRAPPER_CUSTOM=ibid", "CMAKE_C_COMPILER_LAUNCHER"]
        {
            assert!(said.contains(word), "{args:?}: {said}");
        }
    }
    for args in [&["--wrong"][..], &["-q"], &["stats", "-E"], &["-M", "much"]] {
        let done = run(&cache, args);
        assert!(!text(&done.stderr).contains("compiler is missing"), "{args:?}: {done:?}");
    }
    assert!(!cache.dir().exists());
}

/// dpkg's `buildtools.mk` calls the compilers by their target's name; `c89` and `c99` are POSIX's.
#[test]
fn install_links_all_names_of_the_compilers() {
    let mut cache = Cache::new();
    let (bin, dir) = (cache.root().join("bin"), cache.root().join("links"));
    fs::create_dir(&bin).unwrap();
    let named = [
        "gcc",
        "gcc-12",
        "c89",
        "c99",
        "c99-gcc",
        "x86_64-linux-gnu-gcc",
        "x86_64-linux-gnu-gcc-12",
        "x86_64-linux-gnu-g++",
        "aarch64-linux-gnu-g++-13",
        "clang++-19",
        "x86_64-w64-mingw32-gcc-posix",
    ];
    let others = [
        "gcc-ar",
        "x86_64-linux-gnu-gcc-nm-12",
        "x86_64-linux-gnu-cpp",
        "c++filt",
        "clang-format",
        "rustc",
        "distcc",
    ];
    for name in named.iter().chain(&others) {
        std::os::unix::fs::symlink(tools::path_of("true"), bin.join(name)).unwrap();
    }
    cache.set("PATH", bin.into_os_string());
    cache.say(&["install", dir.to_str().unwrap()]);
    for name in named {
        assert!(dir.join(name).is_symlink(), "{name}");
    }
    for name in others {
        assert!(!dir.join(name).is_symlink(), "{name}");
    }
}

#[test]
fn help_and_version() {
    let cache = Cache::new();
    let help = cache.say(&["--help"]);
    for word in [
        "stats",
        "explain",
        "clear",
        "config",
        "install",
        "demo",
        "exec",
        "CMAKE_C_COMPILER_LAUNCHER",
    ] {
        assert!(help.contains(word), "{word}");
    }
    assert_eq!(cache.say(&["--version"]).trim(), concat!("ibid ", env!("CARGO_PKG_VERSION")));
    let is_narrow = |text: &str| text.lines().all(|line| line.chars().count() <= 80);
    assert!(is_narrow(&help), "{help}");
    for command in ibid::cli::SUBCOMMANDS {
        let help = cache.say(&[command, "--help"]);
        assert!(help.contains("Usage: ibid ") && is_narrow(&help), "{help}");
    }
    assert!(!cache.dir().exists(), "help makes no cache");
}

#[test]
fn a_closed_standard_output() {
    let cache = Cache::new();
    let mut shell = cache.command("sh");
    let line = format!(
        "'{0}' --help | true; '{0}' stats | true; '{0}' completions bash | head -1",
        tools::ibid().display()
    );
    let done = shell.arg("-c").arg(line).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
}

#[test]
fn config_is_listed_read_and_written() {
    let mut cache = Cache::new();
    let file = cache.root().join("dir/config.toml");
    cache.set("IBID_CONFIG", file.clone());
    for list in [&["config"][..], &["config", "list"]] {
        let said = cache.say(list);
        assert!(said.contains("max_size") && said.contains(file.to_str().unwrap()), "{said}");
    }
    cache.say(&["config", "set", "max_size", "3G"]);
    assert_eq!(cache.say(&["config", "get", "max_size"]).trim(), "3G");
    fs::write(&file, "# mine\nmax_size = \"3G\" # three\n\n# last\n").unwrap();
    cache.say(&["config", "set", "max_size", "4G"]);
    cache.say(&["config", "set", "readonly", "true"]);
    let written = fs::read_to_string(&file).unwrap();
    for part in ["# mine\n", "max_size = \"4G\" # three\n", "readonly = true", "# last"] {
        assert!(written.contains(part), "{written}");
    }
    cache.set("IBID_MAX_SIZE", "5G");
    assert_eq!(cache.say(&["config", "get", "max_size"]).trim(), "5G");
    assert_eq!(cache.say(&["config", "get", "readonly"]).trim(), "true");
}

#[test]
fn problems_of_the_settings_are_one_line_each() {
    let mut cache = Cache::new();
    let file = cache.root().join("config.toml");
    fs::write(&file, "wrong = 1\nmax_size = 'much'\n").unwrap();
    cache.set("IBID_CONFIG", file);
    cache.set("IBID_REMAP", "perhaps");
    let done = run(&cache, &["config"]);
    assert_eq!(done.status.code(), Some(0));
    let said = text(&done.stderr);
    assert_eq!(said.lines().count(), 3, "{said}");
    for word in ["wrong", "much", "IBID_REMAP"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_settings_file_behind_a_symlink_stays_one() {
    let mut cache = Cache::new();
    let (link, target) = (cache.root().join("link.toml"), cache.root().join("target.toml"));
    fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    cache.set("IBID_CONFIG", link.clone());
    cache.say(&["config", "set", "max_size", "4G"]);
    assert!(link.is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("4G"));
}

#[test]
fn install_says_what_to_write_into_the_profile() {
    let mut cache = Cache::new();
    let bin = cache.root().join("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["gcc", "cargo"] {
        std::os::unix::fs::symlink(tools::path_of("true"), bin.join(name)).unwrap();
    }
    cache.set("PATH", bin.clone());
    let dir = cache.root().join("links");
    let (shown, ibid) = (dir.display(), tools::ibid().display());
    let expected = format!(
        "links to ibid in {shown}:
    gcc

bash (~/.bashrc), zsh (~/.zshrc):

    export PATH={shown}:\"$PATH\"

fish (~/.config/fish/config.fish):

    set -gx PATH {shown} $PATH

rustc is not linked: cargo calls ibid if it is told to, by a variable

    export RUSTC_WRAPPER={ibid}

or by `rustc-wrapper` in its own settings: `ibid install --cargo`.
"
    );
    assert_eq!(cache.say(&["install", dir.to_str().unwrap()]), expected);

    // ccache's links come first.
    let other = cache.root().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(cache.root().join("ccache"), "").unwrap();
    std::os::unix::fs::symlink("../ccache", other.join("gcc")).unwrap();
    let note = format!("Note: ccache's links in {} are on PATH, too.", other.display());
    cache.set("PATH", format!("{}:{}:{}", other.display(), dir.display(), bin.display()));
    assert!(cache.say(&["install", dir.to_str().unwrap()]).contains(&note));
    cache.set("PATH", format!("{}:{}:{}", dir.display(), other.display(), bin.display()));
    assert!(!cache.say(&["install", dir.to_str().unwrap()]).contains("Note"));
}

#[test]
fn uninstall_removes_only_our_links() {
    let cache = Cache::new();
    let dir = cache.root().join("links");
    let name = dir.to_str().unwrap();
    cache.say(&["install", name]);
    std::os::unix::fs::symlink("/bin/true", dir.join("mine")).unwrap();
    std::os::unix::fs::symlink("/gone/ibid", dir.join("gcc-99")).unwrap();
    fs::write(dir.join("file"), "mine").unwrap();
    let said = cache.say(&["uninstall", name]);
    assert!(said.starts_with(&format!("links removed from {name}:\n")), "{said}");
    assert!(said.contains(" gcc ") && said.contains("gcc-99"), "{said}");
    let mut left: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "mine"]);
    assert!(cache.say(&["uninstall", name]).starts_with("nothing to remove"));
    for own in ["file", "mine"] {
        fs::remove_file(dir.join(own)).unwrap();
    }
    cache.say(&["install", name]);
    cache.say(&["uninstall", name]);
    assert!(!dir.exists());
    assert!(cache.say(&["uninstall", name]).starts_with("nothing to remove"));
}

#[test]
fn install_makes_symlinks_and_prints_the_line() {
    let cache = Cache::new();
    let dir = cache.root().join("my bin");
    let said = cache.say(&["install", &format!("{}/../my bin", dir.display())]);
    assert!(said.starts_with(&format!("links to ibid in {}:\n", dir.display())), "{said}");
    assert!(said.lines().count() < 24, "{said}");
    let profile = said.lines().find(|line| line.contains("export PATH=")).unwrap().trim();
    assert_eq!(
        fs::canonicalize(dir.join("gcc")).unwrap(),
        fs::canonicalize(tools::ibid()).unwrap()
    );
    cache.say(&["install", dir.to_str().unwrap()]);
    let wraps_cargo = format!("export RUSTC_WRAPPER={}", tools::ibid().display());
    assert_eq!(said.contains(&wraps_cargo), tools::find("cargo").is_some(), "{said}");

    let mut shell = cache.command("sh");
    let done = shell.arg("-c").arg(format!("{profile}; command -v gcc")).output().unwrap();
    assert_eq!(text(&done.stdout).trim(), dir.join("gcc").to_str().unwrap());

    fs::remove_file(dir.join("gcc")).unwrap();
    fs::write(dir.join("gcc"), "mine").unwrap();
    let done = run(&cache, &["install", dir.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(fs::read(dir.join("gcc")).unwrap(), b"mine");
}

#[test]
fn completions_for_every_shell() {
    let cache = Cache::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(cache.say(&["completions", shell]).contains("explain"), "{shell}");
    }
}

#[test]
fn the_demo_ends_in_hits() {
    let cache = crate::rustc::cache();
    let said = cache.say(&["demo"]);
    for tool in tools::present(tools::ALL).into_iter().chain(tools::present(&["rustc"])) {
        let line = said.lines().find(|line| line.starts_with(&format!("{tool} "))).unwrap();
        assert!(line.contains("miss") && line.contains("hit"), "{line}");
    }
    assert!(!cache.dir().exists(), "the demo uses a cache of its own");
}

#[test]
fn the_demo_works_with_gcc_alone() {
    let mut cache = Cache::new();
    let bin = cache.root().join("bin");
    fs::create_dir(&bin).unwrap();
    for tool in ["gcc", "as", "sh"] {
        std::os::unix::fs::symlink(tools::path_of(tool), bin.join(tool)).unwrap();
    }
    cache.set("PATH", bin.into_os_string());
    let said = cache.say(&["demo"]);
    assert!(said.contains("gcc") && !said.contains("clang"), "{said}");
    let empty = cache.root().join("runtime").into_os_string();
    cache.set("PATH", empty);
    let done = run(&cache, &["demo"]);
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(text(&done.stderr).lines().count(), 1, "{done:?}");
}

#[test]
fn words_that_are_subcommands_and_tools() {
    let cache = Cache::new();
    let bin = cache.root().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(tools::path_of("true"), bin.join("stats")).unwrap();
    let done = run(&cache, &["./bin/stats"]);
    assert!(done.status.success() && done.stdout.is_empty(), "{done:?}");
    let done = run(&cache, &["stats"]);
    assert!(done.status.success() && !done.stdout.is_empty());
}
