//! Owns the command `inputs`.

use omega_slices::{Error, inputs};

use crate::cli::args::InputsArguments;
use crate::cli::stdout;

/// Prints which files a request would read, and as what.
pub fn run(arguments: &InputsArguments) -> Result<(), Error> {
    let request = arguments.request.request()?;
    let inputs = inputs(&request, &arguments.request.series.read_options())?;
    stdout::json(&inputs)
}
