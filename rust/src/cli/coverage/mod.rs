//! Owns the command `coverage`: it measures, shows the report, and answers whether it is enough.

mod page;
mod text;

use std::io::{self, Write};

use omega_slices::{Coverage, Error, SliceBatches};

use self::page::Page;
use crate::cli::Answer;
use crate::cli::args::{CoverageArguments, ProgressMode};
use crate::cli::messages::Messages;
use crate::cli::progress::ProgressBar;

pub fn coverage(arguments: &CoverageArguments, messages: &Messages) -> Result<Answer, Error> {
    let request = arguments.request()?;
    let fail_under = arguments.fail_under()?;
    let page = arguments.html.as_deref();
    let page = page
        .map(|target| Page::check(target, arguments.force))
        .transpose()?;
    let mut bar = None;
    let mut said = 0;
    let measured = Coverage::measure(
        &request,
        &arguments.series.read_options(),
        |batches: &SliceBatches| {
            let progress = batches.progress();
            bar.get_or_insert_with(|| ProgressBar::start(ProgressMode::Auto, messages, progress))
                .update(progress);
            messages.warnings(&batches.warnings()[said..]);
            said = batches.warnings().len();
        },
    );
    if let Some(bar) = bar {
        bar.finish();
    }
    let coverage = measured?;
    if let Some(page) = page {
        page.write(&coverage)?;
    }
    let report = if arguments.json {
        let document = serde_json::to_string_pretty(&coverage);
        document.expect("strings, numbers and lists are JSON") + "\n"
    } else {
        text::report(&coverage)
    };
    // A reader who has seen enough changes nothing about the answer.
    match show(&report) {
        Err(error) if !error.is_broken_pipe() => return Err(error),
        _ => {}
    }
    let too_little = fail_under.and_then(|share| coverage.check(share));
    messages.warnings(too_little.as_slice());
    Ok(match too_little {
        None => Answer::Yes,
        Some(_) => Answer::No,
    })
}

/// Writes the report to stdout.
fn show(report: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(report.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| {
            Error::system(format!("stdout cannot be written to: {error}")).with_source(error)
        })
}
