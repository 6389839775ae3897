//! Options with which the working directory, or another name of the place, may be in what gcc or clang write.
//!
//! Anything that is not known to leave it out counts as one that may. What was measured: `docs/places.md`. Read next: `command.rs`.

use std::path::Path;

use super::ShowsDirectory;
use super::words::is_like;

/// Options that change nothing of that, though their first letters do.
#[rustfmt::skip]
const PLAIN: &[&str] = &[
    "-g0", "-dumpbase", "-fno-lto", "-fno-profile-arcs", "-fno-plt", "-fno-openmp",
];

/// Options with which the directory may show; a `*` at the end stands for any rest.
#[rustfmt::skip]
const PLACED: &[&str] = &[
    // Debug information and what goes with it names the compilation directory.
    "-g*", "--debug*", "-fdebug-*", "-feliminate-*", "-femit-*", "-fsplit-dwarf*", "-fstandalone-debug",
    // Sections that hold the command line, or a name made of it.
    "-frecord-*", "-fverbose-asm", "-dA", "-dP", "-funique-*", "-frandom-seed*",
    // Coverage and profiles: names of data files, hashed function names.
    "--coverage", "-coverage*", "-fprofile*", "-ftest-coverage", "-fcoverage*", "-fcondition-coverage", "-fpath-coverage",
    "-fauto-profile*", "-fbranch-*", "-fcs-profile*", "-fmemory-profile*", "-finstrument-*", "-fxray*",
    "-fsanitize-coverage*", "-fpseudo-probe*", "-fvpt", "-fvalue-profile*",
    // Intermediate code: gcc's holds the directory compressed, clang's an absolute source's name.
    "-flto*", "-ffat-lto*", "-fthinlto*", "-fthin-link*", "-emit-*", "-fembed-*", "-fwhole-program*",
    // Code for another device: names made of the file's number.
    "-fopenmp-targets*", "-foffload*", "--offload*", "-fsycl*", "-fgpu-*", "--cuda*",
    // Files beside the output that hold names.
    "-save-temps*", "--save-temps*", "-aux-info", "-fstack-usage", "-fcallgraph-info*", "-fdump-*", "-d*", "-MJ",
    "-fsave-optimization-record*", "-foptimization-record*", "-fopt-info*", "-ftime-trace*", "-fanalyzer*",
    "-fdiagnostics-format*", "-fdiagnostics-add-*", "-fdiagnostics-set-*", "-fcrash-diagnostics*", "-index*",
    "--serialize-diagnostics", "-dependency-dot", "-module-dependency-dir", "-R*",
    // Another directory than the one in which the tool runs, and maps of names: the user does it himself.
    "-working-directory*", "-fcompilation-dir*", "-ffile-*", "-fmacro-prefix*", "-fworking-directory",
    // Words for a program behind the driver, files of options, code that is not the tool's.
    "-Xassembler", "-Xlinker", "-Xclang", "-Xclangas", "-mllvm", "-mmlir", "-Xarch*", "-Xopenmp-target*", "-Xanalyzer",
    "-specs*", "--specs*", "--config*", "-wrapper", "-fplugin*", "-fpass-plugin*", "-load",
    // Precompiled headers and modules.
    "-fmodule*", "-fpch*", "-fprebuilt-*", "-fbuild-session*", "-include-pch", "-ivfsoverlay", "-fimplicit-module*",
    "--precompile",
];

/// Of these, options with which it shows in names that maps hide. Not compressed debug information: it cannot be searched.
#[rustfmt::skip]
const MAPPED: &[&str] = &[
    "-g", "-g1", "-g2", "-g3", "-ggdb", "-ggdb1", "-ggdb2", "-ggdb3", "-gdwarf", "-gdwarf-2", "-gdwarf-3", "-gdwarf-4",
    "-gdwarf-5", "-gline-tables-only", "-gmlt", "-gcolumn-info", "-gno-column-info", "-gpubnames", "-ggnu-pubnames",
    "-gstrict-dwarf", "-gno-strict-dwarf", "-gsplit-dwarf", "-gno-record-gcc-switches", "-fdebug-types-section",
    "-fstandalone-debug", "-fno-standalone-debug", "-feliminate-unused-debug-types", "-feliminate-unused-debug-symbols",
    "-femit-struct-debug-baseonly", "-femit-struct-debug-reduced",
];

/// Words for the linker that write nothing beside the output, and no more into it; a `*` at the end stands for any rest, or for
/// the next word.
#[rustfmt::skip]
const LINKING: &[&str] = &[
    "--as-needed", "--no-as-needed", "--gc-sections", "--no-gc-sections", "--start-group", "--end-group", "-(", "-)",
    "--whole-archive", "--no-whole-archive", "--no-undefined", "--allow-shlib-undefined", "--no-allow-shlib-undefined",
    "--export-dynamic", "-export-dynamic", "--no-export-dynamic", "-E", "-Bsymbolic", "-Bsymbolic-functions", "-Bstatic", "-Bdynamic",
    "-static", "-shared", "-s", "-S", "-x", "-X", "-O0", "-O1", "-O2", "-d", "-dn", "-dy", "-N", "-n", "--strip-all", "--strip-debug",
    "--discard-all", "--discard-locals", "--build-id", "--build-id=none", "--build-id=md5", "--build-id=sha1",
    "--hash-style=*", "--sort-common", "--no-keep-memory", "--warn-common", "--fatal-warnings", "--no-fatal-warnings",
    "--enable-new-dtags", "--disable-new-dtags", "--eh-frame-hdr", "--icf=*", "--relax", "--no-relax", "--no-rosegment",
    "--no-copy-dt-needed-entries", "--copy-dt-needed-entries", "--add-needed", "--no-add-needed", "--compress-debug-sections=none",
    "-z*", "-soname*", "--soname*", "-h*", "-rpath*", "--rpath*", "-rpath-link*", "--rpath-link*", "--version-script*", "-version-script*",
    "--dynamic-list*", "--exclude-libs*", "--defsym*", "--undefined*", "-u*", "--wrap*", "-e*", "--entry*", "-m*", "-l*", "-L*",
    "--dynamic-linker*", "-dynamic-linker*", "-T*", "--unresolved-symbols*", "--image-base*", "--push-state", "--pop-state",
];

/// Words for GNU's assembler that choose instructions, or what it says, and write no names; a `*` at the end stands for any rest.
#[rustfmt::skip]
const ASSEMBLING: &[&str] = &[
    "--32", "--64", "--x32", "--divide", "--execstack", "--fatal-warnings", "--no-warn", "--no-pad-sections", "--noexecstack", "--warn", "-W",
    "--elf-stt-common=*", "--generate-missing-build-notes=*", "--size-check=*",
    "-mabi=*", "-malign-branch*", "-march=*", "-mbranches-within-32B-boundaries", "-mcpu=*", "-meabi=*", "-mfloat-abi=*", "-mfpu=*",
    "-mimplicit-it=*", "-mmnemonic=*", "-mrelax-relocations=*", "-msyntax=*", "-mthumb", "-mtune=*", "-mx86-used-note=*",
];

/// Whether all words of `-Wa,WORD,…` are such.
fn assembles_plainly(words: &str) -> bool {
    words.split(',').all(|word| ASSEMBLING.iter().any(|pattern| is_like(word, pattern)))
}

/// Whether all words of `-Wl,WORD,…` are such, or values of such.
fn links_plainly(words: &str) -> bool {
    let mut words = words.split(',');
    while let Some(word) = words.next() {
        let mut found = LINKING.iter().filter(|pattern| is_like(word, pattern));
        let Some(pattern) = found.next() else { return false };
        if pattern.strip_suffix('*') == Some(word) {
            words.next();
        }
    }
    true
}

/// Whether the working directory may show with this option.
pub fn shows_directory(option: &str) -> ShowsDirectory {
    let behind = option.strip_prefix("-Wl,").map(links_plainly);
    if let Some(is_plain) = behind.or(option.strip_prefix("-Wa,").map(assembles_plainly)) {
        return if is_plain { ShowsDirectory::Never } else { ShowsDirectory::Perhaps };
    }
    if PLAIN.contains(&option) || !PLACED.iter().any(|pattern| is_like(option, pattern)) {
        ShowsDirectory::Never
    } else if MAPPED.contains(&option) {
        ShowsDirectory::UnlessMapped
    } else {
        ShowsDirectory::Perhaps
    }
}

/// Whether a language, or a source with this extension, is (also) compiled for another device.
pub fn is_offloaded(language: &str) -> bool {
    ["cuda", "hip", "cl", "cu"].iter().any(|start| language.starts_with(start))
        || language == "renderscript"
}

/// Whether this variable gives options to a compiler, or names a file into which it writes.
pub fn adds_options(name: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"CCC_OVERRIDE_OPTIONS",
        b"DEPENDENCIES_OUTPUT",
        b"SUNPRO_DEPENDENCIES",
        b"GCC_COMPARE_DEBUG",
        b"GCC_EXTRA_DIAGNOSTIC_OUTPUT",
        b"EXPERIMENTAL_SARIF_SOCKET",
        b"AS_SECURE_LOG_FILE",
        b"LLVM_OVERRIDE_PRODUCER",
        b"COLLECT_GCC_OPTIONS",
    ];
    NAMES.contains(&name) || name.starts_with(b"CC_PRINT_") || name.starts_with(b"CC_LOG_")
}

/// Whether a file of this name gives options to a compiler.
pub fn holds_options(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cfg")
        || path.file_name().is_some_and(|name| name == "specs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_whether_they_show_the_directory() {
        use ShowsDirectory::{Never, Perhaps, UnlessMapped};
        for (option, shows) in [
            ("-O2", Never),
            ("-c", Never),
            ("-Wall", Never),
            ("-Wa,--noexecstack", Never),
            ("-Wa,-mtune=generic32,--fatal-warnings", Never),
            ("-Wa,-g", Perhaps),
            ("-Wa,--32,-g", Perhaps),
            ("-Wa,-mtune=generic32,-ahl=x", Perhaps),
            ("-Wa,", Perhaps),
            ("-Wa,--compress-debug-sections", Perhaps),
            ("-Wa,-I,x", Perhaps),
            ("-Wa,@x", Perhaps),
            ("-Wl,--as-needed,-z,relro,-soname,x.so", Never),
            ("-Wl,-soname=x", Never),
            ("-Wl,-z", Never),
            ("-Wl,-Map=x", Perhaps),
            ("-Wl,-z,now,--dependency-file,x", Perhaps),
            ("-Wl,-plugin,x", Perhaps),
            ("-Wl,--reproduce=x", Perhaps),
            ("-Xlinker", Perhaps),
            ("-fPIC", Never),
            ("-fno-strict-aliasing", Never),
            ("-fvisibility=hidden", Never),
            ("-std=c11", Never),
            ("-MD", Never),
            ("-DX=1", Never),
            ("-g0", Never),
            ("-g", UnlessMapped),
            ("-gdwarf-5", UnlessMapped),
            ("-gz", Perhaps),
            ("-grecord-gcc-switches", Perhaps),
            ("-flto=thin", Perhaps),
            ("--coverage", Perhaps),
            ("-fprofile-use=x", Perhaps),
            ("-save-temps", Perhaps),
            ("-dD", Perhaps),
            ("-fdiagnostics-format=sarif-file", Perhaps),
        ] {
            assert_eq!(shows_directory(option), shows, "{option}");
        }
        for (language, is_for_others) in
            [("c", false), ("c++", false), ("cuda", true), ("hip", true), ("cu", true)]
        {
            assert_eq!(is_offloaded(language), is_for_others, "{language}");
        }
    }
}
