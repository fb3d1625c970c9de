//! Writes reports to stdout, as text or JSON. `main` treats a closed stdout as success.

use std::io::{self, Write};

use omega_slices::Error;
use serde::Serialize;

use crate::cli::messages::{printable, printable_json};

/// Writes text, with control characters escaped.
pub fn text(text: &str) -> Result<(), Error> {
    bytes(printable(text).as_bytes())
}

/// Writes one JSON document.
pub fn json(document: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|error| Error::system(format!("cannot write the report as JSON: {error}")))?;
    text.push('\n');
    bytes(printable_json(&text).as_bytes())
}

/// Ignores a closed stdout: the reader has seen enough, and the answer stays the same.
pub fn unless_closed(shown: Result<(), Error>) -> Result<(), Error> {
    match shown {
        Err(error) if !error.is_broken_pipe() => Err(error),
        _ => Ok(()),
    }
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| {
            Error::system(format!("cannot write the report: {error}"))
                .with_source(error)
                .with_hint("make room where stdout goes")
        })
}
