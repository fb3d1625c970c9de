//! Writes the page of `coverage --html`: one HTML file without external resources.
//!
//! All text from disks is escaped for its place: markup, JSON in a script element, and plotly
//! labels, which may contain markup. The content security policy of the page forbids all requests.

use std::io::{Read, Write};
use std::path::Path;

use flate2::read::ZlibDecoder;
use omega_slices::{
    Coverage, Error, HeatMap, PriceType, SeriesCoverage, SymbolCoverage, short_timestamp,
};
use plotly::common::HoverInfo;
use plotly::configuration::{DisplayModeBar, DoubleClick, ModeBarButtonName};
use plotly::layout::{Axis, AxisRange, AxisType, DragMode, HoverMode, Layout, Margin};
use plotly::{Configuration, HeatMap as HeatMapTrace, Plot};
use serde::Serialize;
use serde_json::json;

use crate::cli::atomic_file::{Named, Target};

use super::text::{answer, grouped, percent};
use crate::cli::messages::printable;

const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

/// Rows of a table to show at first: browsers take seconds to lay out thousands.
const FIRST_ROWS: usize = 200;

/// Checks the target of the page before any work is done.
pub fn check(target: &Path, force: bool) -> Result<Target, Error> {
    match Target::check(target, force)? {
        Named::File(target) => Ok(target),
        Named::Device => Err(
            Error::system("cannot write the page: expected a regular file")
                .at_file(target)
                .with_hint("name a file such as coverage.html"),
        ),
    }
}

/// Writes the page; the file appears only when it is complete.
pub fn write(target: Target, coverage: &Coverage) -> Result<(), Error> {
    let output = target.create()?;
    let written = output.file().write_all(page(coverage).as_bytes());
    written.map_err(|error| {
        let what = format!("cannot write the page: {error}");
        output.name_target(Error::system(what).with_source(error))
    })?;
    output.commit().map(drop)
}

/// The whole page.
fn page(coverage: &Coverage) -> String {
    let paragraphs: String = answer(coverage)
        .lines()
        .map(|line| format!("<p class=\"answer\">{}</p>\n", escaped(line)))
        .collect();
    let price_types: Vec<_> = coverage
        .price_types
        .iter()
        .copied()
        .map(PriceType::as_str)
        .collect();
    let map = &coverage.heat_map;
    let has_map = !map.timestamps().is_empty();
    let (plotly, figure) = if has_map {
        (plotly_script(), figure(map, &harm_order(coverage)))
    } else {
        (String::new(), "null".to_owned())
    };
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'">
<meta name="generator" content="omega-slices {version}">
<link rel="icon" href="data:,">
<title>Coverage of {series} series, {timeframe}</title>
<style>
{css}</style>
</head>
<body>
<header>
<h1>Coverage of {series} series</h1>
<p class="quiet">{symbols}, candles of {timeframe}, {price_types}. All times are UTC.</p>
</header>
<main>
<section aria-label="Why there are so few slices">
{paragraphs}{tiles}</section>
{map}{symbol_table}{series_table}</main>
<div id="tip" role="presentation" hidden></div>
<script id="figure" type="application/json">{figure}</script>
<script id="counts" type="application/json">{counts}</script>
{plotly}<script>
{script}</script>
</body>
</html>
"#,
        version = env!("CARGO_PKG_VERSION"),
        series = grouped(coverage.series.len() as u64),
        symbols = match coverage.symbols.len() {
            1 => "1 symbol".to_owned(),
            symbols => format!("{} symbols", grouped(symbols as u64)),
        },
        timeframe = escaped(&coverage.timeframe),
        price_types = price_types.join(", "),
        css = include_str!("page.css"),
        tiles = tiles(coverage),
        map = if has_map {
            map_section(map)
        } else {
            String::new()
        },
        symbol_table = symbol_table(coverage),
        series_table = series_table(coverage),
        counts = in_script(&counts(map, &harm_order(coverage))),
        script = include_str!("page.js"),
    )
}

fn tiles(coverage: &Coverage) -> String {
    let (both, union) = (coverage.intersection_timestamps, coverage.union_timestamps);
    let tiles = [
        ("timestamps of the union", grouped(union)),
        ("in the intersection", grouped(both)),
        ("share", percent(both, union)),
        ("lost", grouped(union - both)),
    ];
    let tiles: String = tiles
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!("<dl class=\"tiles\">{tiles}</dl>\n")
}

fn map_section(map: &HeatMap) -> String {
    let bars = map.bars_per_bin();
    let bin = if bars == 1 {
        "one bar".to_owned()
    } else {
        format!("{} bars", grouped(bars))
    };
    let views = [
        ("state", "State"),
        ("present", "Present"),
        ("one_sided", "One-sided"),
        ("missing", "Missing"),
        ("dropped", "Dropped"),
    ];
    let buttons: String = views
        .iter()
        .map(|(view, title)| {
            let pressed = *view == "state";
            format!("<button type=\"button\" data-view=\"{view}\" aria-pressed=\"{pressed}\">{title}</button>")
        })
        .collect();
    format!(
        r#"<section aria-labelledby="map-title">
<h2 id="map-title">Symbols over time</h2>
<p class="quiet">A row is a symbol, the costliest on top; a column is a bin of {bin}, UTC. Missing counts
only timestamps of the union: where no symbol has a candle, nothing is missing and the map stays blank. Drag over the map
to zoom in, double-click to see it whole, and point at a cell to read its counts.</p>
<div class="views" role="group" aria-label="What the map shows">{buttons}<button type="button" class="apart" id="whole">Whole map</button></div>
<figure>
<div id="map" role="img" aria-labelledby="map-title" aria-describedby="view-caption"></div>
<figcaption id="view-caption"></figcaption>
</figure>
<p id="readout" aria-live="polite">Point at a cell to read it.</p>
</section>
"#
    )
}

/// The symbols by harm, as indexes into the heat map.
fn harm_order(coverage: &Coverage) -> Vec<usize> {
    let symbols = coverage.heat_map.symbols().iter().enumerate();
    let places: std::collections::HashMap<_, _> =
        symbols.map(|(place, symbol)| (symbol, place)).collect();
    coverage
        .symbols
        .iter()
        .map(|one| places[&one.symbol])
        .collect()
}

/// The part of the figure that is independent of the view and of the page colours.
fn figure(map: &HeatMap, order: &[usize]) -> String {
    let bins = map.timestamps().len();
    let edges: Vec<i64> = (0..=bins).map(|bin| milliseconds(map, bin)).collect();
    let names = order
        .iter()
        .map(|&place| label(&map.symbols()[place]))
        .collect();
    let span = AxisRange::from(vec![edges[0], edges[bins]]);
    let all_symbols = AxisRange::from(vec![order.len() as f64 - 0.5, -0.5]);
    let trace = HeatMapTrace::new(edges, names, Vec::<Vec<f64>>::new())
        .hover_info(HoverInfo::None)
        .hover_on_gaps(true);
    // Rows are tall enough to tell apart, and the map fits two screens.
    let height = (order.len() * 24).clamp(120, 1_400) + 90;
    let mut plot = Plot::new();
    plot.add_trace(trace);
    plot.set_layout(
        Layout::new()
            .height(height)
            .margin(Margin::new().left(20).right(20).top(30).bottom(40))
            .drag_mode(DragMode::Zoom)
            .hover_mode(HoverMode::Closest)
            .x_axis(
                Axis::new()
                    .type_(AxisType::Date)
                    .range(span)
                    .show_grid(false)
                    .auto_margin(true),
            )
            .y_axis(
                Axis::new()
                    .type_(AxisType::Category)
                    .range(all_symbols)
                    .show_grid(false)
                    .auto_margin(true),
            ),
    );
    plot.set_configuration(
        Configuration::new()
            .responsive(true)
            .display_logo(false)
            .display_mode_bar(DisplayModeBar::True)
            .double_click(DoubleClick::Reset)
            .typeset_math(false)
            .mode_bar_buttons_to_remove(vec![
                ModeBarButtonName::Select2d,
                ModeBarButtonName::Lasso2d,
                ModeBarButtonName::AutoScale2d,
            ]),
    );
    in_script_text(&plot.to_json())
}

/// The counts of the map, as the script reads them.
fn counts(map: &HeatMap, order: &[usize]) -> impl Serialize {
    let of = |count: fn(&omega_slices::HeatMapCell) -> u64| -> Vec<Vec<u64>> {
        let rows = order
            .iter()
            .map(|&place| map.cells(place).iter().map(count).collect());
        rows.collect()
    };
    json!({
        "first_ms": milliseconds(map, 0),
        "bin_ms": milliseconds(map, 1) - milliseconds(map, 0),
        "symbols": order.iter().map(|&place| printable(&map.symbols()[place])).collect::<Vec<_>>(),
        "timestamps": map.timestamps(),
        "one_sided": of(|cell| cell.one_sided),
        "missing": of(|cell| cell.missing),
        "dropped": of(|cell| cell.dropped),
    })
}

/// The start of a bin in milliseconds; bars open at whole seconds.
fn milliseconds(map: &HeatMap, bin: usize) -> i64 {
    map.start_ns(bin).div_euclid(NANOSECONDS_PER_MILLISECOND)
}

/// The script of plotly, as the build has compressed it.
fn plotly_script() -> String {
    const COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/plotly.html.zz"));
    let mut script = String::new();
    ZlibDecoder::new(COMPRESSED)
        .read_to_string(&mut script)
        .expect("the build compressed a text");
    script.push('\n');
    script
}

fn symbol_table(coverage: &Coverage) -> String {
    let union = coverage.union_timestamps;
    let row = |one: &SymbolCoverage| {
        [
            name_cell(&one.symbol),
            count_cell(one.alone),
            share_cell(one.complete, union),
            count_cell(one.complete),
            count_cell(one.one_sided),
            count_cell(one.missing),
            count_cell(one.crossed),
        ]
        .concat()
    };
    let caption = "Counts of union timestamps at which a symbol has all price types (complete), some (one-sided) or \
                   none (missing). Alone: it is the only symbol that keeps the timestamp out of the intersection. \
                   Crossed: its bid closes above its ask.";
    table(
        "Symbols, by harm",
        caption,
        &[
            ("symbol", Kind::Words),
            ("alone", Kind::Number),
            ("share complete", Kind::Number),
            ("complete", Kind::Number),
            ("one-sided", Kind::Number),
            ("missing", Kind::Number),
            ("crossed", Kind::Number),
        ],
        coverage.symbols.iter().map(row),
    )
}

fn series_table(coverage: &Coverage) -> String {
    let row = |one: &SeriesCoverage| {
        let report = &one.report;
        let price_type = report.price_type.map_or("", PriceType::as_str);
        let longest = one.gaps.longest.map(|gap| {
            let (before, after) = (
                short_timestamp(gap.last_before_ns),
                short_timestamp(gap.first_after_ns),
            );
            (
                gap.bars,
                format!("{} between {before} and {after}", grouped(gap.bars)),
            )
        });
        let (longest_bars, longest) = longest.unwrap_or((0, "-".to_owned()));
        let instant = |at: Option<i64>| {
            let text = at.map_or("-".to_owned(), short_timestamp);
            format!("<td class=\"words\">{text}</td>")
        };
        let faults = &one.inconsistent;
        [
            name_cell(&format!("{} {price_type}", report.symbol)),
            count_cell(one.alone),
            count_cell(one.misses),
            share_cell(report.candles, report.candles + one.misses),
            count_cell(report.candles),
            count_cell(one.gaps.count),
            count_cell(one.gaps.bars),
            format!("<td class=\"words\" data-value=\"{longest_bars}\">{longest}</td>"),
            count_cell(report.files as u64),
            count_cell(report.rows),
            count_cell(report.outside_window()),
            count_cell(report.outside_session),
            count_cell(report.duplicates),
            count_cell(report.conflicting_duplicates),
            count_cell(faults.high_below_low),
            count_cell(faults.outside_range),
            count_cell(faults.negative_volume),
            count_cell(faults.not_finite),
            instant(report.first_timestamp_ns),
            instant(report.last_timestamp_ns),
        ]
        .concat()
    };
    let caption = "Misses: union timestamps without a candle of the series. Alone: those at which only this series lacks a candle. \
                   Gaps lie between its own candles and count bars that the session filter keeps. The other columns count \
                   its rows, the rows that each rule dropped, timestamps with differing duplicates, and inconsistent candles.";
    table(
        "Series, by harm",
        caption,
        &[
            ("series", Kind::Words),
            ("alone", Kind::Number),
            ("misses", Kind::Number),
            ("share", Kind::Number),
            ("candles", Kind::Number),
            ("gaps", Kind::Number),
            ("bars in gaps", Kind::Number),
            ("longest gap", Kind::WordsByNumber),
            ("files", Kind::Number),
            ("rows", Kind::Number),
            ("outside window", Kind::Number),
            ("outside session", Kind::Number),
            ("duplicates", Kind::Number),
            ("conflicting duplicates", Kind::Number),
            ("high < low", Kind::Number),
            ("open or close outside", Kind::Number),
            ("volume < 0", Kind::Number),
            ("not finite", Kind::Number),
            ("first candle", Kind::Words),
            ("last candle", Kind::Words),
        ],
        coverage.series.iter().map(row),
    )
}

/// The kind of values in a column, which decides how it is sorted.
#[derive(Clone, Copy)]
enum Kind {
    Words,
    Number,
    WordsByNumber,
}

fn table(
    title: &str,
    caption: &str,
    columns: &[(&str, Kind)],
    rows: impl Iterator<Item = String>,
) -> String {
    let header = |&(name, kind): &(&str, Kind)| {
        let attributes = match kind {
            Kind::Words => " class=\"words\"",
            Kind::Number => " data-number",
            Kind::WordsByNumber => " class=\"words\" data-number",
        };
        let name = escaped(name);
        format!("<th scope=\"col\"{attributes}><button type=\"button\">{name}</button></th>")
    };
    let header: String = columns.iter().map(header).collect();
    let rows: Vec<String> = rows
        .enumerate()
        .map(|(place, row)| {
            let hidden = if place < FIRST_ROWS { "" } else { " hidden" };
            format!("<tr{hidden}>{row}</tr>\n")
        })
        .collect();
    let all = if rows.len() > FIRST_ROWS {
        format!(
            "<p><button type=\"button\" class=\"all\">Show all {}</button></p>\n",
            grouped(rows.len() as u64)
        )
    } else {
        String::new()
    };
    let rows = rows.concat();
    format!(
        r#"<section>
<h2>{title}</h2>
<p class="quiet">{caption}</p>
<div class="scroll" tabindex="0" role="region" aria-label="{title}">
<table data-first-rows="{FIRST_ROWS}">
<thead><tr>{header}</tr></thead>
<tbody>
{rows}</tbody>
</table>
</div>
{all}</section>
"#
    )
}

fn name_cell(name: &str) -> String {
    format!(
        "<th scope=\"row\"><bdi>{}</bdi></th>",
        escaped(&printable(name))
    )
}

fn count_cell(count: u64) -> String {
    let class = if count == 0 { " class=\"zero\"" } else { "" };
    format!("<td{class} data-value=\"{count}\">{}</td>", grouped(count))
}

fn share_cell(part: u64, all: u64) -> String {
    let share = if all == 0 {
        0.0
    } else {
        part as f64 / all as f64
    };
    format!("<td data-value=\"{share}\">{}</td>", percent(part, all))
}

/// Escapes text for markup, between tags or in quotes.
fn escaped(text: &str) -> String {
    let mut markup = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            '\'' => markup.push_str("&#39;"),
            _ => markup.push(character),
        }
    }
    markup
}

/// Escapes a name for a plotly label, which may contain markup and entities.
fn label(name: &str) -> String {
    escaped(&printable(name))
}

/// JSON for a script element, which would end at the first `</script`.
fn in_script(document: &impl Serialize) -> String {
    let text = serde_json::to_string(document);
    in_script_text(&text.expect("strings, numbers and lists are JSON"))
}

fn in_script_text(json: &str) -> String {
    // JSON contains this character only in strings.
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_end_the_place_it_stands_in() {
        assert_eq!(
            escaped("<script a=\"1\" b='2'>&amp;"),
            "&lt;script a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;amp;"
        );
        let text = in_script(&["</script><!--"]);
        assert!(!text.contains('<'), "{text}");
        let read: Vec<String> = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, ["</script><!--"]);
    }

    #[test]
    fn the_script_is_that_of_plotly_and_ends_once() {
        let script = plotly_script();
        assert!(script.starts_with("<script"));
        assert!(script.contains("plotly.js v"));
        assert_eq!(script.matches("</script>").count(), 1);
        assert!(!script.contains("MathJax.loader"));
    }
}
