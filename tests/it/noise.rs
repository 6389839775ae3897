//! What code asks about itself, time, process number, seeds: it counts where it may be in what the tool leaves behind.
//!
//! Read next: `scripts.rs` (shells), `cargo.rs` (a driver of the user's own).

use crate::cache::Outcome;
use crate::call::Seen;
use crate::project::Project;
use crate::rustc::{cache, toolchain};

const MACRO: &str = "#[proc_macro] pub fn it(_: proc_macro::TokenStream) -> proc_macro::TokenStream { \"3\".parse().unwrap() }\n";

/// A macro that is instrumented for coverage leaves a profile behind, in a file whose name holds its process number unless
/// `LLVM_PROFILE_FILE` says otherwise: a hit could not leave the same.
#[test]
fn macros_that_are_instrumented_for_coverage() {
    let Some(toolchain) = toolchain() else { return };
    let (cache, project) =
        (cache(), Project::with(&[("m.rs", MACRO), ("a.rs", "pub fn f() -> u32 { m::it!() }\n")]));
    let rustc = toolchain.join("rustc").display().to_string();
    let line = format!(
        "LLVM_PROFILE_FILE=/dev/null {rustc} --edition 2021 --crate-type proc-macro --extern proc_macro -Cinstrument-coverage m.rs"
    );
    project.shell(&cache, &line);
    let compile = |profile: &str| -> Seen {
        let line = format!("{rustc} --edition 2021 --crate-type lib --extern m=libm.so a.rs");
        // Addresses are in a profile.
        let call = project.call(&cache, &line).unstable(&["fixed.profraw".to_owned()]);
        call.env("LLVM_PROFILE_FILE", profile).check()
    };
    for profile in ["/dev/null", "fixed.profraw"] {
        compile(profile).expect(&Outcome::Miss);
        compile(profile).expect_hit();
    }
    let named = |profile: &str| {
        let counted = cache.count(|| {
            let mut compile = cache.ibid([
                &*rustc,
                "--edition",
                "2021",
                "--crate-type",
                "lib",
                "--extern",
                "m=libm.so",
                "a.rs",
            ]);
            compile.env("LLVM_PROFILE_FILE", profile).current_dir(project.path());
            assert!(compile.output().unwrap().status.success());
        });
        counted.outcome()
    };
    for _ in 0..2 {
        assert_eq!(named("x-%p.profraw"), Outcome::NotStored("used_random".into()));
    }
    let profiles = std::fs::read_dir(project.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("x-"));
    assert_eq!(profiles.count(), 2);
}
