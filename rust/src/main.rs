//! Runs the command `omega-slices`: parses arguments, runs, prints errors and sets the exit status.

mod cli;

use std::process::ExitCode;

use crate::cli::Answer;

/// Several threads allocate and free pages of megabytes while decoding; this allocator keeps them
/// instead of returning each one to the system.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::prepare_process();
    let (invocation, messages) = match cli::parse() {
        Ok(parsed) => parsed,
        Err(ended) => return ended,
    };
    match cli::run(&invocation, &messages) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            messages.error(&error);
            cli::exit_code(error.kind())
        }
    }
}
