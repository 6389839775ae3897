//! Which scripts the interpreters of a run have run, and what is known of these.
//!
//! A policy knows the scripts of a tool (Emscripten's). Those that the user adds (settings, libraries in JavaScript, a script in
//! front) are looked at. Read next: `compilers/interpreters.rs`, `refusal.rs`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::record_builder::RecordBuilder;
use super::script_texts::{Knowledge, script};
use crate::compilers::interpreters::{self, Language};
use crate::compilers::{Scripts, reads_variables_by_name, shells};
use crate::observe::SeenInput;

/// The scripts of Emscripten that a command line names; around them are all others.
const ENTRIES: &[&str] = &["em++.py", "emar.py", "emcc.py"];
/// The lock in Emscripten's cache, by its name.
const CACHE_LOCK: &str = "cache.lock";
/// Where Python keeps translated modules.
const PYTHON_CACHE: &str = "__pycache__";
/// A longer text is taken for one that may do anything.
const TEXT_BYTES_MAX: u64 = 4 << 20;

impl RecordBuilder<'_> {
    /// What is known of the scripts of this run.
    pub(super) fn knowledge(&self) -> Knowledge {
        *self.findings.scripts.get_or_init(|| self.look_at_scripts())
    }

    /// Whether what this image asks for by itself is known not to enter the result: it is an interpreter, and so are all scripts.
    pub(super) fn vouches_for(&self, image: &Path) -> bool {
        interpreters::is_interpreter(image) && self.knowledge() != Knowledge::None
    }

    /// Whether it is known what all code that ran makes of its directory: it is that of a tool, or scripts that are known ran beside
    /// it and what they start.
    pub(super) fn knows_what_runs(&self) -> bool {
        let is_known =
            |image: &PathBuf| reads_variables_by_name(image) || interpreters::is_of_scripts(image);
        let runs_known_scripts = || {
            self.policy.scripts.is_some()
                && !self.has_foreign_code()
                && self.observation.images.iter().all(is_known)
                && self.knowledge() == Knowledge::Whole
        };
        !self.runs_unknown_code() || runs_known_scripts()
    }

    /// Whether a plugin or a script of an interpreter belongs to it, or to the tool.
    pub(super) fn is_interpreters_own(&self, path: &Path) -> bool {
        self.policy.scripts.is_some()
            && interpreters::is_interpreters_own(&path.canonicalize().unwrap_or_default())
    }

    /// Whether something was put into a cache that the tool or its interpreter keeps for itself.
    pub(super) fn fills_own_cache(&self) -> bool {
        let is_there = |path: &Path| {
            let mut above = path.ancestors().skip(1);
            path.parent().and_then(Path::file_name) == Some(OsStr::new(PYTHON_CACHE))
                || above.any(|directory| directory.join(CACHE_LOCK).exists())
        };
        let outputs = self.observation.outputs.iter().map(|output| &*output.path);
        let made = self.observation.directories.iter().filter(|made| made.was_made);
        self.policy.scripts.is_some()
            && outputs.chain(made.map(|made| &*made.path)).any(|path| {
                is_there(&path.canonicalize().unwrap_or_default())
                    || path.file_name() == Some(OsStr::new(PYTHON_CACHE))
            })
    }

    /// The texts of the shell scripts of which nothing is known.
    pub(super) fn unknown_shell_scripts(&self) -> impl Iterator<Item = Vec<u8>> {
        let unknown = self.observation.inputs.iter().filter(|input| {
            self.policy.scripts.is_none() || !interpreters::is_interpreters_own(&input.path)
        });
        let texts = unknown.filter_map(|input| script(&input.path));
        texts.filter(|text| shells::is_shell_script(text))
    }

    fn look_at_scripts(&self) -> Knowledge {
        let Some(named) = &self.policy.scripts else { return Knowledge::None };
        let inputs = &self.observation.inputs;
        let roots: Vec<PathBuf> = inputs.iter().flat_map(roots).collect();
        let is_own =
            |path: &Path| roots.iter().any(|root| path.starts_with(root)) || is_emscriptens(path);
        let named = Named::of(named);
        let mut knowledge = Knowledge::Whole;
        for input in inputs {
            let Ok(path) = input.path.canonicalize() else { return Knowledge::None };
            let is_settings = Named::has(&named.code, &path) || is_settings_file(&path);
            // A part of it may be elsewhere, behind a link.
            if !is_settings && (is_own(&path) || is_own(&input.path))
                || interpreters::is_interpreters_own(&path)
            {
                continue;
            }
            match named.look_at(&path, is_settings) {
                Knowledge::None => {
                    (self.log)(format_args!("not a script that is known: {}", path.display()));
                    return Knowledge::None;
                }
                Knowledge::Plain => knowledge = Knowledge::Plain,
                Knowledge::Whole => {}
            }
        }
        knowledge
    }
}

/// The directory around one of Emscripten's scripts, as it is spelled and as it really is.
fn roots(input: &SeenInput) -> Vec<PathBuf> {
    let is_entry = |name: &str| ENTRIES.contains(&name);
    if !input.path.file_name().and_then(OsStr::to_str).is_some_and(is_entry) {
        return Vec::new();
    }
    let paths = [Some(input.path.clone()), input.path.canonicalize().ok()];
    let above = paths.into_iter().flatten().filter_map(|path| path.parent().map(Path::to_owned));
    above.filter(|path| path.is_absolute()).collect()
}

/// Whether a file lies in an Emscripten, by what lies around it.
fn is_emscriptens(path: &Path) -> bool {
    let has = |above: &Path, name: &str| above.join(name).is_file();
    path.ancestors()
        .skip(1)
        .any(|above| has(above, "emcc.py") && has(above, "emscripten-version.txt"))
}

fn is_settings_file(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new(".emscripten"))
}

/// The files that the command names, by their real names.
struct Named {
    code: Vec<PathBuf>,
    templates: Vec<PathBuf>,
    packed: Vec<PathBuf>,
}

impl Named {
    fn of(scripts: &Scripts) -> Named {
        let real = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths.iter().filter_map(|path| path.canonicalize().ok()).collect()
        };
        Named {
            code: real(&scripts.code),
            templates: real(&scripts.templates),
            packed: real(&scripts.packed),
        }
    }

    fn has(paths: &[PathBuf], path: &Path) -> bool {
        paths.iter().any(|known| known == path)
    }

    /// What is known of a file that is not Emscripten's, if it is a script.
    fn look_at(&self, path: &Path, is_code: bool) -> Knowledge {
        let whole = |is_known: bool| if is_known { Knowledge::Whole } else { Knowledge::None };
        let language = interpreters::language_by_name(path);
        if is_code {
            // A settings file may have any name.
            let language = language.unwrap_or(Language::Python);
            return whole(text(path).is_some_and(|text| interpreters::is_plain(language, &text)));
        }
        if Named::has(&self.templates, path) {
            return whole(text(path).is_some_and(|text| interpreters::is_plain_template(&text)));
        }
        if self.packed.iter().any(|packed| path.starts_with(packed)) {
            return Knowledge::Whole;
        }
        if let Some(language) = language {
            return whole(text(path).is_some_and(|text| interpreters::is_plain(language, &text)));
        }
        let Some(text) = script(path) else { return Knowledge::Whole };
        if interpreters::is_pyenvs_shim(path, &text) {
            return Knowledge::Whole;
        }
        match interpreters::language_by_text(&text) {
            // One that names what differs is refused by itself.
            Language::Shell => Knowledge::Plain,
            language => whole(interpreters::is_plain(language, &text)),
        }
    }
}

fn text(path: &Path) -> Option<Vec<u8>> {
    let length_bytes = std::fs::metadata(path).ok()?.len();
    (length_bytes <= TEXT_BYTES_MAX).then(|| std::fs::read(path).ok())?
}
