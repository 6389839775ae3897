//! The one integration binary: what ibid does, seen from outside, against the real tools run now.
//!
//! Read next: `call.rs` (the differential check that nearly every test ends in), `cache.rs`, `project.rs`.
//! `IBID_TEST_LONG=1` adds the longer variants; with `CI` set a tool that is missing is a failure.
#![allow(clippy::disallowed_methods, reason = "tests start programs and read the environment")]
#![allow(clippy::unwrap_used, reason = "a test may die where it stands")]
#![allow(missing_docs, reason = "nothing here is an interface")]

mod about;
mod cache;
mod call;
mod engines;
mod project;
mod random;
mod scene;
mod several_places;
mod tools;
mod tree;

mod archives;
mod bad_input;
mod binary;
mod cargo;
mod cargo_places;
mod clocks;
mod contents;
mod corners;
mod damage;
mod deliver;
mod deltas;
mod directories;
mod doctor;
mod elsewhere;
mod emscripten;
mod emscripten_inputs;
mod emscripten_places;
mod events;
mod explain;
mod export;
mod face;
mod failures;
mod failures_of_builds;
mod failures_refused;
mod first_week;
mod full_disks;
mod fuzz;
mod generators;
mod group;

mod hunt;
mod interrupted;
mod interrupted_hits;
mod irrelevant;
mod layers;
mod leftovers;
mod limits;
mod linked_elsewhere;
mod links;
mod links_cached;
mod man;
mod memory;
mod monitor;
mod noise;
mod oracle;
mod other_caches;
mod outcomes;
mod parallel;
mod places;
mod project_settings;
mod projects;
mod read_only;
mod registry_crates;
mod release;
mod remapped;
mod remapped_rust;
mod remote;
mod remote_faults;
mod remote_keys;
mod renamed_outputs;
mod report;
mod restricted;
mod rust_hunt;
mod rustc;
mod rustup;
mod scale;
mod scripts;
mod search_paths;
mod seed;
mod set_up;
mod settings;
mod side_outputs;
mod single_flight;
mod standard_input;
mod states;
mod statistics;
mod steady;
mod storm;
mod structure;
mod terminals;
mod text_results;
mod trust;
mod unusual_tools;
mod unwritable;
mod upkeep;
mod watcher;
mod words;
mod wrong_hits;
mod years;
