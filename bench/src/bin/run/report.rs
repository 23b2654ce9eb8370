//! Tables in markdown, plots in SVG.

use std::fmt::Write as _;

/// The median of some figures, with the least and the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        Self { median: figures[figures.len() / 2], least: figures[0], most: figures[figures.len() - 1] }
    }

    pub(crate) fn shown(self, digits: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
    }
}

/// What was run, and the head of its table.
pub(crate) fn heading(title: &str, rounds: usize, columns: &[&str]) -> String {
    let version = std::env::var("KAFKA_VERSION").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "\n### {title}\n\nApache Kafka {version}, {rounds} rounds, {cores} cores; median (least-most).\n\n| {} |\n|{}\n",
        columns.join(" | "),
        "---|".repeat(columns.len())
    )
}

pub(crate) fn row(name: &str, cells: &[String]) -> String {
    format!("| {name} | {} |\n", cells.join(" | "))
}

/// Bars, one below the other, with a line from the least to the most.
pub(crate) fn plot(title: &str, bars: &[(&str, Spread)]) -> String {
    const LEFT: usize = 230;
    const WIDTH: f64 = 520.0;
    const STEP: usize = 24;
    let top = bars.iter().map(|(_, spread)| spread.most).fold(1.0, f64::max);
    let height = 40 + bars.len() * STEP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"820\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\" \
         font-weight=\"bold\">{title}</text>\n"
    );
    for (index, (name, spread)) in bars.iter().enumerate() {
        let y = 36 + index * STEP;
        let x = |value: f64| LEFT as f64 + value / top * WIDTH;
        let colour = if name.starts_with("ours") { "#2b6cb0" } else { "#a0aec0" };
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\n<rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" \
             height=\"16\" fill=\"{colour}\"/>\n<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"black\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{:.0}</text>\n",
            LEFT - 8,
            y + 13,
            x(spread.median) - LEFT as f64,
            x(spread.least),
            x(spread.most),
            y + 8,
            y + 8,
            x(spread.most) + 6.0,
            y + 13,
            spread.median,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
