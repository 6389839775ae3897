//! The terminal as it was, and as the monitor needs it.
//!
//! Whatever ends the monitor, the terminal is put back: the end of a run, a signal, a panic (which aborts). Read next:
//! `monitor.rs`.

use std::io;

use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use rustix::stdio::stdout;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// The other screen, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
/// No colours, the screen as it was, with its cursor.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// The terminal while the monitor has it; it is put back when this is dropped.
pub struct Screen {
    signals: std::cell::RefCell<Signals>,
}

impl Screen {
    /// Takes the terminal over.
    pub fn enter() -> io::Result<Screen> {
        let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
        enable_raw_mode()?;
        let screen = Screen { signals: signals.into() };
        say(ENTER);
        Ok(screen)
    }

    /// Whether a signal asked for the end.
    pub fn is_ended(&self) -> bool {
        self.signals.borrow_mut().pending().next().is_some()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Nothing can be done about a terminal that is gone.
fn restore() {
    say(LEAVE);
    let _ = disable_raw_mode();
}

/// Writes past the buffer of standard output, which a panic may have left locked.
fn say(mut bytes: &[u8]) {
    while let Ok(written @ 1..) = rustix::io::retry_on_intr(|| rustix::io::write(stdout(), bytes)) {
        bytes = bytes.get(written..).unwrap_or(&[]);
        if bytes.is_empty() {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
