//! What `.ci/release` makes, and what a machine is told that lacks something for it. The whole takes minutes: only with
//! `IBID_TEST_LONG`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::tools;

/// The names and contents of the files in a directory.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(directory).unwrap().flatten().map(file).collect()
}

#[test]
fn two_builds_give_the_same_bytes() {
    if !tools::long() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/release");
    let needed = ["cargo-deb", "maturin", "git", "objcopy", "dpkg-deb"];
    if let Some(missing) = needed.iter().find(|tool| tools::find(tool).is_none()) {
        return tools::skip(&format!("{missing} is not here"));
    }
    let scratch = tempfile::tempdir().unwrap();
    let built = ["one", "two"].map(|name| {
        let directory = scratch.path().join(name);
        let done = Command::new(&script)
            .arg(&directory)
            .env("CARGO_TARGET_DIR", scratch.path().join(format!("target-{name}")))
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        contents(&directory)
    });
    for end in [".tar.gz", ".debug", ".deb", ".whl", "SHA256SUMS"] {
        assert_eq!(built[0].keys().filter(|name| name.ends_with(end)).count(), 1, "{end}");
    }
    for (name, bytes) in &built[0] {
        assert!(built[1].get(name) == Some(bytes), "{name} differs");
    }
    let unpack = |name: &str, program: &str, args: &[&str]| {
        let place = scratch.path().join(name);
        fs::create_dir(&place).unwrap();
        let file = built[0].keys().find(|file| file.ends_with(name)).unwrap();
        let file = scratch.path().join("one").join(file);
        let mut command = Command::new(program);
        command.current_dir(&place).args(args).arg(file);
        if program == "dpkg-deb" {
            command.arg(".");
        }
        assert!(command.status().unwrap().success(), "{name}");
        place
    };
    let tarball = unpack(".tar.gz", "tar", &["xzf"]);
    let top = fs::read_dir(tarball).unwrap().flatten().next().unwrap().path();
    for file in ["ibid", "man/ibid.1", "man/ibid-stats.1", "completions/ibid.bash", "LICENSE-MIT"] {
        assert!(top.join(file).is_file(), "{file}");
    }
    assert!(fs::metadata(top.join("ibid")).unwrap().len() < 5_000_000);
    let package = unpack(".deb", "dpkg-deb", &["-x"]);
    assert!(package.join("usr/share/man/man1/ibid-stats.1.gz").is_file());
    for ibid in [top.join("ibid"), package.join("usr/bin/ibid")] {
        let said = Command::new(ibid).arg("--version").output().unwrap().stdout;
        let expected = format!("ibid {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    }
}

/// The build script alone, where the linker driver does not find the library, and where it does.
#[test]
fn a_machine_without_the_static_library() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let script = at("build-script");
    let made = Command::new(tools::path_of("rustc"))
        .args(["--edition=2024", "-o"])
        .arg(&script)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs"))
        .status();
    assert!(made.unwrap().success());
    let target = "x86_64-unknown-linux-gnu";
    for (says, features, is_refused) in [
        ("libc.a", "fxsr,crt-static", true),
        ("/usr/lib/libc.a", "fxsr,crt-static", false),
        ("libc.a", "fxsr", false),
    ] {
        fs::write(at("cc"), format!("#!/bin/sh\necho {says}\n")).unwrap();
        fs::set_permissions(at("cc"), fs::Permissions::from_mode(0o755)).unwrap();
        let done = Command::new(&script)
            .env_clear()
            .env("RUSTC_LINKER", at("cc"))
            .env("CARGO_FEATURE_STD", "1")
            .env("CARGO_CFG_TARGET_FEATURE", features)
            .env("CARGO_CFG_TARGET_ENV", "gnu")
            .env("TARGET", target)
            .env("HOST", target)
            // What comes after the question.
            .env("RUSTC", at("no-rustc"))
            .env("OUT_DIR", scratch.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        let errors: Vec<_> =
            said.lines().filter(|line| line.starts_with("cargo::error=")).collect();
        assert_eq!(errors.len(), usize::from(is_refused), "{says} {features}: {said}");
        if is_refused {
            assert!(
                errors[0].contains("libc6-dev") && errors[0].contains("glibc-static"),
                "{said}"
            );
            assert!(done.status.success(), "{done:?}");
        }
    }
}
