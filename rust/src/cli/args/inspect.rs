//! Owns the arguments of `inspect`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = INSPECT_HELP)]
pub struct InspectArguments {
    /// File or stream of slices; - reads stdin.
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,

    /// One JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

const INSPECT_HELP: &str = "\
Examples:
  omega-slices inspect slices.arrow
  omega-slices sync --symbols EURUSD,GBPUSD | omega-slices inspect - --json

Of a complete file only the footer is read; a stream is read to its end. What is not complete is shown as
far as it goes, with \"sealed: false\" in JSON; exit status 3 is for what holds no slices at all.";
