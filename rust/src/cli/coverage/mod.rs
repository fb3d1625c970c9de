//! Runs `coverage`: measures, writes the report and checks the threshold.

mod page;
mod text;

use omega_slices::{Coverage, Error, SliceBatches};

use crate::cli::Answer;
use crate::cli::args::{CoverageArguments, ProgressMode};
use crate::cli::messages::Messages;
use crate::cli::output::check_no_input;
use crate::cli::progress::ProgressBar;
use crate::cli::stdout;

pub fn coverage(arguments: &CoverageArguments, messages: &Messages) -> Result<Answer, Error> {
    let request = arguments.request()?;
    let fail_under = arguments.fail_under()?;
    let page = arguments.html.as_deref();
    let page = page
        .map(|target| page::check(target, arguments.force))
        .transpose()?;
    if let Some(target) = &page {
        check_no_input(target, &arguments.series, &request)?;
    }
    let mut bar = None;
    let mut said = 0;
    let mut first_warning = None;
    let measured = Coverage::measure(
        &request,
        // The report comes first; strict warnings follow.
        &arguments.series.read_options()?.with_strict(false),
        |batches: &SliceBatches| {
            let progress = batches.progress();
            bar.get_or_insert_with(|| ProgressBar::start(ProgressMode::Auto, messages, progress))
                .update(progress, None);
            messages.warnings(&batches.warnings()[said..]);
            said = batches.warnings().len();
            first_warning = batches.warnings().first().cloned();
        },
    );
    if let Some(bar) = bar {
        bar.finish();
    }
    let coverage = measured?;
    if let Some(target) = page {
        page::write(target, &coverage)?;
    }
    stdout::unless_closed(if arguments.json {
        stdout::json(&coverage)
    } else {
        stdout::text(&text::report(&coverage))
    })?;
    let too_little = fail_under.and_then(|share| coverage.check(share));
    messages.warnings(too_little.as_slice());
    if too_little.is_some() {
        return Ok(Answer::No);
    }
    match first_warning.filter(|_| arguments.series.strict) {
        None => Ok(Answer::Yes),
        Some(warning) => Err(warning.to_error()),
    }
}
