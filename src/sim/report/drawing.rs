//! Lines and bars as SVG text, drawn by `plotters`.
//!
//! Colours are those of print; the page's style sheet puts others in their place where it is dark, by the very values
//! that stand here. Text is escaped by the library.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width of every picture; the page scales it.
const WIDTH: u32 = 860;
/// Height of those with axes.
const HEIGHT: u32 = 320;
/// Height of a bar and the room to the next.
const BAR: u32 = 24;
/// Letters. The library divides what it is given by 1.24.
const LETTERS: u32 = 17;

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

/// What a line is drawn in; `class` names the same colour in the style sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pen {
    /// The first of a plot.
    First,
    /// The second.
    Second,
    /// The third.
    Third,
    /// The fourth.
    Fourth,
}

impl Pen {
    fn colour(self) -> RGBColor {
        match self {
            Self::First => RGBColor(0x1B, 0x6C, 0xA8),
            Self::Second => RGBColor(0xC2, 0x57, 0x1A),
            Self::Third => RGBColor(0x2E, 0x7D, 0x4F),
            Self::Fourth => RGBColor(0x8E, 0x44, 0xAD),
        }
    }

    /// Its class in the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Third => "third",
            Self::Fourth => "fourth",
        }
    }
}

/// One line of a plot.
#[derive(Debug)]
pub struct Line {
    /// What it shows.
    pub name: &'static str,
    /// Its colour.
    pub pen: Pen,
    /// Thick for what matters most.
    pub thick: bool,
    /// Points; a gap where nothing was measured.
    pub points: Vec<(f64, Option<f64>)>,
}

/// One axis.
#[derive(Debug)]
pub struct Axis {
    /// What it counts, with the unit.
    pub words: String,
    /// From and to.
    pub range: (f64, f64),
    /// How many labels at most.
    pub labels: usize,
    /// A label; an empty one is left out.
    pub label: fn(f64) -> String,
}

/// A drawing of lines, or none if there is nothing to draw.
#[must_use]
pub fn lines(x: &Axis, y: &Axis, lines: &[Line]) -> Option<String> {
    let any = lines.iter().any(|line| line.points.iter().any(|(_, value)| value.is_some()));
    if !any {
        return None;
    }
    let mut svg = String::new();
    let drawn = draw_lines(&mut svg, x, y, lines);
    drawn.ok().map(|()| svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_lines(svg: &mut String, x: &Axis, y: &Axis, lines: &[Line]) -> Drawn {
    let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .margin_right(44)
        .x_label_area_size(50)
        .y_label_area_size(84)
        .build_cartesian_2d(x.range.0..x.range.1, y.range.0..y.range.1)?;
    let letters = ("sans-serif", LETTERS).into_font().color(&INK);
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(letters.clone())
        .axis_desc_style(letters)
        .x_labels(x.labels)
        .y_labels(y.labels)
        .x_label_formatter(&|value| (x.label)(*value))
        .y_label_formatter(&|value| (y.label)(*value))
        .x_desc(x.words.as_str())
        .y_desc(y.words.as_str())
        .draw()?;
    for line in lines {
        let style = line.pen.colour().stroke_width(if line.thick { 2 } else { 1 });
        for stretch in line.points.split(|(_, value)| value.is_none()) {
            let points: Vec<(f64, f64)> =
                stretch.iter().filter_map(|(at, value)| value.map(|value| (*at, value))).collect();
            if let [alone] = points[..] {
                chart.draw_series([Circle::new(alone, 2, style.filled())])?;
            } else {
                chart.draw_series(LineSeries::new(points, style))?;
            }
        }
    }
    area.present()?;
    drop(chart);
    drop(area);
    Ok(())
}

/// Bars with their names before and their counts behind them, or none if there are none.
#[must_use]
pub fn bars(bars: &[(&str, u64)], shown: fn(u64) -> String) -> Option<String> {
    let most = bars.iter().map(|(_, count)| *count).max().filter(|most| *most > 0)?;
    let mut svg = String::new();
    let drawn = draw_bars(&mut svg, bars, most, shown);
    drawn.ok().map(|()| svg)
}

#[expect(clippy::cast_possible_wrap, reason = "pixels: a few hundred")]
fn draw_bars(svg: &mut String, bars: &[(&str, u64)], most: u64, shown: fn(u64) -> String) -> Drawn {
    /// Where bars begin, and how long the longest is.
    const FROM: i32 = 120;
    const LENGTH: u64 = 640;
    let height = u32::try_from(bars.len())? * BAR + 12;
    let area = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    let letters = ("sans-serif", LETTERS).into_font().color(&INK);
    let name = letters.pos(Pos::new(HPos::Right, VPos::Center));
    let number = letters.pos(Pos::new(HPos::Left, VPos::Center));
    for (place, (words, count)) in (0_u32..).zip(bars) {
        let top = (place * BAR + 6) as i32;
        let middle = top + (BAR / 2) as i32 - 2;
        let end = FROM + i32::try_from((count * LENGTH / most).max(1))?;
        area.draw(&Rectangle::new([(FROM, top), (end, top + BAR as i32 - 6)], Pen::First.colour().filled()))?;
        area.draw(&Text::new((*words).to_owned(), (FROM - 8, middle), name.clone()))?;
        area.draw(&Text::new(shown(*count), (end + 8, middle), number.clone()))?;
    }
    area.present()?;
    drop(area);
    Ok(())
}
