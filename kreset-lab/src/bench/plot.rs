//! Line plots as SVG that needs no font, script or other file. Pure.

use std::fmt::Write as _;

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its points, by rising x.
    pub points: Vec<(f64, f64)>,
}

/// A plot; both axes are logarithmic.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What is shown.
    pub title: String,
    /// What lies on the horizontal axis, with its unit.
    pub x: String,
    /// What lies on the vertical axis, with its unit.
    pub y: String,
    /// The lines.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
/// Distinguishable without full colour vision, on dark and light grounds (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

/// A logarithmic axis that begins and ends at powers of ten.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    /// One that holds all `values` above 0.
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        let low = low.log10().floor() as i32;
        Self {
            low,
            high: (high.log10().ceil() as i32).max(low + 1),
            from,
            to,
        }
    }

    fn position(self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        (self.to - self.from).mul_add(share, self.from)
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|power| 10_f64.powi(power))
    }
}

impl Plot {
    /// The plot as one SVG document. Points at or below 0 cannot be drawn and are left out.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Axis::of(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Axis::of(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <title>{title}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n",
            title = escape(&self.title),
        );
        self.axes(x, y, &mut out);
        for (number, series) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            line(series, colour, number, (x, y), &mut out);
        }
        out.push_str("</svg>\n");
        out
    }

    fn axes(&self, x: Axis, y: Axis, out: &mut String) {
        for tick in x.ticks() {
            let at = x.position(tick);
            let label = short(tick);
            let _infallible = writeln!(
                out,
                "<path d=\"M{at:.1} {:.1}V{TOP}\" stroke=\"#ddd\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 18.0,
            );
        }
        for tick in y.ticks() {
            let at = y.position(tick);
            let label = short(tick);
            let _infallible = writeln!(
                out,
                "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
            );
        }
        let _infallible = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 12.0,
            escape(&self.x),
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escape(&self.y),
        );
    }
}

fn line(series: &Series, colour: &str, number: usize, (x, y): (Axis, Axis), out: &mut String) {
    let placed: Vec<(f64, f64)> = series
        .points
        .iter()
        .filter(|(at, value)| *at > 0.0 && *value > 0.0)
        .map(|(at, value)| (x.position(*at), y.position(*value)))
        .collect();
    let path: Vec<String> = placed
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let _infallible = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" "),
    );
    for (x, y) in placed {
        let _infallible = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
        );
    }
    let (at, below) = (
        WIDTH - RIGHT + 16.0,
        20.0_f64.mul_add(number as f64, TOP + 10.0),
    );
    let _infallible = writeln!(
        out,
        "<path d=\"M{at} {below}h18\" stroke=\"{colour}\" stroke-width=\"2\"/>\
         <text x=\"{}\" y=\"{}\">{}</text>",
        at + 24.0,
        below + 4.0,
        escape(&series.name),
    );
}

/// A power of ten, as short as it can be read.
fn short(value: f64) -> String {
    match value {
        _ if value >= 999_999.0 => format!("{:.0}M", value / 1e6),
        _ if value >= 999.0 => format!("{:.0}k", value / 1e3),
        _ if value >= 0.999 => format!("{value:.0}"),
        _ => format!("{value}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_powers_of_ten_and_places_between_them() {
        let axis = Axis::of([3.0, 250.0].into_iter(), 0.0, 300.0);
        assert_eq!((axis.low, axis.high), (0, 3));
        assert!((axis.position(1.0) - 0.0).abs() < 1e-9);
        assert!((axis.position(10.0) - 100.0).abs() < 1e-9);
        assert!((axis.position(1_000.0) - 300.0).abs() < 1e-9);
        // A single value still has an axis, and so has none.
        assert_eq!(Axis::of([100.0].into_iter(), 0.0, 1.0).high, 3);
        assert_eq!(Axis::of([0.0].into_iter(), 0.0, 1.0).low, 0);
    }

    #[test]
    fn every_point_above_zero_is_drawn_and_text_is_escaped() {
        let plot = Plot {
            title: "a < b & c".to_owned(),
            x: "resets/s".to_owned(),
            y: "us".to_owned(),
            series: vec![Series {
                name: "kreset".to_owned(),
                points: vec![(0.0, 1.0), (10.0, 2.0), (100.0, 0.0), (1_000.0, 30.0)],
            }],
        };
        let svg = plot.svg();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("<title>a &lt; b &amp; c</title>"), "{svg}");
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn ticks_are_short() {
        let shown: Vec<String> = [0.01, 1.0, 100.0, 1_000.0, 100_000.0, 1e6]
            .into_iter()
            .map(short)
            .collect();
        assert_eq!(shown, ["0.01", "1", "100", "1k", "100k", "1M"]);
    }
}
