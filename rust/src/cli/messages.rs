//! Writes messages to stderr: errors, warnings and the final report, as text or JSON lines.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytesize::ByteSize;
use omega_slices::{Error, ErrorKind, Hint, HintPart, Setting, Traffic, Warning};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::cli::args::ErrorFormat;

/// The exit status of an error.
pub fn exit_status(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => 2,
        ErrorKind::Input => 3,
        ErrorKind::System => 4,
    }
}

/// Writes messages in the requested format. Ignores a closed stderr.
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
        let place = error.location();
        if self.is_text() {
            let code = error.code();
            say(&format!(
                "error[{} {}]: {}",
                code.number(),
                code.name(),
                one_line(&error.to_string())
            ));
            if let Some(hint) = error.hint() {
                say(&format!("  help: {}", one_line(&in_words(hint))));
            }
            return;
        }
        say_json(&json!({
            "kind": "error",
            "code": error.code().number(),
            "name": error.code().name(),
            "message": error.to_string(),
            "hint": error.hint().map(in_words),
            "hint_parts": error.hint().and_then(hint_parts),
            "file": place.file.as_deref().map(Path::to_string_lossy),
            "symbol": place.symbol,
            "price_type": place.price_type,
            "row": place.row,
            "column": place.column,
            "exit": exit_status(error.kind()),
        }));
    }

    /// Reports invalid arguments on several lines; on one line if an argument contains a line
    /// break.
    pub fn arguments(self, problem: &str, arguments: impl Iterator<Item = OsString>) {
        let mut arguments = arguments;
        let problem = if arguments.any(|argument| argument.as_bytes().contains(&b'\n')) {
            one_line(problem)
        } else {
            problem.to_owned()
        };
        let error = Error::usage(&*problem);
        if self.is_text() {
            say(&format!(
                "error[{} {}]: {problem}",
                error.code().number(),
                error.code().name()
            ));
        } else {
            self.error(&error);
        }
    }

    pub fn warnings(self, warnings: &[Warning]) {
        for warning in warnings {
            self.warning(json!(warning));
        }
    }

    fn warning(self, warning: Value) {
        if self.is_text() {
            let text = |key: &str| warning[key].as_str().unwrap_or_default();
            let said = format!("warning[{}]: {}", text("name"), text("message"));
            say(&one_line(&said));
        } else {
            say_json(&of_kind("warning", warning));
        }
    }

    /// Writes a heartbeat for programs, unless stderr would block.
    pub fn alive(self) {
        if !self.is_text() && takes_a_line() {
            say_json(&json!({"kind": "alive"}));
        }
    }

    /// Writes a note for people; programs do not get it.
    pub fn note(self, note: &str) {
        if self.is_text() {
            say(&format!("note: {note}"));
        }
    }

    /// Repeats the warnings and report of an earlier run, which built a cache entry.
    pub fn run(self, mut report: Value, target: Option<&Path>) {
        self.warnings_of(&report);
        if let Some(report) = report.as_object_mut() {
            report.remove("warnings");
        }
        self.report(report, target);
    }

    /// Repeats the warnings in the report of an earlier run.
    pub fn warnings_of(self, report: &Value) {
        for warning in report["warnings"].as_array().into_iter().flatten() {
            self.warning(warning.clone());
        }
    }

    /// Writes the report of a precomputed request.
    pub fn parts(self, report: Value, folder: &Path) {
        if self.is_text() {
            say(&format!(
                "wrote {} slices in {} parts to {}",
                report["slices"],
                report["parts"],
                one_line(&folder.to_string_lossy())
            ));
        } else {
            say_json(&of_kind("report", report));
        }
    }

    /// Writes the report of the run: always as JSON, as text only if a file was written.
    pub fn report(self, report: Value, target: Option<&Path>) {
        if !self.is_text() {
            say_json(&of_kind("report", report));
        } else if let Some(target) = target {
            let empty = Vec::new();
            let series = report["series"].as_array().unwrap_or(&empty);
            let sum = |key: &str| {
                let counts = series.iter().filter_map(|one| one[key].as_u64());
                counts.sum::<u64>()
            };
            say(&format!(
                "wrote {} slices from {} series to {}",
                report["slices"],
                series.len(),
                one_line(&target.to_string_lossy())
            ));
            say(&format!(
                "of {} rows, {} lay outside the window, {} outside the session, {} were duplicates; \
                 {} timestamps had differing duplicates",
                sum("rows"),
                sum("outside_window"),
                sum("outside_session"),
                sum("duplicates"),
                sum("conflicting_duplicates")
            ));
            if sum("empty") > 0 {
                say(&format!(
                    "{} rows had no price, and were dropped",
                    sum("empty")
                ));
            }
            if let Some(bytes) = report["temporary_bytes"].as_u64() {
                let size = ByteSize(bytes).display().si();
                say(&format!("{size} went through a temporary file"));
            }
            if report["storage"].is_object() {
                let count = |key: &str| report["storage"][key].as_u64().unwrap_or_default();
                let size = |key| ByteSize(count(key)).display().si();
                say(&format!(
                    "storage: {} requests, {} of them tried again; {} read, {} written",
                    count("requests"),
                    count("retries"),
                    size("bytes_read"),
                    size("bytes_written")
                ));
                if count("unversioned_objects") > 0 {
                    say(&format!(
                        "storage: {} objects have no strong ETag: size and time of change were \
                         compared instead",
                        count("unversioned_objects")
                    ));
                }
            }
        }
    }
}

/// A report with the size of the temporary file, if the run had one.
pub fn with_temporary_bytes(mut report: Value, temporary_bytes: u64) -> Value {
    if temporary_bytes > 0 {
        report["temporary_bytes"] = temporary_bytes.into();
    }
    report
}

/// A report with the requests and bytes of objects, if the run had any.
pub fn with_traffic(mut report: Value, traffic: impl Iterator<Item = Traffic>) -> Value {
    let all = traffic.reduce(Traffic::plus);
    if let Some(traffic) = all {
        report["storage"] = json!({
            "requests": traffic.requests,
            "retries": traffic.retries,
            "bytes_read": traffic.bytes_read,
            "bytes_written": traffic.bytes_written,
            "unversioned_objects": traffic.unversioned,
        });
    }
    report
}

/// Spells a hint with options of the command line.
fn in_words(hint: &Hint) -> String {
    hint.in_words(|setting, value| match value {
        Some(value) => format!("{} {value}", option(setting)),
        None => option(setting),
    })
}

/// The option of a setting.
fn option(setting: Setting) -> String {
    format!("--{}", setting.name().replace('_', "-"))
}

/// The parts of a hint, for programs that spell settings differently; `None` without settings.
fn hint_parts(hint: &Hint) -> Option<Value> {
    let names_a_setting = |part: &HintPart| matches!(part, HintPart::Setting { .. });
    hint.parts().iter().any(names_a_setting).then(|| {
        let parts = hint.parts().iter().map(|part| match part {
            HintPart::Text(text) => json!(text),
            HintPart::Setting { setting, value } => json!({
                "setting": setting.name(),
                "value": value,
                "switch": setting.is_switch(),
            }),
        });
        parts.collect()
    })
}

/// Writes lines of text.
fn say(text: &str) {
    let mut line = printable(text);
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Escapes text for a terminal. Names come from disks and arguments, so control characters must not
/// reach it.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if (character.is_control() && character != '\n') || turns_text(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same, with line breaks escaped too: a name cannot start a new line.
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// Escapes JSON for a terminal. Control characters occur only in strings, where JSON escapes
/// replace them.
pub fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, '\u{7f}'..='\u{9f}') || turns_text(character) {
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a character changes the direction of the text after it, or breaks the line.
fn turns_text(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Adds the kind to a document.
fn of_kind(kind: &str, mut document: Value) -> Value {
    document["kind"] = kind.into();
    document
}

/// Whether stderr accepts a short line without blocking. For a pipe, only while a page is free.
fn takes_a_line() -> bool {
    let stderr = io::stderr();
    let mut asked = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec::default();
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().contains(PollFlags::OUT)
}

fn say_json(value: &Value) {
    let mut line = printable_json(&value.to_string());
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Arguments;

    #[test]
    fn every_setting_that_a_hint_may_name_is_an_option() {
        let arguments = Arguments::command();
        let command = |name| arguments.find_subcommand(name).expect("a command");
        let commands = [command("sync"), command("precompute")];
        for setting in Setting::ALL {
            let name = option(*setting);
            let found = commands
                .iter()
                .flat_map(|command| command.get_arguments())
                .find(|argument| argument.get_long() == Some(name.trim_start_matches("--")));
            let takes_value = found.expect(&name).get_action().takes_values();
            assert_eq!(takes_value, !setting.is_switch(), "{name}");
        }
    }
}
