//! Environment variables: which cannot matter though they are read, and which tools read them by name only.
//!
//! Each with its reason. When in doubt a variable matters: a miss too many is cheap. Read next: `mod.rs`.

use std::ffi::OsStr;
use std::path::Path;

use super::{Family, Policy, names};

/// Read by compilers, yet without influence on what they write or print.
const IGNORED: &[(&str, &str)] = &[
    ("MAKEFLAGS", "gcc asks it for a jobserver: how many link-time jobs run at once"),
    ("MFLAGS", "an older name of MAKEFLAGS"),
    ("MAKELEVEL", "how deep make is nested"),
    ("CARGO_MAKEFLAGS", "cargo's jobserver, inherited by a compiler that a build script runs"),
    (
        "FAKEROOTKEY",
        "where fakeroot's library reaches its server, which it asks about owners of files",
    ),
    ("TMPDIR", "where temporary files lie; they are gone in the end"),
    ("TMP", "as TMPDIR"),
    ("TEMP", "as TMPDIR"),
    ("TEMPDIR", "as TMPDIR; clang asks for it too"),
    ("CLANG_CRASH_DIAGNOSTICS_DIR", "where clang writes when it crashes"),
    ("LLVM_DISABLE_CRASH_REPORT", "only used when clang crashes"),
    ("LLVM_DISABLE_SYMBOLIZATION", "only used when clang crashes"),
    ("LLVM_SYMBOLIZER_PATH", "only used when clang crashes"),
];

/// Those of them that differ from build to build.
const JOBSERVER: &[&str] = &["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"];

/// They colour, shape or link messages: without a message to replay they cannot matter.
const ONLY_FOR_TEXT: &[&str] = &[
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "COLUMNS",
    "GCC_COLORS",
    "GCC_EXTRA_DIAGNOSTIC_OUTPUT",
    "GCC_URLS",
    "LINES",
    "NO_COLOR",
    "TERM",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TERM_URLS",
];

/// Programs, and libraries that they load as plugins, that look variables up by name and never walk the environment but to
/// pass it on; beside the drivers.
const BY_NAME: &[&str] = &[
    "LLVMgold.so",
    "as",
    "cc1",
    "cc1obj",
    "cc1objplus",
    "cc1plus",
    "collect2",
    "cpp",
    "gold",
    "ld",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "ld.mold",
    "liblto_plugin.so",
    "lld",
    "lto-wrapper",
    "llvm-nm",
    "llvm-ranlib",
    "lto1",
    "m4",
    "mold",
    "objcopy",
    "rust-lld",
    "rustup",
    "wasm-emscripten-finalize",
    "wasm-metadce",
    "wasm-opt",
    "wasm2js",
];

impl Policy {
    /// Whether this variable cannot matter for the command, although a tool read it. `askers` are the images that asked for
    /// it by name, each with how often it did.
    pub fn ignores_variable(&self, name: &OsStr, askers: &[(&Path, u32)]) -> bool {
        if JOBSERVER.iter().any(|jobserver| name == *jobserver) {
            // rustc asks once, for itself.
            let is_once = |(image, times): &(&Path, u32)| !self.is_rustc(image) || *times <= 1;
            return self.is_known() && askers.iter().all(is_once);
        }
        self.is_known()
            && IGNORED.iter().any(|(ignored, _)| name == *ignored)
            && !askers.iter().any(|(image, _)| self.is_rustc(image))
    }

    /// Whether this variable matters only if the tool prints something.
    pub fn only_for_text(&self, name: &OsStr, askers: &[(&Path, u32)]) -> bool {
        self.is_known()
            && ONLY_FOR_TEXT.iter().any(|only| name == *only)
            && !askers.iter().any(|(image, _)| self.is_rustc(image))
    }

    /// Whether those who asked for `PATH` or `PWD` only search with it, so that what they found tells what it did.
    pub fn only_search(&self, askers: &[(&Path, u32)]) -> bool {
        askers.iter().all(|(image, _)| reads_variables_by_name(image) && !self.is_rustc(image))
    }

    fn is_known(&self) -> bool {
        self.family != Family::Unknown && !self.runs_foreign_code
    }

    /// rustc puts any variable into the result that the crate's source or a macro names.
    fn is_rustc(&self, image: &Path) -> bool {
        image.file_name().and_then(names::family) == Some(Family::Rustc)
            || self.driver.as_deref() == Some(image)
    }
}

/// Variables that lead gcc and clang to files.
pub const SEARCH_PATHS: [&[u8]; 5] =
    [b"CPATH", b"C_INCLUDE_PATH", b"CPLUS_INCLUDE_PATH", b"COMPILER_PATH", b"LIBRARY_PATH"];

/// Whether a plugin is one of those that binutils and LLVM install for `ar`, `nm` and `ld`: they look at intermediate code, and
/// at variables by name.
pub fn is_linkers_plugin(plugin: &Path) -> bool {
    let name = plugin.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is_known =
        ["libdep.so", "liblto_plugin.so"].contains(&name) || name.starts_with("LLVMgold");
    is_known
        && plugin.starts_with("/usr")
        && plugin.parent().is_some_and(|it| it.ends_with("bfd-plugins"))
}

/// Whether programs of this name are known to look variables up by name only.
///
/// `image` is the file that the kernel runs: of a script its interpreter, never the script (a `gcc` may be a shell script).
/// Says nothing about plugins: see `Policy::runs_foreign_code`.
pub fn reads_variables_by_name(image: &Path) -> bool {
    let Some(name) = image.file_name().and_then(OsStr::to_str) else { return false };
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    // A cross tool: `x86_64-linux-gnu-as`.
    let base = stem.rsplit_once('-').map_or(stem, |(_, base)| base);
    names::family(name.as_ref()).is_some()
        || [name, stem, base].into_iter().any(|name| BY_NAME.contains(&name))
}
