//! A project's own settings, `ibid.toml`: which file counts, what it may say, and that a result is never one of other settings.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use crate::cache::{Cache, Outcome};
use crate::project::Project;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn run(cache: &Cache, project: &Project, below: &str, args: &[&str]) -> Output {
    cache.ibid(args).current_dir(project.at(below)).output().unwrap()
}

/// What `ibid config` says of a setting, and where that is from.
fn setting(cache: &Cache, project: &Project, below: &str, key: &str) -> String {
    let said = text(&run(cache, project, below, &["config"]).stdout);
    let line = said.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" ")
}

/// A repository with a source in `src`.
fn repository() -> Project {
    let project = Project::with(&[("src/a.c", "int a(int x) { return x + 1; }\n")]);
    project.mkdir(".git");
    project
}

/// The object that a compile with debug information leaves, which names the directory unless `remap` is on, and how that ended.
fn compile(cache: &Cache, project: &Project, below: &str) -> (Vec<u8>, Outcome) {
    let source = project.at("src/a.c");
    let counters = cache.count(|| {
        let args = ["gcc", "-g", "-c", source.to_str().unwrap(), "-o", "a.o"];
        let done = run(cache, project, below, &args);
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    });
    (project.read(&format!("{below}/a.o")), counters.outcome())
}

/// The object that this compile gives now with `remap` so, by a cache of its own.
fn expected(project: &Project, below: &str, remap: &str) -> Vec<u8> {
    compile(&Cache::new().with("IBID_REMAP", remap), project, below).0
}

#[test]
fn which_file_counts() {
    let cache = Cache::new();
    let project = repository();
    project.mkdir("src/deep");
    assert_eq!(setting(&cache, &project, "src", "remap"), "off default add");
    project.write("ibid.toml", "remap = \"auto\"\n");
    for below in ["", "src", "src/deep"] {
        assert_eq!(setting(&cache, &project, below, "remap"), "auto project file", "{below}");
    }
    // The nearest.
    project.write("src/ibid.toml", "remap = \"off\"\n");
    assert_eq!(setting(&cache, &project, "src/deep", "remap"), "off project file");
    project.remove("src/ibid.toml");
    // Not beyond the root of a repository, or of a worktree; a submodule is a part of the one around it.
    project.mkdir("src/.git");
    assert_eq!(setting(&cache, &project, "src/deep", "remap"), "off default add");
    project.remove("src/.git");
    project.write("src/.git", "gitdir: /x/.git/worktrees/src\n");
    assert_eq!(setting(&cache, &project, "src/deep", "remap"), "off default add");
    project.write("src/.git", "gitdir: ../.git/modules/src\n");
    assert_eq!(setting(&cache, &project, "src/deep", "remap"), "auto project file");
    // The user's own file comes behind, the environment before.
    let settings = cache.root().join("home/.config/ibid");
    fs::create_dir_all(&settings).unwrap();
    fs::write(settings.join("config.toml"), "remap = \"off\"\nmax_size = \"3G\"\n").unwrap();
    assert_eq!(setting(&cache, &project, "src", "remap"), "auto project file");
    assert_eq!(setting(&cache, &project, "src", "max_size"), "3G settings file");
    let cache = cache.with("IBID_REMAP", "off");
    assert_eq!(setting(&cache, &project, "src", "remap"), "off IBID_REMAP add");
    // A root is named from where the file is.
    project.write("ibid.toml", "root = \"src\"\n");
    let root = format!("{} project", project.at("src").canonicalize().unwrap().display());
    assert!(setting(&cache, &project, "src/deep", "root").starts_with(&root));
    let said = text(&run(&cache, &project, "src/deep", &["config"]).stdout);
    let file = project.at("ibid.toml").canonicalize().unwrap();
    assert!(said.contains(&format!("project file      {}\n", file.display())), "{said}");
}

/// A directory for everybody's files is nobody's project, and neither is one of somebody else above ours.
#[test]
fn directories_of_others() {
    let cache = Cache::new();
    let project = Project::with(&[("all/ibid.toml", "remap = \"auto\"\n")]);
    project.mkdir("all/mine");
    assert_eq!(setting(&cache, &project, "all/mine", "remap"), "auto project file");
    project.chmod("all", 0o1777);
    assert_eq!(setting(&cache, &project, "all/mine", "remap"), "off default add");
    project.chmod("all", 0o755);
    if std::os::unix::fs::chown(project.at("all"), Some(1), None).is_ok() {
        assert_eq!(setting(&cache, &project, "all/mine", "remap"), "off default add");
    }
}

/// After each change the object is the one that the settings of that moment give.
#[test]
fn a_change_is_never_a_wrong_hit() {
    let project = repository();
    project.mkdir("src/build/x");
    let below = "src/build/x";
    assert_ne!(expected(&project, below, "off"), expected(&project, below, "auto"));
    let cache = Cache::new();
    let step = |what: &str, remap: &str| {
        let expected = expected(&project, below, remap);
        let (object, _) = compile(&cache, &project, below);
        assert!(object == expected, "{what}: an object of other settings");
        let (object, outcome) = compile(&cache, &project, below);
        assert!(object == expected, "{what}: an object of other settings, the second time");
        assert_eq!(outcome, Outcome::InvocationHit, "{what}");
    };
    step("no file", "off");
    project.write("ibid.toml", "remap = \"auto\"\n");
    step("it appears at the root", "auto");
    project.write("src/ibid.toml", "");
    step("an empty one is nearer", "off");
    project.remove("src/ibid.toml");
    step("and goes", "auto");
    project.write("ibid.toml", "remap = \"off\" \n");
    step("an edit of equal size", "off");
    project.write("ibid.toml", "remap = \"auto\"\n");
    step("and back", "auto");
    project.mkdir("src/.git");
    step("a repository below it", "off");
    project.remove("src/.git");
    step("and no more", "auto");
    project.rename("ibid.toml", "elsewhere.toml");
    step("it is called otherwise", "off");
    project.symlink("elsewhere.toml", "ibid.toml");
    step("a link to it", "auto");
    project.symlink("nowhere.toml", "ibid.toml");
    step("a link that leads nowhere", "off");
    project.write("nowhere.toml", "remap = \"auto\"\n");
    step("what it leads to appears", "auto");
    project.remove("ibid.toml");
    step("no file again", "off");
    project.write("src/build/x/ibid.toml", "remap = \"auto\"\n");
    step("in the working directory", "auto");
    project.remove("src/build/x/ibid.toml");
    step("and gone", "off");
    project.rename(".git", "git");
    fs::write(project.at("src/ibid.toml"), "remap = \"auto\"\n").unwrap();
    step("without a repository", "auto");
}

/// Where a file above the root comes to count because the root is none any more.
#[test]
fn a_root_that_goes() {
    let project = repository();
    project.mkdir("src/.git");
    project.mkdir("src/build");
    project.write("ibid.toml", "remap = \"auto\"\n");
    let cache = Cache::new();
    let step = |remap: &str| {
        compile(&cache, &project, "src/build").0 == expected(&project, "src/build", remap)
    };
    assert!(step("off"));
    assert_eq!(compile(&cache, &project, "src/build").1, Outcome::InvocationHit);
    project.remove("src/.git");
    assert!(step("auto"));
    project.write("src/.git", "gitdir: /x/.git/worktrees/src\n");
    assert!(step("off"));
    assert!(step("off"));
    project.write("src/.git", "gitdir: /x/.git/modules/sr\n");
    assert!(step("auto"));
}

/// A result under settings that the environment gave is not one under a file's that counts for nothing here.
#[test]
fn a_file_beyond_the_root() {
    let project = repository();
    project.mkdir("src/.git");
    project.write("ibid.toml", "remap = \"auto\"\n");
    let [plain, mapped] = ["off", "auto"].map(|remap| expected(&project, "src", remap));
    let mut cache = Cache::new().with("IBID_REMAP", "auto");
    assert!(compile(&cache, &project, "src").0 == mapped);
    assert_eq!(compile(&cache, &project, "src").1, Outcome::InvocationHit);
    cache.unset("IBID_REMAP");
    assert!(compile(&cache, &project, "src").0 == plain);
}

/// Two checkouts with the same file share results, as they do with a variable.
#[test]
fn checkouts_share_results() {
    let one = repository();
    one.write("ibid.toml", "remap = \"auto\"\n");
    let two = one.copy(7);
    let cache = Cache::new();
    let (object, outcome) = compile(&cache, &one, "src");
    assert_eq!(outcome, Outcome::Miss);
    // The first of a class is compared.
    let (other, outcome) = compile(&cache, &two, "src");
    assert!(object == other);
    assert_eq!(outcome, Outcome::PortableHit);
    assert_eq!(compile(&cache, &two, "src").1, Outcome::InvocationHit);
}

/// What a tool drew or asked the clock for is stored as long as the project says so, and served no longer.
#[test]
fn a_tool_that_the_project_names() {
    let project = Project::new();
    project.mkdir(".git");
    project.write_program("gen.sh", "#!/bin/sh\ndate +%N >out.txt\n");
    let cache = Cache::new().with("PATH", "/usr/bin:/bin");
    let call = || {
        if project.at("out.txt").exists() {
            project.remove("out.txt");
        }
        let counters = cache.count(|| {
            let done = run(&cache, &project, "", &["./gen.sh"]);
            assert!(done.status.success(), "{done:?}");
        });
        (text(&project.read("out.txt")), counters.outcome())
    };
    assert!(!call().1.is_hit() && !call().1.is_hit());
    project.write("ibid.toml", "[tools.\"./gen.sh\"]\n");
    call();
    let (first, _) = call();
    let (second, outcome) = call();
    assert!(outcome.is_hit() && first == second, "{outcome:?}");
    project.write("ibid.toml", "[tools.\"./gen.sh\"]\nsteady = false\n");
    let (third, outcome) = call();
    assert!(!outcome.is_hit() && third != first, "{outcome:?}");
    project.write("ibid.toml", "[tools.\"./other.sh\"]\n");
    assert!(!call().1.is_hit());
    project.remove("ibid.toml");
    let (last, outcome) = call();
    assert!(!outcome.is_hit() && last != first, "{outcome:?}");
}

/// One line each; nothing of it in a compile.
#[test]
fn what_is_refused() {
    let only = "only `root`, `remap`, `tools`";
    for (file, words) in [
        ("remapp = \"auto\"\n", "unknown key `remapp`; is it `remap`?"),
        ("max_size = \"1G\"\n", &format!("`max_size` is not for a project to say, {only}")),
        ("observer = \"off\"\n", &format!("`observer` is not for a project to say, {only}")),
        ("remote = \"http://x/\"\n", &format!("`remote` is not for a project to say, {only}")),
        ("disable = true\n", &format!("`disable` is not for a project to say, {only}")),
        ("remap = \"on\"\n", "remap: `on` is neither `auto` nor `off`"),
        ("remap = true\n", "remap: not a string"),
        ("root = \"nowhere\"\n", "is no directory"),
        ("tools = 1\n", "tools: write `[tools.\"./gen.py\"]`"),
        ("remap = = 1\n", "line 1:"),
    ] {
        let (cache, project) = (Cache::new(), repository());
        project.write("ibid.toml", file);
        let done = run(&cache, &project, "src", &["config"]);
        let said = text(&done.stderr);
        assert_eq!(said.lines().count(), 1, "{file}: {said}");
        let path = project.at("ibid.toml").canonicalize().unwrap();
        assert!(said.starts_with(&format!("ibid: {}", path.display())), "{said}");
        assert!(said.contains(words), "{file}: {said}");
        let done = run(&cache, &project, "src", &["doctor", "--quick"]);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert!(text(&done.stdout).starts_with("Compiles are cached, but a setting is refused."));
        assert_eq!(compile(&cache, &project, "src").1, Outcome::Miss, "{file}");
        assert_eq!(compile(&cache, &project, "src").1, Outcome::InvocationHit, "{file}");
    }
}

/// Something else by that name neither stops nor delays a compile.
#[test]
fn what_is_no_file() {
    let project = repository();
    let cache = Cache::new();
    let refused = |cache: &Cache| text(&run(cache, &project, "src", &["config"]).stderr);
    project.mkdir("ibid.toml");
    assert!(refused(&cache).contains("is no file"));
    assert!(!compile(&cache, &project, "src").1.is_hit());
    compile(&cache, &project, "src");
    project.remove("ibid.toml");
    let made = Command::new("mkfifo").arg(project.at("ibid.toml")).status().unwrap();
    assert!(made.success());
    assert!(refused(&cache).contains("is no file"));
    compile(&cache, &project, "src");
    compile(&cache, &project, "src");
    fs::remove_file(project.at("ibid.toml")).unwrap();
    symlink("ibid.toml", project.at("ibid.toml")).unwrap();
    compile(&cache, &project, "src");
    assert_eq!(compile(&cache, &project, "src").1, Outcome::InvocationHit);
    fs::remove_file(project.at("ibid.toml")).unwrap();
    fs::write(project.at("ibid.toml"), "remap = \"auto\"\n").unwrap();
    fs::set_permissions(project.at("ibid.toml"), fs::Permissions::from_mode(0o000)).unwrap();
    compile(&cache, &project, "src");
    compile(&cache, &project, "src");
}
