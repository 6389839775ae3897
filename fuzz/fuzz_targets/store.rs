//! Any bytes over those of a cache.
#![no_main]

use std::cell::RefCell;

#[path = "../targets.rs"]
mod targets;

thread_local! {
    static FIXTURE: RefCell<targets::Fixture> = RefCell::new(targets::Fixture::new());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| FIXTURE.with_borrow_mut(|fixture| fixture.mutate(bytes)));
