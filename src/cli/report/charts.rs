//! The charts, as SVG that stands in the page.
//!
//! Colours are numbers that the page's style sheet replaces, so that one drawing serves light, dark and paper: a rule of a
//! style sheet wins over an attribute. No text from outside is drawn. Read next: `page.rs`.

use std::io;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Rectangle, Text};
use plotters::prelude::SVGBackend;
use plotters::style::{Color, IntoFont, RGBColor, TextStyle};

use super::lanes::{Kind, Timeline};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

const WIDTH: u32 = 1000;
const LANE_HEIGHT: u32 = 18;
/// What the axis of the timeline takes.
const AXIS_HEIGHT: u32 = 56;
/// How much of the height of a lane or line is drawn on.
const FULL: f64 = 0.8;
/// How high the line of a bar is, and where names and figures stand.
const LINE: i32 = 26;
const NAME: i32 = 180;
const FIGURE: i32 = 110;
const FONT: (&str, i32) = ("sans-serif", 14);

/// Stands for the colour of lines and letters.
pub const INK: RGBColor = RGBColor(1, 1, 1);
/// Stands for the colour of bars that are no calls.
pub const PLAIN: RGBColor = RGBColor(2, 2, 2);

/// Stands for the colour of a kind of calls.
pub fn colour(kind: Kind) -> RGBColor {
    let at = Kind::ALL.iter().position(|known| *known == kind);
    let number = u8::try_from(at.unwrap_or(0)).unwrap_or(0) + 3;
    RGBColor(number, number, number)
}

/// A colour as the drawing names it.
pub fn name(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// Lanes of calls over seconds. Empty where nothing can be drawn.
pub fn timeline(timeline: &Timeline) -> String {
    let lanes = u32::try_from(timeline.lanes.max(1)).unwrap_or(1);
    let height = lanes.saturating_mul(LANE_HEIGHT).saturating_add(AXIS_HEIGHT);
    svg(height, "timeline of the build", &|area| {
        // At least a millisecond, so that the axis has a scale.
        let took_s = seconds(timeline.took_ns).max(0.001);
        let top = f64::from(lanes);
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_left(18)
            .margin_right(20)
            .x_label_area_size(44)
            .build_cartesian_2d(0.0..took_s, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .bold_line_style(INK.mix(0.25))
            .light_line_style(INK.mix(0.0))
            .axis_style(INK.mix(0.6))
            .label_style(letters())
            .x_desc("seconds")
            .x_labels(10)
            .draw()?;
        // What took no time is seen, too.
        let least = took_s / f64::from(WIDTH) * 1.5;
        chart.draw_series(timeline.bars.iter().map(|bar| {
            let lane = u32::try_from(bar.lane).unwrap_or(0);
            let y = top - f64::from(lane);
            let (from, to) = (seconds(bar.from), seconds(bar.to));
            let corners = [(from, y), (to.max(from + least), y - FULL)];
            Rectangle::new(corners, colour(bar.kind).filled())
        }))?;
        Ok(())
    })
}

/// A bar for each name, with the figure as text behind it.
pub fn bars(title: &str, lines: &[(&'static str, f64, String)]) -> String {
    let height = i32::try_from(lines.len()).unwrap_or(0) * LINE + 8;
    svg(u32::try_from(height).unwrap_or(0), title, &|area| {
        let most = lines.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
        let room = f64::from(i32::try_from(WIDTH).unwrap_or(0) - NAME - FIGURE);
        let mut y = 4;
        for (name, value, figure) in lines {
            let share = if most > 0.0 { value / most } else { 0.0 };
            let x = NAME + rounded(share * room);
            let bottom = y + rounded(f64::from(LINE) * FULL);
            area.draw(&Rectangle::new([(NAME, y), (x, bottom)], PLAIN.filled()))?;
            area.draw(&Text::new(*name, (0, y + 4), letters()))?;
            area.draw(&Text::new(figure.clone(), (x + 8, y + 4), letters()))?;
            y += LINE;
        }
        Ok(())
    })
}

fn letters() -> TextStyle<'static> {
    FONT.into_font().color(&INK)
}

fn svg(height: u32, title: &str, draw: &dyn Fn(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    let drawn = draw(&area).and_then(|()| area.present());
    drop(area);
    if drawn.is_err() {
        return String::new();
    }
    svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{title}\" "), 1)
}

/// To the nearest; all values are those of a picture.
#[allow(clippy::cast_possible_truncation, reason = "a picture is far smaller than that")]
fn rounded(value: f64) -> i32 {
    value.round() as i32
}

#[allow(clippy::cast_precision_loss, reason = "a picture has 1000 points")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::super::lanes::{Bar, Kind, Timeline};
    use super::{bars, colour, name, timeline};

    #[test]
    fn a_timeline_has_its_bars() {
        let bar = |lane, from, to, kind| Bar { lane, from, to, kind };
        let drawn = timeline(&Timeline {
            bars: vec![
                bar(0, 0, 1_000_000_000, Kind::Compiled),
                bar(0, 1_500_000_000, 1_500_000_000, Kind::Served),
                bar(1, 0, 2_000_000_000, Kind::NotStored),
            ],
            lanes: 2,
            took_ns: 2_000_000_000,
        });
        for kind in [Kind::Compiled, Kind::Served, Kind::NotStored] {
            let fill = format!("fill=\"{}\"", name(colour(kind)));
            assert_eq!(drawn.matches(&fill).count(), 1, "{kind:?}: {drawn}");
        }
        assert!(drawn.starts_with("<svg role=") && drawn.contains("seconds"), "{drawn}");
        // Only colours that the style sheet knows.
        let odd = drawn.split("fill=\"#").skip(1).find(|rest| !rest.starts_with('0'));
        assert_eq!(odd, None, "{drawn}");
        assert!(timeline(&Timeline::default()).contains("</svg>"));
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let lines = [("one", 1.0, "1 MB".to_owned()), ("two", 2.0, "2 MB".to_owned())];
        let drawn = bars("sizes", &lines);
        let widths: Vec<f64> = drawn
            .split("<rect ")
            .skip(1)
            .filter_map(|rest| rest.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths, [355.0, 710.0], "{drawn}");
        assert!(drawn.contains("2 MB"), "{drawn}");
        assert!(bars("none", &[("none", 0.0, String::new())]).contains("</svg>"));
    }
}
