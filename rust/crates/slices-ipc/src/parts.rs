//! Reads and writes the list of the files that a request was precomputed into.
//!
//! The list is the file `_slices.json` in the folder of the parts. It is written last, so a folder
//! with a list is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::footer::Seal;
use slices_core::error::{Code, Error, Result};

/// The name of the list in the folder.
const FILE_NAME: &str = "_slices.json";

/// The version of the list. Only a different number before the first dot is incompatible.
const VERSION: &str = "1.0.0";

/// Maximum size of a list: some hundred thousand parts.
const BYTES_MAX: u64 = 1 << 28;

const REMAKE_HINT: &str = "run precompute again: it makes what is missing or changed";

/// One part of a precomputed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Part {
    /// The name of the file, in the folder of the list.
    pub file: String,
    /// The start of its window as RFC 3339 text, if the request has one.
    pub start: Option<String>,
    /// The exclusive end of its window.
    pub before: Option<String>,
    /// Number of slices.
    pub slices: u64,
    /// Number of record batches with slices.
    pub batches: u64,
    /// The timestamp of the first slice, nanoseconds UTC; `None` without slices.
    pub first_timestamp_ns: Option<i64>,
    /// The timestamp of the last slice, nanoseconds UTC; `None` without slices.
    pub last_timestamp_ns: Option<i64>,
    /// The size of the file.
    pub bytes: u64,
    /// The SHA-256 of the file, in hex digits.
    pub sha256: String,
    /// The identity of its request and inputs.
    pub key: String,
}

impl Part {
    /// Describes a complete file of slices by its footer and size.
    #[must_use]
    pub fn new(file: String, seal: Seal, report: &Value, bytes: u64) -> Self {
        Self {
            file,
            start: None,
            before: None,
            slices: seal.slices,
            batches: seal.batches,
            first_timestamp_ns: report["first_timestamp_ns"].as_i64(),
            last_timestamp_ns: report["last_timestamp_ns"].as_i64(),
            bytes,
            sha256: String::new(),
            key: String::new(),
        }
    }

    /// Checks that a file of this footer and size is the listed one.
    pub(super) fn check(&self, seal: Seal, report: &Value, bytes: u64, path: &Path) -> Result<()> {
        let found = Self::new(self.file.clone(), seal, report, bytes);
        let shape = |part: &Self| {
            let ends = (part.first_timestamp_ns, part.last_timestamp_ns);
            (part.slices, part.batches, part.bytes, ends)
        };
        if shape(&found) == shape(self) {
            Ok(())
        } else {
            Err(exchanged(path))
        }
    }
}

/// The parts of a precomputed request, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PartList {
    schema_version: String,
    /// The whole request.
    pub request: Value,
    /// The parts, in order.
    pub parts: Vec<Part>,
}

impl PartList {
    /// Lists the parts of a request.
    #[must_use]
    pub fn new(request: Value, parts: Vec<Part>) -> Self {
        Self {
            schema_version: VERSION.to_owned(),
            request,
            parts,
        }
    }

    /// Reads the list of a folder; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`Code::DeserializationError`] if the list is malformed, of a newer version, or names a file
    /// outside its folder.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE_NAME);
        let unreadable = |error: io::Error| {
            Error::input(
                Code::DeserializationError,
                format!("cannot read the list of parts: {error}"),
            )
            .at_file(&path)
            .with_source(error)
            .with_hint("check that it is readable")
        };
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        if size > BYTES_MAX {
            return Err(wrong("it is too large", &path));
        }
        let text = fs::read(&path).map_err(unreadable)?;
        let list: Self = serde_json::from_slice(&text)
            .map_err(|error| wrong(&format!("it is malformed: {error}"), &path))?;
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        if major(&list.schema_version) != major(VERSION) {
            let version = &list.schema_version;
            let what = format!("it has version {version:?}, but this program reads {VERSION}");
            return Err(wrong(&what, &path));
        }
        if list.parts.is_empty() {
            return Err(wrong("it lists no parts", &path));
        }
        if let Some(part) = list.parts.iter().find(|part| !is_plain_name(&part.file)) {
            let what = format!("{:?} is no plain name of a file", part.file);
            return Err(wrong(&what, &path));
        }
        Ok(Some(list))
    }

    /// Writes the list into a folder: complete or not at all.
    ///
    /// # Errors
    ///
    /// A system failure.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE_NAME);
        let partial = folder.join(format!("{FILE_NAME}.{}.partial", process::id()));
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            // A folder that cannot be read cannot be synced; the file exists all the same.
            File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
        };
        write().map_err(|error| {
            // It may be gone, or never have been there.
            let _ = fs::remove_file(&partial);
            Error::system(format!("cannot write the list of parts: {error}"))
                .at_file(&path)
                .with_source(error)
                .with_hint("make room there, or name another folder")
        })
    }

    /// The paths of the files, in order.
    pub fn paths(&self, folder: &Path) -> impl Iterator<Item = (&Part, PathBuf)> {
        let folder = folder.to_owned();
        self.parts
            .iter()
            .map(move |part| (part, folder.join(&part.file)))
    }
}

/// The list of a folder that must have one.
///
/// # Errors
///
/// [`Code::DeserializationError`], as [`PartList::read`], and without a list.
pub fn read_parts(folder: &Path) -> Result<PartList> {
    PartList::read(folder)?.ok_or_else(|| {
        Error::input(
            Code::DeserializationError,
            format!("it is a folder without {FILE_NAME}, so it holds no complete parts"),
        )
        .at_file(folder)
        .with_hint("name the folder that precompute filled, or a file")
    })
}

/// The error for a file that is not the one that was listed.
pub(super) fn exchanged(path: &Path) -> Error {
    let message = format!("it is another file than {FILE_NAME} lists");
    Error::input(Code::DeserializationError, message)
        .at_file(path)
        .with_hint(REMAKE_HINT)
}

fn wrong(what: &str, path: &Path) -> Error {
    let message = format!("the list of parts is wrong: {what}");
    Error::input(Code::DeserializationError, message)
        .at_file(path)
        .with_hint(REMAKE_HINT)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(first)) if first.to_str() == Some(name))
        && components.next().is_none()
}
