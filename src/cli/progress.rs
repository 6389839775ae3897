//! A bar on standard error that shows how far a long subcommand has come; only where that is a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How wide the bar is, in characters.
const WIDTH: usize = 40;
/// How often it is drawn at most.
const EVERY: Duration = Duration::from_millis(100);

/// The bar.
pub struct Progress<'w> {
    stderr: &'w mut dyn Write,
    title: &'static str,
    is_shown: bool,
    drawn: Option<Instant>,
}

impl<'w> Progress<'w> {
    /// A bar that is drawn when it is first told something.
    pub fn new(title: &'static str, stderr: &'w mut dyn Write) -> Progress<'w> {
        Progress { stderr, title, is_shown: std::io::stderr().is_terminal(), drawn: None }
    }

    /// So many of so many are done.
    pub fn tell(&mut self, done: usize, total: usize) {
        if !self.is_shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        let _ = write!(self.stderr, "\r{} {}", self.title, bar(done, total));
        let _ = self.stderr.flush();
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(self.stderr, "\r\x1b[K");
        }
    }
}

fn bar(done: usize, total: usize) -> String {
    let part = |of: usize| (done.min(total) * of).checked_div(total).unwrap_or(of);
    let full = part(WIDTH);
    format!("[{}{}] {:3} %", "#".repeat(full), " ".repeat(WIDTH - full), part(100))
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn bars() {
        assert_eq!(bar(0, 4), format!("[{}]   0 %", " ".repeat(40)));
        assert_eq!(bar(2, 4), format!("[{}{}]  50 %", "#".repeat(20), " ".repeat(20)));
        for whole in [bar(4, 4), bar(9, 4), bar(0, 0)] {
            assert_eq!(whole, format!("[{}] 100 %", "#".repeat(40)));
        }
    }
}
