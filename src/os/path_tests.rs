//! Searches in directories made for the purpose.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn program(path: &Path, mode: u32) {
    fs::write(path, "#!/bin/sh\n").expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn the_first_that_can_be_run_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    for name in ["a", "b", "c", "d", "a/cc"] {
        fs::create_dir(at(name)).expect("a directory");
    }
    program(&at("b/cc"), 0o644);
    program(&at("d/cc"), 0o755);
    symlink("nowhere", at("c/cc")).expect("a link");
    let path: Vec<String> = ["missing", "a", "b", "c", "b/cc", "d"]
        .iter()
        .map(|name| at(name).to_str().expect("UTF-8").to_owned())
        .collect();
    let found = find_tool("cc".as_ref(), Some(path.join(":").as_ref()), &|_| false);
    assert_eq!(found.path, Some(at("d/cc")));
    let errors: Vec<i32> = found.absent.iter().map(|(_, error)| *error).collect();
    let (noent, acces, notdir) = (libc::ENOENT, libc::EACCES, libc::ENOTDIR);
    assert_eq!(errors, [noent, acces, acces, noent, notdir]);
    assert_eq!(find_tool("nothing".as_ref(), Some("/".as_ref()), &|_| false).path, None);
}

#[test]
fn words_with_a_slash_and_empty_elements() {
    let found = find_tool("/bin/sh".as_ref(), Some("/nowhere".as_ref()), &|_| false);
    assert_eq!(found.path, Some("/bin/sh".into()));
    assert_eq!(find_tool("sh".as_ref(), None, &|_| false).path, Some("/bin/sh".into()));
    assert_eq!(find_tool("".as_ref(), None, &|_| false), Found::default());
    let found = find_tool("cc".as_ref(), Some("::/x/".as_ref()), &|_| false);
    let looked: Vec<&Path> = found.absent.iter().map(|(path, _)| path.as_path()).collect();
    assert_eq!(looked, [Path::new("./cc"), Path::new("./cc"), Path::new("/x//cc")]);
}

#[test]
fn we_are_passed_by_under_any_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let me = std::env::current_exe().expect("this program");
    for name in ["link", "copy", "tool"] {
        fs::create_dir(dir.path().join(name)).expect("a directory");
    }
    symlink(&me, dir.path().join("link/cc")).expect("a link");
    fs::copy(&me, dir.path().join("copy/cc")).expect("a copy");
    program(&dir.path().join("tool/cc"), 0o755);
    let path: Vec<String> = ["link", "copy", "tool"]
        .iter()
        .map(|name| dir.path().join(name).to_str().expect("UTF-8").to_owned())
        .collect();
    let ourselves = Ourselves::default();
    let path = path.join(":");
    let found = find_tool("cc".as_ref(), Some(path.as_ref()), &|path| ourselves.is(path));
    assert_eq!(found.passed, [dir.path().join("link/cc"), dir.path().join("copy/cc")]);
    assert_eq!(found.path, Some(dir.path().join("tool/cc")));
}
