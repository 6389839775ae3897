//! Named points after every system call and around every change of a shared word on the writing side of the store.
//!
//! There a test may end the process, or look at what is on disk. In a build that is no test a point is nothing, and no
//! point lies on the way of a hit. Who watches: the tests of the store.

/// Something was done.
#[cfg(not(test))]
#[inline(always)]
pub fn point(_done: &'static str) {}

#[cfg(test)]
pub use watched::{point, watch};

#[cfg(test)]
mod watched {
    use std::boxed::Box;
    use std::cell::RefCell;

    type Watcher = Box<dyn FnMut(&'static str)>;

    std::thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    /// Something was done.
    pub fn point(done: &'static str) {
        WATCHER.with_borrow_mut(|watcher| watcher.iter_mut().for_each(|watcher| watcher(done)));
    }

    /// Lets `watcher` see each point that this thread passes from now on.
    pub fn watch(watcher: impl FnMut(&'static str) + 'static) {
        WATCHER.set(Some(Box::new(watcher)));
    }
}
