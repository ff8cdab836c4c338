//! One picture: how often better than libsam4, and how it grows.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::measurements::{Contender, Unit};
use crate::report::{Growth, Row, told};

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);

fn colour(who: Contender) -> RGBColor {
    match who {
        Contender::Ours => RGBColor(0x1b, 0x6c, 0xa8),
        Contender::OursWithSpare => RGBColor(0x2a, 0x9d, 0x5c),
        _ => RGBColor(0xd0, 0x6a, 0x1e),
    }
}

pub fn draw(file: &Path, rows: &[Row], growth: &[Growth]) -> Drawn {
    let picture = SVGBackend::new(file, (1200, 900)).into_drawing_area();
    picture.fill(&WHITE)?;
    let quarters = picture.margin(8, 8, 8, 8).split_evenly((2, 2));
    bars(&quarters[0], rows)?;
    for (quarter, growth) in quarters[1..].iter().zip(growth) {
        curves(quarter, growth)?;
    }
    picture.present()?;
    Ok(())
}

/// How many times better than libsam4, a bar for each measurement.
fn bars(area: &Area, rows: &[Row]) -> Drawn {
    let mut bars: Vec<(&str, Contender, f64)> = Vec::new();
    for row in rows.iter().filter(|row| row.line.against == Contender::Libsam4) {
        let (what, who) = (row.line.what, row.line.ours);
        // The first line of a measurement is the one that matters.
        if !bars.iter().any(|bar| (bar.0, bar.1) == (what, who)) {
            let better = |ratio: f64| if row.line.unit == Unit::PerSecond { ratio } else { 1.0 / ratio };
            bars.extend(row.ratio().map(|ratio| (what, who, better(ratio))));
        }
    }
    let area = area
        .titled("Times better than libsam4 (blue; green: warm spare)", (FONT, 17).into_font().color(&INK))?;
    let (width, height) = area.dim_in_pixel();
    let most = bars.iter().fold(10.0_f64, |most, bar| most.max(bar.2));
    // Logarithmic; from a little less than 1, to leave room for what is worse.
    let (least, left, room) = (0.4_f64, 290.0, f64::from(width) - 350.0);
    let x = |value: f64| (left + room * (value.max(least) / least).ln() / (most / least).ln()) as i32;
    let step = height as i32 / bars.len().max(1) as i32;
    let text = (FONT, 12).into_font().color(&INK);
    for (number, (what, who, better)) in bars.iter().enumerate() {
        let top = number as i32 * step;
        area.draw(&Text::new(what.to_string(), (4, top + 2), text.clone()))?;
        area.draw(&Rectangle::new([(x(1.0), top + 1), (x(*better), top + step - 4)], colour(*who).filled()))?;
        let label = if *better < 10.0 { format!("{better:.1}×") } else { format!("{better:.0}×") };
        area.draw(&Text::new(label, (x(better.max(1.0)) + 4, top + 2), text.clone()))?;
    }
    area.draw(&PathElement::new([(x(1.0), 0), (x(1.0), height as i32)], INK))?;
    Ok(())
}

/// A growth series, both axes logarithmic.
fn curves(area: &Area, growth: &Growth) -> Drawn {
    let points = || growth.curves.iter().flat_map(|curve| &curve.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::INFINITY, f64::min).clamp(1.0, 1e15);
        let most = points().map(of).fold(10.0, f64::max);
        least..most * 1.5
    };
    let (xs, ys) = (range(|point| point.0), range(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(growth.series.title, (FONT, 17).into_font().color(&INK))
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(75)
        .build_cartesian_2d(xs.log_scale(), (ys.start / 1.5..ys.end).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(growth.series.x)
        .y_desc(growth.series.y)
        .x_label_formatter(&|x| x.to_string())
        .y_label_formatter(&|y| told(*y, growth.series.unit))
        .label_style((FONT, 12))
        .light_line_style(WHITE)
        .draw()?;
    for curve in &growth.curves {
        let colour = colour(curve.who);
        chart
            .draw_series(LineSeries::new(curve.points.clone(), colour.stroke_width(2)).point_size(3))?
            .label(curve.who.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, 13))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}
