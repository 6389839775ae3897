//! A command as a build shows it, pasted behind `ibid explain`: with variables and ibid before the tool, or as one quoted
//! line with what make, ninja, cargo and libtool put around it.
//!
//! It runs nothing. Read next: `explain.rs`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What was pasted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pasted {
    /// Where it runs, by the `cd` before it.
    pub directory: Option<PathBuf>,
    /// The variables before it.
    pub variables: Vec<(OsString, OsString)>,
    /// The tool and its arguments.
    pub words: Vec<OsString>,
}

impl Pasted {
    /// Takes the words apart. One word with blanks in it is a line.
    pub fn of(words: Vec<OsString>) -> Pasted {
        let line = match &words[..] {
            [line] if !Path::new(line).exists() => line.to_str().filter(|line| line.contains(' ')),
            _ => None,
        };
        let of_line = line.map(of_line);
        let mut pasted = of_line.unwrap_or(Pasted { words, ..Pasted::default() });
        let mut words = VecDeque::from(pasted.words);
        while let Some(variable) = words.front().and_then(|word| assignment(word)) {
            pasted.variables.push(variable);
            words.pop_front();
        }
        let is_us = |word: &OsString| Path::new(word).file_name() == Some(OsStr::new("ibid"));
        if words.len() > 1 && is_us(&words[0]) {
            words.pop_front();
        }
        Pasted { words: words.into(), ..pasted }
    }

    /// Whether this is a line of `cargo build -v`, which does not show the variables that cargo sets.
    pub fn lacks_variables_of_cargo(&self) -> bool {
        let is_cargos = self.words.iter().any(|word| word == "--crate-name");
        is_cargos && !self.variables.iter().any(|(name, _)| name == "CARGO")
    }
}

/// `NAME=VALUE`, as a shell has it before a command.
fn assignment(word: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&bytes[..at], &bytes[at + 1..]);
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_name = name.first().is_some_and(|first| !first.is_ascii_digit() && is_letter(first))
        && name.iter().all(is_letter);
    let owned = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    is_name.then(|| (owned(name), owned(value)))
}

/// The first command of a shell's line that is neither `cd` nor `:`.
fn of_line(line: &str) -> Pasted {
    let mut directory: Option<PathBuf> = None;
    for command in commands(without_label(line.trim())) {
        match command.first().map(String::as_str) {
            None | Some(":") => {}
            Some("cd") => {
                let to = command.get(1).map(String::as_str).unwrap_or_default();
                directory = Some(directory.unwrap_or_default().join(to));
            }
            Some(_) => {
                let words = command.into_iter().map(OsString::from).collect();
                return Pasted { directory, words, ..Pasted::default() };
            }
        }
    }
    Pasted { directory, words: vec![line.into()], ..Pasted::default() }
}

/// Without cargo's `Running`, ninja's `[1/9]` and libtool's `libtool: compile:`.
fn without_label(line: &str) -> &str {
    if let Some(rest) = line.strip_prefix("Running ") {
        return rest.trim().trim_matches('`');
    }
    let counted = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    if let Some((count, rest)) = counted
        && count.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/')
    {
        return rest;
    }
    let labelled = line.strip_prefix("libtool: ").and_then(|rest| rest.split_once(": "));
    labelled.map_or(line, |(_, rest)| rest)
}

/// The commands of a line, each as its words: with quotes and backslashes as a shell has them, without redirections.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut redirects = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => word.get_or_insert_default().extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => quoted(&mut chars, word.get_or_insert_default()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '<' | '>' => {
                // `2>&1`: what stands right before it is a descriptor.
                word.take_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
                end(&mut word, &mut redirects, &mut commands);
                while chars.next_if(|c| matches!(c, '>' | '&')).is_some() {}
                redirects = true;
            }
            _ if c.is_whitespace() => end(&mut word, &mut redirects, &mut commands),
            ';' | '&' | '|' => {
                end(&mut word, &mut redirects, &mut commands);
                commands.push(Vec::new());
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut redirects, &mut commands);
    commands
}

/// The rest of a string in double quotes.
fn quoted(chars: &mut impl Iterator<Item = char>, word: &mut String) {
    while let Some(c) = chars.next().filter(|c| *c != '"') {
        if c != '\\' {
            word.push(c);
            continue;
        }
        match chars.next() {
            Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
            next => word.extend(['\\'].into_iter().chain(next)),
        }
    }
}

/// The end of a word: it belongs to the last command, if it is not the target of a redirection.
fn end(word: &mut Option<String>, redirects: &mut bool, commands: &mut [Vec<String>]) {
    let Some(word) = word.take() else { return };
    if !std::mem::take(redirects)
        && let Some(command) = commands.last_mut()
    {
        command.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::Pasted;

    fn pasted(line: &str) -> (Option<String>, usize, String) {
        let Pasted { directory, variables, words } = Pasted::of(vec![line.into()]);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        (directory.map(|dir| dir.display().to_string()), variables.len(), words.join("|"))
    }

    #[test]
    fn words_as_builds_show_them() {
        let owned = |line: &str| line.split(' ').map(std::ffi::OsString::from).collect::<Vec<_>>();
        for (line, names, rest) in [
            ("gcc -c a.c", 0, "gcc -c a.c"),
            ("ibid gcc -c a.c", 0, "gcc -c a.c"),
            ("/usr/bin/ibid exec -- gcc -c a.c", 0, "exec -- gcc -c a.c"),
            ("A=1 CARGO_PKG_NAME=x ibid rustc x.rs", 2, "rustc x.rs"),
            ("./a=b -c a.c", 0, "./a=b -c a.c"),
            ("ibid", 0, "ibid"),
        ] {
            let Pasted { variables, words, .. } = Pasted::of(owned(line));
            assert_eq!((variables.len(), words), (names, owned(rest)), "{line}");
        }
    }

    #[test]
    fn lines_as_builds_show_them() {
        for (line, directory, names, words) in [
            ("gcc -c a.c", None, 0, "gcc|-c|a.c"),
            ("  ibid  gcc\t-c 'a b.c' ", None, 0, "gcc|-c|a b.c"),
            (
                "A=1 B='x y' gcc -DS=\\\"s\\\" -DT='\"t\"' -DU=\"\\\"u\\$\" -c a.c",
                None,
                2,
                "gcc|-DS=\"s\"|-DT=\"t\"|-DU=\"u$|-c|a.c",
            ),
            (
                "Running `ibid rustc --crate-name x --check-cfg 'cfg(docsrs,test)'`",
                None,
                0,
                "rustc|--crate-name|x|--check-cfg|cfg(docsrs,test)",
            ),
            ("[12/345] /usr/bin/ibid g++ -c a.cc -o a.o", None, 0, "g++|-c|a.cc|-o|a.o"),
            ("[1/2] : && g++ a.o -o a && :", None, 0, "g++|a.o|-o|a"),
            ("cd sub/dir && ibid gcc -c a.c", Some("sub/dir"), 0, "gcc|-c|a.c"),
            ("cd /a && cd b; gcc -c a.c 2>&1 | tee log", Some("/a/b"), 0, "gcc|-c|a.c"),
            (
                "libtool: compile:  gcc -c a.c -o .libs/a.o >/dev/null 2>&1",
                None,
                0,
                "gcc|-c|a.c|-o|.libs/a.o",
            ),
            ("gcc -c a.c > out -O2 <in -DE=''", None, 0, "gcc|-c|a.c|-O2|-DE="),
            ("gcc ''", None, 0, "gcc|"),
            ("cd /a && :", Some("/a"), 0, "cd /a && :"),
            ("gcc 'open", None, 0, "gcc|open"),
        ] {
            let expected = (directory.map(str::to_owned), names, words.to_owned());
            assert_eq!(pasted(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_cargo() {
        let of = |line: &str| Pasted::of(vec![line.into()]).lacks_variables_of_cargo();
        assert!(of("ibid rustc --crate-name x x.rs"));
        assert!(!of("CARGO=/bin/cargo rustc --crate-name x x.rs"));
        assert!(!of("rustc x.rs"));
    }
}
