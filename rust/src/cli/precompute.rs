//! Runs `precompute`: makes the parts of a request, and says what it made.

use omega_slices::{Error, PartMade, precompute};
use serde_json::json;

use crate::cli::args::{PrecomputeArguments, check_local_folder};
use crate::cli::messages::Messages;
use crate::cli::progress::PartsBar;

/// Makes the parts; the report on stderr counts them.
pub fn run(arguments: &PrecomputeArguments, messages: &Messages) -> Result<(), Error> {
    check_local_folder(&arguments.into)?;
    let options = arguments.options()?;
    let request = arguments.request.request()?;
    let read_options = arguments.request.series.read_options()?;
    let bar = PartsBar::start(arguments.progress, messages);
    let tell = |made: PartMade<'_>| {
        bar.update(made.done, made.all);
        messages.warnings_of(made.report);
    };
    let made = precompute(&request, &read_options, &arguments.into, options, tell);
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
