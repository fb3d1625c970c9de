//! Opens the output of slices: stdout, a device, or a file that appears only when it is complete.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use omega_slices::ipc::Format;
use omega_slices::{
    Error, Request, Storage, Upload, abort_uploads, check_writable, input_files, remote_scheme,
    without_file_scheme,
};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::cli::args::{SeriesArguments, SyncArguments};
use crate::cli::atomic_file::{AtomicFile, Named, Target, failed};

/// The pipe size that Linux grants to any user by default.
const PIPE_BYTES: usize = 1 << 20;

/// A checked output; nothing is created yet.
#[derive(Debug)]
pub enum Output {
    Stdout,
    /// An existing path that is not a regular file, such as `/dev/null` or a named pipe.
    Device(PathBuf),
    File(Target, Format),
    /// An object, which appears when it is complete.
    Object {
        path: PathBuf,
        storage: Storage,
        force: bool,
        format: Format,
    },
}

/// An open output.
#[derive(Debug)]
pub enum Pending {
    Open(File),
    File(AtomicFile, Format),
    Object(Box<Upload>, Format),
}

impl Output {
    /// Checks the output of a run before any work is done. Never replaces a file that the run
    /// reads.
    pub fn of(arguments: &SyncArguments, request: &Request) -> Result<Self, Error> {
        let path = arguments.output.clone().map(without_file_scheme);
        if let Some(path) = path.as_deref().filter(|path| remote_scheme(path).is_some()) {
            return Self::object(path, arguments, request);
        }
        let output = Self::check(path.as_deref(), arguments.force)?;
        if let Self::File(target, _) = &output {
            check_no_input(target, &arguments.request.series, request)?;
        }
        Ok(output)
    }

    fn check(path: Option<&Path>, force: bool) -> Result<Self, Error> {
        let is_stdout = |path: &&Path| *path == Path::new("-") || *path == Path::new("/dev/stdout");
        let Some(path) = path.filter(|path| !is_stdout(path)) else {
            if io::stdout().is_terminal() {
                return Err(binary_on_terminal());
            }
            return Ok(Self::Stdout);
        };
        let format = format_of(path);
        match (Target::check(path, force)?, format) {
            (Named::Device, _) => Ok(Self::Device(path.to_owned())),
            (Named::File(target), Some(format)) => Ok(Self::File(target, format)),
            (Named::File(_), None) => Err(without_extension(path)),
        }
    }

    fn object(path: &Path, arguments: &SyncArguments, request: &Request) -> Result<Self, Error> {
        check_writable(&path.to_string_lossy())?;
        let format = format_of(path).ok_or_else(|| without_extension(path))?;
        let options = arguments.request.series.read_options()?;
        if arguments.force
            && input_files(request, &options)?
                .iter()
                .any(|input| input == path)
        {
            return Err(reads_it(path));
        }
        Ok(Self::Object {
            path: path.to_owned(),
            storage: options.storage(),
            force: arguments.force,
            format,
        })
    }

    /// Where the slices go, if that is an object.
    pub fn storage(&self) -> Option<Storage> {
        match self {
            Self::Object { storage, .. } => Some(storage.clone()),
            _ => None,
        }
    }

    /// Whether the slices go to stdout.
    pub fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Opens the output for writing.
    pub fn create(self) -> Result<Pending, Error> {
        match self {
            Self::Stdout => {
                // A separate file handle: Rust's stdout would search the data for line breaks.
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                let stdout = stdout.map_err(|error| {
                    let (why, hint) = match Errno::from_io_error(&error) {
                        Some(Errno::BADF) => (
                            "it is not open".to_owned(),
                            "redirect stdout, or name a file with --output",
                        ),
                        _ => (
                            error.to_string(),
                            "raise the limit of open files (ulimit -n) or request fewer symbols",
                        ),
                    };
                    Error::system(format!("cannot write to stdout: {why}"))
                        .with_source(error)
                        .with_hint(hint)
                })?;
                // Saves switches between writer and reader. Fails if stdout is not a pipe or the
                // system limit is lower; the pipe then keeps its size.
                let _ = fcntl_setpipe_size(&stdout, PIPE_BYTES);
                Ok(Pending::Open(stdout.into()))
            }
            Self::Device(path) => {
                let device = File::options().write(true).open(&path);
                let device =
                    device.map_err(|error| failed("cannot open the output", &path, error))?;
                if device.is_terminal() {
                    return Err(binary_on_terminal().at_file(&path));
                }
                Ok(Pending::Open(device))
            }
            Self::File(target, format) => Ok(Pending::File(target.create()?, format)),
            Self::Object {
                path,
                storage,
                force,
                format,
            } => {
                abort_uploads_on_signals()?;
                let upload = storage.create(&path, force).map_err(|error| {
                    let exists = error.message().contains("already exists");
                    match exists {
                        true => error.with_hint("replace it with --force or name another file"),
                        false => error,
                    }
                })?;
                Ok(Pending::Object(Box::new(upload), format))
            }
        }
    }
}

impl Pending {
    pub fn format(&self) -> Format {
        match self {
            Self::Open(_) => Format::Stream,
            Self::File(_, format) | Self::Object(_, format) => *format,
        }
    }

    /// Where to write to.
    pub fn writer(&mut self) -> Box<dyn Write + Send + '_> {
        match self {
            Self::Open(file) => Box::new(&*file),
            Self::File(file, _) => Box::new(file.file()),
            Self::Object(upload, _) => Box::new(&mut **upload),
        }
    }

    /// Adds the file to an error of the output.
    pub fn name_target(&mut self, error: Error) -> Error {
        match self {
            Self::Open(_) => error,
            Self::File(file, _) => file.name_target(error),
            Self::Object(upload, _) => {
                if upload.is_given_up() {
                    // A signal did it, and is about to end the process.
                    thread::sleep(Duration::from_secs(1));
                }
                upload.take_failure().unwrap_or(error)
            }
        }
    }

    /// Gives a complete file its name, durably. Returns the path, if there is one.
    pub fn commit(self) -> Result<Option<PathBuf>, Error> {
        match self {
            Self::Open(_) => Ok(None),
            Self::File(file, _) => file.commit().map(Some),
            Self::Object(upload, _) => upload.finish().map(Some),
        }
    }
}

/// Refuses to replace a file that the run reads, under any name.
pub fn check_no_input(
    target: &Target,
    series: &SeriesArguments,
    request: &Request,
) -> Result<(), Error> {
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let Some(replaced) = identity(target.path()) else {
        return Ok(());
    };
    let mut inputs = input_files(request, &series.read_options()?)?;
    inputs.extend(series.symbols_file().map(Path::to_owned));
    match inputs.iter().find(|path| identity(path) == Some(replaced)) {
        None => Ok(()),
        Some(input) => Err(reads_it(input)),
    }
}

fn reads_it(input: &Path) -> Error {
    Error::usage("cannot replace the output: the run itself reads this file")
        .at_file(input)
        .with_hint("name another output file")
}

/// The format that a name asks for.
fn format_of(path: &Path) -> Option<Format> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("arrow") => Some(Format::File),
        Some("arrows") => Some(Format::Stream),
        _ => None,
    }
}

fn without_extension(path: &Path) -> Error {
    Error::usage("invalid output name: expected the extension .arrow or .arrows")
        .at_file(path)
        .with_hint("name it x.arrow for an Arrow IPC file or x.arrows for an Arrow IPC stream")
}

/// Gives up uploads when the process is asked to end, so that no parts of them stay in the bucket.
pub fn abort_uploads_on_signals() -> Result<(), Error> {
    let failed = |error: io::Error| {
        Error::system(format!("cannot watch for signals: {error}"))
            .with_source(error)
            .with_hint("raise the limit of threads and open files (ulimit -u, ulimit -n)")
    };
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        let mut is_first = true;
        for signal in signals.forever() {
            let end = move || {
                // The process ends as it would have ended without this watch.
                let _ = emulate_default_handler(signal);
            };
            if !is_first {
                // Whoever asks twice does not want to wait.
                end();
            }
            is_first = false;
            thread::spawn(move || {
                abort_uploads();
                end();
            });
        }
    };
    let started = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait);
    started.map(drop).map_err(failed)
}

fn binary_on_terminal() -> Error {
    Error::usage("cannot write binary slices to a terminal")
        .with_hint("write to a file with -o x.arrow or pipe into a program")
}
