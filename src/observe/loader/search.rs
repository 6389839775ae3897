//! Where the dynamic loader looks for shared objects before it finds them, or does not: glibc's rules, applied to what is
//! there now.
//!
//! A name that was looked for in vain is an absence; a file that was there and was not taken (of another class, say) is an
//! input. It may name more than the loader tried, never less. Read next: `mod.rs`, which asks; a test compares with the
//! loader's own account (`../tests/search.rs`).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use memchr::memmem;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::env;
use crate::observe::shim::log::{Event, What};
use crate::observe::trace::Trace;
use crate::os::elf::{self, Tag};

const ENOENT: i32 = 2;
const CACHE: &str = "/etc/ld.so.cache";
/// Names of objects to be loaded into every program.
const PRELOADED: &str = "/etc/ld.so.preload";
/// Where the loader looks when its own table has no object of a name.
const DEFAULT_DIRECTORIES: &[&str] = if cfg!(target_arch = "aarch64") {
    &[
        "/lib/aarch64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
    ]
} else {
    &[
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
    ]
};
/// Directories below a search directory that glibc tries first: since 2.33 the first, before 2.37 the others, also one
/// below the other.
const VARIANTS: &[&str] =
    &["glibc-hwcaps", "tls", "haswell", "avx512_1", "xeon_phi", "x86_64", "atomics", "aarch64"];
const LEVELS: &[&str] = &["x86-64-v4", "x86-64-v3", "x86-64-v2"];
/// How many variants stand one below the other.
const VARIANT_DEPTH_MAX: usize = 4;
/// What `$LIB` and `$PLATFORM` may stand for.
const LIB: &[&[u8]] = &[b"lib/x86_64-linux-gnu", b"lib/aarch64-linux-gnu", b"lib64", b"lib"];
const PLATFORM: &[&[u8]] = &[b"x86_64", b"haswell", b"xeon_phi", b"aarch64"];

/// What was found out already. It is asked more than once: while the tool runs, and when all is over.
#[derive(Debug, Default)]
pub struct ObjectSearches {
    /// What objects say of themselves. One that is not older than the run is refused later.
    objects: FxHashMap<PathBuf, DynamicSection>,
    /// The directories that are tried for a search directory, itself last.
    tried: FxHashMap<OsString, Rc<[PathBuf]>>,
    // By spelling: hashing a path part by part takes several times as long.
    looked: FxHashSet<OsString>,
    /// The loader's table, and which names were looked for in it.
    cache: Option<Vec<u8>>,
    in_cache: FxHashMap<OsString, bool>,
}

impl ObjectSearches {
    /// Adds where the loader looked for what the processes have mapped, or wanted, so far.
    pub fn add_searches(&mut self, trace: &mut Trace, events: &[Event]) {
        let mut search =
            ProcessSearch { trace, known: self, start: StartedWith::default(), mapped: Vec::new() };
        for mapped in all_mapped(events) {
            search.process(mapped);
        }
    }

    /// All directories in which objects were looked for.
    pub fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.tried.values().flat_map(|tried| tried.iter())
    }
}

/// What the dynamic section of an object says about the search.
#[derive(Debug, Default, Clone)]
struct DynamicSection {
    needed: Vec<OsString>,
    soname: Option<OsString>,
    rpath: Option<Vec<u8>>,
    runpath: Option<Vec<u8>>,
    is_understood: bool,
}

/// What one process has mapped.
#[derive(Default)]
struct Mapped<'a> {
    image: Option<&'a Path>,
    start: StartedWith<'a>,
    objects: Vec<&'a Path>,
    /// What it asked the loader for later.
    wanted: Vec<&'a OsStr>,
}

/// What a process was started with.
#[derive(Debug, Default, Clone, Copy)]
struct StartedWith<'a> {
    library_path: &'a [u8],
    preload: &'a [u8],
    /// Its working directory, where that is not the tool's.
    cwd: Option<&'a Path>,
}

/// An object that the loader has, in its order.
struct Loaded {
    path: PathBuf,
    dynamic: DynamicSection,
    /// The one that wanted it.
    loader: Option<usize>,
    /// By which it is known.
    names: Vec<OsString>,
}

/// Those of each program that ran. What a forked child wanted counts for every program: which one it was, nobody said.
fn all_mapped(events: &[Event]) -> Vec<Mapped<'_>> {
    let mut processes: FxHashMap<u32, Mapped> = FxHashMap::default();
    let mut whole: Vec<Mapped> = Vec::new();
    for Event { pid, what } in events {
        match what {
            What::Start { image, libraries, .. } => {
                let start = StartedWith::parse(libraries);
                let mapped = Mapped { image: Some(image), start, ..Mapped::default() };
                whole.extend(processes.insert(*pid, mapped));
            }
            What::Load { name } => processes.entry(*pid).or_default().wanted.push(name),
            What::Object { path, .. } => processes.entry(*pid).or_default().objects.push(path),
            _ => {}
        }
    }
    whole.extend(processes.into_values());
    let (mut programs, forked): (Vec<_>, Vec<_>) =
        whole.into_iter().partition(|mapped| mapped.image.is_some());
    for child in forked {
        for program in &mut programs {
            program.wanted.extend(child.wanted.iter().copied());
            program.objects.extend(child.objects.iter().copied());
        }
    }
    programs
}

impl<'a> StartedWith<'a> {
    /// Of what a log says: the library path, the names to preload, the working directory if it is not the tool's; a zero byte
    /// between two.
    fn parse(text: &'a OsStr) -> StartedWith<'a> {
        let mut parts = text.as_bytes().split(|byte| *byte == 0);
        let mut part = || parts.next().unwrap_or_default();
        let (library_path, preload, cwd) = (part(), part(), part());
        let cwd = Some(Path::new(OsStr::from_bytes(cwd))).filter(|cwd| cwd.is_absolute());
        StartedWith { library_path, preload, cwd }
    }
}

/// The search of one process.
struct ProcessSearch<'t, 'a> {
    trace: &'t mut Trace,
    known: &'t mut ObjectSearches,
    start: StartedWith<'a>,
    /// What it has mapped, of which nobody has said yet why.
    mapped: Vec<&'a Path>,
}

impl<'a> ProcessSearch<'_, 'a> {
    fn process(&mut self, mapped: Mapped<'a>) {
        let Some(image) = mapped.image else { return };
        self.start = mapped.start;
        let (loaders, objects): (Vec<&Path>, Vec<&Path>) =
            mapped.objects.into_iter().partition(|path| is_loader(path));
        self.mapped = objects;
        let mut loaded = vec![self.load(image, OsStr::new(""), None)];
        for loader in loaders {
            let name = loader.file_name().unwrap_or_default();
            loaded.push(self.load(loader, name, None));
        }
        let start = self.start;
        let preloaded = fs::read(PRELOADED).unwrap_or_default();
        let blank = |byte: &u8| matches!(byte, b' ' | b':');
        let space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b':';
        let audit = env::get("LD_AUDIT").unwrap_or_default();
        let names = audit.as_bytes().split(|byte| *byte == b':').chain(start.preload.split(blank));
        for name in names.chain(preloaded.split(space)).filter(|name| !name.is_empty()) {
            self.want(&mut loaded, OsStr::from_bytes(name), Some(0));
        }
        let mut next = self.want_needed(&mut loaded, 0);
        for name in mapped.wanted {
            self.want(&mut loaded, name, None);
            next = self.want_needed(&mut loaded, next);
        }
        // What libc loads by itself, or was loaded by a way that is not seen.
        while let Some(path) = self.mapped.first().copied() {
            self.want(&mut loaded, path.file_name().unwrap_or_default(), None);
            if self.mapped.first() == Some(&path) {
                self.mapped.remove(0);
                loaded.push(self.load(path, path.file_name().unwrap_or_default(), None));
            }
            next = self.want_needed(&mut loaded, next);
        }
    }

    /// What the objects need, and what these need, from the object at `next` on; where the next ones will stand.
    fn want_needed(&mut self, loaded: &mut Vec<Loaded>, next: usize) -> usize {
        let mut next = next;
        while let Some(object) = loaded.get(next) {
            for name in object.dynamic.needed.clone() {
                self.want(loaded, &name, Some(next));
            }
            next += 1;
        }
        next
    }

    /// An object wants another one by its name; which one does is not known of what a program asks for when it runs.
    fn want(&mut self, loaded: &mut Vec<Loaded>, name: &OsStr, by: Option<usize>) {
        let is_it = |object: &Loaded| object.names.iter().any(|known| known == name);
        if name.is_empty() || loaded.iter().any(is_it) {
            return;
        }
        let wanter = &loaded[by.unwrap_or(0)];
        if name.as_bytes().contains(&b'/') {
            for path in expand(name.as_bytes(), &self.origin(&wanter.path)) {
                if self.is_found(&path) {
                    return loaded.push(self.load(&path, name, by));
                }
            }
            return;
        }
        let (before, after) = match by {
            Some(by) => {
                (rpaths(loaded, by), wanter.dynamic.runpath.iter().map(|it| (by, it)).collect())
            }
            None => (all(loaded, |it| it.rpath.as_ref()), all(loaded, |it| it.runpath.as_ref())),
        };
        let of = |search: &Self, (index, text): (usize, &Vec<u8>)| {
            search.directories(text, b":", &loaded[index].path)
        };
        let mut directories: Vec<PathBuf> =
            before.into_iter().flat_map(|it| of(self, it)).collect();
        if !self.start.library_path.is_empty() {
            directories.extend(self.directories(self.start.library_path, b":;", &loaded[0].path));
        }
        directories.extend(after.into_iter().flat_map(|it| of(self, it)));
        let found = self.find(&directories, name).or_else(|| {
            if self.is_in_cache(name) {
                return self
                    .mapped
                    .iter()
                    .find(|path| path.file_name() == Some(name))
                    .map(|path| (*path).to_owned());
            }
            let defaults: Vec<PathBuf> = DEFAULT_DIRECTORIES.iter().map(PathBuf::from).collect();
            self.find(&defaults, name)
        });
        if let Some(path) = found {
            self.mapped.retain(|mapped| *mapped != path);
            loaded.push(self.load(&path, name, by));
        }
    }

    /// Looks in directories as the loader does, up to the object that it took.
    fn find(&mut self, directories: &[PathBuf], name: &OsStr) -> Option<PathBuf> {
        for directory in directories {
            for below in &*self.tried(directory) {
                let path = below.join(name);
                if self.is_found(&path) {
                    return Some(path);
                }
            }
        }
        None
    }

    /// A path as it is for us.
    fn here(&self, path: &Path) -> PathBuf {
        self.start.cwd.unwrap_or(self.trace.cwd()).join(path)
    }

    /// Whether the loader took the object at this path; if not, it looked there.
    fn is_found(&mut self, path: &Path) -> bool {
        if self.mapped.contains(&path) {
            return true;
        }
        if !self.known.looked.contains(path.as_os_str()) {
            self.known.looked.insert(path.as_os_str().to_owned());
            let here = self.here(path);
            match fs::metadata(&here) {
                Ok(found) if found.is_file() && File::open(&here).is_ok() => {
                    self.trace.read(path, None);
                }
                Ok(_) => self.trace.look(path, 0),
                Err(error) => self.trace.look(path, error.raw_os_error().unwrap_or(ENOENT)),
            }
        }
        false
    }

    /// The directories that are tried for one, itself last. Those that are not there are looked for in vain.
    fn tried(&mut self, directory: &Path) -> Rc<[PathBuf]> {
        if let Some(tried) = self.known.tried.get(directory.as_os_str()) {
            return Rc::clone(tried);
        }
        let mut tried = Vec::new();
        self.add_variants(directory, 0, &mut tried);
        tried.push(directory.to_owned());
        let tried: Rc<[PathBuf]> = tried.into();
        self.known.tried.insert(directory.as_os_str().to_owned(), Rc::clone(&tried));
        tried
    }

    fn add_variants(&mut self, directory: &Path, depth: usize, tried: &mut Vec<PathBuf>) {
        for variant in VARIANTS {
            let below = directory.join(variant);
            match fs::metadata(self.here(&below)) {
                Err(error) => {
                    self.trace.look(&below, error.raw_os_error().unwrap_or(ENOENT));
                    continue;
                }
                Ok(found) if !found.is_dir() => {
                    self.trace.look(&below, 0);
                    continue;
                }
                Ok(_) => {}
            }
            if *variant == "glibc-hwcaps" {
                tried.extend(LEVELS.iter().map(|level| below.join(level)));
            } else {
                if depth < VARIANT_DEPTH_MAX {
                    self.add_variants(&below, depth + 1, tried);
                }
                tried.push(below);
            }
        }
    }

    /// Directories of a list, as the loader takes them: an empty one is the working directory.
    fn directories(&self, list: &[u8], separators: &[u8], object: &Path) -> Vec<PathBuf> {
        let origin = self.origin(object);
        let parts = list.split(|byte| separators.contains(byte));
        let paths = parts.flat_map(|part| expand(part, &origin));
        paths.map(|path| self.start.cwd.map_or(path.clone(), |cwd| cwd.join(&path))).collect()
    }

    fn origin(&self, object: &Path) -> PathBuf {
        let parent = object.parent().unwrap_or(Path::new("/"));
        self.start.cwd.map_or_else(|| parent.to_owned(), |cwd| cwd.join(parent))
    }

    /// Whether the loader's table may name an object: then no default directory is searched.
    fn is_in_cache(&mut self, name: &OsStr) -> bool {
        if !self.mapped.iter().any(|path| path.file_name() == Some(name)) {
            return false;
        }
        if let Some(known) = self.known.in_cache.get(name) {
            return *known;
        }
        let table = self.known.cache.get_or_insert_with(|| fs::read(CACHE).unwrap_or_default());
        // One of its strings, each of which ends with a zero byte, as the one before it does.
        let is_there = memmem::find(table, &[b"\0", name.as_bytes(), b"\0"].concat()).is_some();
        self.known.in_cache.insert(name.to_owned(), is_there);
        is_there
    }

    fn load(&mut self, path: &Path, name: &OsStr, loader: Option<usize>) -> Loaded {
        if !self.known.objects.contains_key(path) {
            let dynamic = DynamicSection::read(&self.here(path));
            if !dynamic.is_understood {
                let reason = format!("{} has a search path that is not understood", path.display());
                self.trace.seen.incomplete.get_or_insert(reason);
            }
            self.known.objects.insert(path.to_owned(), dynamic);
        }
        let dynamic = self.known.objects.get(path).cloned().unwrap_or_default();
        let mut names = vec![name.to_owned(), path.as_os_str().to_owned()];
        names.extend(dynamic.soname.clone());
        Loaded { path: path.to_owned(), dynamic, loader, names }
    }
}

/// The RPATHs that count for what an object wants: those of itself, of the one that wanted it, and so on, and the
/// program's; none if it has a RUNPATH.
fn rpaths(loaded: &[Loaded], by: usize) -> Vec<(usize, &Vec<u8>)> {
    if loaded[by].dynamic.runpath.is_some() {
        return Vec::new();
    }
    let mut chain: Vec<usize> = std::iter::successors(Some(by), |at| loaded[*at].loader).collect();
    if !chain.contains(&0) {
        chain.push(0);
    }
    chain.into_iter().filter_map(|at| Some((at, loaded[at].dynamic.rpath.as_ref()?))).collect()
}

fn all(
    loaded: &[Loaded],
    list: impl Fn(&DynamicSection) -> Option<&Vec<u8>>,
) -> Vec<(usize, &Vec<u8>)> {
    loaded.iter().enumerate().filter_map(|(at, it)| Some((at, list(&it.dynamic)?))).collect()
}

/// Puts the loader's tokens in: all that each may stand for.
fn expand(text: &[u8], origin: &Path) -> Vec<PathBuf> {
    let mut done: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let token = |name: &str| -> Option<&[u8]> {
            let plain = after.strip_prefix(name.as_bytes());
            let braced = after.strip_prefix(b"{").and_then(|it| it.strip_prefix(name.as_bytes()));
            let is_whole = |it: &&[u8]| {
                !it.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            };
            braced.and_then(|it| it.strip_prefix(b"}")).or(plain.filter(is_whole))
        };
        let origin = [origin.as_os_str().as_bytes()];
        let stands_for: [(&str, &[&[u8]]); 3] =
            [("ORIGIN", &origin), ("LIB", LIB), ("PLATFORM", PLATFORM)];
        let found = stands_for.iter().find_map(|(name, values)| Some((token(name)?, *values)));
        if let Some((after, values)) = found.filter(|_| *byte == b'$') {
            let with =
                |start: &Vec<u8>| values.iter().map(|it| [start, *it].concat()).collect::<Vec<_>>();
            done = done.iter().flat_map(with).collect();
            rest = after;
        } else {
            for it in &mut done {
                it.push(*byte);
            }
            rest = after;
        }
    }
    let all: BTreeSet<Vec<u8>> = done.into_iter().collect();
    all.into_iter().map(|path| PathBuf::from(OsString::from_vec(path))).collect()
}

fn is_loader(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-linux"))
}

impl DynamicSection {
    fn read(object: &Path) -> DynamicSection {
        let mut dynamic = DynamicSection { is_understood: true, ..DynamicSection::default() };
        elf::inspect(object, |elf| {
            elf.strings(|tag, text| {
                dynamic.is_understood &= text.len() < elf::STRING_LEN_MAX && tag != Tag::Loads;
                let name = || OsStr::from_bytes(text).to_owned();
                match tag {
                    Tag::Needed => dynamic.needed.push(name()),
                    Tag::Soname => dynamic.soname = Some(name()),
                    Tag::Rpath => dynamic.rpath = Some(text.to_owned()),
                    Tag::Runpath => dynamic.runpath = Some(text.to_owned()),
                    Tag::Loads => {}
                }
                true
            });
        });
        // The older one counts only where the newer one is not.
        dynamic.rpath = dynamic.rpath.filter(|_| dynamic.runpath.is_none());
        dynamic
    }
}
