//! Looking after a cache: `verify`, `gc`, `doctor`, and how large it gets.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Output;

use crate::cache::{Cache, Outcome};
use crate::project::Project;

fn run(cache: &Cache, args: &[&str]) -> Output {
    cache.ibid(args).current_dir(cache.root()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The directory of this layout.
fn inside(cache: &Cache) -> PathBuf {
    fs::read_dir(cache.dir()).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn verify_lists_what_is_damaged_and_drops_it() {
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a = 1;\n")]));
    let compile = || project.call(&cache, "gcc -c a.c -o a.o").check().outcome;
    assert!(run(&cache, &["verify"]).status.success());
    assert!(!cache.dir().exists(), "verify makes no cache");
    assert_eq!(compile(), Outcome::Miss);
    let said = cache.say(&["verify"]);
    assert!(said.contains("1 records and 1 blobs are whole"), "{said}");

    let object = project.read("a.o");
    let segment = inside(&cache).join("seg-0000000000000001");
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(object.len()).position(|window| window == object).unwrap();
    let file = fs::File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&[object[40] ^ 1], at as u64 + 40).unwrap();
    let done = run(&cache, &["verify"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stderr.is_empty(), "no bar where there is no terminal: {done:?}");
    assert!(text(&done.stdout).starts_with("seg-0000000000000001 at "), "{done:?}");

    // Not repaired: the compile stores its result anew all the same.
    assert!(!compile().is_hit());
    assert!(compile().is_hit());
    cache.say(&["verify", "--repair"]);
    assert!(cache.say(&["verify"]).contains("nothing is damaged"));
    assert!(compile().is_hit());
}
