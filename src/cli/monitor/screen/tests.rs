//! The whole screen, at several sizes.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::picture::{Miss, Picture, Rate, Running, SECONDS};
use super::{draw, fitting};

const S: u64 = 1_000_000_000;

fn picture() -> Picture {
    let mut calls = vec![0; SECONDS];
    for (at, count) in calls.iter_mut().enumerate().skip(30) {
        *count = at as u64 % 8;
    }
    let miss = |at: u64, source: &str, cause: &str| Miss {
        time_ns: (45_000 - at) * S,
        ms: 1234 * at,
        source: source.into(),
        cause: cause.into(),
    };
    let running = |ms, source: &str| Running { ms, tool: "g++".into(), source: source.into() };
    let rate = |hits, of| Rate { hits, of, saved_ms: of * 500 };
    Picture {
        problem: None,
        now_ns: 45_000 * S,
        directory: "/srv/cache/ibid".into(),
        build: "make-4242".into(),
        of_build: rate(9, 10),
        calls,
        minute: rate(100, 120),
        today: rate(900, 1000),
        all: rate(0, 0),
        bytes_used: 2_500_000_000,
        bytes_max: 10_000_000_000,
        running: vec![running(12_345, "src/a.cc"), running(99, "a\u{1b}[31m.cc")],
        misses: vec![
            miss(1, "src/main.c", "include/config.h has changed"),
            miss(2, &"deep/".repeat(30), &"long ".repeat(40)),
            miss(3, "b.c", "not compiled before"),
        ],
    }
}

fn shown(picture: &Picture, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, picture)).expect("a frame");
    let buffer = terminal.backend().buffer();
    let cell = |x, y| buffer.cell((x, y)).map_or(" ", |cell| cell.symbol()).to_owned();
    let row = |y| (0..width).map(|x| cell(x, y)).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn eighty_by_twenty_four() {
    let expected = "\
ibid monitor                                              12:30:00 UTC   q quits
cache        /srv/cache/ibid
last build   make-4242, hit rate 90.0 %
calls        3.2 a second, 103 in the last minute
";
    let text = shown(&picture(), 80, 24);
    assert!(text.starts_with(expected), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[19..].iter().all(|line| line.is_empty()), "below the last miss: {text}");
    assert!(lines[4..7].iter().any(|line| line.contains('█')), "{text}");
    let expected = [
        "                 last minute          today            all",
        "hit rate              83.3 %         90.0 %              -",
        "time saved              60 s     8 min 20 s          0.0 s",
        "size         ████████░░░░░░░░░░░░░░░░░░░░░░  2500 MB of 10 GB, 25 %",
        "2 compiles run",
        "   12.3 s  g++              src/a.cc",
        "    0.0 s  g++              a\\u{1b}[31m.cc",
        "",
        "last misses",
        "12:29:59    1.2 s  src/main.c               include/config.h has changed",
    ];
    assert_eq!(lines[7..17], expected, "{text}");
}

#[test]
fn other_sizes() {
    for (width, height) in [(80, 24), (40, 12), (20, 5), (1, 1), (200, 60), (13, 3), (300, 2)] {
        for running in [0, 1, 2, 50] {
            let mut picture = picture();
            let one = picture.running[0].clone();
            picture.running = vec![one; running];
            let text = shown(&picture, width, height);
            assert!(text.lines().count() <= usize::from(height));
            if width >= 40 && height >= 16 {
                assert!(text.contains("last misses") && text.contains("src/main.c"), "{text}");
            }
            picture.problem = Some("nothing is cached: why".into());
            let text = shown(&picture, width, height);
            assert!(height < 4 || width < 30 || text.contains("nothing is cached"), "{text}");
        }
    }
    let mut many = picture();
    many.running = vec![many.running[0].clone(); 50];
    let text = shown(&many, 80, 24);
    assert!(text.contains("50 compiles run (45 not shown)"), "{text}");
}

#[test]
fn what_is_too_long_loses_its_beginning() {
    assert_eq!(fitting("abcdef", 6), "abcdef");
    assert_eq!(fitting("abcdef", 5), "…cdef");
    assert_eq!(fitting("abcdef", 1), "…");
    assert_eq!(fitting("abcdef", 0), "");
    assert_eq!(fitting("a\tb", 10), "a\\tb");
}
