//! Owns the arguments of `diff`.

use std::path::{Path, PathBuf};

use clap::Args;
use omega_slices::{Error, Tolerance};

#[derive(Debug, Args)]
#[command(after_help = DIFF_HELP)]
pub struct DiffArguments {
    /// File or stream of slices; - reads stdin.
    #[arg(value_name = "A")]
    pub a: PathBuf,

    /// What to compare it with; - reads stdin, if A does not.
    #[arg(value_name = "B")]
    pub b: PathBuf,

    /// Numbers that differ by no more than this are equal.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_hyphen_values = true
    )]
    tolerance: f64,

    /// One JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

const DIFF_HELP: &str = "\
Examples:
  omega-slices diff golden.arrow new.arrow
  omega-slices diff golden.arrow new.arrow --tolerance 1e-9
  omega-slices sync --symbols EURUSD,GBPUSD | omega-slices diff golden.arrow -

Slices are matched by timestamp. Equal are: no candle and no candle, NaN and NaN, -0.0 and 0.0, and
numbers within the tolerance. File or stream, compression and batches make no difference; who wrote
the slices, and for which request, does not count.

Exit status 0: equal, 1: different, 3: one of them cannot be read or is not complete. Then there is
no report, whatever was found before.";

impl DiffArguments {
    /// The checked tolerance. Opens nothing.
    pub fn check(&self) -> Result<Tolerance, Error> {
        if [&self.a, &self.b]
            .iter()
            .all(|path| *path == Path::new("-"))
        {
            return Err(Error::usage("stdin cannot be both A and B")
                .with_hint("write one of them to a file first"));
        }
        Tolerance::new(self.tolerance)
    }
}
