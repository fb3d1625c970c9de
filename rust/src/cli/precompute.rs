//! Runs `precompute`: makes the parts of a request, and says what it made.

use std::path::PathBuf;

use omega_slices::{
    Error, PartMade, check_writable, precompute, remote_scheme, without_file_scheme,
};
use serde_json::json;

use crate::cli::args::PrecomputeArguments;
use crate::cli::messages::Messages;
use crate::cli::output::abort_uploads_on_signals;
use crate::cli::progress::PartsBar;

/// Makes the parts; the report on stderr counts them.
pub fn run(arguments: &PrecomputeArguments, messages: &Messages) -> Result<(), Error> {
    let into = without_file_scheme(arguments.into.clone());
    check_writable(&into.to_string_lossy())?;
    // The name of a folder of objects has no slash at its end.
    let into = match into.to_str().filter(|_| remote_scheme(&into).is_some()) {
        Some(text) => PathBuf::from(text.trim_end_matches('/')),
        None => into,
    };
    if remote_scheme(&into).is_some() {
        abort_uploads_on_signals()?;
    }
    let options = arguments.options()?;
    let request = arguments.request.request()?;
    let read_options = arguments.request.series.read_options()?;
    let bar = PartsBar::start(arguments.progress, messages);
    let tell = |made: PartMade<'_>| {
        bar.update(made.done, made.all);
        messages.warnings_of(made.report);
    };
    let made = precompute(&request, &read_options, &into, options, tell);
    bar.finish();
    let list = made?;
    let parts = &list.parts;
    let slices: u64 = parts.iter().map(|part| part.slices).sum();
    messages.parts(
        json!({
            "parts": parts.len(),
            "slices": slices,
            "first_timestamp_ns": parts.iter().find_map(|part| part.first_timestamp_ns),
            "last_timestamp_ns": parts.iter().rev().find_map(|part| part.last_timestamp_ns),
            "bytes": parts.iter().map(|part| part.bytes).sum::<u64>(),
        }),
        &arguments.into,
    );
    Ok(())
}
