//! The words of a gcc-like command line: which of them are values of the options before them, and which are paths.
//!
//! Read next: `command.rs`.

/// Options that take the next word as their value.
#[rustfmt::skip]
const SEPARATE: &[&str] = &[
    "--analyzer-output", "--assert", "--config", "--define-macro", "--embed-dir", "--for-assembler", "--for-linker",
    "--force-link", "--imacros", "--include", "--include-barrier", "--include-directory",
    "--include-directory-after", "--include-prefix", "--include-with-prefix", "--include-with-prefix-after",
    "--include-with-prefix-before", "--language", "--library-directory", "--output", "--param", "--prefix",
    "--serialize-diagnostics", "--specs", "--std", "--sysroot", "--target", "--undefine-macro", "-A", "-B", "-D", "-F", "-G", "-I",
    "-L", "-MF", "-MJ", "-MQ", "-MT", "-R", "-T", "-Tbss", "-Tdata", "-Ttext", "-U", "-V", "-Xanalyzer", "-Xassembler",
    "-Xclang", "-Xclangas", "-Xcuda-fatbinary", "-Xcuda-ptxas", "-Xflang", "-Xlinker", "-Xoffload-linker",
    "-Xopenmp-target", "-Xpreprocessor", "-Xthinlto", "-allowable_client", "-arch", "-arch_only", "-aux-info", "-b",
    "-bundle_loader", "-client_name", "-compatibility_version", "-current_version", "-cxx-isystem",
    "-darwin-target-variant", "-dependency-dot", "-dependency-file", "-dumpbase", "-dumpbase-ext", "-dumpdir",
    "-dylib_file", "-e", "-exported_symbols_list", "-filelist", "-fmodules-user-build-path", "-force_load",
    "-framework", "-ftrapv-handler", "-h", "-idirafter", "-iframework", "-iframeworkwithsysroot", "-image_base",
    "-imacros", "-imultiarch", "-imultilib", "-include", "-include-pch", "-index-store-path", "-index-unit-output-path",
    "-init", "-install_name", "-iprefix", "-iquote", "-isysroot", "-isystem", "-isystem-after", "-ivfsoverlay",
    "-iwithprefix", "-iwithprefixbefore", "-iwithsysroot", "-l", "-lazy_framework", "-lazy_library", "-meabi", "-mllvm", "-mmlir",
    "-module-dependency-dir", "-mthread-model", "-multiply_defined", "-o", "-pagezero_size", "-read_only_relocs",
    "-rpath", "-sectalign", "-seg1addr", "-segprot", "-specs", "-target", "-u", "-umbrella", "-undefined",
    "-unexported_symbols_list", "-weak_framework", "-weak_library", "-weak_reference_mismatches", "-working-directory",
    "-wrapper", "-x", "-z",
];

/// Whether the next word is this option's value.
pub fn takes_value(option: &str) -> bool {
    SEPARATE.contains(&option) || option.starts_with("-Xarch_")
}

/// Whether an option is one of a pattern's: a `*` at its end stands for any rest.
pub fn is_like(option: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => option.starts_with(prefix),
        None => option == pattern,
    }
}

/// Options whose value is a path and nothing but a path, in the same word or in the next.
const PATHS: &[&str] = &[
    "-I",
    "-L",
    "-MF",
    "-MQ",
    "-MT",
    "-idirafter",
    "-imacros",
    "-include",
    "-iquote",
    "-isystem",
    "-o",
];

/// Where in a word a path begins, if the word is one, or an option with one; `before` is the word before it.
pub fn path_at(before: &[u8], word: &[u8]) -> Option<usize> {
    let is_value = PATHS.iter().any(|option| option.as_bytes() == before);
    if is_value || !word.starts_with(b"-") {
        return (is_value || !takes_value(&String::from_utf8_lossy(before))).then_some(0);
    }
    let joined = PATHS.iter().filter(|option| word.starts_with(option.as_bytes()));
    joined.map(|option| option.len()).max()
}

/// What a word, or the end of one, says of the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputWord {
    /// The name of the output.
    Output,
    /// The name of the depfile.
    Depfile,
    /// What the depfile calls the output.
    Target,
}

/// The arguments that name outputs: which, and where in it the name begins.
pub fn output_words<'a>(
    args: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = (usize, usize, OutputWord)> {
    const OPTIONS: [(&[u8], OutputWord); 4] = [
        (b"-o", OutputWord::Output),
        (b"-MF", OutputWord::Depfile),
        (b"-MT", OutputWord::Target),
        (b"-MQ", OutputWord::Target),
    ];
    let mut of_next = None;
    let mut is_value = false;
    args.enumerate().filter_map(move |(at, word)| {
        if std::mem::take(&mut is_value) {
            return of_next.take().map(|which| (at, 0, which));
        }
        if let Some((_, which)) = OPTIONS.iter().find(|(option, _)| *option == word) {
            (is_value, of_next) = (true, Some(*which));
            return None;
        }
        is_value = takes_value(&String::from_utf8_lossy(word));
        let (option, which) = OPTIONS.iter().find(|(option, _)| word.starts_with(option))?;
        Some((at, option.len(), *which)).filter(|_| !is_value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_name_outputs() {
        use OutputWord::{Depfile, Output, Target};
        for (line, expected) in [
            ("-c a.c -o a.o", &[(3, 0, Output)][..]),
            ("-c a.c -oa.o", &[(2, 2, Output)]),
            ("-MT a.o -MQb.o -MF a.d -MD", &[(1, 0, Target), (2, 3, Target), (4, 0, Depfile)]),
            ("-I -o a.c", &[]),
            ("-include -o -o x", &[(3, 0, Output)]),
            ("-Wp,-MD,a.d a.c", &[]),
            ("-o", &[]),
        ] {
            let found: Vec<_> = output_words(line.split(' ').map(str::as_bytes)).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn words_that_are_paths() {
        for (before, word, at) in [
            ("gcc", "/p/a.c", Some(0)),
            ("-c", "/p/a.c", Some(0)),
            ("-I", "/p/i", Some(0)),
            ("-o", "/p/a.o", Some(0)),
            ("-c", "-I/p/i", Some(2)),
            ("-c", "-isystem/p/i", Some(8)),
            ("-c", "-o/p/a.o", Some(2)),
            ("-c", "-DX=/p", None),
            ("-D", "X=/p", None),
            ("-c", "-B/p", None),
            ("-B", "/p", None),
            ("-c", "-Wp,-MD,/p/a.d", None),
            ("-c", "--sysroot=/p", None),
        ] {
            assert_eq!(path_at(before.as_bytes(), word.as_bytes()), at, "{before} {word}");
        }
    }
}
