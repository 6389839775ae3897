//! `ibid monitor`: what the cache does now, on a terminal, until `q` is typed or a signal comes.
//!
//! It reads what calls leave behind and asks nothing of them. It leaves the terminal as it was. Read next:
//! `monitor/picture.rs` (what is read), `monitor/screen.rs` (how it is shown), `docs/monitor.md`.

mod picture;
mod screen;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::termios::tcgetwinsize;

use super::BAD_USAGE;
use crate::env;
use picture::Source;
use terminal::Screen;

/// How often the cache is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Columns and lines where the terminal does not say how many it has.
const USUAL_SIZE: (u16, u16) = (80, 24);
/// How long a key or a signal may wait.
const PATIENCE: Duration = Duration::from_millis(100);

/// Shows it until that is enough; 2 where there is no terminal to show it on.
pub fn run(stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let is_dumb = env::get(env::TERM).is_none_or(|term| term.is_empty() || term == "dumb");
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() || is_dumb {
        let why = if io::stdin().is_terminal() && io::stdout().is_terminal() {
            "this terminal (TERM) cannot move its cursor"
        } else {
            "standard input and output are no terminal"
        };
        writeln!(stderr, "ibid: {why}: use `ibid stats`")?;
        return Ok(BAD_USAGE);
    }
    let screen = Screen::enter()?;
    let shown = show(&screen, stdout);
    drop(screen);
    shown.map(|()| 0)
}

fn show(screen: &Screen, stdout: &mut dyn Write) -> io::Result<()> {
    let mut area = area();
    let options = TerminalOptions { viewport: Viewport::Fixed(area) };
    let mut terminal = Terminal::with_options(CrosstermBackend::new(stdout), options)?;
    let mut source = Source::default();
    let mut picture = source.look();
    let mut looked = Instant::now();
    loop {
        if area != self::area() {
            area = self::area();
            terminal.resize(area)?;
        }
        terminal.draw(|frame| screen::draw(frame, &picture))?;
        loop {
            if screen.is_ended() {
                return Ok(());
            }
            let waits = EVERY.saturating_sub(looked.elapsed());
            if event::poll(waits.min(PATIENCE))? {
                match event::read()? {
                    event if ends(&event) => return Ok(()),
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
            if looked.elapsed() >= EVERY {
                picture = source.look();
                looked = Instant::now();
                break;
            }
        }
    }
}

/// The size of the terminal that standard output is: it need not be the one that controls this process.
fn area() -> Rect {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok();
    let size = size
        .map(|size| (size.ws_col, size.ws_row))
        .filter(|(width, height)| *width > 0 && *height > 0);
    let (width, height) = size.unwrap_or(USUAL_SIZE);
    Rect { x: 0, y: 0, width, height }
}

/// Whether this was typed to end it: in raw mode Ctrl-C is a key.
fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            KeyCode::Char('c' | 'd') => is_control,
            _ => false,
        }
}
