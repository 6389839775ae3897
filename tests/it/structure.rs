//! The structure of the code: modules import what ARCHITECTURE.md allows, and the rest of what no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Files below `dir` that end in `.extension`, relative to the root.
fn files(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut to_do = vec![PathBuf::from(dir)];
    while let Some(dir) = to_do.pop() {
        let Ok(entries) = fs::read_dir(root().join(&dir)) else { continue };
        for entry in entries.flatten() {
            let path = dir.join(entry.file_name());
            if entry.path().is_dir() {
                to_do.push(path);
            } else if path.extension().is_some_and(|end| end == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let text = |path: PathBuf| (path.clone(), read(path.to_str().unwrap()));
    files("src", "rs").into_iter().map(text).collect()
}

/// The module that a path below `src` lies in: its folder, or the file's name.
fn top_module_of(path: &Path) -> String {
    let below = path.strip_prefix("src").unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The rows of the table of modules: module -> what it may import.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let mut top_modules = BTreeMap::new();
    for line in read("ARCHITECTURE.md").lines().filter(|line| line.starts_with("| `src/")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [names, _, imports] = cells[..] else { panic!("three columns: {line}") };
        let imports: BTreeSet<String> = match imports {
            "–" => BTreeSet::new(),
            "everything" => BTreeSet::from(["*".to_owned()]),
            list => list.split(',').map(|top_module| top_module.trim().to_owned()).collect(),
        };
        for name in names.split_whitespace() {
            let name = name.trim_matches('`').trim_end_matches('/');
            top_modules.insert(top_module_of(Path::new(name)), imports.clone());
        }
    }
    assert!(top_modules.len() >= 10, "the table of modules is in ARCHITECTURE.md: {top_modules:?}");
    top_modules
}

/// The crate's modules that a source file names, as paths from the crate's root: in `use`, in expressions and types, and in
/// the arguments of macros.
struct Imports {
    /// The module that is being read, from the crate's root.
    module: Vec<String>,
    /// What `crate` means there.
    root: Vec<String>,
    found: BTreeSet<Vec<String>>,
}

impl Imports {
    fn of(path: &Path, text: &str) -> Imports {
        let file = syn::parse_file(text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let root = if is_of_shim(path) { module_of(Path::new(SHIM)) } else { Vec::new() };
        let mut imports = Imports { module: module_of(path), root, found: BTreeSet::new() };
        imports.visit_file(&file);
        imports
    }

    /// Top-level modules.
    fn top_modules(&self) -> BTreeSet<String> {
        self.found.iter().filter_map(|path| path.first().cloned()).collect()
    }

    fn note(&mut self, path: &[String]) {
        let mut absolute = match path.first().map(String::as_str) {
            Some("crate") => self.root.clone(),
            Some("ibid") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for part in path.iter().skip_while(|part| matches!(&***part, "crate" | "ibid" | "self")) {
            if part == "super" {
                absolute.pop();
            } else {
                absolute.push(part.clone());
            }
        }
        self.found.insert(absolute);
    }

    fn note_use(&mut self, before: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.note_use(before, &path.tree);
                before.pop();
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.note_use(before, tree));
            }
            syn::UseTree::Name(name) => {
                self.note(&[&before[..], &[name.ident.to_string()]].concat());
            }
            syn::UseTree::Rename(name) => {
                self.note(&[&before[..], &[name.ident.to_string()]].concat());
            }
            syn::UseTree::Glob(_) => self.note(before),
        }
    }

    /// Paths in the arguments of a macro, which `syn` leaves as they are.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons, mut is_dollar) = (Vec::new(), 0, false);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                    if !is_dollar {
                        path.push(ident.to_string());
                    }
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && colons < 2 => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.note_tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    self.note(&path);
                    (path, colons) = (vec![ident.to_string()], 0);
                    continue;
                }
                TokenTree::Punct(punct) => is_dollar = punct.as_char() == '$',
                TokenTree::Literal(_) => {}
            }
            self.note(&path);
            (path, colons) = (Vec::new(), 0);
        }
        self.note(&path);
    }
}

impl<'a> Visit<'a> for Imports {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.module.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.note_use(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.note(&parts);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'a syn::Macro) {
        self.note_tokens(item.tokens.clone());
    }
}

/// The module that a file below `src` holds, from the crate's root.
fn module_of(path: &Path) -> Vec<String> {
    let below = path.strip_prefix("src").unwrap().with_extension("");
    let mut module: Vec<String> =
        below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| matches!(&**last, "mod" | "lib" | "main" | "preload_shim"))
    {
        module.pop();
    }
    module
}

/// The root of the preload shim, which is a crate of its own.
const SHIM: &str = "src/observe/shim/preload_shim.rs";

/// Files that are built by themselves: the preload shim is a crate of its own. The log beside it is read by ours.
fn is_of_shim(path: &Path) -> bool {
    let ours = ["mod.rs", "log.rs", "log_layout.rs", "log_outer.rs"];
    path.starts_with("src/observe/shim") && !ours.iter().any(|name| path.ends_with(name))
}

#[test]
fn modules_import_what_the_table_allows() {
    let table = table();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let top_module = top_module_of(&path);
        if top_module == "lib" || is_of_shim(&path) {
            continue;
        }
        let Some(allowed) = table.get(&top_module) else {
            wrong.push(format!(
                "{}: `{top_module}` is not in the table of ARCHITECTURE.md",
                path.display()
            ));
            continue;
        };
        for import in Imports::of(&path, &text).top_modules() {
            let known = table.contains_key(&import);
            if known && import != top_module && !allowed.contains("*") && !allowed.contains(&import)
            {
                wrong.push(format!("{}: `{top_module}` may not import `{import}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Takes away what imports nothing that is left; what stays is in a circle, or imports one that is.
fn circle(mut edges: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    while let Some(free) = edges.iter().find_map(|(name, imported)| {
        imported.iter().all(|import| !edges.contains_key(import)).then(|| name.clone())
    }) {
        edges.remove(&free);
    }
    edges.into_keys().collect()
}

#[test]
fn modules_import_in_no_circle() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_of_shim(path)) {
        let top_module = top_module_of(&path);
        let imported =
            Imports::of(&path, &text).top_modules().into_iter().filter(|it| *it != top_module);
        edges.entry(top_module.clone()).or_default().extend(imported);
    }
    let circle = circle(edges);
    assert!(circle.is_empty(), "a circle among {circle:?}");
}

/// The names that a folder's own file passes on from the parts of the folder, each with its part.
fn passed_on(path: &Path, text: &str) -> BTreeMap<String, String> {
    fn names(tree: &syn::UseTree, found: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => names(&path.tree, found),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, found)),
            syn::UseTree::Name(name) => found.push(name.ident.to_string()),
            syn::UseTree::Rename(name) => found.push(name.rename.to_string()),
            syn::UseTree::Glob(_) => {}
        }
    }
    let file = syn::parse_file(text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut passed_on = BTreeMap::new();
    for item in file.items {
        if let syn::Item::Use(item) = item
            && !matches!(item.vis, syn::Visibility::Inherited)
            && let syn::UseTree::Path(part) = &item.tree
        {
            let mut found = Vec::new();
            names(&part.tree, &mut found);
            passed_on.extend(found.into_iter().map(|name| (name, part.ident.to_string())));
        }
    }
    passed_on
}

/// For each folder with a circle among its parts, the files and folders directly in it: these parts. A folder's own file may
/// use all parts, and they what stands in it; what it only passes on is its part's.
fn circles_of_parts(sources: &[(PathBuf, String)]) -> Vec<(Vec<String>, Vec<String>)> {
    let own = sources.iter().filter(|(path, _)| path.ends_with("mod.rs"));
    let passed_on: BTreeMap<_, _> =
        own.map(|(path, text)| (module_of(path), passed_on(path, text))).collect();
    let mut folders: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let is_test = |module: &[String]| module.iter().any(|part| part.ends_with("tests"));
    for (path, text) in sources {
        let module = module_of(path);
        if is_test(&module) {
            continue;
        }
        let found = Imports::of(path, text).found;
        for (depth, part) in module.iter().enumerate().skip(1) {
            let folder = &module[..depth];
            let edges = found.iter().filter(|it| it.len() > depth && it[..depth] == *folder);
            let part_of = |name: &String| {
                passed_on.get(folder).and_then(|it| it.get(name)).unwrap_or(name).clone()
            };
            let others = edges.map(|it| part_of(&it[depth])).filter(|it| it != part);
            let parts = folders.entry(folder.to_vec()).or_default();
            parts.entry(part.clone()).or_default().extend(others);
        }
    }
    let circles = folders.into_iter().map(|(folder, edges)| (folder, circle(edges)));
    circles.filter(|(_, circle)| !circle.is_empty()).collect()
}

#[test]
fn parts_of_a_module_import_in_no_circle() {
    let circles = circles_of_parts(&sources());
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_circle_among_parts_is_found() {
    let circles = |files: &[(&str, &str)]| {
        let own = |(path, text): &(&str, &str)| (PathBuf::from(path), (*text).to_owned());
        circles_of_parts(&files.iter().map(own).collect::<Vec<_>>())
    };
    let found = |folder: &str, parts: &[&str]| {
        let names = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        vec![(names(&folder.split('/').collect::<Vec<_>>()), names(parts))]
    };
    let one_way = ("src/x/a.rs", "use super::b::B;");
    assert_eq!(circles(&[one_way, ("src/x/b.rs", "use super::Contract; use crate::y::Y;")]), []);
    assert_eq!(circles(&[one_way, ("src/x/b.rs", "use crate::x::a::A;")]), found("x", &["a", "b"]));
    // Behind a name that the folder's own file passes on.
    let own = ("src/x/mod.rs", "pub use a::{A, other::C as D}; use b::B;");
    let files = [own, one_way, ("src/x/b.rs", "fn f() -> super::D { m!(super::B) }")];
    assert_eq!(circles(&files), found("x", &["a", "b"]));
    // Folders are parts, too.
    let deep = [("src/x/y/mod.rs", "use crate::x::z::Z;"), ("src/x/z/w.rs", "use crate::x::y::Y;")];
    assert_eq!(circles(&deep), found("x", &["y", "z"]));
    // What the shim calls its crate.
    let shim =
        [("src/observe/shim/a.rs", "use crate::b::B;"), ("src/observe/shim/b.rs", "use crate::a;")];
    assert_eq!(circles(&shim), found("observe/shim", &["a", "b"]));
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let text = "use crate::{a::B, c}; use super::d::{self, E}; fn f() -> crate::g::H { m!(1, crate::i::j(), \
                [super::k]); super::super::l::x(); } mod inner { use super::n; } \
                macro_rules! o { () => { $crate::p::q!() } }";
    let found = Imports::of(Path::new("src/x/y.rs"), text).found;
    let found: Vec<String> = found.iter().map(|path| path.join("/")).collect();
    let expected =
        ["a/B", "c", "g/H", "i/j", "l/x", "x/d/E", "x/d/self", "x/k", "x/y/n"].map(str::to_owned);
    assert_eq!(found, expected);
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in sources().into_iter().chain(rust_of("tests")).chain(rust_of("benches")) {
        assert!(
            text.starts_with("//! "),
            "{}: the first line is `//!` and its job",
            path.display()
        );
        let first = text.lines().next().unwrap();
        assert!(!first.contains("being written"), "{}", path.display());
    }
}

fn rust_of(dir: &str) -> Vec<(PathBuf, String)> {
    files(dir, "rs").into_iter().map(|path| (path.clone(), read(path.to_str().unwrap()))).collect()
}

#[test]
fn one_reader_of_the_environment_and_one_place_for_systems() {
    for (path, text) in sources() {
        let name = path.to_str().unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        if name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        if name != "src/env.rs" {
            assert!(!text.contains("env::var"), "{name}: the environment is read in src/env.rs");
        }
        let may = ["src/os/", "src/shm/", "src/entry", "src/main.rs"];
        if !may.iter().any(|place| name.starts_with(place)) {
            let mark = concat!("target", "_os");
            assert!(!text.contains(mark), "{name}: systems are told apart in src/os/ and src/shm/");
        }
        if name != "src/main.rs" {
            assert!(!text.contains("process::exit("), "{name}: the only exit is in src/main.rs");
        }
    }
}

#[test]
fn unsafe_has_its_modules() {
    let may = ["src/shm/", "src/os/", "src/entry", "src/main.rs", "src/observe/shim/"];
    for (path, text) in sources() {
        let name = path.to_str().unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let used =
            code.into_iter().any(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        assert!(
            !used || may.iter().any(|place| name.starts_with(place)),
            "{name}: `unsafe` is not for here"
        );
    }
}

#[test]
fn every_variable_is_in_its_page() {
    let page = read("docs/settings.md");
    for line in read("src/env.rs").lines() {
        let Some(name) = line.strip_prefix("pub const ").and_then(|rest| rest.split(':').next())
        else {
            continue;
        };
        assert!(page.contains(name), "{name} is not in docs/settings.md");
    }
}

#[test]
fn every_setting_and_subcommand_is_in_its_page() {
    let (page, readme) = (read("docs/settings.md"), read("README.md"));
    for setting in ibid::config::SETTINGS {
        assert!(page.contains(&format!("`{}`", setting.key)), "{}", setting.key);
    }
    for command in ibid::cli::SUBCOMMANDS {
        assert!(readme.contains(&format!("ibid {command}")), "ibid {command}");
    }
}

/// Nothing of the machine that wrote it is in the project.
#[test]
fn no_paths_of_somebody_s_machine() {
    let marks = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("index.cra", "tes.io"),
        concat!("static.cra", "tes.io"),
        concat!("artif", "actory"),
        concat!("/Use", "rs/"),
    ];
    let mut names: Vec<PathBuf> = ["rs", "md", "toml"]
        .iter()
        .flat_map(|end| ["src", "tests", "benches", "docs"].map(|dir| files(dir, end)).concat())
        .collect();
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "BENCHMARKS.md",
        "Cargo.toml",
        "build.rs",
        "clippy.toml",
        ".cargo/config.toml",
        ".ci/run",
    ];
    names.extend(top.iter().map(PathBuf::from).filter(|name| root().join(name).exists()));
    for name in names {
        let text = read(name.to_str().unwrap());
        for mark in marks {
            assert!(!text.contains(mark), "{}: contains {mark}", name.display());
        }
    }
    let lock = read("Cargo.lock");
    for line in lock.lines().filter_map(|line| line.strip_prefix("source = ")) {
        assert_eq!(line, concat!("\"registry+https://github.com/rust-lang/cra", "tes.io-index\""));
    }
}

#[test]
fn files_stay_short() {
    for (path, text) in sources() {
        let lines = text.split("#[cfg(test)]").next().unwrap().lines().count();
        assert!(lines <= 500, "{}: {lines} lines", path.display());
    }
}

#[test]
fn only_compilers_ask_for_the_family_of_a_tool() {
    for (path, text) in sources().into_iter().filter(|(path, _)| top_module_of(path) != "compilers")
    {
        let asks = text.match_indices("Family::").any(|(at, _)| !text[..at].ends_with("Address"));
        assert!(!asks, "{}: a `Policy` answers questions, its family is its own", path.display());
    }
}

/// The documents, relative to the root, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "BENCHMARKS.md"];
    let below = ["docs", "benches"].map(|dir| files(dir, "md")).concat();
    let paths = top.iter().map(PathBuf::from).chain(below);
    paths.map(|path| (path.clone(), read(path.to_str().unwrap()))).collect()
}

#[test]
fn documents_stay_short() {
    for (name, bytes_max) in [("ARCHITECTURE.md", 12_288), ("BENCHMARKS.md", 10_240)] {
        let bytes = read(name).len();
        assert!(bytes <= bytes_max, "{name}: {bytes} bytes; what is special goes to docs/");
    }
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "README.md: {lines} lines; what is special goes to docs/");
}

/// The book has every page, and no page that is not there.
#[test]
fn every_page_is_in_the_book() {
    let summary = read("docs/SUMMARY.md");
    let chapters: BTreeSet<_> = between(&summary, "](", ')').map(str::to_owned).collect();
    let pages =
        files("docs", "md").into_iter().map(|page| page.strip_prefix("docs").unwrap().to_owned());
    let mut pages: BTreeSet<_> = pages.map(|page| page.display().to_string()).collect();
    pages.remove("SUMMARY.md");
    assert_eq!(chapters, pages);
    for line in summary.lines().filter(|line| !line.trim().is_empty()) {
        let is_chapter = line.trim_start_matches("- ").starts_with('[') && line.ends_with(".md)");
        assert!(line.starts_with("# ") || is_chapter, "mdBook does not take `{line}`");
    }
    // The book has nothing beside the pages.
    for page in files("docs", "md") {
        assert!(!read(page.to_str().unwrap()).contains("](../"), "{}", page.display());
    }
    let book = read("book.toml");
    assert!(book.contains("src = \"docs\"") && book.parse::<toml_edit::DocumentMut>().is_ok());
}

/// What stands between `open` and `close`, outside code blocks.
fn between<'t>(text: &'t str, open: &'t str, close: char) -> impl Iterator<Item = &'t str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(move |part| {
        part.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
    })
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_in_documents_lead_somewhere() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (path, text) in documents() {
        for link in between(&text, "](", ')').filter(|link| !link.contains("://")) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&path),
                file => root().join(&path).parent().unwrap().join(file),
            };
            let is_right = if anchor.is_empty() {
                target.exists()
            } else {
                fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor))
            };
            if !is_right {
                wrong.push(format!("{}: ({link})", path.display()));
            }
        }
    }
    assert!(wrong.is_empty() && count > 100, "of {count} links:\n{}", wrong.join("\n"));
}

/// Paths and tests that documents name as code: `src/shm/layout.rs`, `wrong_hits::header_goes`, `src::layout_is_pinned`.
#[test]
fn files_and_tests_that_documents_name_are_there() {
    let sources: String = sources().into_iter().map(|(_, text)| text).collect();
    let has_test = |text: &str, name: &str| {
        text.contains(&format!("fn {name}(")) || text.contains(&format!("\n    {name}: "))
    };
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (path, text) in documents() {
        let is_page = path.starts_with("docs");
        for code in text.split("```").step_by(2).flat_map(|part| part.split('`').skip(1).step_by(2))
        {
            let is_path = ["src/", "tests/", "docs/"].iter().any(|dir| code.starts_with(dir));
            let is_there = match code.split_once("::").filter(|_| is_page) {
                Some(("src", name)) => has_test(&sources, name),
                Some((module, name)) => {
                    let file = root().join(format!("tests/it/{module}.rs"));
                    fs::read_to_string(file).is_ok_and(|text| has_test(&text, name))
                }
                None if is_path => root().join(code).exists(),
                None => continue,
            };
            count += 1;
            if !is_there {
                wrong.push(format!("{}: `{code}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty() && count > 100, "of {count}:\n{}", wrong.join("\n"));
}
