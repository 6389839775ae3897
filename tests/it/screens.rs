//! What subcommands say, as a whole, on a terminal of 80 columns. What statistics, explanations, `doctor` and the monitor show is
//! pinned where they are tested.

use crate::cache::{Cache, Outcome};
use crate::project::Project;

/// With `$ROOT` for the cache's place, `$HOME` for the home in it, and `9` for each number.
fn settled(said: &str, root: &str) -> String {
    let said = said.replace(&format!("{root}/home"), "$HOME").replace(root, "$ROOT");
    let mut settled = String::new();
    for c in said.chars() {
        match c.is_ascii_digit() {
            true if settled.ends_with('9') => {}
            true => settled.push('9'),
            false => settled.push(c),
        }
    }
    settled
}

/// Arguments, and all that is said, in the order in which they run. A text is long where it holds what somebody typed.
const SCREENS: &[(&[&str], &str)] = &[
    (
        &["gc"],
        "\
results compressed     9 (9 B to 9 B)
segments removed       9 (9 B)
records removed        9 (9 s of compiling)
temporary files        9
caches of other ibids  9
size                   9 kB of 9 GB
",
    ),
    (
        &["gc", "--dry-run", "--gone"],
        "\
nothing is removed; this would be:
results dropped        9 (9 B, 9.9 s of compiling)
results compressed     9 (9 B)
segments removed       9 (9 B)
records removed        9 (9 s of compiling)
temporary files        9
caches of other ibids  9
size                   9 kB of 9 GB
",
    ),
    (&["verify"], "9 record and 9 blob are whole, 9 MB read: nothing is damaged\n"),
    (&["export", "$ROOT/x"], "exported 9 record and 9 blob, 9 kB\n"),
    (&["import", "$ROOT/x"], "imported 9 records and 9 blobs, 9 B; 9 record was there already\n"),
    (&["remote"], "no remote storage is set: IBID_REMOTE, or `ibid config set remote`\n"),
    (
        &["remote", "key"],
        "\
signs with   nothing (`ibid remote key new`)
trusts       anybody: no signature is needed
",
    ),
    (
        &["config"],
        "\
cache directory   $ROOT/cache
settings file     $HOME/.config/ibid/config.toml

max_size     9G       default        the most that the cache may hold
share        off       default        share the cache: group or off
readonly     false     default        use what is stored, store nothing
readonly_dir -         default        a second cache, which is only read
recache      false     default        run the tool, store its result anew
disable      false     default        just run the tool
root         -         default        the project's root
remap        off       default        add prefix-map flags: auto or off
observer     preload   default        how to watch: preload, seccomp, off
log          -         default        stderr, or a file to append to
remote       -         default        storages beyond this machine
remote_key   -         default        the key that signs what is sent
remote_trust anybody   default        whose results: anybody, nobody, or keys
",
    ),
    (&["config", "set", "max_size", "20G"], ""),
    (&["config", "get", "max_size"], "9G\n"),
    (&["uninstall", "$ROOT/links"], "nothing to remove: $ROOT/links is not there\n"),
    (&["report", "$ROOT/page.html"], "$ROOT/page.html: build session, 9 call\n"),
    (
        &["explain", "--last"],
        "\
the last miss

     9  not compiled before
        a.c: 9.9 s
        -> nothing: the next compile is a hit
",
    ),
    (&["exec", "--check", "--", "true"], "repeats itself\n"),
    (
        &["exec", "--check", "--", "date", "+%N"],
        "\
does not repeat itself
  standard output differs in line 9
  it asked for the time
  if that never enters its result, `[tools.\"NAME\"]` in config.toml says so
",
    ),
    (&["clear"], "the cache is empty\n"),
];

#[test]
fn at_eighty_columns() {
    let cache = Cache::new().with("IBID_BUILD", "session");
    let root = cache.root().to_str().unwrap().to_owned();
    let project = Project::with(&[("a.c", "int a;\n")]);
    project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    for (args, expected) in SCREENS {
        let typed: Vec<String> = args.iter().map(|arg| arg.replace("$ROOT", &root)).collect();
        let words: Vec<&str> = typed.iter().map(String::as_str).collect();
        let done = cache.ibid(&words).current_dir(&root).output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        let said = settled(&said, &root);
        assert_eq!(said, *expected, "{args:?}");
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    }
}
