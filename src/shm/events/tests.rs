//! Rings: what is written is read, what is torn is not; and the same under model checkers.

use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use super::*;

const SLOTS: usize = 4;

struct Rows<W> {
    written: W,
    slots: Vec<W>,
}

impl<W: Shared + Default> Rows<W> {
    fn new(slots: usize) -> Rows<W> {
        Rows {
            written: W::default(),
            slots: (0..slots * EVENT_WORDS).map(|_| W::default()).collect(),
        }
    }

    fn ring(&self) -> Ring<'_, W> {
        Ring::new(&self.written, &self.slots)
    }

    fn events(&self) -> Vec<Event> {
        let mut all = Vec::new();
        self.ring().each(|event| all.push(*event));
        all.sort_by_key(|event| event.number);
        all
    }
}

fn event(time_ns: u64) -> Event {
    Event { time_ns, ..Event::new(Ending::DirectHit) }
}

#[test]
fn what_is_written_is_read() {
    let rows = Rows::<Word>::new(SLOTS);
    assert_eq!(rows.events(), []);
    let mut first = event(7);
    for (text, bytes) in [(Text::Build, "nightly"), (Text::Source, "a.c"), (Text::What, "b.h")] {
        first.push(text, bytes.as_bytes());
    }
    assert_eq!(rows.ring().write(&mut first), 1);
    assert_eq!(rows.events(), [first]);
    let read = rows.events()[0];
    let texts = [Text::Build, Text::Tool, Text::Source, Text::Directory, Text::What];
    let texts = texts.map(|text| read.text(text).to_vec());
    assert_eq!(texts.each_ref().map(Vec::as_slice), [&b"nightly"[..], b"", b"a.c", b"", b"b.h"]);
    assert_eq!((read.ending(), read.time_ns), (Some(Ending::DirectHit), 7));
}

#[test]
fn texts_that_are_too_long_lose_their_beginning() {
    let mut long = event(1);
    long.push(Text::Directory, &[b'd'; 100]);
    long.push(Text::What, &[&[b'x'; 300][..], b"end"].concat());
    long.push(Text::What, b"");
    assert_eq!(long.text(Text::Directory), [b'd'; 100]);
    assert_eq!(event(1).text(Text::What), b"");
    let mut long = event(1);
    long.push(Text::What, &[&[b'x'; 300][..], b"end"].concat());
    assert_eq!(long.text(Text::What).len(), TEXT_BYTES);
    assert!(long.text(Text::What).ends_with(b"xend"));
    let rows = Rows::<Word>::new(SLOTS);
    rows.ring().write(&mut long);
    assert_eq!(rows.events(), [long]);
}

#[test]
fn a_full_ring_keeps_the_newest() {
    let rows = Rows::<Word>::new(SLOTS);
    for time in 1..=11 {
        rows.ring().write(&mut event(time));
    }
    let times: Vec<_> = rows.events().iter().map(|event| (event.number, event.time_ns)).collect();
    assert_eq!(times, [(8, 8), (9, 9), (10, 10), (11, 11)]);
    rows.ring().clear();
    assert_eq!(rows.events(), []);
    assert_eq!(rows.ring().write(&mut event(1)), 12, "numbers go on");
}

#[test]
fn an_event_is_written_over_while_it_is_there() {
    let rows = Rows::<Word>::new(SLOTS);
    let number = rows.ring().write(&mut event(1));
    assert_eq!(rows.ring().write_over(number, &mut event(2)), number);
    assert_eq!(rows.events().iter().map(|event| event.time_ns).collect::<Vec<_>>(), [2]);
    for time in 3..=6 {
        rows.ring().write(&mut event(time));
    }
    assert_eq!(
        rows.ring().write_over(number, &mut event(9)),
        6,
        "the oldest goes, not a newer one"
    );
    let times: Vec<_> = rows.events().iter().map(|event| event.time_ns).collect();
    assert_eq!(times, [4, 5, 6, 9]);
}

#[test]
fn every_word_is_checked() {
    let rows = Rows::<Word>::new(1);
    let mut whole = event(5);
    whole.push(Text::What, b"/usr/include/a.h");
    rows.ring().write(&mut whole);
    for (at, word) in rows.slots.iter().enumerate().take(whole.words()) {
        let value = word.get(Ordering::Relaxed);
        word.set(value ^ 1 << 17, Ordering::Relaxed);
        assert_eq!(rows.events(), [], "word {at}");
        word.set(value, Ordering::Relaxed);
        assert_eq!(rows.events().len(), 1);
    }
}

#[test]
fn any_bytes_are_no_event_and_no_panic() {
    let mut state = 1u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    for _ in 0..200 {
        let rows = Rows::<Word>::new(8);
        rows.slots.iter().for_each(|word| word.set(random(), Ordering::Relaxed));
        assert_eq!(rows.events(), []);
    }
}

/// Two writers of a ring with one place and a reader: what is read is what one of them wrote.
fn race<W: Shared + Default + Send + Sync + 'static>(writers: u64, run: fn(Vec<Work>)) {
    let rows = Arc::new(Rows::<W>::new(1));
    rows.ring().write(&mut event(1));
    let mut work: Vec<Work> = Vec::new();
    for writer in 0..writers {
        let rows = Arc::clone(&rows);
        work.push(Box::new(move || {
            rows.ring().write(&mut event(2 + writer));
        }));
    }
    let reader = Arc::clone(&rows);
    work.push(Box::new(move || {
        for read in reader.events() {
            let expected: Vec<Event> = (1..=1 + writers)
                .map(|time| Event { number: read.number, check: read.check, ..event(time) })
                .collect();
            assert!(expected.contains(&read), "no writer wrote {read:?}");
        }
    }));
    run(work);
}

type Work = Box<dyn FnOnce() + Send>;

#[test]
fn a_writer_and_a_reader_in_every_order() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        race::<loom::sync::atomic::AtomicU64>(1, |work| {
            let threads: Vec<_> = work.into_iter().map(loom::thread::spawn).collect();
            for thread in threads {
                thread.join().expect("it ends");
            }
        });
    });
}

#[test]
fn two_writers_and_a_reader_in_random_orders() {
    let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(0x1b1d, 5_000);
    shuttle::Runner::new(scheduler, shuttle::Config::new()).run(|| {
        race::<shuttle::sync::atomic::AtomicU64>(2, |work| {
            let threads: Vec<_> = work.into_iter().map(shuttle::thread::spawn).collect();
            for thread in threads {
                thread.join().expect("it ends");
            }
        });
    });
}
