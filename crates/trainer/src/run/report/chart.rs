//! A line chart as inline SVG.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// More points than pixels show nothing more.
const MAX_POINTS: usize = 700;

/// One line: its colour, and its points from left to right.
pub(super) struct Series<'a> {
    /// A CSS colour.
    pub(super) colour: &'a str,
    /// `(step, value)`.
    pub(super) points: Vec<(f64, f64)>,
}

/// The chart of `series`, or nothing where there is no finite point.
pub(super) fn line_chart(title: &str, series: &[Series<'_>]) -> String {
    let all = || series.iter().flat_map(|s| s.points.iter()).filter(|(x, y)| x.is_finite() && y.is_finite());
    let Some(&(x0, y0)) = all().next() else { return String::new() };
    let (mut x_min, mut x_max, mut y_min, mut y_max) = (x0, x0, y0, y0);
    for &(x, y) in all() {
        (x_min, x_max) = (x_min.min(x), x_max.max(x));
        (y_min, y_max) = (y_min.min(y), y_max.max(y));
    }
    // A flat line is drawn in the middle.
    if y_max - y_min <= f64::EPSILON * y_max.abs() {
        (y_min, y_max) = (y_min - y_min.abs().max(1.0) * 0.5, y_max + y_max.abs().max(1.0) * 0.5);
    }
    let x_span = if x_max > x_min { x_max - x_min } else { 1.0 };
    let x_at = |x: f64| LEFT + (x - x_min) / x_span * (WIDTH - LEFT - RIGHT);
    let y_at = |y: f64| TOP + (y_max - y) / (y_max - y_min) * (HEIGHT - TOP - BOTTOM);

    let mut svg =
        format!("<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for i in 0..=4 {
        let y = y_min + (y_max - y_min) * f64::from(i) / 4.0;
        let at = y_at(y);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" class=\"grid\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            tick(y)
        );
    }
    for (x, anchor) in [(x_min, "start"), (x_max, "end")] {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">step {x}</text>",
            x_at(x),
            HEIGHT - 8.0
        );
    }
    for s in series {
        let points = thinned(&s.points).map(|(x, y)| format!("{:.1},{:.1}", x_at(x), y_at(y))).collect::<Vec<_>>();
        match points.as_slice() {
            [] => {}
            [only] => {
                let (x, y) = only.split_once(',').unwrap_or_default();
                let _ = write!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{}\"/>", s.colour);
            }
            _ => {
                let _ = write!(svg, "<polyline points=\"{}\" stroke=\"{}\"/>", points.join(" "), s.colour);
            }
        }
    }
    svg.push_str("</svg></figure>\n");
    svg
}

/// A running mean that follows the points with a lag of about `window` of them.
pub(super) fn smoothed(points: &[(f64, f64)], window: f64) -> Vec<(f64, f64)> {
    let decay = 1.0 - 1.0 / window.max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    points
        .iter()
        .map(|&(x, y)| {
            sum = sum * decay + y;
            weight = weight * decay + 1.0;
            (x, sum / weight)
        })
        .collect()
}

/// Every so many-th finite point, the last included.
fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let every = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.iter().enumerate().filter(move |(i, _)| i % every == 0 || *i == last).map(|(_, p)| *p);
    kept.filter(|(x, y)| x.is_finite() && y.is_finite())
}

fn tick(value: f64) -> String {
    match value.abs() {
        x if x != 0.0 && !(1e-2..1e5).contains(&x) => format!("{value:.1e}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> String {
        line_chart("loss", &[Series { colour: "#000", points: points.to_vec() }])
    }

    #[test]
    fn lines_points_and_nothing() {
        assert_eq!(chart(&[]), "");
        assert_eq!(chart(&[(1.0, f64::NAN)]), "");
        assert!(chart(&[(1.0, 2.0)]).contains("<circle cx=\"64.0\" cy=\"102.0\""));
        assert!(chart(&[(1.0, 2.0), (2.0, 1.0)]).contains("points=\"64.0,12.0 708.0,192.0\""));
        assert!(!chart(&[(1.0, 0.0), (2.0, 0.0)]).contains("NaN"));
    }

    #[test]
    fn a_long_run_is_thinned() {
        let points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        assert!(chart(&points).len() < 20_000);
        assert_eq!(smoothed(&[(0.0, 2.0), (1.0, 2.0)], 10.0)[1].1, 2.0);
    }
}
