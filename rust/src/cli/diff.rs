//! Runs `diff`: compares two files or streams and prints the result as text or JSON.

use std::fmt::{Display, Write};
use std::path::Path;

use omega_slices::diff::{Cell, Differing, FirstDifference, ListDifference, OneSided};
use omega_slices::ipc::SliceReader;
use omega_slices::{
    Diff, Error, Tolerance, check_readable, diff, short_timestamp, without_file_scheme,
};
use serde::Serialize;

use crate::cli::Answer;
use crate::cli::args::DiffArguments;
use crate::cli::messages::one_line;
use crate::cli::stdout;

/// Maximum number of columns or symbols to list; the rest is counted.
const ROWS_SHOWN: usize = 10;

/// Maximum number of names to list; the rest is counted.
const NAMES_SHOWN: usize = 10;

/// Reads both sides to their ends, then writes the report. Writes none if a side is damaged.
pub fn run(arguments: &DiffArguments) -> Result<Answer, Error> {
    let tolerance = arguments.check()?;
    // Check both paths first: a path that is never readable is reported before anything is opened.
    let sides = [&arguments.a, &arguments.b];
    let [a, b] = sides.map(|side| without_file_scheme(side.clone()));
    check_readable(&a.to_string_lossy())?;
    check_readable(&b.to_string_lossy())?;
    let storage = arguments.storage.open()?;
    let a = SliceReader::open(&a, &storage)?;
    let b = SliceReader::open(&b, &storage)?;
    let symbols = a.content().symbols.len();
    let found = diff(a, b, tolerance)?;
    let labels = Labels::new(&arguments.a, &arguments.b);
    stdout::unless_closed(if arguments.json {
        stdout::json(&Document {
            equal: found.is_equal(),
            a: &labels.a,
            b: &labels.b,
            tolerance: Cell::Number(tolerance.limit()),
            diff: &found,
        })
    } else if found.is_equal() {
        stdout::text(&equal_text(&found, &labels, symbols, tolerance))
    } else {
        stdout::text(&difference_text(&found, &labels, tolerance))
    })?;
    Ok(if found.is_equal() {
        Answer::Yes
    } else {
        Answer::No
    })
}

/// The whole result as one JSON document.
#[derive(Serialize)]
struct Document<'a> {
    equal: bool,
    a: &'a str,
    b: &'a str,
    tolerance: Cell,
    #[serde(flatten)]
    diff: &'a Diff,
}

/// The names of both sides, as the user gave them.
struct Labels {
    a: String,
    b: String,
}

impl Labels {
    fn new(a: &Path, b: &Path) -> Self {
        let label = |path: &Path| match path.to_string_lossy().as_ref() {
            "-" => "stdin".to_owned(),
            name => name.to_owned(),
        };
        Self {
            a: label(a),
            b: label(b),
        }
    }
}

fn equal_text(found: &Diff, labels: &Labels, symbols: usize, tolerance: Tolerance) -> String {
    let mut text = format!(
        "{} and {} are equal{}: {} of {}",
        labels.a,
        labels.b,
        within(tolerance),
        counted(found.slices.both, "slice"),
        counted(symbols as u64, "symbol"),
    );
    if let Some(note) = metadata_note(found) {
        let _ = write!(text, " ({note})");
    }
    one_line(&text) + "\n"
}

fn difference_text(found: &Diff, labels: &Labels, tolerance: Tolerance) -> String {
    let mut page = Page::new(labels);
    add_structure(&mut page, found, labels);
    if let Some(first) = &found.first_difference {
        add_first(&mut page, first, labels);
    }
    add_counts(&mut page, found, labels, tolerance);
    page.table("column", &found.by_column);
    page.table("symbol", &found.by_symbol);
    if let Some(note) = metadata_note(found) {
        page.paragraph(&format!("note: {note}"));
    }
    page.text
}

/// Lists differences of structure, which limit the comparison of values.
fn add_structure(page: &mut Page, found: &Diff, labels: &Labels) {
    let mut say = |what: &str, difference: &ListDifference| {
        let ListDifference {
            only_in_a,
            only_in_b,
            reordered,
            ..
        } = difference;
        for (names, label) in [(only_in_a, &labels.a), (only_in_b, &labels.b)] {
            if !names.is_empty() {
                page.line(&format!("{what} only in {label}: {}", some_of(names)));
            }
        }
        if *reordered {
            page.line(&format!("{what} come in another order"));
        }
    };
    if let Some(symbols) = &found.symbols {
        say("symbols", symbols);
    }
    if let Some(columns) = &found.columns {
        say("columns", columns);
    }
    if let Some(pair) = &found.timeframe {
        page.line(&format!(
            "timeframe is {} in {}, {} in {}",
            pair.a, labels.a, pair.b, labels.b
        ));
    }
    if !found.values_compared {
        page.line("values were not compared: the symbols differ");
    } else if found.columns.is_some() {
        page.line("values were compared in the common columns only");
    }
}

/// Describes the first difference: time, symbol, field and both values.
fn add_first(page: &mut Page, first: &FirstDifference, labels: &Labels) {
    page.paragraph("first difference");
    match first {
        FirstDifference::Value(one) => {
            page.entry("timestamp", short_timestamp(one.timestamp_ns));
            page.entry("symbol", &one.symbol);
            page.entry("field", &one.column);
            page.entry(&labels.a, value_text(one.a, &one.column));
            page.entry(&labels.b, value_text(one.b, &one.column));
            if let Some(difference) = difference_of(one.a, one.b) {
                page.entry("difference", difference);
            }
            let (a, b) = (one.slice.a, one.slice.b);
            if a == b {
                page.entry("slice", format_args!("{a} (the first is 0)"));
            } else {
                page.entry("slice", format_args!("{a} and {b} (the first is 0)"));
            }
        }
        FirstDifference::OnlyInA(one) | FirstDifference::OnlyInB(one) => {
            page.entry("timestamp", short_timestamp(one.timestamp_ns));
            let has = format!("slice {} (the first is 0)", one.slice);
            let (a, b) = match first {
                FirstDifference::OnlyInA(_) => (has.as_str(), "no slice"),
                _ => ("no slice", has.as_str()),
            };
            page.entry(&labels.a, a);
            page.entry(&labels.b, b);
        }
        _ => {}
    }
}

fn add_counts(page: &mut Page, found: &Diff, labels: &Labels, tolerance: Tolerance) {
    page.paragraph("slices");
    let slices = &found.slices;
    let side = |slices: u64, lone: &OneSided| {
        if lone.slices == 0 {
            return slices.to_string();
        }
        let shown: Vec<_> = lone
            .first_timestamps_ns
            .iter()
            .map(|&timestamp_ns| short_timestamp(timestamp_ns))
            .collect();
        let more = if lone.slices > shown.len() as u64 {
            ", …"
        } else {
            ""
        };
        format!(
            "{slices}, {} only here: {}{more}",
            lone.slices,
            shown.join(", ")
        )
    };
    page.entry(&labels.a, side(slices.a, &found.only_in_a));
    page.entry(&labels.b, side(slices.b, &found.only_in_b));
    page.entry("in both", slices.both);
    if found.values_compared {
        page.entry(
            "differing",
            format_args!(
                "{}, in {}{}",
                slices.differing,
                counted(found.differing_values, "value"),
                beyond(tolerance)
            ),
        );
    }
}

/// The text report: paragraphs, aligned entries and tables.
struct Page {
    text: String,
    /// Width of the labels of entries.
    width: usize,
}

impl Page {
    fn new(labels: &Labels) -> Self {
        let words = ["difference", &labels.a, &labels.b];
        Self {
            text: String::new(),
            width: words
                .map(|word| word.chars().count())
                .into_iter()
                .max()
                .unwrap_or(0),
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(&one_line(line));
        self.text.push('\n');
    }

    /// Adds a line, after an empty one unless it is the first.
    fn paragraph(&mut self, line: &str) {
        if !self.text.is_empty() {
            self.line("");
        }
        self.line(line);
    }

    fn entry(&mut self, word: &str, value: impl Display) {
        let width = self.width;
        self.line(&format!("  {word:<width$}  {value}"));
    }

    /// Adds a table of differing values, the most differences first.
    fn table(&mut self, what: &str, rows: &[Differing]) {
        if rows.is_empty() {
            return;
        }
        let mut rows: Vec<_> = rows.iter().collect();
        // A stable sort keeps ties in the order of the slices.
        rows.sort_by_key(|row| std::cmp::Reverse(row.values));
        let shown = &rows[..rows.len().min(ROWS_SHOWN)];
        let names = shown.iter().map(|row| row.name.chars().count());
        let width = names.chain([what.len()]).max().unwrap_or(0);
        self.paragraph(&format!(
            "  {what:<width$}  {:>12}  largest difference",
            "values"
        ));
        for row in shown {
            let largest = row
                .largest_difference
                .map_or("no two numbers".to_owned(), |largest| {
                    format!("{largest:?}")
                });
            self.line(&format!(
                "  {:<width$}  {:>12}  {largest}",
                row.name, row.values
            ));
        }
        if rows.len() > shown.len() {
            self.line(&format!("  … and {} more", rows.len() - shown.len()));
        }
    }
}

fn value_text(value: Cell, column: &str) -> String {
    match value {
        Cell::Absent if column.starts_with("ind_") => "no value".to_owned(),
        Cell::Number(number) => format!("{number:?}"),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Timestamp(timestamp_ns) => short_timestamp(timestamp_ns),
        _ => "no candle".to_owned(),
    }
}

/// The distance of two values, if they have one.
fn difference_of(a: Cell, b: Cell) -> Option<String> {
    match (a, b) {
        (Cell::Number(a), Cell::Number(b)) if a.is_finite() && b.is_finite() => {
            Some(format!("{:?}", (a - b).abs()))
        }
        (Cell::Timestamp(a), Cell::Timestamp(b)) => {
            let ns = a.abs_diff(b);
            Some(if ns.is_multiple_of(1_000_000_000) {
                format!("{} s", ns / 1_000_000_000)
            } else {
                format!("{ns} ns")
            })
        }
        _ => None,
    }
}

/// Lists metadata differences, which do not make the sides unequal.
fn metadata_note(found: &Diff) -> Option<String> {
    let names: Vec<_> = found.metadata.iter().map(|one| one.name.clone()).collect();
    (!names.is_empty())
        .then(|| format!("metadata differ, which does not count: {}", some_of(&names)))
}

fn within(tolerance: Tolerance) -> String {
    if tolerance == Tolerance::EXACT {
        return String::new();
    }
    format!(" within {:?}", tolerance.limit())
}

fn beyond(tolerance: Tolerance) -> String {
    if tolerance == Tolerance::EXACT {
        return String::new();
    }
    format!(", by more than {:?}", tolerance.limit())
}

fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// The first names, and the number of others.
fn some_of(names: &[String]) -> String {
    let shown = &names[..names.len().min(NAMES_SHOWN)];
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}
