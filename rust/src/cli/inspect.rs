//! Runs `inspect`: describes a file or stream as text or JSON.

use std::fmt::Write;

use omega_slices::ipc::Format;
use omega_slices::{Error, Inspection, format_timestamp, inspect, without_file_scheme};

use crate::cli::args::InspectArguments;
use crate::cli::messages::one_line;
use crate::cli::stdout;

/// Maximum number of names to list; the rest is counted.
const NAMES_SHOWN: usize = 20;

pub fn run(arguments: &InspectArguments) -> Result<(), Error> {
    let file = without_file_scheme(arguments.file.clone());
    let found = inspect(&file, &arguments.storage.open()?)?;
    if arguments.json {
        return stdout::json(&found);
    }
    stdout::text(&text_of(&found))
}

fn text_of(found: &Inspection) -> String {
    let mut lines = Lines::default();
    match (found.parts, found.format) {
        (Some(parts), _) => lines.add("form", &format!("{parts} parts, Arrow IPC files")),
        (None, Format::File) => lines.add("form", "Arrow IPC file"),
        (None, Format::Stream) => lines.add("form", "Arrow IPC stream"),
    }
    match &found.problem {
        None => lines.add("sealed", "yes: it is complete"),
        Some(problem) => lines.add("sealed", &format!("NO: {problem}")),
    }
    lines.add("slices", &found.slices.to_string());
    let time = |ns: Option<i64>| ns.map_or("none".to_owned(), format_timestamp);
    lines.add("first", &time(found.first_timestamp_ns));
    lines.add("last", &time(found.last_timestamp_ns));
    lines.add("timeframe", &found.timeframe);
    let symbols = found.symbols.iter().map(String::as_str);
    lines.add("symbols", &some_of(symbols, found.symbols.len()));
    let columns = found.columns.iter().map(|column| column.name.as_str());
    lines.add("columns", &some_of(columns, usize::MAX));
    lines.add("batches", &found.batches.to_string());
    lines.add(
        "schema",
        &format!("multi_symbol_slice {}", found.schema_version),
    );
    lines.add("producer", &found.producer);
    if let Some(warnings) = found
        .report
        .as_ref()
        .and_then(|report| report["warnings"].as_array())
    {
        for warning in warnings {
            let text = |key: &str| warning[key].as_str().unwrap_or_default().to_owned();
            lines.add("warning", &format!("{}: {}", text("name"), text("message")));
        }
    }
    let empty = serde_json::Map::new();
    let request = found.request.as_object().unwrap_or(&empty);
    for (key, value) in request {
        // The symbols have a line of their own above.
        if key != "symbols" && !value.is_null() {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            lines.add("request", &format!("{key} = {value}"));
        }
    }
    lines.0
}

/// Lines of a label and a value.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, word: &str, value: &str) {
        // Every value stays on one line.
        let value = one_line(value);
        let _ = writeln!(self.0, "{word:<10} {value}");
    }
}

/// The first names, and the total number.
fn some_of<'a>(names: impl Iterator<Item = &'a str>, count: usize) -> String {
    let names: Vec<_> = names.collect();
    let shown = &names[..names.len().min(NAMES_SHOWN)];
    let more = if names.len() > shown.len() {
        ", …"
    } else {
        ""
    };
    let total = if count == names.len() {
        format!("{count}: ")
    } else {
        String::new()
    };
    format!("{total}{}{more}", shown.join(", "))
}
