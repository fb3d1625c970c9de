//! Parses the arguments of `inputs`.

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

Prints one JSON document on stdout. For each series of the request it lists the files in order, with
size, modification time, rows, first and last timestamp, and the columns, unit and zone to read.
Nothing is synchronised.";
