//! Settings: what is refused and how, where a value comes from, and the log.

use std::fs;
use std::process::Output;

use crate::cache::Cache;
use crate::project::Project;

fn run(cache: &Cache, args: &[&str]) -> Output {
    cache.ibid(args).current_dir(cache.root()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A refused value is one line, with what to write; it is not used, and nothing is said or written in a compile.
#[test]
fn refused_values() {
    for (name, value, line) in [
        ("IBID_MAX_SIZE", "10", "IBID_MAX_SIZE: `10` has no unit: write `10G`"),
        ("IBID_MAX_SIZE", "5000000000", "IBID_MAX_SIZE: `5000000000` has no unit: write `5G`"),
        (
            "IBID_MAX_SIZE",
            "0G",
            "IBID_MAX_SIZE: `0G` is not a size, such as `10G`, `500M` or `1.5GiB`",
        ),
        (
            "IBID_LOG",
            "1",
            "IBID_LOG: `1` is no file: write `stderr`, or a path such as `/tmp/ibid.log`",
        ),
        (
            "IBID_LOG",
            "true",
            "IBID_LOG: `true` is no file: write `stderr`, or a path such as `/tmp/ibid.log`",
        ),
        (
            "IBID_LOG",
            "debug",
            "IBID_LOG: `debug` is no file: write `stderr`, or a path such as `/tmp/ibid.log`",
        ),
        ("IBID_READONLY", "maybe", "IBID_READONLY: `maybe` is neither `true` nor `false`"),
        ("IBID_REMAP", "on", "IBID_REMAP: `on` is neither `auto` nor `off`"),
    ] {
        let (cache, project) =
            (Cache::new().with(name, value), Project::with(&[("a.c", "int a;\n")]));
        let done = run(&cache, &["config"]);
        assert_eq!(text(&done.stderr), format!("ibid: {line}\n"));
        assert_eq!(done.status.code(), Some(0));
        let key = name.strip_prefix("IBID_").unwrap().to_lowercase();
        let origin = text(&done.stdout);
        let origin = origin.lines().find(|line| line.starts_with(&key)).unwrap();
        assert_eq!(origin.split_whitespace().nth(2), Some("default"), "{origin}");
        assert_eq!(run(&cache, &["doctor", "--quick"]).status.code(), Some(1), "{name}={value}");

        let call = project.call(&cache, "gcc -c a.c -o a.o");
        call.check().expect_miss();
        call.check().expect_hit();
        let names: Vec<_> = fs::read_dir(project.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 2, "{name}={value}: {names:?}");

        // The file and the command refuse the same.
        let cache = Cache::new();
        let done = run(&cache, &["config", "set", &key, value]);
        assert_eq!(done.status.code(), Some(2));
        let line = line.replace(name, &key);
        assert_eq!(text(&done.stderr), format!("ibid: {line}\n"));
        let file = cache.root().join("home/.config/ibid/config.toml");
        assert!(!file.exists());
        if !key.starts_with("readonly") {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, format!("{key} = \"{value}\"\n")).unwrap();
            let done = run(&cache, &["config"]);
            assert_eq!(text(&done.stderr), format!("ibid: {}: {line}\n", file.display()));
        }
    }
}

#[test]
fn a_bare_number_in_the_file() {
    let cache = Cache::new();
    let file = cache.root().join("home/.config/ibid/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "max_size = 10\n").unwrap();
    let done = run(&cache, &["config", "get", "max_size"]);
    assert_eq!(text(&done.stdout), "10G\n");
    assert!(text(&done.stderr).contains("has no unit"), "{done:?}");
}

#[test]
fn broken_files_are_one_line() {
    let cache = Cache::new();
    let file = cache.root().join("home/.config/ibid/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    for (content, part) in [
        ("share = 'off'\nmax_size = = 3\n", "line 2: "),
        ("maxsize = '5G'\n", "unknown key `maxsize`; is it `max_size`?"),
        ("share = 'off'\nshare = 'off'\n", "line 2: "),
    ] {
        fs::write(&file, content).unwrap();
        for (args, status) in [(&["config"][..], 0), (&["doctor", "-v", "--quick"], 1)] {
            let done = run(&cache, args);
            assert_eq!(done.status.code(), Some(status), "{content}: {done:?}");
            let said = text(&done.stderr) + &text(&done.stdout);
            let lines: Vec<_> = said.lines().filter(|line| line.contains(part)).collect();
            assert!(lines.len() == 1, "{content}: {said}");
            assert!(lines[0].contains(file.to_str().unwrap()), "{said}");
        }
        if part.starts_with("line") {
            let done = run(&cache, &["config", "set", "max_size", "3G"]);
            assert!(done.status.code() == Some(2) && text(&done.stderr).lines().count() == 1);
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
    }
}

#[test]
fn where_a_value_comes_from() {
    let mut cache = Cache::new();
    let origin = |cache: &Cache, key: &str| {
        let said = text(&run(cache, &["config"]).stdout);
        let line = said.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        assert!(said.lines().skip(3).all(|line| line.chars().count() <= 80), "{said}");
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        (words[1].clone(), words[2].clone())
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(origin(&cache, "max_size"), pair("10G", "default"));
    cache.say(&["config", "set", "max_size", "3G"]);
    assert_eq!(origin(&cache, "max_size"), pair("3G", "settings"));
    cache.set("IBID_MAX_SIZE", "4G");
    assert_eq!(origin(&cache, "max_size"), pair("4G", "IBID_MAX_SIZE"));
    cache.set("IBID_MAX_SIZE", "4");
    assert_eq!(origin(&cache, "max_size"), pair("3G", "settings"));
    let noted = text(&run(&cache, &["config", "unset", "max_size"]).stderr);
    assert_eq!(noted, "ibid: note: IBID_MAX_SIZE is set and wins over the file\n");
    assert_eq!(origin(&cache, "max_size"), pair("10G", "default"));
    cache.unset("IBID_MAX_SIZE");
    cache.say(&["config", "unset", "max_size"]);
    assert_eq!(cache.say(&["config", "get", "max_size"]), "10G\n");
    for (value, shown) in [("false", "false"), ("no", "false"), ("1", "true"), ("yes", "true")] {
        cache.set("IBID_DISABLE", value);
        assert_eq!(origin(&cache, "disable"), pair(shown, "IBID_DISABLE"), "{value}");
    }
    for args in [
        &["config", "get", "maxsize"][..],
        &["config", "unset", "maxsize"],
        &["config", "set", "maxsize", "1G"],
    ] {
        let done = run(&cache, args);
        assert_eq!(done.status.code(), Some(2));
        assert_eq!(text(&done.stderr), "ibid: unknown key `maxsize`; is it `max_size`?\n");
    }
}

/// Paths in the file hold in every directory.
#[test]
fn paths_are_written_from_the_root_on() {
    let cache = Cache::new();
    cache.ibid(["config", "set", "log", "ibid.log"]).current_dir(cache.root()).status().unwrap();
    let log = cache.root().canonicalize().unwrap().join("ibid.log");
    assert_eq!(cache.say(&["config", "get", "log"]).trim(), log.to_str().unwrap());
    let done = run(&cache, &["config", "set", "root", "nowhere"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).ends_with("nowhere is no directory\n"), "{done:?}");
}

#[test]
fn log_lines() {
    let files = [("a.c", "int a;\n"), ("t.c", "char *t = __TIME__;\n"), ("wrong.c", "int a = ;\n")];
    let (mut cache, project) = (Cache::new(), Project::with(&files));
    let log = cache.root().join("log");
    cache.set("IBID_LOG", log.clone());
    let place = project.path().canonicalize().unwrap();
    for (line, outcome, source) in [
        ("gcc -c a.c -o a.o", "miss, stored", " a.c"),
        ("gcc -c a.c -o a.o", "direct hit", " a.c"),
        ("gcc -c t.c", "miss, not stored, used_time", " t.c"),
        ("gcc a.c -o a -shared", "miss, stored", " a.c"),
        ("gcc --version", "passed through, query", ""),
        ("gcc -c wrong.c", "tool failed, noted", " wrong.c"),
    ] {
        let _ = fs::remove_file(&log);
        project.call(&cache, line).unstable(&["t.o".to_owned()]).check();
        let said = fs::read_to_string(&log).unwrap();
        let last = said.lines().last().unwrap();
        let gcc = crate::tools::path_of("gcc");
        let end = format!(" ms: {outcome}: {}{source} in {}", gcc.display(), place.display());
        assert!(last.ends_with(&end), "{last}\n{end}");
        for line in said.lines() {
            let time = line.split(' ').next().unwrap();
            assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{line}");
            assert_eq!(line.split(' ').nth(1).map(|word| word.starts_with("ibid[")), Some(true));
        }
    }
}
