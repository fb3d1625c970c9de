//! Owns where the slices go: stdout, a device, or a file that appears only when it is complete.
//!
//! A file is written without a name where the file system can do that, otherwise under a
//! temporary name beside the target. Whatever ends the run early leaves nothing under the target's
//! name, and an older file there stays as it was.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use omega_slices::ipc::Format;
use omega_slices::{Class, Error};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::pipe::fcntl_setpipe_size;
use tempfile::NamedTempFile;

/// What the system lets anyone ask for, unless it was configured otherwise.
const PIPE_BYTES: usize = 1 << 20;

/// A checked target; nothing has been created yet.
#[derive(Debug)]
pub enum Output {
    Stdout,
    /// Something that exists and is no regular file, such as `/dev/null` or a named pipe.
    Device(PathBuf),
    File {
        target: PathBuf,
        folder: PathBuf,
        format: Format,
        force: bool,
    },
}

/// An output that takes data.
#[derive(Debug)]
pub enum Pending {
    Open(File),
    File {
        data: FileData,
        target: PathBuf,
        folder: PathBuf,
        format: Format,
        force: bool,
    },
}

#[derive(Debug)]
pub enum FileData {
    /// Has no name yet: when the process ends, it is gone.
    Unnamed(File),
    /// For file systems that know no unnamed files.
    Named(NamedTempFile),
}

impl Output {
    /// Checks the target before any work is done for it.
    pub fn check(path: Option<&Path>, force: bool) -> Result<Self, Error> {
        let is_stdout = |path: &&Path| *path == Path::new("-") || *path == Path::new("/dev/stdout");
        let Some(path) = path.filter(|path| !is_stdout(path)) else {
            if io::stdout().is_terminal() {
                return Err(
                    Error::usage("the slices are binary, and stdout is a terminal")
                        .with_hint("write to a file with -o x.arrow, or pipe into a program"),
                );
            }
            return Ok(Self::Stdout);
        };
        let existing = match fs::metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.as_os_str().as_bytes().ends_with(b"/") {
                    return Err(is_folder(path));
                }
                if path.is_symlink() {
                    return Err(
                        Error::system("the output is a link to a file that is not there")
                            .at_file(path)
                            .with_hint("name the file itself, or remove the link"),
                    );
                }
                None
            }
            Err(error) => return Err(failed("the output cannot be looked at", path, error)),
        };
        if let Some(metadata) = &existing
            && !metadata.is_file()
        {
            if metadata.is_dir() {
                return Err(is_folder(path));
            }
            return Ok(Self::Device(path.to_owned()));
        }
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("arrow") => Format::File,
            Some("arrows") => Format::Stream,
            _ => {
                return Err(Error::usage("the output's name says no format")
                    .at_file(path)
                    .with_hint("name it x.arrow (Arrow IPC file) or x.arrows (Arrow IPC stream)"));
            }
        };
        // A link is followed: the file that it names is replaced, not the link.
        let target = match existing {
            Some(_) if force => fs::canonicalize(path)
                .map_err(|error| failed("the output cannot be looked at", path, error))?,
            Some(_) => return Err(exists(path)),
            None => path.to_owned(),
        };
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        if !folder.is_dir() {
            return Err(Error::system("the output's folder does not exist")
                .at_file(&folder)
                .with_hint("create it, or name another one"));
        }
        Ok(Self::File {
            target,
            folder,
            format,
            force,
        })
    }

    /// Opens the target for writing.
    pub fn create(self) -> Result<Pending, Error> {
        match self {
            Self::Stdout => {
                // A file of our own: Rust's stdout would look for line ends in the data.
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                let stdout = stdout
                    .map_err(|error| Error::system("stdout is not open").with_source(error))?;
                // Fewer switches between writer and reader. Fails where stdout is no pipe, or the
                // system's limit is lower; then the pipe stays as it is.
                let _ = fcntl_setpipe_size(&stdout, PIPE_BYTES);
                Ok(Pending::Open(stdout.into()))
            }
            Self::Device(path) => {
                let device = File::options().write(true).open(&path);
                let device =
                    device.map_err(|error| failed("the output cannot be opened", &path, error))?;
                if device.is_terminal() {
                    return Err(binary_on_terminal().at_file(&path));
                }
                Ok(Pending::Open(device))
            }
            Self::File {
                target,
                folder,
                format,
                force,
            } => {
                let data = FileData::create(&folder)
                    .map_err(|error| failed("the output cannot be created", &target, error))?;
                Ok(Pending::File {
                    data,
                    target,
                    folder,
                    format,
                    force,
                })
            }
        }
    }
}

impl Pending {
    pub fn format(&self) -> Format {
        match self {
            Self::Open(_) => Format::Stream,
            Self::File { format, .. } => *format,
        }
    }

    /// A handle to write through.
    pub fn writer(&self) -> Result<File, Error> {
        let file = match self {
            Self::Open(file)
            | Self::File {
                data: FileData::Unnamed(file),
                ..
            } => file,
            Self::File {
                data: FileData::Named(file),
                ..
            } => file.as_file(),
        };
        file.try_clone()
            .map_err(|error| Error::system("the output cannot be opened").with_source(error))
    }

    /// Adds to an error of the output which one it is.
    pub fn name_target(&self, error: Error) -> Error {
        match self {
            Self::File { target, .. } if error.class() == Class::System => error
                .at_file(target)
                .with_hint("make room there, or name another output; nothing was left behind"),
            _ => error,
        }
    }

    /// Gives a complete file its name, durably. Returns the name where there is one.
    pub fn commit(self) -> Result<Option<PathBuf>, Error> {
        let Self::File {
            data,
            target,
            folder,
            force,
            ..
        } = self
        else {
            return Ok(None);
        };
        match data.name(&target, &folder, force) {
            Ok(()) => Ok(Some(target)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !force => {
                Err(exists(&target))
            }
            Err(error) => Err(failed("the output cannot be completed", &target, error)),
        }
    }
}

impl FileData {
    fn create(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match open(folder, flags, Mode::from_raw_mode(0o666)) {
            Ok(descriptor) => Ok(Self::Unnamed(descriptor.into())),
            // Not every file system can; what else is wrong shows again here.
            Err(_) => temporary_name(folder, |path| {
                File::options().write(true).create_new(true).open(path)
            })
            .map(Self::Named),
        }
    }

    fn name(self, target: &Path, folder: &Path, force: bool) -> io::Result<()> {
        match self {
            Self::Unnamed(file) => {
                keep_permissions(&file, target, force)?;
                file.sync_all()?;
                if force {
                    // A link cannot replace a file, a renaming can.
                    let linked = temporary_name(folder, |path| link(&file, path))?;
                    linked.persist(target).map_err(|failed| failed.error)?;
                } else {
                    link(&file, target)?;
                }
            }
            Self::Named(file) => {
                keep_permissions(file.as_file(), target, force)?;
                file.as_file().sync_all()?;
                let named = if force {
                    file.persist(target)
                } else {
                    file.persist_noclobber(target)
                };
                named.map_err(|failed| failed.error)?;
            }
        }
        // A folder that may be written to but not read cannot be synced; the file is there.
        File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
    }
}

/// A temporary name beside the target, removed again unless it is persisted.
fn temporary_name(
    folder: &Path,
    make: impl FnMut(&Path) -> io::Result<File>,
) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".omega-slices-")
        .suffix(".tmp")
        .make_in(folder, make)
}

/// Gives an unnamed file a name; fails where the name is taken. Returns another handle to it.
fn link(file: &File, path: &Path) -> io::Result<File> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    file.try_clone()
}

/// A file that replaces another one is no more open to others than that was.
fn keep_permissions(file: &File, target: &Path, force: bool) -> io::Result<()> {
    match fs::metadata(target) {
        Ok(old) if force => file.set_permissions(old.permissions()),
        _ => Ok(()),
    }
}

fn binary_on_terminal() -> Error {
    Error::usage("the slices are binary, and the output is a terminal")
        .with_hint("write to a file with -o x.arrow, or pipe into a program")
}

fn is_folder(path: &Path) -> Error {
    Error::system("the output is a folder")
        .at_file(path)
        .with_hint("name a file in it: x.arrow or x.arrows")
}

fn exists(path: &Path) -> Error {
    Error::system("the output exists already")
        .at_file(path)
        .with_hint("replace it with --force, or name another one")
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::system(format!("{what}: {error}"))
        .at_file(path)
        .with_source(error)
}
