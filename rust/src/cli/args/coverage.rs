//! Owns the arguments of `coverage`.

use std::path::PathBuf;

use clap::Args;
use omega_slices::{Error, Request};

use crate::cli::args::SeriesArguments;

#[derive(Debug, Args)]
#[command(after_help = COVERAGE_HELP)]
pub struct CoverageArguments {
    #[command(flatten)]
    pub series: SeriesArguments,

    /// Write the report as one JSON document.
    #[arg(long)]
    pub json: bool,

    /// Exit with status 1 where any series has a candle at less than this share (0 to 1) of the
    /// timestamps at which any series has one.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    fail_under: Option<String>,

    /// Also write FILE: one page with the summary and a heat map of symbols over time, to open in a browser.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Replace an existing page.
    #[arg(long, requires = "html")]
    pub force: bool,
}

const COVERAGE_HELP: &str = "\
Examples:
  omega-slices coverage --data data/parquet --all-symbols --session fx
  omega-slices coverage --symbols EURUSD,GBPUSD --json | jq .intersection_timestamps
  omega-slices coverage --all-symbols --session fx --fail-under 0.99 > coverage.txt
  omega-slices coverage --all-symbols --session fx --html coverage.html

The union holds every timestamp at which any of the series has a candle within window and session,
the intersection those at which every one has. A series costs a timestamp alone where it is the
only one without a candle there. A gap is a stretch between two neighbouring candles of a series
with bars that the session filter would keep: with --session fx a weekend is none.";

impl CoverageArguments {
    /// The checked request. Opens nothing but a file of symbols.
    pub fn request(&self) -> Result<Request, Error> {
        self.series.builder()?.build()
    }

    /// The share that every series has to have.
    pub fn fail_under(&self) -> Result<Option<f64>, Error> {
        let share = |text: &String| {
            let share = text.trim().parse().ok();
            let share = share.filter(|share| (0.0..=1.0).contains(share));
            share.ok_or_else(|| {
                Error::usage(format!("--fail-under {text:?} is no share"))
                    .with_hint("write a number from 0 to 1: 0.99 is 99 of 100 timestamps")
            })
        };
        self.fail_under.as_ref().map(share).transpose()
    }
}
