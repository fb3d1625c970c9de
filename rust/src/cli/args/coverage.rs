//! Parses the arguments of `coverage`.

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

    /// Exit with status 1 if any series covers less than this share (0 to 1).
    ///
    /// The share is the part of the union timestamps at which the series has a candle.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    fail_under: Option<String>,

    /// Also write an HTML page with the summary and a heat map of symbols over time.
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

The union contains every timestamp at which any series has a candle within window and session.
The intersection contains the timestamps at which every series has one. A series costs a timestamp
alone if it is the only one without a candle there. A gap lies between two neighbouring candles of a
series and contains bars that the session filter keeps: with --session fx, a weekend is not a gap.";

impl CoverageArguments {
    /// Builds the checked request. Opens no file but that of the symbols.
    pub fn request(&self) -> Result<Request, Error> {
        self.series.builder()?.build()
    }

    /// Parses the share that every series must cover.
    pub fn fail_under(&self) -> Result<Option<f64>, Error> {
        let share = |text: &String| {
            let share = text.trim().parse().ok();
            let share = share.filter(|share| (0.0..=1.0).contains(share));
            share.ok_or_else(|| {
                Error::usage(format!(
                    "invalid --fail-under {text:?}: expected a number from 0 to 1"
                ))
                .with_hint("write a share such as 0.99, which is 99 of 100 timestamps")
            })
        };
        self.fail_under.as_ref().map(share).transpose()
    }
}
