//! The seed's workload: 50 C++ files with two shared headers, compiled one by one, then again from the cache.

use crate::cache::{Cache, Outcome};
use crate::call::Call;
use crate::project::Project;
use crate::tools;

const COUNT: usize = 50;

const COMMON: &str = "\
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
inline int length_of(const char *text) { return (int)strlen(text); }
inline void say(const char *text) { printf(\"%s %d\\n\", text, length_of(text)); }
";

const TEMPLATES: &str = "\
#pragma once
template <typename T> T larger(T left, T right) { return left < right ? right : left; }
template <typename T, int N> struct Row { T items[N]; T first() const { return items[0]; } };
template <typename T> T sum(const T *items, int count) { T s{}; for (int i = 0; i < count; i++) s += items[i]; return s; }
";

fn project() -> Project {
    let project = Project::with(&[("common.h", COMMON), ("templates.h", TEMPLATES)]);
    for number in 0..COUNT {
        let text = format!(
            "#include \"common.h\"\n#include \"templates.h\"\n\
             int function_{number}(int a) {{ Row<int, 3> row{{{{a, {number}, 3}}}}; say(\"{number}\"); \
             return larger(row.first(), sum(row.items, 3)); }}\n"
        );
        project.write(&format!("file_{number}.cpp"), text);
    }
    project
}

fn call<'t>(cache: &'t Cache, project: &'t Project, tool: &str, number: usize) -> Call<'t> {
    project.call(cache, &format!("{tool} -c file_{number}.cpp -o file_{number}.o")).at_once()
}

fn workload(tool: &str) {
    let (cache, project) = (Cache::new(), project());
    std::thread::sleep(std::time::Duration::from_millis(60));
    for number in 0..COUNT {
        call(&cache, &project, tool, number).check().expect(&Outcome::Miss);
    }
    let passes: [fn(&Project, usize); 3] = [
        |project, number| project.remove(&format!("file_{number}.o")),
        |project, number| project.write(&format!("file_{number}.o"), "overwritten"),
        |_, _| {},
    ];
    for spoil in passes {
        let expected: Vec<_> =
            (0..COUNT).map(|number| project.read(&format!("file_{number}.o"))).collect();
        (0..COUNT).for_each(|number| spoil(&project, number));
        let counted = cache.count(|| {
            for number in 0..COUNT {
                let name = number.to_string();
                let (source, object) = (format!("file_{name}.cpp"), format!("file_{name}.o"));
                let mut compile = cache.ibid([tool, "-c", &source, "-o", &object]);
                compile.stdin(std::process::Stdio::null()).current_dir(project.path());
                let done = compile.output().unwrap();
                assert!(done.status.success() && done.stdout.is_empty() && done.stderr.is_empty());
            }
        });
        assert_eq!(counted.get("invocation_hits"), COUNT as u64, "{counted:?}");
        assert_eq!(counted.outcomes(), COUNT as u64);
        for (number, bytes) in expected.iter().enumerate() {
            assert!(project.read(&format!("file_{number}.o")) == *bytes, "file_{number}.o");
        }
    }
}

#[test]
fn fifty_files_with_clang() {
    for tool in tools::present(&["clang++"]) {
        workload(tool);
    }
}

#[test]
fn fifty_files_with_gcc() {
    for tool in tools::present(&["g++"]) {
        workload(tool);
    }
}

/// The first files only, with a shared header touched and then edited between the passes.
#[test]
fn a_shared_header_changes() {
    for tool in tools::present(&["g++", "clang++"]) {
        let (cache, project) = (Cache::new(), project());
        let pass = || (0..6).map(|number| call(&cache, &project, tool, number).check().outcome);
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert!(pass().all(|outcome| outcome == Outcome::Miss));
        project.touch("templates.h");
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert!(pass().all(|outcome| outcome == Outcome::PortableHit));
        assert!(pass().all(|outcome| outcome == Outcome::InvocationHit));
        project.write("templates.h", format!("{TEMPLATES}\ninline int more = 1;\n"));
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert!(pass().all(|outcome| outcome == Outcome::Miss));
        assert!(pass().all(|outcome| outcome == Outcome::InvocationHit));
    }
}
