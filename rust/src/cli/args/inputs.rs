//! Owns the arguments of `inputs`.

use clap::Args;

use crate::cli::args::RequestArguments;

#[derive(Debug, Args)]
#[command(after_help = INPUTS_HELP)]
pub struct InputsArguments {
    #[command(flatten)]
    pub request: RequestArguments,
}

const INPUTS_HELP: &str = "\
Examples:
  omega-slices inputs --data data/parquet --all-symbols > inputs.json
  omega-slices sync --inputs inputs.json --symbols EURUSD,GBPUSD -o slices.arrow

Prints one JSON document on stdout: for each series that the request would read its files, in their
order, with size, time of change, rows, first and last timestamp, and the columns, unit and zone
that would be read. Nothing is synchronised.";
