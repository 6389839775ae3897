//! Which names are a tool's, and of which family.
//!
//! By name alone: nothing is looked up. Read next: `mod.rs`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Family;

/// Names without prefix and version.
const FAMILIES: &[(&str, Family)] = &[
    ("gcc", Family::Gcc),
    ("g++", Family::Gcc),
    ("cc", Family::Gcc),
    ("c++", Family::Gcc),
    ("c89", Family::Gcc),
    ("c99", Family::Gcc),
    ("clang", Family::Clang),
    ("clang++", Family::Clang),
    ("clippy-driver", Family::Rustc),
    ("rustc", Family::Rustc),
    ("ar", Family::Archiver),
    ("llvm-ar", Family::Archiver),
    ("ld", Family::Linker),
    ("ld.bfd", Family::Linker),
    ("ld.gold", Family::Linker),
    ("ld.lld", Family::Linker),
    ("ld.mold", Family::Linker),
    ("mold", Family::Linker),
    ("wasm-ld", Family::Linker),
    ("objcopy", Family::Copier),
    ("strip", Family::Copier),
    ("llvm-objcopy", Family::Copier),
    ("llvm-strip", Family::Copier),
    ("emcc", Family::Emscripten),
    ("em++", Family::Emscripten),
    ("emar", Family::Archiver),
    ("bison", Family::Generator),
    ("clang-tidy", Family::Generator),
    ("cppcheck", Family::Generator),
    ("flex", Family::Generator),
    ("glslangValidator", Family::Generator),
    ("include-what-you-use", Family::Generator),
    ("iwyu", Family::Generator),
    ("moc", Family::Generator),
    ("protoc", Family::Generator),
    ("rcc", Family::Generator),
    ("swig", Family::Generator),
    ("uic", Family::Generator),
];

/// Names that a cross prefix may stand before (`aarch64-linux-gnu-`); `cc` and the like need a whole triple there, because
/// many other tools end in them.
const PREFIXED: &[&str] = &["gcc", "g++", "clang", "clang++"];
const PREFIXED_BY_TRIPLE: &[&str] =
    &["ar", "c++", "cc", "ld", "ld.bfd", "ld.gold", "objcopy", "strip"];

/// Tools without a policy of their own under whose names ibid may be called: they are just run.
const OTHERS: &[&str] = &["clang-cl", "cpp", "emranlib", "gfortran", "nvcc", "rustdoc"];

/// Whether a program of this name links.
pub fn is_linker(image: &Path) -> bool {
    image.file_name().is_some_and(|name| name == "lld" || family(name) == Some(Family::Linker))
}

/// Shells and interpreters of scripts that may stand before a compiler.
const INTERPRETERS: &[&str] =
    &["ash", "bash", "busybox", "dash", "ksh", "mksh", "perl", "python", "sh", "zsh"];

/// Caches, distributors and the like, which stand before a compiler or, as a link of its name, on `PATH` in its place. All
/// of them look for the real compiler behind their own link.
pub const LAUNCHERS: &[&str] = &[
    "buildcache",
    "ccache",
    "colorgcc",
    "distcc",
    "gomacc",
    "icecc",
    "icerun",
    "kache",
    "sccache",
    "zccache",
];

/// Whether a program is one that stands before a compiler; `image` is the file that the kernel runs. By themselves these
/// ask for the time, random numbers and process numbers when they start.
pub fn is_wrapper(image: &Path) -> bool {
    INTERPRETERS.contains(&stem_of(image)) || is_launcher(image)
}

/// Whether a program is one of the [`LAUNCHERS`], by its name.
pub fn is_launcher(image: &Path) -> bool {
    LAUNCHERS.contains(&stem_of(image))
}

/// The last part of a path without a version.
pub(super) fn stem_of(image: &Path) -> &str {
    let name = image.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'))
}

/// Whether a policy knows a tool of this name.
pub fn is_tool(tool: &OsStr) -> bool {
    family(tool).is_some()
}

/// Whether a tool of this name compiles C or C++.
pub fn compiles_c(tool: &OsStr) -> bool {
    matches!(family(tool), Some(Family::Gcc | Family::Clang))
}

/// Whether a tool of this name makes archives or copies objects. (Linkers are looked for on `PATH` by compilers: ibid in
/// their place would only be in the way.)
pub fn copies_objects(tool: &OsStr) -> bool {
    matches!(family(tool), Some(Family::Archiver | Family::Copier))
}

/// Whether a tool of this name is one of Emscripten's drivers, an analyser or a generator.
pub fn is_launched(tool: &OsStr) -> bool {
    matches!(family(tool), Some(Family::Emscripten | Family::Generator))
}

/// Whether a program's own questions for the time, random numbers and the machine cannot enter what it says: macros run
/// cargo to find their package; it seeds its tables and sets its network library up.
pub fn asks_idly(image: &Path) -> bool {
    image.file_name() == Some(OsStr::new("cargo"))
}

/// Whether a program draws random numbers only to put them into what it writes: linkers that need none for the names of
/// temporary files. LLVM's library in them does.
pub fn draws_build_ids(image: &Path, plugins: &BTreeSet<PathBuf>) -> bool {
    let draws_names = |plugin: &PathBuf| plugin.file_name() == Some(OsStr::new("LLVMgold.so"));
    if plugins.iter().any(draws_names) {
        return false;
    }
    let name = image.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let draws_none = name.starts_with("wasm-ld");
    !draws_none
        && ["ld", "ld.bfd", "ld.gold", "gold"].iter().any(|linker| {
            name.strip_suffix(linker).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'))
        })
}

/// Languages, by the extension of a source.
const LANGUAGES: &[(&str, &[&str])] = &[
    ("C", &["c", "i", "h"]),
    ("C++", &["cc", "cpp", "cxx", "c++", "C", "ii", "hh", "hpp", "hxx", "cppm", "ixx"]),
    ("Objective-C", &["m", "mi"]),
    ("Objective-C++", &["mm", "mii"]),
    ("assembler", &["s", "S", "sx", "asm"]),
    ("Rust", &["rs"]),
    ("Protocol Buffers", &["proto"]),
    ("Lex", &["l", "ll"]),
    ("Yacc", &["y", "yy"]),
    ("GLSL", &["vert", "frag", "comp", "geom", "tesc", "tese", "glsl"]),
    ("Qt", &["ui", "qrc"]),
];

/// The language of what a tool is given, by the names of both: a C++ driver takes C for C++. `None` where they do not say it.
pub fn language(tool: &OsStr, source: &Path) -> Option<&'static str> {
    let family = family(tool);
    if family == Some(Family::Rustc) {
        return Some("Rust");
    }
    let extension = source.extension().and_then(OsStr::to_str);
    let of = |extension: &str| {
        let found = LANGUAGES.iter().find(|(_, all)| all.contains(&extension));
        found.map(|(language, _)| *language)
    };
    let name = stem_of(Path::new(tool));
    let is_driver = matches!(family, Some(Family::Gcc | Family::Clang | Family::Emscripten));
    let is_cxx = is_driver && name.trim_end_matches(['-', '.']).contains("++");
    match extension.and_then(of) {
        Some("C") if is_cxx || name == "moc" => Some("C++"),
        None if is_cxx && source == Path::new("-") => Some("C++"),
        found => found,
    }
}

/// The family of a tool, by the last part of its path.
pub(super) fn family(tool: &OsStr) -> Option<Family> {
    let name = Path::new(tool).file_name()?.to_str()?;
    let threads = name.strip_suffix("-posix").or(name.strip_suffix("-win32"));
    let stem = without_version(threads.unwrap_or(name));
    let base = match stem.rsplit_once('-') {
        None => stem,
        Some(_) if FAMILIES.iter().any(|(name, _)| *name == stem) => stem,
        Some((prefix, base)) if may_prefix(prefix, base) => base,
        Some(_) => return None,
    };
    FAMILIES.iter().find(|(name, _)| *name == base).map(|(_, family)| *family)
}

/// Whether this is a tool's name, so that a link to ibid of this name stands for that tool.
pub fn is_tool_name(name: &OsStr) -> bool {
    let base = Path::new(name).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let ours = base == "ibid" || base.starts_with("ibid-");
    !ours && (family(name).is_some() || OTHERS.contains(&without_version(base)))
}

/// `gcc-12`, `gcc-12.2`, `clang15` are `gcc` and `clang`; but `c89` and `cc1` are themselves.
fn without_version(name: &str) -> &str {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let is_whole = stem.is_empty() || stem == name || matches!(name, "c89" | "c99" | "cc1");
    if is_whole { name } else { stem.strip_suffix('-').unwrap_or(stem) }
}

fn may_prefix(prefix: &str, base: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let whole = !prefix.is_empty() && prefix.chars().all(plain) && !prefix.starts_with("ibid");
    // gcc's own `…-gcc-ar` is another program.
    let is_triple =
        prefix.split('-').filter(|part| !part.is_empty()).count() >= 2 && !prefix.ends_with("-gcc");
    whole && (PREFIXED.contains(&base) || is_triple && PREFIXED_BY_TRIPLE.contains(&base))
}
