//! The plots of a report, as SVG.

use plotters::{coord::Shift, prelude::*};

use super::document::Plot;
use crate::util::units::{precise, rough};

/// Colours that people with impaired colour vision tell apart, on light and dark ground
/// (Okabe and Ito).
pub(super) const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(148, 103, 189),
    RGBColor(127, 127, 127),
];

const WIDTH: u32 = 960;
const FONT: &str = "sans-serif";
const SIZE: i32 = 14;

/// Why there is no plot: never, with a drawing in memory; kept out of the page.
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn svg(height: u32, draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn) -> String {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        if draw(&area).is_err() || area.present().is_err() {
            return String::new();
        }
    }
    text
}

fn style(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&BLACK)
}

/// Labels of an axis of counts, at most: half of one is no count.
fn ticks(most: u64) -> usize {
    usize::try_from(most.saturating_add(1))
        .unwrap_or(10)
        .min(10)
}

/// Counts over time, stacked: each bin has one count for each name.
pub(super) fn stacked(
    names: &[String],
    bins: &[Vec<u64>],
    label: impl Fn(usize) -> String,
    alternative: String,
) -> Plot {
    let most = bins.iter().map(|bin| bin.iter().sum::<u64>()).max();
    let most = most.unwrap_or(0).max(1);
    let svg = svg(320, |area| {
        let legend = 24 * i32::try_from(names.len().div_ceil(2)).unwrap_or(0);
        let (top, below) = area.split_vertically(320 - legend);
        let mut chart = ChartBuilder::on(&top)
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(64)
            .build_cartesian_2d(0_f64..to_f64(bins.len() as u64), 0_f64..to_f64(most) * 1.05)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(bins.len().clamp(2, 8))
            .y_labels(ticks(most))
            .x_label_formatter(&|at: &f64| label(*at as usize))
            .y_label_formatter(&|count: &f64| super::document::grouped(count.round() as u64))
            .y_desc("resets")
            .label_style(style(SIZE))
            .axis_desc_style(style(SIZE))
            .axis_style(BLACK)
            .bold_line_style(COLOURS[7].mix(0.3))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (at, bin) in bins.iter().enumerate() {
            let mut base = 0;
            for (which, count) in bin.iter().enumerate() {
                if *count == 0 {
                    continue;
                }
                let (left, right) = (to_f64(at as u64) + 0.05, to_f64(at as u64) + 0.95);
                let (low, high) = (to_f64(base), to_f64(base + count));
                let colour = COLOURS[which % COLOURS.len()];
                let bar = Rectangle::new([(left, low), (right, high)], colour.filled());
                chart.draw_series(std::iter::once(bar))?;
                base += count;
            }
        }
        for (which, name) in names.iter().enumerate() {
            let column = i32::try_from(which % 2).unwrap_or(0);
            let row = i32::try_from(which / 2).unwrap_or(0);
            let (x, y) = (72 + column * 440, 4 + row * 22);
            let colour = COLOURS[which % COLOURS.len()];
            below.draw(&Rectangle::new([(x, y), (x + 14, y + 14)], colour.filled()))?;
            below.draw(&Text::new(name.clone(), (x + 20, y), style(SIZE)))?;
        }
        Ok(())
    });
    Plot { svg, alternative }
}

/// The idle timer of one path.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub(super) name: String,
    pub(super) survived_ms: Option<f64>,
    pub(super) fatal_ms: Option<f64>,
    pub(super) deaths_ms: Vec<f32>,
}

/// The idle timers of paths, on one logarithmic axis, with the timers of devices.
pub(super) fn bands(bands: &[Band], marks: &[(String, f64)], alternative: String) -> Plot {
    const ROW: u32 = 30;
    let values = bands.iter().flat_map(|band| {
        let ends = [band.survived_ms, band.fatal_ms].into_iter().flatten();
        ends.chain(band.deaths_ms.iter().map(|ms| f64::from(*ms)))
    });
    let (low, high) = bounds(values.chain(marks.iter().map(|(_, ms)| *ms)));
    let rows = to_f64(bands.len() as u64);
    let height = 90 + ROW * u32::try_from(bands.len()).unwrap_or(0);
    let svg = svg(height, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(40)
            .x_label_area_size(48)
            .y_label_area_size(300)
            .build_cartesian_2d((low..high).log_scale(), 0_f64..rows)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(10)
            .x_label_formatter(&|ms: &f64| rough(*ms))
            .x_desc("silence")
            .label_style(style(SIZE))
            .axis_desc_style(style(SIZE))
            .axis_style(BLACK)
            .bold_line_style(COLOURS[7].mix(0.3))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (_, ms) in marks {
            let line = PathElement::new(vec![(*ms, 0.0), (*ms, rows)], COLOURS[7].stroke_width(1));
            chart.draw_series(std::iter::once(line))?;
        }
        for (at, band) in bands.iter().enumerate() {
            let middle = rows - to_f64(at as u64) - 0.5;
            if let (Some(from), Some(to)) = (band.survived_ms, band.fatal_ms) {
                let (from, to) = (from.max(low).min(to), to.max(low));
                let colour = COLOURS[0].mix(0.45).filled();
                let bar = Rectangle::new([(from, middle - 0.3), (to, middle + 0.3)], colour);
                chart.draw_series(std::iter::once(bar))?;
            }
            for (edge, colour) in [(band.survived_ms, COLOURS[2]), (band.fatal_ms, COLOURS[1])] {
                let Some(ms) = edge.filter(|ms| *ms >= low) else {
                    continue;
                };
                let ends = vec![(ms, middle - 0.35), (ms, middle + 0.35)];
                let line = PathElement::new(ends, colour.stroke_width(3));
                chart.draw_series(std::iter::once(line))?;
            }
            let points = band.deaths_ms.iter().map(|ms| f64::from(*ms).max(low));
            chart.draw_series(
                points.map(|ms| Circle::new((ms, middle), 3, COLOURS[1].mix(0.6).filled())),
            )?;
            let (_, y) = chart.backend_coord(&(low, middle));
            let name = shorter(&band.name, 42);
            area.draw(&Text::new(name, (12, y - 8), style(SIZE)))?;
        }
        Ok(())
    });
    Plot { svg, alternative }
}

/// Counts of clients by brokers.
pub(super) fn heat(
    clients: &[String],
    brokers: &[String],
    counts: &[Vec<u64>],
    alternative: String,
) -> Plot {
    const ROW: i32 = 26;
    const LEFT: i32 = 240;
    const TOP: i32 = 34;
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let height = u32::try_from(TOP + 8).unwrap_or(0)
        + u32::try_from(clients.len()).unwrap_or(0) * u32::try_from(ROW).unwrap_or(0);
    let columns = i32::try_from(brokers.len()).unwrap_or(1).max(1);
    let width = (i32::try_from(WIDTH).unwrap_or(960) - LEFT - 8) / columns;
    let svg = svg(height, |area| {
        for (column, broker) in brokers.iter().enumerate() {
            let x = LEFT + i32::try_from(column).unwrap_or(0) * width;
            let fits = usize::try_from(width / 8).unwrap_or(0);
            area.draw(&Text::new(shorter(broker, fits), (x + 4, 10), style(SIZE)))?;
        }
        for (row, client) in clients.iter().enumerate() {
            let y = TOP + i32::try_from(row).unwrap_or(0) * ROW;
            area.draw(&Text::new(shorter(client, 30), (8, y + 5), style(SIZE)))?;
            for (column, count) in counts.get(row).into_iter().flatten().enumerate() {
                let x = LEFT + i32::try_from(column).unwrap_or(0) * width;
                let share = to_f64(*count).ln_1p() / to_f64(most).ln_1p();
                let fill = COLOURS[0].mix(0.74_f64.mul_add(share, 0.06)).filled();
                area.draw(&Rectangle::new(
                    [(x, y), (x + width - 2, y + ROW - 2)],
                    fill,
                ))?;
                if *count > 0 {
                    let text = super::document::grouped(*count);
                    area.draw(&Text::new(text, (x + 6, y + 5), style(SIZE)))?;
                }
            }
        }
        Ok(())
    });
    Plot { svg, alternative }
}

/// How values are spread, on a logarithmic axis.
pub(super) fn spread(values: &[f64], what: &str, alternative: String) -> Plot {
    const BINS: usize = 48;
    let (low, high) = bounds(values.iter().copied());
    let mut bins = vec![0_u64; BINS];
    let span = (high / low).ln();
    for value in values.iter().filter(|value| **value > 0.0) {
        let at = ((value.max(low) / low).ln() / span * to_f64(BINS as u64)) as usize;
        bins[at.min(BINS - 1)] += 1;
    }
    let most = bins.iter().copied().max().unwrap_or(0).max(1);
    let edge = |at: usize| low * (span * to_f64(at as u64) / to_f64(BINS as u64)).exp();
    let svg = svg(220, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(30)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d((low..high).log_scale(), 0_f64..to_f64(most) * 1.05)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(10)
            .y_labels(ticks(most).min(5))
            .x_label_formatter(&|ms: &f64| rough(*ms))
            .x_desc(what)
            .y_label_formatter(&|count: &f64| super::document::grouped(count.round() as u64))
            .y_desc("resets")
            .label_style(style(SIZE))
            .axis_desc_style(style(SIZE))
            .axis_style(BLACK)
            .bold_line_style(COLOURS[7].mix(0.3))
            .light_line_style(TRANSPARENT)
            .draw()?;
        chart.draw_series(
            bins.iter()
                .enumerate()
                .filter(|(_, count)| **count > 0)
                .map(|(at, count)| {
                    let corners = [(edge(at), 0.0), (edge(at + 1), to_f64(*count))];
                    Rectangle::new(corners, COLOURS[0].filled())
                }),
        )?;
        Ok(())
    });
    Plot { svg, alternative }
}

/// Where an axis for these begins and ends, at least one power of ten apart.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| *value > 0.0 && value.is_finite()) {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        return (1.0, 10.0);
    }
    let low = (low * 0.8).max(1.0);
    (low, (high * 1.25).max(low * 10.0))
}

#[expect(clippy::cast_precision_loss, reason = "a place in a plot")]
pub(super) const fn to_f64(count: u64) -> f64 {
    count as f64
}

fn shorter(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}\u{2026}")
}

/// The span between two silences, for people.
pub(super) fn interval(survived_ms: Option<f64>, fatal_ms: Option<f64>) -> String {
    let text = |ms: Option<f64>, unknown: &str| ms.map_or_else(|| unknown.to_owned(), precise);
    format!("({}, {}]", text(survived_ms, "0"), text(fatal_ms, "?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_on_an_axis_twice() {
        let names = ["one".to_owned()];
        for most in 1..12 {
            let plot = stacked(&names, &[vec![most]], |_| String::new(), String::new());
            let mut labels: Vec<&str> = plot
                .svg
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && line.bytes().all(|it| it.is_ascii_digit()))
                .collect();
            let all = labels.len();
            assert!(all >= 2, "{labels:?} of {most}");
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), all, "{labels:?} of {most}");
        }
    }
}
