//! Interpreters and the scripts that they run: which are part of Emscripten, Python or node, and which others certainly do
//! not show what their interpreter asks for.
//!
//! An interpreter asks for the time, seeds and process numbers at its start, whether or not its script uses them. No observer can
//! tell; the text can. When in doubt a text shows something. Read next: `shells.rs`, `emscripten.rs`.

use std::ffi::OsStr;
use std::path::{Component, Path};

use memchr::memmem;

use super::names::stem_of;
use super::shells;
use super::texts::has_word;

/// Programs that run scripts, without a version.
const INTERPRETERS: &[&str] = &["bash", "dash", "node", "nodejs", "python", "sh"];

/// Programs with which shell scripts in front of an interpreter find where it is.
const HELPERS: &[&str] = &["basename", "dirname", "env", "readlink", "realpath"];

/// Words of Python with which a script may show what differs from run to run, compare the times of files, or run text that is
/// not seen.
const PYTHON: &[&str] = &[
    "__builtins__",
    "__import__",
    "builtins",
    "clock",
    "compile",
    "datetime",
    "eval",
    "exec",
    "getattr",
    "getctime",
    "getmtime",
    "getpid",
    "getppid",
    "getrandom",
    "globals",
    "hash",
    "id",
    "importlib",
    "locals",
    "marshal",
    "monotonic",
    "perf_counter",
    "pickle",
    "pid",
    "popen",
    "random",
    "secrets",
    "spawn",
    "st_mtime",
    "stat",
    "strftime",
    "subprocess",
    "system",
    "tempfile",
    "time",
    "times",
    "urandom",
    "uuid",
    "vars",
];

/// The same of JavaScript.
const JAVASCRIPT: &[&str] = &[
    "Date",
    "Function",
    "Intl",
    "Reflect",
    "__proto__",
    "child_process",
    "constructor",
    "crypto",
    "eval",
    "exec",
    "getRandomValues",
    "global",
    "globalThis",
    "hrtime",
    "import",
    "mtime",
    "mtimeMs",
    "now",
    "performance",
    "pid",
    "process",
    "random",
    "randomBytes",
    "randomUUID",
    "require",
    "spawn",
    "statSync",
    "timeOrigin",
];

/// What a script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python's text.
    Python,
    /// Python's text, translated: nobody reads it here.
    Translated,
    /// JavaScript.
    JavaScript,
    /// A shell's.
    Shell,
    /// Something else with `#!`.
    Other,
}

/// Whether a program runs scripts of which a policy may know; `image` is the file that the kernel runs.
pub fn is_interpreter(image: &Path) -> bool {
    INTERPRETERS.contains(&stem_of(image))
}

/// Whether a program runs scripts, or does for them what a shell has no command for.
pub fn is_of_scripts(image: &Path) -> bool {
    is_interpreter(image) || HELPERS.contains(&stem_of(image))
}

/// The language of a file, if its name says that it is a script.
pub fn language_by_name(path: &Path) -> Option<Language> {
    match path.extension().and_then(OsStr::to_str)? {
        "py" => Some(Language::Python),
        "pyc" => Some(Language::Translated),
        "cjs" | "js" | "mjs" => Some(Language::JavaScript),
        _ => None,
    }
}

/// The language of a file that begins with `#!`.
pub fn language_by_text(text: &[u8]) -> Language {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let names = |name: &str| memmem::find(line, name.as_bytes()).is_some();
    if names("python") {
        Language::Python
    } else if names("node") {
        Language::JavaScript
    } else if shells::is_shell_script(text) {
        Language::Shell
    } else {
        Language::Other
    }
}

/// Whether a script is Python's, node's or pyenv's own, by where it is.
pub fn is_interpreters_own(path: &Path) -> bool {
    let parts: Vec<&str> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let is_library = |pair: &[&str]| {
        matches!(pair[0], "lib" | "lib64") && pair[1].starts_with("python")
            || pair == ["share", "nodejs"]
            || pair == ["lib", "node_modules"]
    };
    let is_pyenv = |pair: &[&str]| pair[0] == "libexec" && pair[1].starts_with("pyenv");
    parts.windows(2).any(is_library)
        || parts.windows(2).last().is_some_and(is_pyenv)
        || parts.first() == Some(&"etc")
            && parts.get(1).is_some_and(|part| part.starts_with("python3"))
            && path.extension().is_some()
}

/// Whether a shell script is one of those that pyenv puts in the place of the interpreters.
pub fn is_pyenvs_shim(path: &Path, text: &[u8]) -> bool {
    let above = path.parent().and_then(Path::file_name);
    above == Some(OsStr::new("shims"))
        && memmem::find(text, SHIM).is_some()
        && !shells::names_unsteady(text)
}

/// What such a script ends in.
const SHIM: &[u8] = b"/libexec/pyenv\" exec \"$program\" \"$@\"";

/// Whether it is certain that nothing that this text does shows what its interpreter alone asks for. (Not covered: names that are put
/// together.)
pub fn is_plain(language: Language, text: &[u8]) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| has_word(text, word.as_bytes(), b"_$"));
    match language {
        Language::Python => !has(PYTHON),
        Language::JavaScript => !has(JAVASCRIPT) && !has_escape(text),
        Language::Shell => !shells::names_unsteady(text),
        Language::Translated | Language::Other => false,
    }
}

/// The same of a text of which only the macros and conditions run.
pub fn is_plain_template(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = memmem::find(rest, b"{{{") {
        let inside = &rest[at + 3..];
        let end = memmem::find(inside, b"}}}").unwrap_or(inside.len());
        if !is_plain(Language::JavaScript, &inside[..end]) {
            return false;
        }
        rest = &inside[end..];
    }
    text.split(|byte| *byte == b'\n')
        .filter(|line| line.trim_ascii_start().starts_with(b"#"))
        .all(|line| is_plain(Language::JavaScript, line))
}

/// A letter that is written by its number.
fn has_escape(text: &[u8]) -> bool {
    [&b"\\u"[..], b"\\x"].iter().any(|escape| memmem::find(text, escape).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_show_something() {
        for text in [
            "import time\nNODE_JS = 'x%d' % time.time()\n",
            "import os\nX = os.getpid()\n",
            "exec(open('x').read())",
            "from uuid import uuid4\n",
        ] {
            assert!(!is_plain(Language::Python, text.as_bytes()), "{text}");
        }
        for text in [
            "mergeInto(L, { f: function() { return {{{ Date.now() }}}; } });",
            "var x = Math.random();",
            "var x = Math[\"ran\\x64om\"]();",
            "print(process.pid)",
        ] {
            assert!(!is_plain(Language::JavaScript, text.as_bytes()), "{text}");
        }
        assert!(!is_plain_template(b"<p>{{{ new Date() }}}</p>"));
        assert!(!is_plain_template(b"var x;\n  #if Math.random() > 0.5\n#endif\n"));
        assert!(!is_plain(Language::Translated, b"") && !is_plain(Language::Other, b""));
    }

    #[test]
    fn plain_scripts() {
        let config = "import os\n# sometimes\nLLVM_ROOT = os.path.expanduser('~/bin')\nNODE_JS = '/usr/bin/node'\n";
        assert!(is_plain(Language::Python, config.as_bytes()));
        let library = "mergeInto(LibraryManager.library, {\n  f: function(x) { return HEAP32[x >> 2] + updated; }\n});\n";
        assert!(is_plain(Language::JavaScript, library.as_bytes()));
        assert!(is_plain_template(b"var d = Date.now(); // {{{ SCRIPT }}}\n"));
    }

    #[test]
    fn where_scripts_are() {
        for path in [
            "/usr/lib/python3.11/os.py",
            "/usr/lib/python3/dist-packages/x.py",
            "/u/.pyenv/versions/3.11.7/lib/python3.11/site.py",
            "/usr/share/nodejs/acorn/dist/acorn.js",
            "/u/.pyenv/libexec/pyenv-exec",
            "/etc/python3.11/sitecustomize.py",
        ] {
            assert!(is_interpreters_own(Path::new(path)), "{path}");
        }
        for path in ["/u/python3/x.py", "/p/lib/x.py", "/p/libexec/pyenv/x", "a.js"] {
            assert!(!is_interpreters_own(Path::new(path)), "{path}");
        }
    }
}
