//! Runs `object` and `part`, by which the Python package reads and writes objects. So credentials
//! are known to one program alone.

use std::io::{self, Write};
use std::path::Path;

use omega_slices::ipc::SliceFile;
use omega_slices::{Error, check_readable, check_writable, make_part};

use crate::cli::Answer;
use crate::cli::args::{ObjectArguments, ObjectCommand, PartArguments};
use crate::cli::output::abort_uploads_on_signals;
use crate::cli::stdout;

/// Reads or writes an object.
pub fn run(arguments: &ObjectArguments) -> Result<Answer, Error> {
    let storage = arguments.storage.open()?;
    match &arguments.command {
        ObjectCommand::Get { uri } => {
            check_readable(&uri.to_string_lossy())?;
            if !storage.exists(uri)? {
                // Nothing is written: an object of slices is never empty.
                return Ok(Answer::Yes);
            }
            let mut object = SliceFile::open(uri, &storage)?;
            let mut stdout = io::stdout().lock();
            let copied = io::copy(&mut object, &mut stdout).and_then(|_| stdout.flush());
            copied.map_err(|error| failed("read", uri, error))?;
            object.check_named()?;
        }
        ObjectCommand::Put { uri } => {
            check_writable(&uri.to_string_lossy())?;
            abort_uploads_on_signals()?;
            let mut upload = storage.create(uri, true)?;
            let copied = io::copy(&mut io::stdin().lock(), &mut upload);
            copied.map_err(|error| {
                let failure = upload.take_failure();
                failure.unwrap_or_else(|| failed("write", uri, error))
            })?;
            upload.finish()?;
        }
        ObjectCommand::Remove { uri } => {
            check_writable(&uri.to_string_lossy())?;
            storage.remove(uri)?;
        }
    }
    Ok(Answer::Yes)
}

/// Makes a part, and prints what its list says about it.
pub fn part(arguments: &PartArguments) -> Result<(), Error> {
    check_writable(&arguments.into.to_string_lossy())?;
    abort_uploads_on_signals()?;
    let request = arguments.request.request()?;
    let options = arguments.request.series.read_options()?;
    stdout::json(&make_part(&request, &options, &arguments.into)?)
}

fn failed(what: &str, uri: &Path, error: io::Error) -> Error {
    if let Some(own) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        return Error::system(own.message().to_owned())
            .at_file(uri)
            .with_hint("run again");
    }
    Error::system(format!("cannot {what} the object: {error}"))
        .at_file(uri)
        .with_source(error)
        .with_hint("run again")
}
