//! Two charts, drawn at the width at which a README shows them: how many times better than libsam4, and how the costs
//! grow.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::measurements::Contender;
use crate::report::{Growth, Row, told};

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);

/// The width of a picture. GitHub shows a README 830 to 1010 pixels wide, and scales what is wider.
const WIDTH: u32 = 860;
/// The sizes of text. plotters writes four fifths of them to the file: 16 and 19 pixels.
const TEXT: u32 = 20;
const TITLE: u32 = 24;
/// The distance from one bar to the next.
const STEP: u32 = 27;
/// The height of the diagram of one growth series.
const CURVES: u32 = 420;

/// Returns the colour of a contender.
fn colour(who: Contender) -> RGBColor {
    match who {
        Contender::Ours => RGBColor(0x1b, 0x6c, 0xa8),
        Contender::OursWithSpare => RGBColor(0x2a, 0x9d, 0x5c),
        Contender::Floor => RGBColor(0x70, 0x70, 0x70),
        Contender::FloorWithSpare => RGBColor(0xb0, 0xb0, 0xb0),
        _ => RGBColor(0xd0, 0x6a, 0x1e),
    }
}

/// Writes bench.svg, with the comparison, and bench-growth.svg, with the growth series.
pub fn draw(folder: &Path, rows: &[Row], growth: &[Growth]) -> Drawn {
    let bars = bars(rows);
    let file = folder.join("bench.svg");
    let picture = SVGBackend::new(&file, (WIDTH, 60 + STEP * bars.len() as u32)).into_drawing_area();
    picture.fill(&WHITE)?;
    draw_bars(&picture.margin(8, 8, 8, 8), &bars)?;
    picture.present()?;

    let file = folder.join("bench-growth.svg");
    let picture = SVGBackend::new(&file, (WIDTH, CURVES * growth.len() as u32)).into_drawing_area();
    picture.fill(&WHITE)?;
    for (part, growth) in picture.split_evenly((growth.len(), 1)).iter().zip(growth) {
        draw_curves(&part.margin(8, 8, 8, 16), growth)?;
    }
    picture.present()?;
    Ok(())
}

/// A bar: the measurement, the contender, and how many times it is better than libsam4.
type Bar = (&'static str, Contender, f64);

/// Returns the bars of the comparison.
fn bars(rows: &[Row]) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for row in rows.iter().filter(|row| row.line.against == Contender::Libsam4) {
        let (what, who) = (row.line.what, row.line.ours);
        // The first line of a measurement holds its main figure.
        if !bars.iter().any(|bar| (bar.0, bar.1) == (what, who)) {
            bars.extend(row.better().map(|better| (what, who, better)));
        }
    }
    bars
}

/// Draws the bars on a logarithmic axis.
fn draw_bars(area: &Area, bars: &[Bar]) -> Drawn {
    let area = area.titled("Times better than libsam4", (FONT, TITLE).into_font().color(&INK))?;
    let (width, height) = area.dim_in_pixel();
    let most = bars.iter().fold(10.0_f64, |most, bar| most.max(bar.2));
    // The axis begins below 1, to leave room for results that are worse than libsam4's.
    let (least, left) = (0.4_f64, 400.0);
    let room = f64::from(width) - left - 60.0;
    let x = |value: f64| (left + room * (value.max(least) / least).ln() / (most / least).ln()) as i32;
    let (step, thick) = (STEP as i32, STEP as i32 - 9);
    let text = (FONT, TEXT).into_font().color(&INK);
    for (number, (what, who, better)) in bars.iter().enumerate() {
        let top = number as i32 * step;
        let spare = if *who == Contender::OursWithSpare { ", warm spare" } else { "" };
        let what = what.replacen("..", "\u{2026}", 1) + spare;
        area.draw(&Text::new(what, (4, top + 1), text.clone()))?;
        area.draw(&Rectangle::new([(x(1.0), top), (x(*better), top + thick)], colour(*who).filled()))?;
        let label = if *better < 10.0 { format!("{better:.1}×") } else { format!("{better:.0}×") };
        area.draw(&Text::new(label, (x(better.max(1.0)) + 6, top + 1), text.clone()))?;
    }
    area.draw(&PathElement::new([(x(1.0), 0), (x(1.0), height as i32)], INK))?;
    Ok(())
}

/// Draws a growth series. Both axes are logarithmic.
fn draw_curves(area: &Area, growth: &Growth) -> Drawn {
    let points = || growth.curves.iter().flat_map(|curve| &curve.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::INFINITY, f64::min).clamp(1.0, 1e15);
        let most = points().map(of).fold(10.0, f64::max);
        least..most * 1.5
    };
    let (xs, ys) = (range(|point| point.0), range(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(growth.series.title, (FONT, TITLE).into_font().color(&INK))
        .margin(8)
        .x_label_area_size(60)
        .y_label_area_size(120)
        .build_cartesian_2d(xs.log_scale(), (ys.start / 1.5..ys.end).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(growth.series.x)
        .y_desc(growth.series.y)
        .x_label_formatter(&|x| x.to_string())
        .y_label_formatter(&|y| told(*y, growth.series.unit))
        .label_style((FONT, TEXT))
        .axis_desc_style((FONT, TEXT))
        .light_line_style(WHITE)
        .draw()?;
    for curve in &growth.curves {
        let colour = colour(curve.who);
        chart
            .draw_series(LineSeries::new(curve.points.clone(), colour.stroke_width(3)).point_size(4))?
            .label(curve.who.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, TEXT))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}
