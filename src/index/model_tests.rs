//! The protocols of the index under a model checker (loom: every order of events) and under random schedules (shuttle).
//!
//! The same scenes run on both. What must hold in all of them: a look-up gives a miss, or an entry that is whole and is
//! the key's. Segments are words too: a row that says which files are there, and two words of bytes for each.

use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use super::{Window, candidates, publish};
use crate::shm::layout::{Control, SEGMENT_FIRST_UNIT, SEGMENT_UNITS};
use crate::shm::segments::Place;
use crate::shm::words::{Ordering, Shared, Words, WordsMut, shared_word};

/// One of the things that happen at once.
type Work = Box<dyn FnOnce() + Send>;

/// What runs a scene: its words, and several pieces of work at once.
trait Machine {
    type Word: Shared + Default + Send + Sync + 'static;
    /// Starts all of it, and returns when all of it has ended.
    fn together(work: Vec<Work>);
}

shared_word!(loom::sync::atomic::AtomicU64, loom::sync::atomic::fence);
shared_word!(shuttle::sync::atomic::AtomicU64, shuttle::sync::atomic::fence);

struct Loom;
impl Machine for Loom {
    type Word = loom::sync::atomic::AtomicU64;
    fn together(work: Vec<Work>) {
        let threads: Vec<_> = work.into_iter().map(loom::thread::spawn).collect();
        for thread in threads {
            thread.join().expect("it ends");
        }
    }
}

struct Shuttle;
impl Machine for Shuttle {
    type Word = shuttle::sync::atomic::AtomicU64;
    fn together(work: Vec<Work>) {
        let threads: Vec<_> = work.into_iter().map(shuttle::thread::spawn).collect();
        for thread in threads {
            thread.join().expect("it ends");
        }
    }
}

/// Runs a scene in every order of events that loom distinguishes, with at most so many preemptions.
fn in_every_order(scene: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(if is_long() { 5 } else { 2 });
    builder.check(scene);
}

/// Runs a scene under random schedules, and under those that hold single threads back for long.
fn in_random_orders(scene: impl Fn() + Send + Sync + 'static) {
    const SEED: u64 = 0x1b1d;
    let runs = if is_long() { 200_000 } else { 5_000 };
    let scene = Arc::new(scene);
    let again = Arc::clone(&scene);
    let config = shuttle::Config::new;
    let random = shuttle::scheduler::RandomScheduler::new_from_seed(SEED, runs);
    shuttle::Runner::new(random, config()).run(move || scene());
    let held_back = shuttle::scheduler::PctScheduler::new_from_seed(SEED, 3, runs);
    shuttle::Runner::new(held_back, config()).run(move || again());
}

#[allow(clippy::disallowed_methods, reason = "a test asks how long it may take")]
fn is_long() -> bool {
    std::env::var_os("IBID_TEST_LONG").is_some_and(|value| value != "0" && !value.is_empty())
}

/// The words of one bucket that may change; the rest of it is full of another key's entries, newer than all others.
struct Bucket<W>(Vec<W>);

const SEGMENTS: u64 = 5;

impl<W: Shared> Words for Bucket<W> {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn load(&self, at: usize) -> u64 {
        let taken = super::word_of(&key(0xff), Place { seq: SEGMENTS, unit: SEGMENT_UNITS - 1 });
        if at < self.0.len() { self.0[..].load(at) } else { taken }
    }
    fn acquire(&self) {
        W::acquire();
    }
}

impl<W: Shared> WordsMut for Bucket<W> {
    fn replace(&self, at: usize, old: u64, new: u64) -> bool {
        self.0[..].replace(at, old, new)
    }
}

/// A store in words. An entry fills its segment, so that each segment has at most one.
struct Model<W> {
    control: Control<W>,
    bucket: Bucket<W>,
    /// By number: what file has the segment's name, see [`NONE`] and its kin.
    files: Vec<W>,
    /// By number: key and body of the segment's entry.
    bytes: Vec<[W; 2]>,
    /// By number: which units were reserved, and which were given back, a bit for each of the first two.
    units: Vec<[W; 2]>,
}

/// No file.
const NONE: u64 = 0;
/// One that is appended to.
const SEGMENT: u64 = 1;
/// That of a large object, whose number follows: it was written before it got its name.
const LARGE: u64 = 100;

const ALL_UNITS: u64 = (SEGMENT_UNITS - SEGMENT_FIRST_UNIT) as u64;

fn key(number: u8) -> [u8; 16] {
    let mut key = [0; 16];
    key[8] = number;
    key
}

fn body(number: u8) -> u64 {
    1000 + u64::from(number)
}

impl<W: Shared + Default> Model<W> {
    /// A store with segment 1 and nothing in it.
    fn new(words: usize) -> Model<W> {
        let row = |len| (0..len).map(|_| W::default()).collect();
        let model = Model {
            control: Control::default(),
            bucket: Bucket(row(words)),
            files: row(8),
            bytes: (0..8).map(|_| [W::default(), W::default()]).collect(),
            units: (0..8).map(|_| [W::default(), W::default()]).collect(),
        };
        model.make(1);
        model.control.begin(1, 1);
        model
    }

    fn make(&self, seq: u64) {
        let _ = self.file(seq).swap(NONE, SEGMENT);
    }

    fn file(&self, seq: u64) -> &W {
        &self.files[usize::try_from(seq).expect("small")]
    }

    /// Directories are the kernel's: a process that looks sees the newest state, as an atomic change does.
    fn named(&self, seq: u64) -> u64 {
        self.file(seq).add(0, Ordering::Relaxed)
    }

    fn is_there(&self, seq: u64) -> bool {
        self.named(seq) != NONE
    }

    fn reserve(&self) -> Place {
        let open = |seq, _| (self.named(seq) == SEGMENT).then_some(());
        let leave = |seq: u64, _| {
            self.make(seq + 1);
            self.control.advance(seq, SEGMENT_FIRST_UNIT);
            Ok::<(), ()>(())
        };
        let place = self.control.reserve(ALL_UNITS, open, leave).expect("it cannot fail");
        place.expect("fewer rotate than are tried").0
    }

    /// Reserves `units` where a segment has two, of which `give_back` gets those that nobody will use.
    fn reserve_in_a_short_one(&self, units: u64) {
        let is_long_enough = |end| end <= u64::from(SEGMENT_FIRST_UNIT) + 2;
        let open = |seq, end| (self.named(seq) == SEGMENT && is_long_enough(end)).then_some(());
        let leave = |seq: u64, unit: u64| {
            self.make(seq + 1);
            self.control.advance(seq, SEGMENT_FIRST_UNIT);
            self.give_back(seq, unit);
            Ok::<(), ()>(())
        };
        let place = self.control.reserve(units, open, leave).expect("it cannot fail");
        let (Place { seq, unit }, ()) = place.expect("fewer rotate than are tried");
        let bits = ((1 << units) - 1) << (unit - SEGMENT_FIRST_UNIT);
        self.units[usize::try_from(seq).expect("small")][0].add(bits, Ordering::Relaxed);
    }

    /// A unit may be given back more than once; the bits of the count tell the same.
    fn give_back(&self, seq: u64, unit: u64) {
        let first = u64::from(SEGMENT_FIRST_UNIT);
        let bits = (0..2).filter(|at| first + at >= unit).map(|at| 1 << (8 * at)).sum();
        self.units[usize::try_from(seq).expect("small")][1].add(bits, Ordering::Relaxed);
    }

    /// Whether no unit was reserved that was given back.
    fn is_consistent(&self) -> bool {
        self.units.iter().all(|[reserved, given_back]| {
            let given_back = given_back.get(Ordering::Relaxed);
            let is_given_back = |at: u64| given_back >> (8 * at) & 0xff != 0;
            let reserved = reserved.get(Ordering::Relaxed);
            (0..2).all(|at| reserved >> at & 1 == 0 || !is_given_back(at))
        })
    }

    /// Gives a large object its number.
    fn link_large(&self, number: u8) -> Place {
        let link = |seq| Ok::<_, ()>(self.file(seq).swap(NONE, LARGE + u64::from(number)).is_ok());
        let left = |seq, unit| self.give_back(seq, unit);
        let seq = self.control.link(link, left).expect("it cannot fail");
        Place { seq: seq.expect("fewer rotate than are tried"), unit: SEGMENT_FIRST_UNIT }
    }

    fn write(&self, number: u8, place: Place) {
        let [key, bytes] = &self.bytes[usize::try_from(place.seq).expect("small")];
        bytes.set(body(number), Ordering::Relaxed);
        key.set(u64::from(number), Ordering::Relaxed);
    }

    fn publish(&self, number: u8, place: Place, window: Window) {
        publish(&self.bucket, &key(number), place, window, |old| old.seq < place.seq);
    }

    fn insert(&self, number: u8) {
        let place = self.reserve();
        self.write(number, place);
        self.publish(number, place, self.control.window());
    }

    fn evict(&self, first: u64) {
        self.control.retire(first);
        for seq in 1..first {
            let _ = self.file(seq).swap(SEGMENT, NONE);
        }
    }

    /// Looks `number` up; whether it is a hit. Keys have tags of their own here, so that what is proposed must be
    /// right, without the check sums that would turn a fault of the protocol into a miss.
    fn look(&self, number: u8) -> bool {
        let found = candidates(&self.bucket, &key(number), self.control.window());
        let hits = found.iter().filter(|place| match self.named(place.seq) {
            NONE => false,
            SEGMENT => {
                let [key, bytes] = &self.bytes[usize::try_from(place.seq).expect("small")];
                assert_eq!(key.get(Ordering::Relaxed), u64::from(number));
                assert_eq!(bytes.get(Ordering::Relaxed), body(number));
                true
            }
            // A name that was given up may be given to a large object by a process that is late: its key shows that.
            large => large == LARGE + u64::from(number),
        });
        hits.count() > 0
    }
}

/// Runs closures on one model at once.
fn together<M: Machine>(model: &Arc<Model<M::Word>>, work: &[fn(&Model<M::Word>)]) {
    let with_model = |work: fn(&Model<M::Word>)| {
        let model = Arc::clone(model);
        Box::new(move || work(&model)) as Work
    };
    M::together(work.iter().copied().map(with_model).collect());
}

/// A model whose places are given out beforehand: `put` takes the segment with the entry's number.
fn with_places<W: Shared + Default>(words: usize) -> Arc<Model<W>> {
    let model = Model::new(words);
    (1..=2).for_each(|seq| model.make(seq));
    model.control.begin(SEGMENTS, 1);
    Arc::new(model)
}

fn put<W: Shared + Default>(model: &Model<W>, number: u8) {
    let place = Place { seq: u64::from(number), unit: SEGMENT_FIRST_UNIT };
    model.write(number, place);
    model.publish(number, place, model.control.window());
}

fn look_twice<W: Shared + Default>(model: &Model<W>) {
    model.look(1);
    model.look(2);
}

/// Of two inserters that want the same word, the second takes the other one.
fn two_inserters_and_a_reader<M: Machine>() {
    let model = with_places::<M::Word>(2);
    together::<M>(&model, &[|model| put(model, 1), |model| put(model, 2), look_twice]);
    assert!(model.look(1) && model.look(2));
}

/// Of two inserters and one word, one stays; which one, nobody minds.
fn two_inserters_for_one_word<M: Machine>() {
    let model = with_places::<M::Word>(1);
    together::<M>(&model, &[|model| put(model, 1), |model| put(model, 2), look_twice]);
    assert!(model.look(1) != model.look(2));
}

fn own_a_segment<W: Shared + Default>(model: &Model<W>) {
    let seq = usize::try_from(model.reserve().seq).expect("small");
    assert_eq!(model.bytes[seq][0].add(1, Ordering::Relaxed), 0, "reserved twice");
}

/// Each reservation is its owner's alone, also while another process rotates.
fn reservations_and_rotations<M: Machine>() {
    let model = Arc::new(Model::<M::Word>::new(3));
    together::<M>(&model, &[own_a_segment, own_a_segment, own_a_segment]);
    assert_eq!(model.control.window().newest, 3);
}

/// The segment of what is looked up is given up while the same key is appended anew.
fn eviction_and_a_reader_and_an_appender<M: Machine>() {
    let model = Arc::new(Model::<M::Word>::new(2));
    model.insert(1);
    together::<M>(
        &model,
        &[
            |model| model.insert(1),
            |model| model.evict(2),
            |model| {
                model.look(1);
                model.look(1);
            },
        ],
    );
    assert!(model.look(1) && !model.is_there(1));
}

fn own_a_number<W: Shared + Default>(model: &Model<W>) {
    let place = model.link_large(2);
    assert_eq!(model.named(place.seq), LARGE + 2, "another's number");
}

fn leave_the_first<W: Shared + Default>(model: &Model<W>) {
    model.make(2);
    model.control.advance(1, SEGMENT_FIRST_UNIT);
}

/// A process that leaves a segment may come upon the file of a large object before that has its number: nobody appends to it.
fn a_large_object_and_rotations<M: Machine>() {
    let model = Arc::new(Model::<M::Word>::new(1));
    own_a_segment(&model);
    together::<M>(&model, &[own_a_number, own_a_segment, leave_the_first]);
    for (file, [key, _]) in model.files.iter().zip(&model.bytes) {
        let is_large = file.get(Ordering::Relaxed) == LARGE + 2;
        assert!(!is_large || key.get(Ordering::Relaxed) == 0, "appended to a large object");
    }
}

/// A large object gets the number after the newest segment's, which another one leaves and gives up meanwhile.
fn a_large_object_and_eviction_and_a_reader<M: Machine>() {
    let model = Arc::new(Model::<M::Word>::new(1));
    together::<M>(
        &model,
        &[
            |model| {
                let place = model.link_large(2);
                model.publish(2, place, model.control.window());
            },
            |model| {
                leave_the_first(model);
                model.evict(2);
            },
            |model| {
                model.look(2);
            },
        ],
    );
    assert!(model.look(2) && !model.is_there(1));
}

/// An entry is moved out of its segment while it is looked up, and while it is stored anew.
fn a_survivor_and_a_reader_and_an_appender<M: Machine>() {
    let model = Arc::new(Model::<M::Word>::new(2));
    model.insert(1);
    together::<M>(
        &model,
        &[
            |model| {
                let place = model.reserve();
                model.write(1, place);
                let old = model.bucket.load(0);
                model.bucket.replace(0, old, super::moved(old, place));
                model.evict(2);
            },
            |model| {
                model.look(1);
                // Every moment of a look-up is met by one; a second one makes ten times as many orders of it.
                if is_long() {
                    model.look(1);
                }
            },
            |model| model.insert(2),
        ],
    );
    // An appender that does not know the new segment yet takes a word that leads there for one that leads nowhere.
    assert!(model.look(2) && !model.is_there(1));
}

/// What is given back of a segment that is left is never an entry's.
fn ends_of_segments_that_are_given_back<M: Machine>() {
    let model = Arc::new(Model::<M::Word>::new(1));
    together::<M>(
        &model,
        &[
            |model| model.reserve_in_a_short_one(2),
            |model| model.reserve_in_a_short_one(1),
            |model| {
                model.link_large(2);
            },
        ],
    );
    assert!(model.is_consistent());
}

fn begin_epoch_2<W: Shared + Default>(model: &Model<W>) {
    model.make(3);
    model.control.begin(3, 2);
}

fn append_in_epoch_2<W: Shared + Default>(model: &Model<W>) {
    if model.control.is_of(2) {
        assert!(model.reserve().seq >= 3, "appended to a segment of the old epoch");
    }
}

/// Nobody who has seen the new epoch appends to a segment of the old one.
fn a_new_epoch_and_an_appender<M: Machine>() {
    let model = Arc::new(Model::<M::Word>::new(2));
    together::<M>(&model, &[begin_epoch_2, append_in_epoch_2, append_in_epoch_2]);
}

macro_rules! scenes {
    ($($name:ident),*) => {
        mod every_order { $( #[test] fn $name() { super::in_every_order(super::$name::<super::Loom>); } )* }
        mod random_orders { $( #[test] fn $name() { super::in_random_orders(super::$name::<super::Shuttle>); } )* }
    };
}
scenes!(
    two_inserters_and_a_reader,
    two_inserters_for_one_word,
    reservations_and_rotations,
    eviction_and_a_reader_and_an_appender,
    a_large_object_and_rotations,
    a_large_object_and_eviction_and_a_reader,
    ends_of_segments_that_are_given_back,
    a_survivor_and_a_reader_and_an_appender,
    a_new_epoch_and_an_appender
);
