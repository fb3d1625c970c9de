//! Writes files that get their name only when they are complete.
//!
//! A file has no name while it is written, or a temporary name beside the target if the file system
//! needs one. If the run ends early, no partial file remains, and an existing file stays as it was.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use omega_slices::{Error, ErrorKind, check_writable};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use tempfile::NamedTempFile;

/// The kind of output that a path names.
#[derive(Debug)]
pub enum Named {
    /// A file to create or to replace.
    File(Target),
    /// An existing path that is not a regular file, such as `/dev/null` or a named pipe.
    Device,
}

/// The checked path of a file that does not exist yet.
#[derive(Debug)]
pub struct Target {
    /// The path that the user named.
    path: PathBuf,
    /// The file itself, with links resolved.
    file: PathBuf,
    folder: PathBuf,
    force: bool,
}

/// An open file that gets its name when it is complete.
#[derive(Debug)]
pub struct AtomicFile {
    data: FileData,
    target: Target,
}

#[derive(Debug)]
enum FileData {
    /// Without a name: it vanishes when the process ends.
    Unnamed(File),
    /// With a temporary name, for file systems without unnamed files.
    Named(NamedTempFile),
}

impl Target {
    /// Checks a path before any work is done. Replaces an existing file only with `force`.
    pub fn check(path: &Path, force: bool) -> Result<Named, Error> {
        check_writable(&path.to_string_lossy()).map_err(|error| error.at_file(path))?;
        let existing = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(is_folder(path)),
            Ok(metadata) if !metadata.is_file() => return Ok(Named::Device),
            Ok(_) if !force => return Err(exists(path)),
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.as_os_str().as_bytes().ends_with(b"/") {
                    return Err(is_folder(path));
                }
                if path.is_symlink() {
                    return Err(Error::system(
                        "cannot write the output: it is a link to a missing file",
                    )
                    .at_file(path)
                    .with_hint("name the file itself or remove the link"));
                }
                false
            }
            Err(error) => return Err(failed("cannot inspect the output", path, error)),
        };
        // Follow a link: the file that it names is replaced, not the link.
        let file = if existing {
            fs::canonicalize(path)
                .map_err(|error| failed("cannot inspect the output", path, error))?
        } else {
            path.to_owned()
        };
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        if !folder.is_dir() {
            return Err(
                Error::system("cannot create the output: its folder does not exist")
                    .at_file(&folder)
                    .with_hint("create the folder or name another one"),
            );
        }
        Ok(Named::File(Self {
            path: path.to_owned(),
            file,
            folder,
            force,
        }))
    }

    /// The path that the user named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file for writing.
    pub fn create(self) -> Result<AtomicFile, Error> {
        let data = FileData::create(&self.folder)
            .map_err(|error| failed("cannot create the output", &self.path, error))?;
        Ok(AtomicFile { data, target: self })
    }
}

impl AtomicFile {
    /// The file to write to.
    pub fn file(&self) -> &File {
        match &self.data {
            FileData::Unnamed(file) => file,
            FileData::Named(file) => file.as_file(),
        }
    }

    /// Adds the file to an error of the output.
    pub fn name_target(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::System {
            error
                .at_file(&self.target.path)
                .with_hint("make room there or name another output; no partial file remains")
        } else {
            error
        }
    }

    /// Gives the complete file its name, durably. Returns the path that the user named.
    pub fn commit(self) -> Result<PathBuf, Error> {
        let Target {
            path,
            file,
            folder,
            force,
        } = self.target;
        match self.data.name(&file, &folder, force) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !force => {
                Err(exists(&path))
            }
            Err(error) => Err(failed("cannot complete the output", &path, error)),
        }
    }
}

impl FileData {
    fn create(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match open(folder, flags, Mode::from_raw_mode(0o666)) {
            Ok(descriptor) => Ok(Self::Unnamed(descriptor.into())),
            // The file system may not support unnamed files; any other error shows again here.
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
                    // A link cannot replace a file, but a rename can.
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
        // A writable folder without read permission cannot be synced; the file exists all the same.
        File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
    }
}

/// Creates a temporary name beside the target, removed unless it is persisted.
fn temporary_name(
    folder: &Path,
    make: impl FnMut(&Path) -> io::Result<File>,
) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".omega-slices-")
        .suffix(".tmp")
        .make_in(folder, make)
}

/// Gives an unnamed file a name; fails if the name is taken. Returns another handle to it.
fn link(file: &File, path: &Path) -> io::Result<File> {
    // First what may fail: after a link, an error would leave the file behind.
    let handle = file.try_clone()?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(handle)
}

/// Copies the permissions of a file that is replaced, so that they do not widen.
fn keep_permissions(file: &File, target: &Path, force: bool) -> io::Result<()> {
    match fs::metadata(target) {
        Ok(old) if force => file.set_permissions(old.permissions()),
        _ => Ok(()),
    }
}

fn is_folder(path: &Path) -> Error {
    Error::system("cannot write the output: it is a folder")
        .at_file(path)
        .with_hint("name a file inside it")
}

fn exists(path: &Path) -> Error {
    Error::system("cannot write the output: the file already exists")
        .at_file(path)
        .with_hint("replace it with --force or name another file")
}

/// Creates a system failure with the file that it is about.
pub fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::system(format!("{what}: {error}"))
        .at_file(path)
        .with_source(error)
        .with_hint("check room and permissions there, or name another output")
}
