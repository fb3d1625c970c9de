//! Parses the arguments of `diff`.

use std::path::{Path, PathBuf};

use clap::Args;
use omega_slices::{Error, Tolerance};

use crate::cli::args::StorageArguments;

#[derive(Debug, Args)]
#[command(after_help = DIFF_HELP)]
pub struct DiffArguments {
    /// File or stream of slices, or folder of parts, by its path or URI; - reads stdin.
    #[arg(value_name = "A")]
    pub a: PathBuf,

    /// File or stream to compare with A; - reads stdin, unless A does.
    #[arg(value_name = "B")]
    pub b: PathBuf,

    /// Largest difference of two numbers that still counts as equal.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_hyphen_values = true
    )]
    tolerance: f64,

    #[command(flatten)]
    pub storage: StorageArguments,

    /// Write one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

const DIFF_HELP: &str = "\
Examples:
  omega-slices diff golden.arrow new.arrow
  omega-slices diff golden.arrow new.arrow --tolerance 1e-9
  omega-slices sync --symbols EURUSD,GBPUSD | omega-slices diff golden.arrow -

Slices are matched by timestamp. Equal are two missing candles, NaN and NaN, -0.0 and 0.0, and
numbers within the tolerance. The format (file or stream), compression, batches, producer and request
make no difference.

Exit status 0: equal, 1: different, 3: one side is unreadable or incomplete. With status 3 there is
no report.";

impl DiffArguments {
    /// Checks the arguments and returns the tolerance. Opens no file.
    pub fn check(&self) -> Result<Tolerance, Error> {
        if [&self.a, &self.b]
            .iter()
            .all(|path| *path == Path::new("-"))
        {
            return Err(Error::usage("cannot read both A and B from stdin")
                .with_hint("write one of them to a file first"));
        }
        Tolerance::new(self.tolerance)
    }
}
