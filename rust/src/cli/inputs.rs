//! Runs `inputs`.

use omega_slices::{Error, inputs};

use crate::cli::args::InputsArguments;
use crate::cli::stdout;

/// Prints the files that a request reads, and how it reads them.
pub fn run(arguments: &InputsArguments) -> Result<(), Error> {
    let request = arguments.request.request()?;
    let inputs = inputs(&request, &arguments.request.series.read_options()?)?;
    stdout::json(&inputs)
}
