//! Reads and writes the list of the files that a request was precomputed into.
//!
//! The list is the file `_slices.json` in the folder of the parts. It is written last, so a folder
//! with a list is complete.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::footer::Seal;
use slices_core::error::{Code, Error, Result};
use slices_core::request::{format_timestamp, parse_timestamp, remote_scheme};
use slices_store::Storage;

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

    /// Checks that a file of this footer and size is the listed one, and answers its part of the
    /// request of the list.
    pub(super) fn check(
        &self,
        whole: &Value,
        own: &Value,
        (seal, report, bytes): (Seal, &Value, u64),
        path: &Path,
    ) -> Result<()> {
        let found = Self::new(self.file.clone(), seal, report, bytes);
        let shape = |part: &Self| {
            let ends = (part.first_timestamp_ns, part.last_timestamp_ns);
            (part.slices, part.batches, part.bytes, ends)
        };
        if shape(&found) == shape(self) && self.is_asked_by(whole, own) {
            Ok(())
        } else {
            Err(exchanged(path))
        }
    }
}

impl Part {
    /// Whether the request of a file is this part of a whole one.
    fn is_asked_by(&self, whole: &Value, own: &Value) -> bool {
        let text = |key: &str| own[key].as_str();
        let is_window = |key: &str| matches!(key, "start" | "end" | "before");
        let keys = |request: &Value| -> HashSet<String> {
            let keys = request
                .as_object()
                .into_iter()
                .flat_map(|fields| fields.keys());
            keys.cloned().collect()
        };
        let differs = |key: &String| {
            // A list of all symbols names none.
            let is_open = key == "symbols" && whole[key].is_null();
            !is_window(key) && !is_open && whole[key] != own[key]
        };
        if keys(whole).union(&keys(own)).any(differs) || text("start") != self.start.as_deref() {
            return false;
        }
        match (text("before"), text("end")) {
            (before @ Some(_), _) => before == self.before.as_deref(),
            (None, None) => self.before.is_none(),
            (None, Some(end)) => {
                let after = parse_timestamp(end).map(|end_ns| end_ns.checked_add(1));
                after.is_ok_and(|after| after.map(format_timestamp) == self.before)
            }
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
    /// The SHA-256 of what the list says about its parts; `None` in a list of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    /// The parts, in order.
    pub parts: Vec<Part>,
}

impl PartList {
    /// The name of the list in its folder.
    pub const FILE_NAME: &str = "_slices.json";

    /// Lists the parts of a request.
    #[must_use]
    pub fn new(request: Value, parts: Vec<Part>) -> Self {
        Self {
            schema_version: VERSION.to_owned(),
            request,
            checksum: Some(checksum_of(&parts)),
            parts,
        }
    }

    /// Reads the list of a folder; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`Code::DeserializationError`] if the list is malformed, of a newer version, or names a file
    /// outside its folder.
    pub fn read(folder: &Path, storage: &Storage) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE_NAME);
        if remote_scheme(folder).is_some() {
            let text = storage.read(&path, BYTES_MAX)?;
            return text.map(|text| Self::parse(&text, &path)).transpose();
        }
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
            Ok(metadata) if !metadata.is_file() => {
                return Err(wrong("it is no regular file", &path));
            }
            Ok(metadata) => metadata.len(),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        if size > BYTES_MAX {
            return Err(wrong("it is too large", &path));
        }
        let text = fs::read(&path).map_err(unreadable)?;
        Self::parse(&text, &path).map(Some)
    }

    /// Reads the text of a list, which is named `path` in errors.
    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let list: Self = serde_json::from_slice(text)
            .map_err(|error| wrong(&format!("it is malformed: {error}"), path))?;
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        if major(&list.schema_version) != major(VERSION) {
            let version = &list.schema_version;
            let what = format!("it has version {version:?}, but this program reads {VERSION}");
            return Err(wrong(&what, path));
        }
        if list.parts.is_empty() {
            return Err(wrong("it lists no parts", path));
        }
        if let Some(part) = list.parts.iter().find(|part| !is_plain_name(&part.file)) {
            let what = format!("{:?} is no plain name of a file", part.file);
            return Err(wrong(&what, path));
        }
        if let Some(checksum) = &list.checksum
            && *checksum != checksum_of(&list.parts)
        {
            return Err(wrong("it was edited: its checksum is another one", path));
        }
        if let Some(what) = fault_in(&list.parts) {
            return Err(wrong(&what, path));
        }
        Ok(list)
    }

    /// Writes the list into a folder: complete or not at all.
    ///
    /// # Errors
    ///
    /// A system failure.
    pub fn write(&self, folder: &Path, storage: &Storage) -> Result<()> {
        let path = folder.join(Self::FILE_NAME);
        let text = serde_json::to_string_pretty(self).expect("texts and numbers are JSON") + "\n";
        if remote_scheme(folder).is_some() {
            return storage.write(&path, text.as_bytes(), true);
        }
        let partial = folder.join(format!("{}.{}.partial", Self::FILE_NAME, process::id()));
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(text.as_bytes())?;
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
pub fn read_parts(folder: &Path, storage: &Storage) -> Result<PartList> {
    let name = PartList::FILE_NAME;
    PartList::read(folder, storage)?.ok_or_else(|| {
        Error::input(
            Code::DeserializationError,
            format!("it is a folder without {name}, so it holds no complete parts"),
        )
        .at_file(folder)
        .with_hint("name the folder that precompute filled, or a file")
    })
}

/// The SHA-256 of all fields of the parts, each as a line, and an absent one as an empty line.
fn checksum_of(parts: &[Part]) -> String {
    let mut hash = Sha256::new();
    let number = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
    for part in parts {
        let lines = [
            part.file.clone(),
            part.start.clone().unwrap_or_default(),
            part.before.clone().unwrap_or_default(),
            part.slices.to_string(),
            part.batches.to_string(),
            number(part.first_timestamp_ns),
            number(part.last_timestamp_ns),
            part.bytes.to_string(),
            part.sha256.clone(),
            part.key.clone(),
        ];
        lines.iter().for_each(|line| {
            hash.update(line);
            hash.update("\n");
        });
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Why parts do not follow each other, if they do not.
fn fault_in(parts: &[Part]) -> Option<String> {
    let mut names = HashSet::new();
    if let Some(part) = parts.iter().find(|part| !names.insert(&part.file)) {
        return Some(format!("it names {:?} twice", part.file));
    }
    let gap = parts.windows(2).find(|pair| {
        pair[0].before.is_some() && pair[1].start.is_some() && pair[0].before != pair[1].start
    });
    if let Some(pair) = gap {
        let file = &pair[1].file;
        return Some(format!(
            "{file:?} does not begin where the part before ends"
        ));
    }
    let mut last_ns = None;
    for part in parts {
        let (first, last) = (part.first_timestamp_ns, part.last_timestamp_ns);
        let follows = first.is_none() || last_ns.is_none() || last_ns < first;
        if !follows || last < first {
            let file = &part.file;
            return Some(format!("the slices of {file:?} do not follow those before"));
        }
        last_ns = last.or(last_ns);
    }
    None
}

/// The error for a file that is not the one that was listed.
pub(super) fn exchanged(path: &Path) -> Error {
    let message = format!("it is another file than {} lists", PartList::FILE_NAME);
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
