//! The texts that are compiled; `NUMBER` makes each one another.

/// A header of the seed's files.
pub const COMMON: &str = r#"#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
inline int length_of(const char *text) { return (int)strlen(text); }
inline void say(const char *text) { printf("%s %d\n", text, length_of(text)); }
"#;

/// The other one.
pub const TEMPLATES: &str = "\
#pragma once
template <typename T> T larger(T left, T right) { return left < right ? right : left; }
template <typename T, int N> struct Row { T items[N]; T first() const { return items[0]; } };
template <typename T> T sum(const T *items, int count) {
    T s{};
    for (int i = 0; i < count; i++) s += items[i];
    return s;
}
";

/// A file of the seed.
pub const SEED: &str = r#"#include "common.h"
#include "templates.h"
int function_NUMBER(int a) {
    Row<int, 3> row{{a, NUMBER, 3}};
    say("NUMBER");
    return larger(row.first(), sum(row.items, 3));
}
"#;

/// A small C file.
pub const SMALL: &str = r#"#include <stdio.h>

int count_NUMBER(const char *text, char wanted) {
    int found = NUMBER;
    for (const char *at = text; *at; at++)
        found += *at == wanted;
    printf("%s: %d\n", text, found);
    return found;
}
"#;

/// A large C++ file.
pub const HEAVY: &str = r#"#include <bits/stdc++.h>
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

/// What `configure` asks a compiler.
pub const CONFTEST: &str = "/* confdefs.h */
#define PACKAGE_NAME \"bench\"
#define HAVE_NUMBER 1
#include <stddef.h>
char function_NUMBER(void);
int main(void) { return function_NUMBER(); }
";

/// A small Rust library.
pub const RUST: &str = r#"//! Words and how often they are there.
use std::collections::HashMap;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Words {
    counts: HashMap<String, usize>,
}

impl Words {
    pub fn read(text: &str) -> Words {
        let mut words = Words::default();
        for word in text.split_whitespace() {
            *words.counts.entry(word.to_lowercase()).or_insert(NUMBER) += 1;
        }
        words
    }

    pub fn most(&self) -> Option<(&str, usize)> {
        let pairs = self.counts.iter().map(|(word, count)| (word.as_str(), *count));
        pairs.max_by_key(|(_, count)| *count)
    }
}

pub fn table_NUMBER(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| format!("{:?}", Words::read(text).most())).collect()
}
"#;
