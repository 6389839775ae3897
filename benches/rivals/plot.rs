//! The picture: a panel of bars for each workload, each to its own linear scale, then the stacked bars of a hit.
//!
//! A tool without figures has the word of its status in the place of a bar.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, Color, DrawingArea, IntoDrawingArea, IntoFont, RGBColor, Rectangle, SVGBackend, Text,
    WHITE,
};

use super::figures::{Phase, Row, Status};
use super::floor::Floor;
use super::tools::{BARE, IBID};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: i32 = 1040;
const MARGIN: i32 = 20;
const LINE: i32 = 20;
const NAME: i32 = 70;
/// What the figure behind a bar takes.
const FIGURE: i32 = 80;
const COLUMNS: usize = 2;

const OURS: RGBColor = RGBColor(0x1b, 0x7f, 0x5c);
const OTHERS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const PARTS: [RGBColor; 4] = [
    RGBColor(0x1f, 0x4e, 0x79),
    RGBColor(0x3f, 0x88, 0xc5),
    RGBColor(0xa3, 0xc9, 0xe8),
    RGBColor(0xe0, 0x8e, 0x45),
];

/// One workload.
struct Panel<'r> {
    title: String,
    /// A tool, what its bar shows, or why it has none.
    bars: Vec<(&'r str, Result<f64, &'static str>)>,
}

/// Writes the picture.
pub fn draw(file: &Path, rows: &[Row], floors: &[Floor]) -> Result<(), Box<dyn Error>> {
    let panels = panels(rows);
    let tallest = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
    let panel_height = (i32::try_from(tallest)? + 3) * LINE;
    let lines = i32::try_from(panels.len().div_ceil(COLUMNS))?;
    let floor_height = 3 * LINE;
    let height = 2 * MARGIN + lines * panel_height + i32::try_from(floors.len())? * floor_height;
    let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
    let area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE)?;
    let column_width = (WIDTH - 2 * MARGIN) / i32::try_from(COLUMNS)?;
    for (number, panel) in panels.iter().enumerate() {
        let x = MARGIN + i32::try_from(number % COLUMNS)? * column_width;
        let y = MARGIN + i32::try_from(number / COLUMNS)? * panel_height;
        draw_panel(&area, panel, (x, y), column_width - MARGIN)?;
    }
    for (number, floor) in floors.iter().enumerate() {
        let y = MARGIN + lines * panel_height + i32::try_from(number)? * floor_height;
        draw_floor(&area, floor, y)?;
    }
    area.present()?;
    Ok(())
}

fn panels(rows: &[Row]) -> Vec<Panel<'_>> {
    let workloads = rows.chunk_by(|left, right| left.workload == right.workload);
    workloads.map(panel).collect()
}

/// The hits; where there are none, what a miss adds.
fn panel(rows: &[Row]) -> Panel<'_> {
    let has_warm = rows.iter().any(|row| row.phase == Phase::Warm);
    let phase = if has_warm { Phase::Warm } else { Phase::Cold };
    let figure = |row: &Row| match row.status {
        Status::Ok if has_warm => Ok(row.times.p50),
        Status::Ok => Ok(row.added_ms.unwrap_or(0.0)),
        status => Err(status.name()),
    };
    let bare = rows.iter().find(|row| row.tool == BARE).and_then(Row::p50);
    let bare = bare.map_or_else(String::new, |ms| format!(" (bare {ms:.2})"));
    let what = if has_warm { "warm" } else { "added by a miss" };
    let name = rows.first().map_or("", |row| row.workload);
    let bars = rows.iter().filter(|row| row.phase == phase).map(|row| (row.tool, figure(row)));
    Panel { title: format!("{name}: {what}, p50 ms{bare}"), bars: bars.collect() }
}

fn draw_panel(
    area: &Area<'_>,
    panel: &Panel<'_>,
    (left, top): (i32, i32),
    width: i32,
) -> Result<(), Box<dyn Error>> {
    write(area, &panel.title, (left, top), 15)?;
    let longest = panel.bars.iter().filter_map(|(_, figure)| figure.ok()).fold(0.0, f64::max);
    let start = left + NAME;
    for (number, (tool, figure)) in panel.bars.iter().enumerate() {
        let y = top + LINE * (i32::try_from(number)? + 1) + 4;
        write(area, tool, (left, y), 13)?;
        let (len, told) = match figure {
            Ok(ms) => {
                let len = ms.max(0.0) / longest * f64::from(width - NAME - FIGURE);
                ((len.round() as i32).max(1), format!("{ms:.3}"))
            }
            Err(status) => (0, (*status).to_owned()),
        };
        let color = if *tool == IBID { OURS } else { OTHERS };
        bar(area, (start, y), len, color)?;
        write(area, &told, (start + len + 6, y), 13)?;
    }
    Ok(())
}

fn draw_floor(area: &Area<'_>, floor: &Floor, top: i32) -> Result<(), Box<dyn Error>> {
    let title = format!(
        "{}: a hit of {:.3} ms = empty process {:.3} + {} statx {:.3} + {} bytes written {:.3} + the rest {:.3}; hit / limit {:.2}",
        floor.workload,
        floor.hit,
        floor.empty,
        floor.statx_count,
        floor.statx,
        floor.bytes,
        floor.write,
        floor.rest(),
        floor.over_limit(),
    );
    write(area, &title, (MARGIN, top), 15)?;
    let mut x = MARGIN;
    let parts = [floor.empty, floor.statx, floor.write, floor.rest().max(0.0)];
    let all: f64 = parts.iter().sum();
    for (part, color) in parts.into_iter().zip(PARTS) {
        let len = (part / all * f64::from(WIDTH - 2 * MARGIN)).round() as i32;
        bar(area, (x, top + LINE + 4), len, color)?;
        x += len;
    }
    Ok(())
}

fn bar(
    area: &Area<'_>,
    (x, y): (i32, i32),
    len: i32,
    color: RGBColor,
) -> Result<(), Box<dyn Error>> {
    area.draw(&Rectangle::new([(x, y), (x + len, y + LINE - 6)], color.filled()))?;
    Ok(())
}

fn write(area: &Area<'_>, text: &str, place: (i32, i32), size: i32) -> Result<(), Box<dyn Error>> {
    let style = ("sans-serif", size).into_font().color(&BLACK);
    area.draw(&Text::new(text.to_owned(), place, style))?;
    Ok(())
}
