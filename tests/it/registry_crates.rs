//! Crates that cargo has downloaded, without `IBID_REMAP`: their libraries serve every workspace, unless the target directory has
//! reached them.
//!
//! The reference is cargo without ibid, in the same directory. The registry is a directory of the test's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, Counters};
use crate::project::Project;
use crate::rustc::{cache, toolchain};
use crate::tools::{self, have};

/// What shows where it is, in every way that no byte of the path need show.
const HASHES: &str = "pub const fn hash(s: &str) -> u64 { let (b, mut h, mut i) = (s.as_bytes(), 7u64, 0);\n\
    while i < b.len() { h = h.wrapping_mul(31).wrapping_add(b[i] as u64); i += 1; } h }\n\
    pub const HERE: u64 = hash(file!());\npub const MANIFEST: u64 = hash(env!(\"CARGO_MANIFEST_DIR\"));\n\
    pub fn fails(x: u32) -> u32 { assert!(x % 2 == 0, \"odd\"); x / 2 }\n";

/// Files of a crate, each with its text.
type Files = &'static [(&'static str, &'static str)];

/// Crates of the registry: name, what else is in the manifest, files.
const CRATES: &[(&str, &str, Files)] = &[
    ("low", "", &[("src/lib.rs", HASHES)]),
    (
        "upper",
        "[dependencies]\nlow = \"1\"\n",
        &[
            (
                "src/lib.rs",
                "mod inner;\npub use low::fails;\npub const L: u64 = low::HERE ^ inner::I;\n",
            ),
            ("src/inner.rs", "pub const I: u64 = low::hash(file!());\n"),
        ],
    ),
    (
        "made",
        "[dependencies]\nlow = \"1\"\n",
        &[
            (
                "build.rs",
                "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap();\nstd::fs::write(format!(\"{out}/m.rs\"), \"pub const M: u32 = 14;\").unwrap(); }\n",
            ),
            ("src/lib.rs", "include!(concat!(env!(\"OUT_DIR\"), \"/m.rs\"));\n"),
        ],
    ),
    (
        "values",
        "[dependencies]\nlow = \"1\"\n",
        &[
            (
                "build.rs",
                "fn main() { println!(\"cargo:rustc-env=WHERE={}\", std::env::var(\"OUT_DIR\").unwrap()); }\n",
            ),
            ("src/lib.rs", "pub const W: u64 = low::hash(env!(\"WHERE\"));\n"),
        ],
    ),
    (
        "mac",
        "[lib]\nproc-macro = true\n",
        &[(
            "src/lib.rs",
            "use proc_macro::TokenStream;\n#[proc_macro]\npub fn here(_: TokenStream) -> TokenStream {\n\
            format!(\"{}u32\", std::env::current_exe().unwrap().as_os_str().len()).parse().unwrap() }\n",
        )],
    ),
];

const MAIN: &str = "fn main() { println!(\"{} {} {} {} {}\", upper::L, made::M, values::W, low::MANIFEST, mac::here!()); }\n";

const PLACES: [&str; 3] = ["one", "second/place", "a/much/longer/directory/than/those"];

struct Workspaces {
    cache: Cache,
    project: Project,
}

impl Workspaces {
    fn new() -> Option<Workspaces> {
        if !have("cargo") {
            return None;
        }
        toolchain()?;
        let project = Project::new();
        let home = project.path().canonicalize().unwrap().join("cargo-home");
        let mut cache = cache().with("CARGO_NET_OFFLINE", "true").with("CARGO_TERM_COLOR", "never");
        cache.set("CARGO_BUILD_JOBS", "2");
        cache.set("CARGO_HOME", home.as_os_str());
        let registry = "cargo-home/registry/src/mine";
        for (name, manifest, files) in CRATES {
            let at = format!("{registry}/{name}");
            project.write(
                &format!("{at}/Cargo.toml"),
                format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n{manifest}"),
            );
            project.write(&format!("{at}/.cargo-checksum.json"), "{\"files\":{},\"package\":null}");
            for (file, text) in *files {
                project.write(&format!("{at}/{file}"), text);
            }
        }
        project.write(
            "cargo-home/config.toml",
            format!(
                "[source.crates-io]\nreplace-with = \"mine\"\n[source.mine]\ndirectory = \"{}\"\n",
                home.join("registry/src/mine").display()
            ),
        );
        let wanted: Vec<_> = CRATES.iter().map(|(name, ..)| format!("{name} = \"1\"")).collect();
        let wanted = wanted.join("\n");
        for place in PLACES {
            project.write(
                &format!("{place}/Cargo.toml"),
                format!("[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n{wanted}"),
            );
            project.write(&format!("{place}/src/main.rs"), MAIN);
        }
        Some(Workspaces { cache, project })
    }

    fn cargo(&self, place: &str, line: &str, wrapper: Option<&Path>) {
        let here = self.project.at(place).canonicalize().unwrap();
        let mut command = self.cache.command("cargo");
        command.args(line.split(' ')).current_dir(&here).env("PWD", &here);
        if let Some(wrapper) = wrapper {
            command.env("RUSTC_WRAPPER", wrapper);
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// What ibid counted, and the libraries and programs that were made, which are those that cargo makes without ibid.
    fn build(&self, place: &str, line: &str) -> Counters {
        let counted = self.cache.count(|| self.cargo(place, line, Some(tools::ibid())));
        let target = self.project.at(place).join("target");
        let with_ibid = compiled(&target);
        std::fs::remove_dir_all(&target).unwrap();
        self.cargo(place, line, None);
        let bare = compiled(&target);
        assert!(with_ibid.len() > 5, "{:?}", with_ibid.keys());
        assert_eq!(with_ibid.keys().collect::<Vec<_>>(), bare.keys().collect::<Vec<_>>());
        for (name, bytes) in &with_ibid {
            assert!(bytes == &bare[name], "{line}: {} in {place}", name.display());
        }
        counted
    }
}

/// What rustc has made of crates of the registry, and the dep-infos.
fn compiled(target: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut to_do) = (BTreeMap::new(), vec![target.to_owned()]);
    while let Some(directory) = to_do.pop() {
        for path in std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()) {
            let is_compiled = path
                .extension()
                .is_some_and(|it| it == "rlib" || it == "rmeta" || it == "so" || it == "d");
            if path.is_dir() && !path.ends_with("incremental") {
                to_do.push(path);
            } else if is_compiled {
                files.insert(
                    path.strip_prefix(target).unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }
    files
}

#[test]
fn libraries_serve_every_workspace() {
    for line in ["build", "build --release"] {
        let Some(work) = Workspaces::new() else { return };
        let first = work.build(PLACES[0], line);
        assert!(first.get("misses") >= 7, "{line}: {first:?}");
        for place in &PLACES[1..] {
            let counted = work.build(place, line);
            // Two questions of cargo's, `low` and `upper`; not what used `OUT_DIR`, macros, build scripts, and the program.
            assert_eq!(counted.get("portable_hits"), 4, "{line} in {place}: {counted:?}");
            assert_eq!(counted.get("internal_errors/audit"), 0, "{line} in {place}: {counted:?}");
        }
    }
}

/// A checkout of one's own is no crate of the registry, also where it looks like one.
#[test]
fn what_lies_elsewhere_serves_its_own_place() {
    let Some(mut work) = Workspaces::new() else { return };
    work.cargo(PLACES[0], "build", Some(tools::ibid()));
    let elsewhere = work.project.at("elsewhere");
    work.cache.set("CARGO_HOME", elsewhere.as_os_str());
    let config = std::fs::read(work.project.at("cargo-home/config.toml")).unwrap();
    work.project.write("elsewhere/config.toml", config);
    let counted = work.build(PLACES[1], "build");
    // Two questions of cargo's.
    assert_eq!(counted.get("portable_hits"), 2, "{counted:?}");
}
