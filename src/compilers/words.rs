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

#[cfg(test)]
mod tests {
    use super::*;

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
