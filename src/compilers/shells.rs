//! Shells and their scripts: which texts can show what a shell asks about itself, and which certainly cannot.
//!
//! A shell asks for its process number, its parent's, the time and seeds, for the variables that hold them, whether or not
//! the script uses these. No observer can tell; the script's text can. When in doubt a text shows something.

use std::ffi::OsStr;
use std::path::Path;

/// Shells of which it is known what they ask by themselves.
const SHELLS: &[&str] = &["bash", "dash", "sh"];

/// What names the variables that hold it.
const NAMES: &[&str] =
    &["$$", "${$", "$!", "${!", "PPID", "BASHPID", "RANDOM", "SECONDS", "EPOCH", ")T"];

/// What may come to such a variable in a roundabout way (text that is made and then evaluated, arithmetic on names, lists of
/// all variables), or shows the time by itself.
const ROUNDABOUT: &[&str] = &[
    "\\$", "@P", "@A", "@K", "@k", "eval", "source", "declare", "typeset", "readonly", "compgen",
    "coproc", "jobs", "enable", "history", "let", "time", "xtrace", "PS4", "((", "$[", "[ -v",
    "test -v",
];

/// Variables by which a shell is given commands, or a prefix for what it traces.
const GIVES_COMMANDS: &[&[u8]] = &[b"BASH_ENV", b"ENV", b"PS4", b"SHELLOPTS", b"BASHOPTS"];

/// First lines of scripts whose shell reads nothing before them.
const FIRST_LINES: &[&str] = &[
    "/bin/bash",
    "/bin/dash",
    "/bin/sh",
    "/usr/bin/bash",
    "/usr/bin/dash",
    "/usr/bin/sh",
    "/usr/bin/env bash",
    "/usr/bin/env dash",
    "/usr/bin/env sh",
];

/// The longest script that is looked at.
pub const SCRIPT_BYTES_MAX: usize = 64 << 10;

/// Whether a program is a shell of which it is known what it asks by itself; `image` is the file that the kernel runs.
pub fn is_shell(image: &Path) -> bool {
    image.file_name().and_then(OsStr::to_str).is_some_and(|name| SHELLS.contains(&name))
}

/// Whether a variable of this name (`NAME=VALUE`, or the name alone) makes a shell run what is not in its script.
pub fn gives_commands(variable: &[u8]) -> bool {
    let name = variable.split(|byte| *byte == b'=').next().unwrap_or(variable);
    GIVES_COMMANDS.contains(&name) || name.starts_with(b"BASH_FUNC_")
}

/// Whether a script is a shell's, by its first line.
pub fn is_shell_script(script: &[u8]) -> bool {
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    line.starts_with(b"#!") && has_any(line, &["sh"])
}

/// Whether a script names what differs from run to run.
pub fn names_unsteady(script: &[u8]) -> bool {
    has_any(&joined(script), NAMES)
}

/// Whether it is certain that no text or argument that this script makes holds what its shell alone asked for.
pub fn is_plain(script: &[u8]) -> bool {
    if script.len() >= SCRIPT_BYTES_MAX {
        return false;
    }
    let text = joined(script);
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let shell = line.strip_prefix(b"#!").unwrap_or(&[]).trim_ascii();
    FIRST_LINES.iter().any(|first| first.as_bytes() == shell)
        && !has_any(&text, NAMES)
        && !has_any(&text, ROUNDABOUT)
        && !sources_a_file(&text)
        && !lists_variables(&text)
        && !computes(&text)
}

/// Without the line breaks that a shell takes out.
fn joined(script: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(script.len());
    let mut rest = script;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\\n") {
            rest = after;
        } else {
            text.push(*first);
            rest = after;
        }
    }
    text
}

fn has_any(text: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| text.windows(word.len()).any(|part| part == word.as_bytes()))
}

/// `. FILE`.
fn sources_a_file(text: &[u8]) -> bool {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    text.iter().enumerate().any(|(at, byte)| {
        let is_word =
            at == 0 || text.get(at - 1).is_some_and(|it| is_blank(it) || b";&|({`!".contains(it));
        *byte == b'.' && is_word && text.get(at + 1).is_none_or(is_blank)
    })
}

/// `set` without an option or a value: `set -e` and `set -- "$@"` are fine, `set -x` shows what it runs behind a prefix.
fn lists_variables(text: &[u8]) -> bool {
    let words = text.split(|byte| !byte.is_ascii_alphanumeric() && !b"_+-".contains(byte));
    let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
    words.windows(2).any(|pair| {
        let is_harmless = pair[1] == b"--"
            || pair[1].starts_with(b"-") && !pair[1].contains(&b'x') && !pair[1].contains(&b'o');
        pair[0] == b"set" && !is_harmless
    }) || words.last() == Some(&&b"set"[..])
}

/// Whether names may be taken for numbers: in subscripts (`a[x]`), in substrings (`${a:x}`), in comparisons of `[[`.
fn computes(text: &[u8]) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let subscript = text.windows(2).any(|pair| is_name(pair[0]) && pair[1] == b'[');
    let substring = text.windows(2).enumerate().any(|(at, pair)| {
        let rest = text.get(at + 2..).unwrap_or(&[]);
        let name = rest.iter().take_while(|byte| is_name(**byte) || b"@*#?".contains(byte)).count();
        pair == b"${"
            && rest.get(name) == Some(&b':')
            && !rest.get(name + 1).is_some_and(|next| b"-=?+".contains(next))
    });
    let compares =
        has_any(text, &["[["]) && has_any(text, &["-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v"]);
    subscript || substring || compares
}

#[cfg(test)]
mod tests {
    use super::{gives_commands, is_plain, names_unsteady};

    #[test]
    fn plain_scripts() {
        for text in [
            "#!/bin/sh\nexec gcc \"$@\"\n",
            "#! /bin/bash\nset -e\nset -- -O2 \"$@\"\nexec gcc -DV=${V:-1} \"$@\"\n",
            "#!/usr/bin/env bash\nh=$(stat -c %s a.c)\nif [ \"$#\" -eq 0 ]; then exit 1; fi\ngcc \"${@}\" -DH=$h\n",
            "#!/bin/sh\ncase $1 in *.c) exec cc \"$@\";; esac\ncd ./d/.. && ./run ../x\n",
        ] {
            assert!(is_plain(text.as_bytes()), "{text}");
            assert!(!names_unsteady(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn scripts_that_show_something() {
        for line in [
            "gcc -DH=$RANDOM",
            "gcc -DH=$SRANDOM",
            "gcc -DH=$$",
            "gcc -DH=${$}",
            "true & gcc -DH=$!",
            "gcc -DH=$PPID",
            "gcc -DH=$BASHPID",
            "gcc -DH=$SECONDS",
            "gcc -DH=$EPOCHSECONDS",
            "gcc -DH=$RAN\\\nDOM",
            "printf '%(%s)T' -2",
        ] {
            assert!(names_unsteady(line.as_bytes()), "{line}");
            assert!(!is_plain(format!("#!/bin/bash\n{line}\n").as_bytes()), "{line}");
        }
        for line in [
            "x=RAN; x=${x}DOM; gcc -DH=${!x}",
            "eval \"$X\"",
            ". lines",
            "true;. lines",
            "source lines",
            "set | grep ID",
            "set",
            "set -x",
            "declare -p",
            "echo `echo \\$\\$`",
            "gcc -DH=$((X))",
            "gcc -DH=$[X]",
            "let h=X",
            "gcc -DH=${a[X]}",
            "gcc -DH=${a:X:2}",
            "[[ $X -eq 3 ]] && gcc",
            "time gcc",
            "times",
            "echo ${X@P}",
        ] {
            assert!(!is_plain(format!("#!/bin/bash\n{line}\n").as_bytes()), "{line}");
        }
        for first in ["#!/bin/bash -l", "#!/bin/bash -x", "#!/usr/bin/python3", "", "#!/bin/zsh"] {
            assert!(!is_plain(format!("{first}\ngcc\n").as_bytes()), "{first}");
        }
    }

    #[test]
    fn variables_that_give_commands() {
        for variable in ["BASH_ENV=x", "BASH_FUNC_gcc%%=() { :; }", "PS4=$$", "ENV"] {
            assert!(gives_commands(variable.as_bytes()), "{variable}");
        }
        for variable in ["BASH=/bin/bash", "PATH=/bin", "ENVIRONMENT=x"] {
            assert!(!gives_commands(variable.as_bytes()), "{variable}");
        }
    }
}
