//! Owns what is said on stderr: errors, warnings and the final report, as text or as JSON lines.

use std::io::{self, Write};
use std::path::Path;

use omega_slices::{Class, Error, Report, SeriesReport, Warning};
use serde_json::{Value, json};

use crate::cli::args::ErrorFormat;

/// The exit status that belongs to an error.
pub fn exit_status(class: Class) -> u8 {
    match class {
        Class::Usage => 2,
        Class::Input => 3,
        Class::System => 4,
    }
}

/// Writes messages in the asked-for format. A closed stderr is no error.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    format: ErrorFormat,
}

impl Messages {
    pub fn new(format: ErrorFormat) -> Self {
        Self { format }
    }

    pub fn is_text(self) -> bool {
        self.format == ErrorFormat::Text
    }

    pub fn error(self, error: &Error) {
        let place = error.place();
        if self.is_text() {
            let code = error.code();
            say(&format!(
                "error[{} {}]: {error}",
                code.number(),
                code.name()
            ));
            if let Some(hint) = error.hint() {
                say(&format!("  help: {hint}"));
            }
            return;
        }
        say_json(&json!({
            "kind": "error",
            "code": error.code().number(),
            "name": error.code().name(),
            "message": error.to_string(),
            "hint": error.hint(),
            "file": place.file.as_deref().map(Path::to_string_lossy),
            "symbol": place.symbol,
            "price_type": place.price_type,
            "row": place.row,
            "column": place.column,
            "exit": exit_status(error.class()),
        }));
    }

    pub fn warnings(self, warnings: &[Warning]) {
        for warning in warnings {
            if self.is_text() {
                say(&format!("warning[{}]: {}", warning.name, warning.message));
            } else {
                say_json(&json!({
                    "kind": "warning",
                    "name": warning.name,
                    "message": warning.message,
                    "file": warning.file.as_deref().map(Path::to_string_lossy),
                    "symbol": warning.symbol,
                    "price_type": warning.price_type,
                }));
            }
        }
    }

    /// The run's report: as JSON always, as text only where a file was written.
    pub fn report(self, report: &Report, target: Option<&Path>) {
        if !self.is_text() {
            say_json(&json!({
                "kind": "report",
                "slices": report.slices,
                "batches": report.batches,
                "first_timestamp_ns": report.first_timestamp_ns,
                "last_timestamp_ns": report.last_timestamp_ns,
                "series": report.series,
            }));
        } else if let Some(target) = target {
            let series = &report.series;
            let sum = |count: fn(&SeriesReport) -> u64| series.iter().map(count).sum::<u64>();
            say(&format!(
                "wrote {} slices from {} series to {}",
                report.slices,
                series.len(),
                target.display()
            ));
            say(&format!(
                "of {} rows {} lay outside the window, {} outside the session, {} were duplicates",
                sum(|one| one.rows),
                sum(SeriesReport::outside_window),
                sum(|one| one.outside_session),
                sum(|one| one.duplicates)
            ));
        }
    }
}

/// Text for a person. Names come from disks and arguments: what a terminal would obey instead of show is
/// written as an escape.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// One line or more for a person.
fn say(text: &str) {
    let mut line = printable(text);
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

fn say_json(value: &Value) {
    let mut line = value.to_string();
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
