//! Owns what is said on stderr: errors, warnings and the final report, as text or as JSON lines.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use omega_slices::{Error, ErrorKind, Hint, HintPart, Setting, Warning};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::cli::args::ErrorFormat;

/// The exit status that belongs to an error.
pub fn exit_status(class: ErrorKind) -> u8 {
    match class {
        ErrorKind::Usage => 2,
        ErrorKind::Input => 3,
        ErrorKind::System => 4,
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

    /// What is wrong with the arguments, in lines; in one where an argument would begin another.
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

    /// A sign of life, for programs; none where stderr takes nothing just now.
    pub fn alive(self) {
        if !self.is_text() && takes_a_line() {
            say_json(&json!({"kind": "alive"}));
        }
    }

    /// Something that a waiting person wants to know; programs do not.
    pub fn note(self, note: &str) {
        if self.is_text() {
            say(&format!("note: {note}"));
        }
    }

    /// Everything that a run said which was made before.
    pub fn run(self, run: &Value, target: Option<&Path>) {
        let mut report = run.clone();
        let warnings = report
            .as_object_mut()
            .and_then(|report| report.remove("warnings"));
        for warning in warnings
            .as_ref()
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            self.warning(warning.clone());
        }
        self.report(report, target);
    }

    /// The run's report: as JSON always, as text only where a file was written.
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
                "of {} rows {} lay outside the window, {} outside the session, {} were duplicates; \
                 {} timestamps had duplicates that differ",
                sum("rows"),
                sum("outside_window"),
                sum("outside_session"),
                sum("duplicates"),
                sum("conflicting_duplicates")
            ));
        }
    }
}

/// A hint, with its settings as options of the command line.
fn in_words(hint: &Hint) -> String {
    hint.in_words(|setting, value| match value {
        Some(value) => format!("{} {value}", option(setting)),
        None => option(setting),
    })
}

/// The option that sets a setting.
fn option(setting: Setting) -> String {
    format!("--{}", setting.name().replace('_', "-"))
}

/// A hint for programs that call settings by other names; `None` where it names none.
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

/// One line or more for a person.
fn say(text: &str) {
    let mut line = printable(text);
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Text for a terminal. Names come from disks and arguments: what a terminal would obey instead of show is
/// written as an escape.
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

/// The same, of what has to stay one line: a name cannot begin another one.
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// JSON that a terminal shows as it is: what it would obey stands in strings alone, and is written there as
/// the escape that JSON has for it.
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

/// Whether what follows would be shown in another direction than it is written, or on another line.
fn turns_text(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A document that says what it is.
fn of_kind(kind: &str, mut document: Value) -> Value {
    document["kind"] = kind.into();
    document
}

/// Whether stderr takes a short line at once. Of a pipe the system says so only while a page is free.
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
    fn every_setting_that_a_hint_may_name_is_an_option_of_sync() {
        let arguments = Arguments::command();
        let sync = arguments.find_subcommand("sync").expect("the main command");
        for setting in Setting::ALL {
            let name = option(*setting);
            let found = sync
                .get_arguments()
                .find(|argument| argument.get_long() == Some(name.trim_start_matches("--")));
            let takes_value = found.expect(&name).get_action().takes_values();
            assert_eq!(takes_value, !setting.is_switch(), "{name}");
        }
    }
}
