//! Line and bar plots as SVG. Their colours are legible on light and on dark pages.

use std::fmt::Write;

use anyhow::Context;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;

const STYLE: &str = "<style>text{font:13px system-ui,sans-serif;fill:#57606a}.grid{stroke:#8c959f;stroke-opacity:.3}\
     .mark{stroke:#57606a;stroke-dasharray:3 3}.c0{stroke:#0969da;fill:#0969da}.c1{stroke:#bf8700;fill:#bf8700}\
     .c2{stroke:#cf222e;fill:#cf222e}.line{fill:none;stroke-width:2}.bar{stroke:none}.strong{fill:#24292f}\
     @media(prefers-color-scheme:dark){text{fill:#9198a1}.strong{fill:#e6edf3}.mark{stroke:#9198a1}\
     .c0{stroke:#4493f8;fill:#4493f8}.c1{stroke:#d29922;fill:#d29922}.c2{stroke:#f85149;fill:#f85149}}</style>";

/// One line of a plot.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// An axis from 0 with ticks at round numbers.
struct Axis {
    end: f64,
    step: f64,
}

impl Axis {
    fn up_to(max: f64) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let power = 10_f64.powf((max / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|it| it * power).find(|step| step * 5.0 >= max);
        let step = step.unwrap_or(max);
        Self { end: (max / step).ceil() * step, step }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0_u8..=10).map(|index| f64::from(index) * self.step).take_while(|tick| *tick <= self.end * 1.001)
    }

    /// The position of a value, from 0 to 1.
    fn fraction(&self, value: f64) -> f64 {
        value / self.end
    }
}

/// A tick's label, without trailing zeros.
fn tick_label(value: f64) -> String {
    if value >= 1_000.0 {
        crate::thousands::with_thousands_separators(value)
    } else {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn svg_start(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\">{STYLE}\n"
    )
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

fn line(svg: &mut String, class: &str, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\"/>");
}

/// A plot of lines, labelled at their ends.
pub(crate) fn lines(x_label: &str, y_label: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| &series.points).filter(|(_, y)| y.is_finite());
    let x_axis = Axis::up_to(points().map(|(x, _)| *x).fold(0.0, f64::max));
    let y_axis = Axis::up_to(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let x_of = |x: f64| LEFT + x_axis.fraction(x) * (WIDTH - LEFT - RIGHT);
    let y_of = |y: f64| HEIGHT - BOTTOM - y_axis.fraction(y) * (HEIGHT - TOP - BOTTOM);
    let mut svg = svg_start(HEIGHT);
    for tick in y_axis.ticks() {
        line(&mut svg, "grid", (LEFT, y_of(tick)), (WIDTH - RIGHT, y_of(tick)));
        text(&mut svg, (LEFT - 8.0, y_of(tick) + 4.0), "end", &tick_label(tick));
    }
    for tick in x_axis.ticks() {
        text(&mut svg, (x_of(tick), HEIGHT - BOTTOM + 18.0), "middle", &tick_label(tick));
    }
    text(&mut svg, (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 8.0), "middle", x_label);
    let middle = f64::midpoint(HEIGHT - BOTTOM, TOP);
    let _ = writeln!(
        svg,
        "<text x=\"14\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle})\">{y_label}</text>"
    );
    let mut labels = Vec::new();
    for (index, Series { name, points }) in series.iter().enumerate() {
        let drawn: Vec<_> = points.iter().filter(|(_, y)| y.is_finite()).map(|(x, y)| (x_of(*x), y_of(*y))).collect();
        let path: Vec<_> = drawn.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"line c{}\" points=\"{}\"/>", index % 3, path.join(" "));
        labels.extend(drawn.last().map(|end| (*end, name)));
    }
    // Labels that would overlap are moved up, from the lowest on.
    labels.sort_by(|((_, one), _), ((_, other), _)| other.total_cmp(one));
    let mut lowest_free = f64::INFINITY;
    for ((x, y), name) in labels {
        lowest_free = (lowest_free - 15.0).min(y + 4.0);
        text(&mut svg, (x + 6.0, lowest_free), "start", name);
    }
    svg.push_str("</svg>\n");
    svg
}

/// One bar, with a label at its end and marks across it.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) label: String,
    pub(crate) marks: Vec<f64>,
}

const BAR_HEIGHT: f64 = 18.0;
const ROW_HEIGHT: f64 = 28.0;
const NAMES_WIDTH: f64 = 350.0;

/// A plot of horizontal bars from text: each line has a name, a value and a label, separated by tabs.
pub(crate) fn bars_of_table(x_label: &str, table: &str) -> anyhow::Result<String> {
    let bar = |line: &str| {
        let mut cells = line.split('\t').map(str::to_owned);
        let mut next = || cells.next().with_context(|| format!("not three cells: {line}"));
        let (name, value, label) = (next()?, next()?.parse()?, next()?);
        anyhow::Ok(Bar { name, value, label, marks: Vec::new() })
    };
    Ok(bars(x_label, &table.lines().map(bar).collect::<Result<Vec<_>, _>>()?))
}

/// A plot of horizontal bars.
pub(crate) fn bars(x_label: &str, bars: &[Bar]) -> String {
    let marks = bars.iter().flat_map(|bar| bar.marks.iter().copied());
    let axis = Axis::up_to(bars.iter().map(|bar| bar.value).chain(marks).fold(0.0, f64::max));
    let x_of = |x: f64| NAMES_WIDTH + axis.fraction(x) * (WIDTH - NAMES_WIDTH - RIGHT);
    let end = TOP + ROW_HEIGHT * crate::statistics::to_f64(bars.len());
    let mut svg = svg_start(end + BOTTOM);
    for tick in axis.ticks() {
        line(&mut svg, "grid", (x_of(tick), TOP), (x_of(tick), end));
        text(&mut svg, (x_of(tick), end + 18.0), "middle", &tick_label(tick));
    }
    text(&mut svg, (f64::midpoint(NAMES_WIDTH, WIDTH - RIGHT), end + 40.0), "middle", x_label);
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + ROW_HEIGHT * crate::statistics::to_f64(index) + (ROW_HEIGHT - BAR_HEIGHT) / 2.0;
        let width = (x_of(bar.value) - NAMES_WIDTH).max(1.0);
        let _ = writeln!(
            svg,
            "<rect class=\"bar c0\" x=\"{NAMES_WIDTH}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>"
        );
        for mark in &bar.marks {
            line(&mut svg, "mark", (x_of(*mark), y - 4.0), (x_of(*mark), y + BAR_HEIGHT + 4.0));
        }
        text(&mut svg, (NAMES_WIDTH - 8.0, y + 14.0), "end", &bar.name);
        let last = bar.marks.iter().copied().fold(bar.value, f64::max);
        text(&mut svg, (x_of(last) + 8.0, y + 14.0), "start", &bar.label);
    }
    svg.push_str("</svg>\n");
    svg
}
