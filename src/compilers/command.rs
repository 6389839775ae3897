//! The command line of a gcc-like driver: what was typed, for gcc and clang alike (`cc` may be either).
//!
//! A table names the options that change what may be done with the command. Any other word that begins with `-` changes nothing that the observer would not see.
//! Read next: `words.rs`, `gcc.rs`, `clang.rs`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::devices::{NULL_DEVICE, is_other_device};
use super::placed::{is_offloaded, shows_directory};
use super::response::expand;
use super::several;
use super::words::{is_like, takes_value};
use super::{Decision, Family, Policy, ShowsDirectory, StandardInput};
use crate::outcome::PassReason;

/// How far the command goes, where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Preprocess,
    Syntax,
    Precompile,
    Assembly,
    Object,
}

/// What an option changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The tool tells something about itself.
    Query,
    /// What it does cannot be repeated from files.
    Unsupported,
    /// The words after it are another language.
    Foreign,
    /// Stop there.
    Stop(Until),
    /// The result may depend on this CPU, or on a file of options that nobody here reads.
    Cpu,
    /// File times may enter the result.
    Metadata,
    /// Code that is not the tool's runs in it.
    Plugin,
    /// Modules are (not) built on the way, and kept outside of the outputs.
    Modules(bool),
    ImplicitModules(bool),
    /// LLVM's bitcode or its text, not an object or assembler.
    Llvm,
}

/// Options with an effect; a `*` at the end stands for any rest.
#[rustfmt::skip]
const EFFECTS: &[(&str, Effect)] = &[
    ("-###", Effect::Query), ("--autocomplete=*", Effect::Query), ("--dumpmachine", Effect::Query),
    ("--dumpversion", Effect::Query), ("--help", Effect::Query), ("--help-hidden", Effect::Query), ("--help=*", Effect::Query),
    ("--print-*", Effect::Query), ("--target-help", Effect::Query), ("--verbose", Effect::Query),
    ("--version", Effect::Query), ("-ccc-print-*", Effect::Query), ("-dumpfullversion", Effect::Query),
    ("-dumpmachine", Effect::Query), ("-dumpspecs", Effect::Query), ("-dumpversion", Effect::Query), ("-help", Effect::Query),
    ("-print-*", Effect::Query), ("-v", Effect::Query), ("-vV", Effect::Query),
    // Times and memory sizes in the text.
    ("-Q", Effect::Unsupported), ("-fmem-report*", Effect::Unsupported), ("-fproc-stat-report*", Effect::Unsupported),
    ("-ftime-report*", Effect::Unsupported), ("-time", Effect::Unsupported), ("-time=*", Effect::Unsupported),
    // Files under names that change from run to run.
    ("-gen-reproducer", Effect::Unsupported), ("-gen-reproducer=*", Effect::Unsupported),
    // Other jobs than compiling.
    ("--analyze", Effect::Unsupported), ("--analyze-auto", Effect::Unsupported), ("-extract-api", Effect::Unsupported),
    ("-emit-ast", Effect::Unsupported),     ("-emit-interface-stubs", Effect::Unsupported), ("-emit-merged-ifs", Effect::Unsupported),
    ("-rewrite-legacy-objc", Effect::Unsupported), ("-rewrite-objc", Effect::Unsupported),
    ("-verify-pch", Effect::Unsupported),
    ("--driver-mode=cl", Effect::Foreign), ("--driver-mode=dxc", Effect::Foreign), ("--driver-mode=flang", Effect::Foreign),
    ("--rsp-quoting=windows", Effect::Foreign), ("-cc1", Effect::Foreign), ("-cc1as", Effect::Foreign),
    ("-cc1gen-reproducer", Effect::Foreign),
    ("--dependencies", Effect::Stop(Until::Preprocess)), ("--driver-mode=cpp", Effect::Stop(Until::Preprocess)),
    ("--preprocess", Effect::Stop(Until::Preprocess)), ("--user-dependencies", Effect::Stop(Until::Preprocess)),
    ("-E", Effect::Stop(Until::Preprocess)), ("-M", Effect::Stop(Until::Preprocess)),
    ("-MM", Effect::Stop(Until::Preprocess)),
    ("--syntax-only", Effect::Stop(Until::Syntax)), ("-fsyntax-only", Effect::Stop(Until::Syntax)),
    ("--precompile", Effect::Stop(Until::Precompile)),
    ("--assemble", Effect::Stop(Until::Assembly)), ("-S", Effect::Stop(Until::Assembly)),
    ("--compile", Effect::Stop(Until::Object)), ("-c", Effect::Stop(Until::Object)),
    ("--config", Effect::Cpu), ("--config-system-dir=*", Effect::Cpu), ("--config-user-dir=*", Effect::Cpu),
    ("--config=*", Effect::Cpu), ("--cuda-gpu-arch=native", Effect::Cpu), ("--offload-arch=native", Effect::Cpu),
    ("--specs", Effect::Cpu), ("--specs=*", Effect::Cpu), ("-specs", Effect::Cpu), ("-specs=*", Effect::Cpu),
    ("-emit-module*", Effect::Metadata), ("-emit-pch", Effect::Metadata), ("-fmodule*", Effect::Metadata),
    ("-fpch*", Effect::Metadata), ("-fprebuilt-*", Effect::Metadata), ("-include-pch", Effect::Metadata),
    ("-fpass-plugin=*", Effect::Plugin), ("-fplugin=*", Effect::Plugin), ("-load", Effect::Plugin),
    ("-wrapper", Effect::Plugin),
    ("-fmodules", Effect::Modules(true)), ("-fno-modules", Effect::Modules(false)),
    ("-fimplicit-modules", Effect::ImplicitModules(true)), ("-fno-implicit-modules", Effect::ImplicitModules(false)),
    ("-emit-llvm", Effect::Llvm),
];

/// How a word says that code is to be made for the CPU on which the tool runs.
pub(super) const NATIVE: [&str; 3] = ["march=native", "mcpu=native", "mtune=native"];

/// What makes a word without `-` a source where no `-x` says so.
#[rustfmt::skip]
const SOURCE_EXTENSIONS: &[&str] = &[
    "C", "CPP", "F", "F90", "M", "S", "ads", "adb", "ast", "bc", "c", "c++", "c++m", "cc", "ccm", "cl", "clcpp", "cp",
    "cpp", "cppm", "cu", "cui", "cxx", "cxxm", "d", "f", "f90", "go", "hip", "i", "ii", "ixx", "ll", "m", "mi", "mii",
    "mm", "mpp", "pcm", "s", "sx",
];
const HEADER_EXTENSIONS: &[&str] =
    &["H", "HPP", "h", "h++", "hh", "hp", "hpp", "hxx", "iih", "tcc"];
/// Files that hold what a compiler remembered of others.
const METADATA_EXTENSIONS: &[&str] = &["gch", "gcm", "pch", "pcm"];

/// What a command line says.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "what was typed: a flag for each flag")]
struct TypedDriver {
    sources: Vec<SourceWord>,
    /// Words that are no source: objects and libraries for the linker.
    others: Vec<PathBuf>,
    language: Option<String>,
    output: Option<PathBuf>,
    depfile: Option<PathBuf>,
    until: Option<Until>,
    query: bool,
    unsupported: bool,
    unparsed: bool,
    standard_input: bool,
    /// Where `-` stands if no language was named.
    plain_standard_input: Option<usize>,
    device: bool,
    /// The linker draws a number, or reads options that are not seen here.
    unseen_linker: bool,
    cpu: bool,
    metadata: bool,
    precompiled: bool,
    plugin: bool,
    llvm: bool,
    shows: Option<ShowsDirectory>,
    modules: bool,
    no_implicit_modules: bool,
    /// The word that `-Xclang` passed last.
    passed: OsString,
    windows: bool,
}

#[derive(Debug)]
struct SourceWord {
    /// Which of the words it is.
    at: usize,
    path: PathBuf,
    is_header: bool,
}

/// Judges a command of a driver of this family.
pub fn judge(family: Family, args: &[OsString]) -> Decision {
    let typed = match expand(args) {
        Ok(args) => TypedDriver::read(&args),
        Err(reason) => return Decision::PassThrough(reason),
    };
    if let Some(reason) = typed.why_not() {
        return Decision::PassThrough(reason);
    }
    let has_response_file = args.iter().any(|arg| arg.as_bytes().starts_with(b"@"));
    let shows_directory =
        if has_response_file { ShowsDirectory::Perhaps } else { typed.shows_directory() };
    let is_plain = shows_directory != ShowsDirectory::Perhaps;
    let makes_plain_object = is_plain && typed.makes_one_object_of_c();
    Decision::Cache(Policy {
        sources: typed.sources.iter().map(|source| source.path.clone()).collect(),
        shows_directory,
        takes_maps: makes_plain_object || is_plain && typed.links_c(),
        first_object: typed.others.first().cloned(),
        outputs_may_be_renamed: makes_plain_object,
        primary_output: typed.primary_output(family),
        depends_on_cpu: typed.cpu,
        reads_metadata: typed.metadata || typed.precompiles(),
        uses_precompiled: typed.precompiled,
        standard_input: if typed.sources.iter().any(|source| source.path.as_os_str() == "-") {
            StandardInput::Source
        } else {
            StandardInput::Unread
        },
        runs_foreign_code: typed.plugin,
        is_question: typed.prints(),
        discards_output: typed.discards(),
        links: typed.links(),
        single_calls: typed.single_calls(family, args),
        depfile: typed.depfile,
        ..Policy::plain(family)
    })
}

impl TypedDriver {
    fn read(args: &[OsString]) -> Self {
        let mut typed = TypedDriver::default();
        let mut words = args.iter().enumerate();
        while let Some((at, word)) = words.next() {
            typed.note_special_files(word);
            let option = &*word.to_string_lossy();
            if option == "-" || !option.starts_with('-') {
                typed.input(at, word);
            } else if option == "--" {
                words.by_ref().for_each(|(at, word)| typed.input(at, word));
            } else if takes_value(option) {
                let Some((_, value)) = words.next() else {
                    typed.unparsed = true;
                    break;
                };
                typed.note_special_files(value);
                typed.effects(option);
                typed.separate(option, value);
            } else {
                typed.effects(option);
                typed.joined(word);
            }
        }
        // The preprocessor takes what it reads for C.
        match typed.plain_standard_input {
            Some(at) if typed.until == Some(Until::Preprocess) => {
                typed.sources.push(SourceWord { at, path: "-".into(), is_header: false });
            }
            at => typed.standard_input |= at.is_some(),
        }
        typed
    }

    /// Words that name standard input, or a way out that is no file, wherever they stand.
    fn note_special_files(&mut self, word: &OsStr) {
        let has =
            |name: &str| word.as_bytes().windows(name.len()).any(|part| part == name.as_bytes());
        self.standard_input |= ["/dev/stdin", "/dev/fd/", "/self/fd/"].into_iter().any(has);
        self.device |= ["/dev/stdout", "/dev/stderr", "/dev/tty"].into_iter().any(has);
        // Also words for what stands behind the driver: `-Wl,-mllvm,-mcpu=native`, `-foffload-options=-march=native`.
        self.cpu |= NATIVE.into_iter().any(has);
        self.unseen_linker |= has("build-id=uuid") || has("-Wl,") && has(",@");
    }

    fn input(&mut self, at: usize, word: &OsStr) {
        let path = Path::new(word);
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        self.metadata |= METADATA_EXTENSIONS.contains(&extension);
        if is_offloaded(extension) {
            self.shows = Some(ShowsDirectory::Perhaps);
        }
        let is_header = match self.language.as_deref() {
            Some(language) => language.ends_with("-header") || language.ends_with("-header-unit"),
            // The driver refuses: it cannot tell by a name what this is.
            None if word == "-" => {
                self.plain_standard_input = Some(at);
                return;
            }
            None if HEADER_EXTENSIONS.contains(&extension) => true,
            None if SOURCE_EXTENSIONS.contains(&extension) => false,
            None => {
                self.others.push(path.into());
                return;
            }
        };
        self.sources.push(SourceWord { at, path: path.into(), is_header });
    }

    /// An option whose value is a word of its own.
    fn separate(&mut self, option: &str, value: &OsStr) {
        match option {
            "-o" | "--output" => self.output = Some(value.into()),
            "-x" | "--language" => self.set_language(value),
            "-MF" | "-dependency-file" => self.depfile = Some(value.into()),
            "-target" | "--target" => self.set_target(value),
            "-Xclang" | "-Xpreprocessor" => self.pass(value),
            "-Xlinker" => self.unseen_linker |= value.as_bytes().starts_with(b"@"),
            _ => {}
        }
    }

    /// An option that may have its value in the same word.
    fn joined(&mut self, word: &OsStr) {
        let joined = |prefix: &str| {
            let value = word.as_bytes().strip_prefix(prefix.as_bytes())?;
            (!value.is_empty()).then(|| OsStr::from_bytes(value))
        };
        if let Some(language) = joined("--language=").or(joined("-x")) {
            self.set_language(language);
        } else if let Some(target) = joined("--target=") {
            self.set_target(target);
        } else if let Some(path) = joined("-MF") {
            self.depfile = Some(path.into());
        } else if let Some(words) = joined("-Wp,") {
            self.preprocessor_words(&words.to_string_lossy());
        } else if let Some(path) = joined("--output=").or(joined("-o").filter(|_| is_output(word)))
        {
            self.output = Some(path.into());
        }
    }

    fn effects(&mut self, option: &str) {
        self.cpu |= option.starts_with("-m") && option.contains("=native");
        self.shows = self.shows.max(Some(shows_directory(option)));
        for (_, effect) in EFFECTS.iter().filter(|(pattern, _)| is_like(option, pattern)) {
            match *effect {
                Effect::Query => self.query = true,
                Effect::Unsupported => self.unsupported |= option != "-gen-reproducer=off",
                Effect::Foreign => self.unparsed = true,
                Effect::Stop(until) => self.stop_at(until),
                Effect::Cpu => self.cpu = true,
                Effect::Metadata if is_use(option) => self.precompiled = true,
                Effect::Metadata => self.metadata = true,
                Effect::Plugin => self.plugin = true,
                Effect::Modules(on) => self.modules = on,
                Effect::ImplicitModules(on) => self.no_implicit_modules = !on,
                Effect::Llvm => self.llvm = true,
            }
        }
    }

    /// Of several such options the earliest stop counts, whatever their order.
    fn stop_at(&mut self, until: Until) {
        let earlier = self.until.filter(|other| (*other as u8) < until as u8);
        self.until = earlier.or(Some(until));
    }

    fn set_language(&mut self, language: &OsStr) {
        if is_offloaded(&language.to_string_lossy()) {
            self.shows = Some(ShowsDirectory::Perhaps);
        }
        self.language = (language != "none").then(|| language.to_string_lossy().into_owned());
    }

    fn set_target(&mut self, target: &OsStr) {
        let target = target.to_string_lossy();
        self.windows = target.contains("windows") || target.contains("msvc");
    }

    /// `-Xclang WORD`: an option of the compiler proper, or the value of the one before.
    fn pass(&mut self, word: &OsStr) {
        self.cpu |= self.passed == "-target-cpu" && word == "native";
        let extension = Path::new(word).extension().and_then(OsStr::to_str).unwrap_or_default();
        self.precompiled |= METADATA_EXTENSIONS.contains(&extension);
        self.effects(&word.to_string_lossy());
        word.clone_into(&mut self.passed);
    }

    /// `-Wp,-MD,FILE` and its kin.
    fn preprocessor_words(&mut self, words: &str) {
        let mut words = words.split(',');
        while let Some(word) = words.next() {
            match word {
                "-MD" | "-MMD" | "-MF" => self.depfile = words.next().map(PathBuf::from),
                word => self.effects(word),
            }
        }
    }

    /// Why the command is not one whose result can be kept.
    fn why_not(&self) -> Option<PassReason> {
        let output_is_device = self.output.as_deref().is_some_and(is_other_device);
        let has_none = if self.until.is_none() {
            self.sources.is_empty() && self.others.is_empty()
        } else {
            self.sources.is_empty()
        };
        self.why_never()
            .or(has_none.then_some(PassReason::NoSource))
            .or((output_is_device || self.device).then_some(PassReason::OutputNotAFile))
    }

    /// Reasons that hold whatever the sources are.
    fn why_never(&self) -> Option<PassReason> {
        let reasons = [
            (self.query, PassReason::Query),
            (self.unparsed, PassReason::Unparsed),
            (self.unsupported, PassReason::UnsupportedFlag),
            (self.links() && self.unseen_linker, PassReason::UnsupportedFlag),
            (self.modules && !self.no_implicit_modules, PassReason::UnsupportedFlag),
            (self.standard_input, PassReason::StandardInput),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }

    /// Whether it stops where the result is text.
    fn is_text_only(&self) -> bool {
        matches!(self.until, Some(Until::Preprocess | Until::Syntax))
    }

    /// Whether a header is made to a file that other commands use.
    fn precompiles(&self) -> bool {
        let has_header = self.sources.iter().any(|source| source.is_header);
        self.until == Some(Until::Precompile) || has_header && !self.is_text_only()
    }

    /// Whether the working directory may be in what it writes.
    fn shows_directory(&self) -> ShowsDirectory {
        let shows = self.shows.unwrap_or(ShowsDirectory::Never);
        match self.until {
            _ if shows == ShowsDirectory::Perhaps => shows,
            Some(Until::Precompile) => ShowsDirectory::Perhaps,
            // With debug information the preprocessor names the directory, which no map hides there.
            Some(Until::Preprocess) if shows != ShowsDirectory::Never => ShowsDirectory::Perhaps,
            None if !self.links() => ShowsDirectory::Perhaps,
            // There is no source of which debug information could be made.
            None if self.sources.is_empty() => ShowsDirectory::Never,
            _ => shows,
        }
    }

    /// Whether one source in C or C++ is compiled to an object for a linker.
    fn makes_one_object_of_c(&self) -> bool {
        let [source] = self.sources.as_slice() else { return false };
        let is_file = source.path != Path::new("-") && !self.discards();
        self.until == Some(Until::Object) && self.is_c(source) && is_file
    }

    /// Whether it links, and compiles one source in C or C++ at most.
    fn links_c(&self) -> bool {
        let is_c = match self.sources.as_slice() {
            [] => !self.windows,
            [source] => self.is_c(source),
            _ => false,
        };
        self.links() && is_c && !self.discards()
    }

    fn is_c(&self, source: &SourceWord) -> bool {
        const EXTENSIONS: [&str; 8] = ["C", "CPP", "c", "c++", "cc", "cp", "cpp", "cxx"];
        let extension = source.path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let is_c = match self.language.as_deref() {
            Some(language) => matches!(language, "c" | "c++"),
            None => EXTENSIONS.contains(&extension),
        };
        is_c && !self.llvm && !self.windows
    }

    fn links(&self) -> bool {
        let are_headers =
            self.others.is_empty() && self.sources.iter().all(|source| source.is_header);
        self.until.is_none() && !are_headers
    }

    /// A call for each source, where all of them are the same as this one.
    fn single_calls(&self, family: Family, args: &[OsString]) -> Vec<Vec<OsString>> {
        let makes_files = matches!(self.until, Some(Until::Assembly | Until::Object));
        let is_special = self.metadata || self.precompiled || self.plugin || self.windows;
        if !makes_files || is_special || self.output.is_some() || !self.others.is_empty() {
            return Vec::new();
        }
        let sources: Vec<_> =
            self.sources.iter().map(|source| (source.at, &*source.path)).collect();
        several::calls(args, family, &sources)
    }

    /// Whether nothing is kept of the file that it would make.
    fn discards(&self) -> bool {
        self.until == Some(Until::Syntax) || self.output.as_deref() == Some(Path::new(NULL_DEVICE))
    }

    /// Whether what it prints may be all of its result.
    fn prints(&self) -> bool {
        self.is_text_only() || self.discards() || self.output.as_deref() == Some(Path::new("-"))
    }

    fn primary_output(&self, family: Family) -> Option<PathBuf> {
        if let Some(output) = &self.output {
            return Some(output.clone()).filter(|output| output != "-" && !self.discards());
        }
        if self.links() {
            let name = if family == Family::Emscripten { "a.out.js" } else { "a.out" };
            return (!self.windows).then(|| name.into());
        }
        let [source] = self.sources.as_slice() else { return None };
        if self.is_text_only() {
            return None;
        }
        if source.is_header {
            // Clang's releases disagree.
            let mut name = source.path.clone().into_os_string();
            name.push(".gch");
            return (family == Family::Gcc).then(|| name.into());
        }
        let extension = match self.until? {
            Until::Assembly if self.llvm => "ll",
            Until::Assembly => "s",
            Until::Object if self.llvm => "bc",
            Until::Object if self.windows => return None,
            Until::Object => "o",
            Until::Precompile => "pcm",
            Until::Preprocess | Until::Syntax => return None,
        };
        let mut name = source.path.file_stem()?.to_owned();
        name.push(".");
        name.push(extension);
        Some(name.into())
    }
}

/// Whether an option names a precompiled header or module to use.
fn is_use(option: &str) -> bool {
    ["-fmodule-file", "-fmodule-map-file", "-fprebuilt-module-path", "-include-pch"]
        .into_iter()
        .any(|prefix| option.starts_with(prefix))
}

/// `-oX` is `-o X`, but a few options of Darwin begin like that.
fn is_output(word: &OsStr) -> bool {
    word != "-object" && !word.as_bytes().starts_with(b"-objcmt-")
}
