//! The command `omega-slices`: parse, run, say what went wrong, map it to an exit status.

mod cli;

use std::process::ExitCode;

use crate::cli::Answer;

/// Decoding asks for and gives back pages by the megabyte on several threads; this allocator keeps
/// them instead of returning each to the system.
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
