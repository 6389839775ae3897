//! The monitor's screen: a picture laid out for the size that the terminal has.
//!
//! It reads nothing. Where there is little room, the lower parts go first. Read next: `picture.rs`.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline, Wrap};

use super::super::texts::{bytes, duration, percent, plural, printable, seconds, shortened};
use super::picture::{Miss, Picture, Rate, Running, SECONDS};
use crate::wrapper::time_of_day;

/// How wide the names of figures are.
const TITLE: usize = 13;
/// How high the calls of the last minute are drawn.
const CHART_LINES: u16 = 3;
/// How wide the bar of the cache's fill is.
const BAR: usize = 30;
/// How wide a tool's name is.
const TOOL: usize = 16;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws it.
pub fn draw(frame: &mut Frame, picture: &Picture) {
    let area = frame.area();
    let width = usize::from(area.width);
    let chart = if area.height >= 16 { CHART_LINES } else { 0 };
    let left = area.height.saturating_sub(8 + chart);
    let rows_max = usize::from(left / 2).saturating_sub(1);
    let running = 1 + picture.running.len().clamp(1, rows_max.max(1));
    let parts = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Length(chart),
        Constraint::Length(4),
        Constraint::Length(u16::try_from(running).unwrap_or(2)),
        Constraint::Min(0),
    ])
    .split(area);
    lines(frame, parts[0], head(picture, width));
    if let Some(problem) = &picture.problem {
        let rest = Rect { height: area.height.saturating_sub(3), ..parts[1] };
        let text = Paragraph::new(printable(problem)).wrap(Wrap { trim: true });
        frame.render_widget(text, rest.intersection(area));
        return;
    }
    lines(frame, parts[1], vec![calls(picture)]);
    draw_chart(frame, parts[2], picture);
    lines(frame, parts[3], figures(picture));
    lines(frame, parts[4], running_tools(&picture.running, usize::from(parts[4].height), width));
    lines(frame, parts[5], misses(&picture.misses, usize::from(parts[5].height), width));
}

fn lines(frame: &mut Frame, area: Rect, lines: Vec<Line>) {
    frame.render_widget(Paragraph::new(lines), area);
}

fn head(picture: &Picture, width: usize) -> Vec<Line<'static>> {
    let title = "ibid monitor";
    let clock = format!("{} UTC   q quits", time_of_day(picture.now_ns));
    let gap = width.saturating_sub(title.len() + clock.len());
    let build = if picture.build.is_empty() { "none is known yet" } else { &picture.build };
    let build = match picture.of_build {
        Rate { of: 0, .. } => build.to_owned(),
        rate => format!("{build}, hit rate {}", hit_rate(rate)),
    };
    vec![
        Line::from(vec![
            Span::styled(title, BOLD),
            Span::raw(" ".repeat(gap)),
            Span::styled(clock, FAINT),
        ]),
        entry("cache", &picture.directory, width),
        entry("last build", &build, width),
    ]
}

/// The name of a figure and the figure.
fn entry(name: &str, text: &str, width: usize) -> Line<'static> {
    let name = Span::styled(format!("{name:<TITLE$}"), FAINT);
    Line::from(vec![name, Span::raw(fitting(text, width.saturating_sub(TITLE)))])
}

fn calls(picture: &Picture) -> Line<'static> {
    let last: u64 = picture.calls.iter().rev().skip(1).take(5).sum();
    let all: u64 = picture.calls.iter().sum();
    let text = format!("{}.{} a second, {all} in the last minute", last / 5, last % 5 * 2);
    entry("calls", &text, usize::MAX)
}

fn draw_chart(frame: &mut Frame, area: Rect, picture: &Picture) {
    let width = u16::try_from(SECONDS).unwrap_or(u16::MAX);
    let indent = u16::try_from(TITLE).unwrap_or(0);
    let inside = Rect { x: area.x + indent, width, ..area }.intersection(area);
    // The newest second is whole only at its end.
    let shown = usize::from(inside.width).min(picture.calls.len());
    let data = picture.calls.get(picture.calls.len() - shown..).unwrap_or(&[]);
    let style = Style::new().fg(Color::Green);
    frame.render_widget(Sparkline::default().data(data).style(style), inside);
}

fn figures(picture: &Picture) -> Vec<Line<'static>> {
    let columns = ["last minute", "today", "all"].map(|name| format!("{name:>15}")).concat();
    let spans = [picture.minute, picture.today, picture.all];
    let row = |cell: &dyn Fn(Rate) -> String| -> String {
        spans.map(|rate| format!("{:>15}", cell(rate))).concat()
    };
    let percent_used = picture.bytes_used.saturating_mul(100).checked_div(picture.bytes_max);
    let percent_used = usize::try_from(percent_used.unwrap_or(0)).unwrap_or(100);
    let full = (percent_used.min(100) * BAR).div_ceil(100);
    let (used, max) = (bytes(picture.bytes_used), bytes(picture.bytes_max));
    let size = Line::from(vec![
        Span::styled(format!("{:<TITLE$}", "size"), FAINT),
        Span::styled("█".repeat(full), Style::new().fg(Color::Cyan)),
        Span::styled("░".repeat(BAR - full), FAINT),
        Span::raw(format!("  {used} of {max}, {percent_used} %")),
    ]);
    vec![
        Line::styled(format!("{:TITLE$}{columns}", ""), FAINT),
        entry("hit rate", &row(&hit_rate), usize::MAX),
        entry("time saved", &row(&|rate| duration(rate.saved_ms)), usize::MAX),
        size,
    ]
}

fn hit_rate(rate: Rate) -> String {
    percent(rate.hits, rate.of)
}

fn running_tools(running: &[Running], height: usize, width: usize) -> Vec<Line<'static>> {
    let rows = height.saturating_sub(1);
    let hidden = running.len().saturating_sub(rows);
    let title = match running.len() {
        0 => "no compile runs".to_owned(),
        count => plural(count, "compile runs", "compiles run"),
    };
    let more = if hidden > 0 { format!(" ({hidden} not shown)") } else { String::new() };
    let row = |one: &Running| {
        let text = format!("{:>9}  {:<TOOL$} ", seconds(one.ms), fitting(&one.tool, TOOL));
        let room = width.saturating_sub(text.chars().count());
        Line::raw(format!("{text}{}", fitting(&one.source, room)))
    };
    let mut lines = vec![Line::styled(title + &more, BOLD)];
    lines.extend(running.iter().take(rows).map(row));
    lines
}

fn misses(misses: &[Miss], height: usize, width: usize) -> Vec<Line<'static>> {
    let title = if misses.is_empty() { "no miss is known" } else { "last misses" };
    let row = |miss: &Miss| {
        let text = format!("{} {:>8}  ", time_of_day(miss.time_ns), seconds(miss.ms));
        let room = width.saturating_sub(text.chars().count() + 2);
        let source = fitting(&miss.source, room * 2 / 5);
        let cause = fitting(&miss.cause, room - source.chars().count());
        let column = room * 2 / 5;
        let cause = if cause.chars().count() <= room - column {
            format!("{source:<column$}  {cause}")
        } else {
            format!("{source}  {cause}")
        };
        Line::raw(format!("{text}{cause}"))
    };
    let mut lines = vec![Line::raw(""), Line::styled(title, BOLD)];
    lines.extend(misses.iter().take(height.saturating_sub(2)).map(row));
    lines
}

/// No control character reaches the terminal.
fn fitting(text: &str, room: usize) -> String {
    shortened(&printable(text), room)
}

#[cfg(test)]
mod tests;
