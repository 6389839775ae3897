//! A wrong-hit case: compile until it hits, change one thing, compile again, compare with the bare tool each time.
//!
//! A case is a line for the tools, what is there, and what changes; see `wrong_hits.rs`.

use std::ops::Deref;

use crate::cache::{Cache, Outcome};
use crate::call::{Seen, StdOut, Through};
use crate::project::Project;
use crate::tools;

/// What a case can set up and change. It is also its [`Project`].
pub struct Scene {
    pub tool: String,
    cache: Cache,
    project: Project,
    args: String,
    cwd: String,
    environment: Vec<(String, Option<String>)>,
    umask: Option<u32>,
    stdout: StdOut,
    through: Through,
    unstable: Vec<String>,
    first: First,
    same_result: bool,
    remove_outputs: Vec<String>,
}

/// What is expected of the first two compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
enum First {
    Hits,
    NeverHits,
    Whatever,
}

impl Deref for Scene {
    type Target = Project;
    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Scene {
    fn new(tool: &str) -> Scene {
        Scene {
            tool: tool.to_owned(),
            cache: Cache::new(),
            project: Project::new(),
            args: String::new(),
            cwd: String::new(),
            environment: Vec::new(),
            umask: None,
            stdout: StdOut::Pipes,
            through: Through::Wrapper,
            unstable: Vec::new(),
            first: First::Hits,
            same_result: false,
            remove_outputs: Vec::new(),
        }
    }

    /// The arguments after the tool; `{root}` is the project's directory.
    pub fn args(&mut self, args: &str) {
        args.clone_into(&mut self.args);
    }

    /// Another tool than the one of the case's list; `{root}` is the project's directory.
    pub fn tool(&mut self, tool: &str) {
        tool.clone_into(&mut self.tool);
    }

    /// A source file, C or C++ as the tool wants it, and the arguments that compile it to `a.o` with `flags` before.
    pub fn source(&mut self, flags: &str, text: &str) {
        let name = if self.tool.contains("++") { "a.cc" } else { "a.c" };
        self.project.write(name, text);
        self.args(&format!("{flags} -c {name} -o a.o"));
    }

    pub fn source_name(&self) -> &'static str {
        if self.tool.contains("++") { "a.cc" } else { "a.c" }
    }

    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        let value = self.expanded(value);
        self.environment.push((name.to_owned(), Some(value)));
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), None));
    }

    pub fn cwd(&mut self, below: &str) {
        below.clone_into(&mut self.cwd);
    }

    pub fn umask(&mut self, mask: u32) {
        self.umask = Some(mask);
    }

    pub fn stdout(&mut self, stdout: StdOut) {
        self.stdout = stdout;
    }

    /// Through `ibid exec --`, which caches tools that no policy knows.
    pub fn exec(&mut self) {
        self.through = Through::Exec;
    }

    /// This file's bytes differ from run to run.
    pub fn unstable(&mut self, name: &str) {
        self.unstable.push(name.to_owned());
    }

    /// This file is removed before each compile.
    pub fn remove_before_each(&mut self, name: &str) {
        self.remove_outputs.push(name.to_owned());
    }

    /// This file is removed no more.
    pub fn keep(&mut self, name: &str) {
        self.remove_outputs.retain(|known| known != name);
    }

    /// This must not be cached at all.
    pub fn never_hits(&mut self) {
        self.first = First::NeverHits;
    }

    /// Whether this is cached is left open; the results must be right.
    pub fn may_hit_or_not(&mut self) {
        self.first = First::Whatever;
    }

    /// The change makes no difference to what the bare tool gives.
    pub fn same_result(&mut self) {
        self.same_result = true;
    }

    /// `sh` in the project.
    pub fn sh(&self, line: &str) -> String {
        self.project.shell(&self.cache, line)
    }

    fn expanded(&self, text: &str) -> String {
        text.replace("{root}", self.project.path().to_str().unwrap())
    }

    fn check(&self, at_once: bool) -> Seen {
        for name in &self.remove_outputs {
            if self.project.at(name).exists() {
                self.project.remove(name);
            }
        }
        let line = self.expanded(&format!("{} {}", self.tool, self.args));
        let call = self
            .project
            .call(&self.cache, &line)
            .env_all(&self.environment)
            .cwd(&self.cwd)
            .umask(self.umask)
            .stdout(self.stdout)
            .through(self.through.clone())
            .unstable(&self.unstable);
        if at_once { call.at_once().check() } else { call.check() }
    }

    /// Lets the cache see the tool once before the case, so that the shim alone watches it from then on.
    fn have_tool_trusted(&self) {
        let is_plain = !self.tool.contains('/') && self.through == Through::Wrapper;
        if !is_plain || !tools::ALL.contains(&self.tool.as_str()) {
            return;
        }
        let warm_up = Project::with(&[("w.c", "int w;\n")]);
        let flags = if self.tool.contains("++") { "-x c++" } else { "" };
        let line = format!("{} {flags} -c w.c -o w.o", self.tool);
        warm_up.call(&self.cache, &line).check();
        let findings = self.cache.say(&["doctor", "--quick", "--json"]);
        assert!(findings.contains(" by preload: "), "{} is not trusted: {findings}", self.tool);
    }

    /// The first two compiles; the result of the first.
    fn settle_in(&self) -> Seen {
        let first = self.check(false);
        let second = self.check(false);
        match self.first {
            First::Hits => {
                assert_eq!(first.outcome, Outcome::Miss, "{}: {:?}", self.tool, first.done);
                assert!(second.outcome.is_hit(), "{}: {:?}", self.tool, second.outcome);
            }
            First::NeverHits => {
                assert!(!first.outcome.is_hit() && !second.outcome.is_hit(), "{}", self.tool);
            }
            First::Whatever => {}
        }
        first
    }
}

/// Compiles until it hits, changes something, compiles again. Each tool plays twice: its first miss, which both
/// observers watch, is the case itself, or was a compile before it.
pub fn play(tool_names: &[&str], setup: impl Fn(&mut Scene), change: impl Fn(&mut Scene)) {
    play_with(tool_names, false, setup, change);
}

/// The same, with the compile right behind the change: the clock may not have ticked.
pub fn play_at_once(tool_names: &[&str], setup: impl Fn(&mut Scene), change: impl Fn(&mut Scene)) {
    play_with(tool_names, true, setup, change);
}

fn play_with(
    tool_names: &[&str],
    at_once: bool,
    setup: impl Fn(&mut Scene),
    change: impl Fn(&mut Scene),
) {
    let tools =
        if tool_names == tools::ALL { tools::of_each_family() } else { tools::present(tool_names) };
    let runs = tools.into_iter().flat_map(|tool| [(tool, false), (tool, true)]);
    for (tool, is_trusted) in runs {
        let mut scene = Scene::new(tool);
        setup(&mut scene);
        if is_trusted {
            scene.have_tool_trusted();
        }
        let before = scene.settle_in();
        change(&mut scene);
        let after = scene.check(at_once);
        assert_eq!(
            before.same_result(&after),
            scene.same_result,
            "{tool}: does the change show in the bare tool's result?\n{:?}\n{:?}",
            before.done,
            after.done
        );
        if scene.first == First::Hits && after.done.code == Some(0) {
            scene.check(false);
            let again = scene.check(false);
            assert!(again.outcome.is_hit(), "{tool}, after the change: {:?}", again.outcome);
        }
    }
}

/// A test for each line `name: TOOLS, setup, change;`.
#[macro_export]
macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident: $tools:expr, |$s:ident| $setup:block, |$c:ident| $change:block;)*) => {
        $($(#[$doc])* #[test] fn $name() {
            $crate::scene::play($tools, |$s| $setup, |$c| $change);
        })*
    };
}
