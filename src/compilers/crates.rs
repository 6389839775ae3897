//! Files that rustc opened while it looked for a crate, and passed over.
//!
//! What a crate depends on is looked for by the name that its metadata gives, then by the crate's name alone, and then once
//! more as a proc macro. So wherever a macro is behind another crate, every file of the macro's name in the directory is
//! opened: its other versions, and what `cargo check` makes of it; whether these are there yet is a matter of luck.
//! Read next: `docs/rust.md`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Policy;

/// A file of a crate: `libNAME.EXTENSION`, or `libNAME-TAG.EXTENSION` as cargo names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crate<'a> {
    path: &'a Path,
    name: &'a [u8],
    tag: &'a [u8],
    is_library: bool,
}

impl<'a> Crate<'a> {
    fn read(path: &'a Path) -> Option<Crate<'a>> {
        let bytes = path.file_name()?.as_bytes().strip_prefix(b"lib")?;
        let dot = bytes.iter().position(|byte| *byte == b'.')?;
        let (stem, extension) = (&bytes[..dot], &bytes[dot + 1..]);
        let dash = stem.iter().position(|byte| *byte == b'-');
        let (name, tag) = dash.map_or((stem, &b""[..]), |at| (&stem[..at], &stem[at + 1..]));
        let is_crate = matches!(extension, b"rlib" | b"rmeta" | b"so");
        is_crate.then_some(Crate { path, name, tag, is_library: extension == b"so" })
    }

    /// Those of the toolchain name no others.
    fn is_toolchains(&self) -> bool {
        self.path.iter().any(|part| part == "rustlib")
    }
}

/// Whether a file has the name of a compiled crate. rustc asks about each before it opens it, or does not.
pub fn is_crate(path: &Path) -> bool {
    Crate::read(path).is_some()
}

/// Of the files that were found, those of a proc macro's name that nothing names: another one of that name was loaded as
/// the macro. What an argument or another crate names by its tag is no such file.
pub fn passed_over<'a>(
    policy: &Policy,
    args: &[&[u8]],
    found: impl Iterator<Item = &'a Path>,
    plugins: &BTreeSet<PathBuf>,
) -> Vec<&'a Path> {
    if !policy.loads_macros() {
        return Vec::new();
    }
    // A macro is loaded by the real path of what was found by the given one.
    let real: Vec<PathBuf> = policy.unlisted.iter().flat_map(fs::canonicalize).collect();
    let is_searched = |path: &Path| {
        let parent = path.parent().unwrap_or(path);
        policy.unlisted.iter().chain(&real).any(|known| known == parent)
    };
    let is_given = |it: &Crate| {
        let name = it.path.file_name().unwrap_or_default().as_bytes();
        args.iter().any(|arg| arg.ends_with(name))
    };
    let is_loaded = |it: &Crate| {
        let mut loaded = plugins.iter().filter(|path| is_searched(path));
        loaded.any(|path| path.file_name() == it.path.file_name())
    };
    let is_of_build = |it: &Crate| {
        !it.is_toolchains() && (!it.is_library || is_searched(it.path) || is_given(it))
    };
    let crates: Vec<Crate> = found.filter_map(Crate::read).filter(is_of_build).collect();
    let macros: Vec<Crate> = crates.iter().filter(|it| is_loaded(it)).copied().collect();
    let is_suspect = |it: &Crate| {
        let is_namesake = macros.iter().any(|loaded| loaded.name == it.name);
        is_namesake && !is_loaded(it) && !it.tag.is_empty() && is_searched(it.path)
    };
    let suspects: Vec<Crate> = crates.iter().filter(|it| is_suspect(it)).copied().collect();
    // What other dynamic libraries say of their crates may be compressed; and a file of arguments is not read here.
    let is_opaque = |it: &Crate| it.is_library && !is_loaded(it) && !is_suspect(it);
    let has_file = args.iter().any(|arg| arg.starts_with(b"@"));
    if suspects.is_empty() || has_file || crates.iter().any(is_opaque) {
        return Vec::new();
    }
    let texts = crates.iter().map(|it| Some((*it, fs::read(it.path).ok()?)));
    let Some(texts) = texts.collect::<Option<Vec<_>>>() else { return Vec::new() };
    let is_named = |suspect: &Crate| {
        let is_other = |it: &Crate| (it.name, it.tag) != (suspect.name, suspect.tag);
        let others = texts.iter().filter(|(it, _)| is_other(it)).map(|(_, text)| &text[..]);
        args.iter().copied().chain(others).any(|text| mentions(text, suspect.tag))
    };
    suspects.iter().filter(|suspect| !is_named(suspect)).map(|suspect| suspect.path).collect()
}

/// Whether a tag stands somewhere in a text, behind a dash.
fn mentions(text: &[u8], tag: &[u8]) -> bool {
    text.split(|byte| *byte == b'-').skip(1).any(|rest| rest.starts_with(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compilers::Family;

    fn passes_over(arg: &str, texts: &[(&str, &str)], plugins: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &&str| dir.path().join(name);
        for (name, text) in texts {
            fs::write(at(name), text).expect("a file");
        }
        let unlisted = vec![dir.path().to_owned()];
        let policy = Policy { unlisted, ..Policy::plain(Family::Rustc) };
        let opened: Vec<PathBuf> = texts.iter().map(|(name, _)| at(name)).collect();
        let opened = opened.iter().map(PathBuf::as_path);
        let plugins = plugins.iter().map(at).collect();
        let found = passed_over(&policy, &[arg.as_bytes()], opened, &plugins);
        found
            .iter()
            .map(|path| path.file_name().unwrap_or_default().display().to_string())
            .collect()
    }

    #[test]
    fn only_what_nothing_names() {
        let low = ("liblow-1.rlib", "needs m -22");
        let other = ("libm-33.rmeta", "itself -33");
        let files = [low, ("libm-22.so", ""), other];
        assert_eq!(passes_over("", &files, &["libm-22.so"]), ["libm-33.rmeta"]);
        assert!(passes_over("m=libm-33.rmeta", &files, &["libm-22.so"]).is_empty(), "an argument");
        assert!(passes_over("@file", &files, &["libm-22.so"]).is_empty(), "a file of arguments");
        assert!(passes_over("", &files, &[]).is_empty(), "no macro");
        let named = [low, ("libm-22.so", ""), other, ("libn-4.rmeta", "needs m -33")];
        assert!(passes_over("", &named, &["libm-22.so"]).is_empty(), "a library of that name");
        let untagged = [low, ("libm-22.so", ""), other, ("libn.rmeta", "needs m -33")];
        assert!(passes_over("", &untagged, &["libm-22.so"]).is_empty(), "by one without a tag");
        let opaque = [low, ("libm-22.so", ""), other, ("libdynamic.so", "")];
        assert!(passes_over("", &opaque, &["libm-22.so"]).is_empty(), "a dynamic library");
    }
}
