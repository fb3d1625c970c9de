//! Parses the arguments of `inspect`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::StorageArguments;

#[derive(Debug, Args)]
#[command(after_help = INSPECT_HELP)]
pub struct InspectArguments {
    /// File or stream of slices, or folder of parts, by its path or URI; - reads stdin.
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,

    #[command(flatten)]
    pub storage: StorageArguments,

    /// Write one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

const INSPECT_HELP: &str = "\
Examples:
  omega-slices inspect slices.arrow
  omega-slices sync --symbols EURUSD,GBPUSD | omega-slices inspect - --json

Reads only the footer of a complete file, and a stream to its end. Incomplete input is shown up to
the problem, with \"sealed: false\" in JSON. Exit status 3 means that it contains no slices at all.";
