//! The same files in several directories, for what serves one and what serves all of them.

use std::path::{Path, PathBuf};

use crate::cache::{Cache, Outcome};
use crate::call::Call;
use crate::project::Project;

/// Where the same files lie; the last one is in the first one.
pub const PLACES: [&str; 3] = ["one", "second/place", "one/inside/and/at/greater/depth"];

/// A cache, and the same files in each place.
pub struct Scene {
    pub cache: Cache,
    pub project: Project,
    is_mapped: bool,
}

impl Scene {
    pub fn new(files: &[(&str, &str)]) -> Scene {
        let scene = Scene { cache: Cache::new(), project: Project::new(), is_mapped: false };
        for place in PLACES {
            for (name, text) in files {
                scene.project.write(&format!("{place}/{name}"), text);
            }
        }
        scene
    }

    /// With `IBID_REMAP=auto`; each place is a repository. The bare tool is given the maps that ibid gives.
    pub fn mapped(files: &[(&str, &str)]) -> Scene {
        let mut scene = Scene { is_mapped: true, ..Scene::new(files) };
        scene.cache.set("IBID_REMAP", "auto");
        for place in PLACES {
            scene.project.mkdir(&format!("{place}/.git"));
        }
        scene
    }

    pub fn at(&self, place: &str) -> PathBuf {
        self.project.at(place).canonicalize().unwrap()
    }

    /// A line that serves all places: the first compiles, the second compares, the others do not compile; and then each knows it by
    /// its stamps.
    #[track_caller]
    pub fn serves_all(&self, line: &str) {
        self.call(PLACES[0], line).check().expect(&Outcome::Miss);
        for place in &PLACES[1..] {
            self.expect_shared(place, line, *place == PLACES[1]);
            self.call(place, line).check().expect(&Outcome::InvocationHit);
        }
        self.call(PLACES[0], line).check().expect(&Outcome::InvocationHit);
    }

    /// A line that serves its own place alone, whether or not it is a hit there.
    #[track_caller]
    pub fn serves_one(&self, line: &str) {
        for place in PLACES {
            let seen = self.call(place, line).check();
            assert!(!seen.outcome.is_hit(), "{line} in {place}: {:?}", seen.outcome);
            let _compared = self.call(place, line).check();
        }
        // A comparison would have hidden that the rules let it through.
        let audits = self.cache.counters().get("internal_errors/audit");
        assert_eq!(audits, 0, "{line}: a result of another place was taken for one of this place");
    }

    /// The command has a result of another place: it is compared with the tool's if `is_first`, or if it is drawn by lot, else
    /// delivered.
    #[track_caller]
    pub fn expect_shared(&self, place: &str, line: &str, is_first: bool) {
        let log = self.cache.root().join("log");
        let _ = std::fs::remove_file(&log);
        let seen = self.call(place, line).env("IBID_LOG", log.to_str().unwrap()).check();
        let text = std::fs::read_to_string(&log).unwrap();
        let is_compared = text.contains("is compared with the tool's");
        assert!(is_compared || !is_first, "{line} in {place}: {text}");
        assert!(!text.contains("differs from this one"), "{line} in {place}: {text}");
        assert_eq!(seen.outcome, Outcome::PortableHit, "{line} in {place}: {text}");
    }

    /// The command in a place, below it if it begins with `DIRECTORY: `; `{here}` is the place, `{base}` a directory above all.
    pub fn call(&self, place: &str, line: &str) -> Call<'_> {
        let (below, line) = line.split_once(": ").unwrap_or((".", line));
        let here = self.at(place);
        let base = self.project.path().canonicalize().unwrap();
        let line = line
            .replace("{here}", here.to_str().unwrap())
            .replace("{base}", base.to_str().unwrap());
        let directory = here.join(below).canonicalize().unwrap();
        let tool = line.split_whitespace().next().unwrap();
        let mut call = Call::new(&self.cache, &directory, line.split_whitespace())
            .env("PWD", directory.to_str().unwrap());
        if self.is_mapped {
            let outside = Some(&directory).filter(|directory| !directory.starts_with(&here));
            for place in std::iter::once(&here).chain(outside) {
                call = call.bare_args(maps(tool, place, &directory));
            }
        }
        call
    }
}

/// A line with the tool in it, behind `DIRECTORY: ` where the options begin with that.
pub fn line_of(tool: &str, options: &str) -> String {
    match options.split_once(": ") {
        Some((below, options)) => format!("{below}: {tool} {options}"),
        None => format!("{tool} {options}"),
    }
}

/// The maps of a place for a tool that runs in `directory`.
pub fn maps(tool: &str, place: &Path, directory: &Path) -> Vec<String> {
    let options: &[_] = if tool.contains("clang") || tool.starts_with("em") {
        &[("-fdebug-prefix-map", "/proc/self/cwd"), ("-fmacro-prefix-map", ".")]
    } else {
        &[("-ffile-prefix-map", ".")]
    };
    let place_name = place.display();
    let mut maps = Vec::new();
    for (option, name) in options {
        let itself = Some(format!("{option}={place_name}={name}")).filter(|_| place == directory);
        maps.extend(itself.into_iter().chain([format!("{option}={place_name}/={name}/")]));
    }
    maps
}
