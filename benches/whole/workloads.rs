//! What is compiled: generated sources and the command for each, the same for every tool.

use std::path::PathBuf;

use super::stage::Stage;

/// Something to compile.
pub struct Workload {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    compilers: &'static [&'static str],
    flags: &'static [&'static str],
    extension: &'static str,
    shared: &'static [(&'static str, &'static str)],
    /// The source, which may say `NUMBER`.
    source: &'static str,
    /// The bare compiler is run so often and no more.
    pub bare_rounds_max: usize,
}

/// All of them.
pub const ALL: &[Workload] = &[
    Workload {
        name: "seed",
        about: "a C++ file with two shared headers, which include stdio, stdlib and string",
        compilers: &["clang++", "g++"],
        flags: &[],
        extension: "cpp",
        shared: &[("common.h", COMMON), ("templates.h", TEMPLATES)],
        source: SEED,
        bare_rounds_max: 50,
    },
    Workload {
        name: "c",
        about: "a small C file, -O2",
        compilers: &["gcc", "clang"],
        flags: &["-O2"],
        extension: "c",
        shared: &[],
        source: SMALL,
        bare_rounds_max: 50,
    },
    Workload {
        name: "heavy",
        about: "a C++ file with some 550 headers, -O1 -g, and an object of some 4.5 MB",
        compilers: &["g++"],
        flags: &["-std=c++17", "-O1", "-g"],
        extension: "cpp",
        shared: &[],
        source: HEAVY,
        bare_rounds_max: 3,
    },
];

impl Workload {
    /// The compiler that is used: its name, and where it is.
    pub fn compiler(&self, stage: &Stage) -> Option<(&'static str, PathBuf)> {
        self.compilers.iter().find_map(|name| Some((*name, stage.find(name)?)))
    }

    /// Its files: the headers, and `count` sources that differ.
    pub fn files(&self, count: usize) -> Vec<(String, String)> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let sources = (0..count).map(|number| {
            (self.source_name(number), self.source.replace("NUMBER", &number.to_string()))
        });
        self.shared.iter().map(owned).chain(sources).collect()
    }

    fn source_name(&self, number: usize) -> String {
        format!("file_{number}.{}", self.extension)
    }

    /// What compiling one of the sources leaves.
    pub fn output(number: usize) -> String {
        format!("file_{number}.o")
    }

    /// The command that compiles one of them, the compiler's name first.
    pub fn command(&self, compiler: &str, number: usize) -> Vec<String> {
        let flags = self.flags.iter().map(|flag| (*flag).to_owned());
        let rest = ["-c".to_owned(), self.source_name(number), "-o".to_owned()];
        let command = std::iter::once(compiler.to_owned()).chain(flags).chain(rest);
        command.chain([Workload::output(number)]).collect()
    }
}

const COMMON: &str = r#"#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
inline int length_of(const char *text) { return (int)strlen(text); }
inline void say(const char *text) { printf("%s %d\n", text, length_of(text)); }
"#;

const TEMPLATES: &str = "\
#pragma once
template <typename T> T larger(T left, T right) { return left < right ? right : left; }
template <typename T, int N> struct Row { T items[N]; T first() const { return items[0]; } };
template <typename T> T sum(const T *items, int count) {
    T s{};
    for (int i = 0; i < count; i++) s += items[i];
    return s;
}
";

const SEED: &str = r#"#include "common.h"
#include "templates.h"
int function_NUMBER(int a) {
    Row<int, 3> row{{a, NUMBER, 3}};
    say("NUMBER");
    return larger(row.first(), sum(row.items, 3));
}
"#;

const SMALL: &str = r#"#include <stdio.h>
#include <string.h>

int count_NUMBER(const char *text, char wanted) {
    int found = NUMBER;
    for (const char *at = strchr(text, wanted); at; at = strchr(at + 1, wanted))
        found++;
    printf("%s: %d\n", text, found);
    return found;
}
"#;

const HEAVY: &str = r#"#include <bits/stdc++.h>
#include <ext/pb_ds/assoc_container.hpp>

template <int N> struct Key {
    int value;
    std::string text;
    bool operator<(const Key &other) const {
        return std::tie(value, text) < std::tie(other.value, other.text);
    }
};

template <int N> int work(const std::vector<std::string> &words) {
    std::map<Key<N>, std::vector<std::string>> places;
    for (const auto &word : words)
        places[Key<N>{static_cast<int>(word.size()) + N, word}].push_back(word);
    std::vector<Key<N>> sorted;
    for (auto &[key, list] : places) {
        std::sort(list.begin(), list.end());
        sorted.push_back(key);
    }
    return static_cast<int>(sorted.size());
}

int all_NUMBER(const std::vector<std::string> &words) {
    const bool matches = std::regex_match(words.front(), std::regex("a*b+[c-e]"));
    return (matches ? 1 : 0) + work<NUMBER>(words);
}
"#;
