//! Parses the arguments of `precompute`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use omega_slices::Error;
use omega_slices::PrecomputeOptions;

use crate::cli::args::{ProgressMode, RequestArguments};

#[derive(Debug, Args)]
#[command(after_help = PRECOMPUTE_HELP)]
pub struct PrecomputeArguments {
    #[command(flatten)]
    pub request: RequestArguments,

    /// Folder or URI of the parts; a folder is made if it is missing.
    #[arg(long, value_name = "FOLDER|URI")]
    pub into: PathBuf,

    /// How to cut the request: at the beginnings of periods in UTC, or into a number of parts.
    ///
    /// Each cut is moved to where the next candle of --timeframe begins. Weeks begin on Monday.
    #[arg(long, value_name = "day|week|month|year|N", default_value = "month")]
    by: String,

    /// Number of parts to make at the same time. They share --threads and --memory.
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,

    /// Replace the parts of another request.
    #[arg(long)]
    overwrite: bool,

    /// Progress bar on stderr; auto shows it on a terminal.
    #[arg(long, value_enum, default_value = "auto")]
    pub progress: ProgressMode,
}

const PRECOMPUTE_HELP: &str = "\
Examples:
  omega-slices precompute --data data/parquet --all-symbols --by month --into parts --jobs 2
  omega-slices inspect parts

Begun again, it makes what is missing, and what its inputs make another part of by now. Several runs
at the same time make each part once. The list of parts, _slices.json, is written last.";

impl PrecomputeArguments {
    pub fn options(&self) -> Result<PrecomputeOptions, Error> {
        Ok(PrecomputeOptions {
            by: self.by.parse()?,
            jobs: self.jobs,
            overwrite: self.overwrite,
        })
    }
}
