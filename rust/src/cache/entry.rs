//! Reads one cache entry: an open file of slices that stays readable if its name is removed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::cache::folder::open_regular;
use slices_core::error::{Error, Result};
use slices_core::report::{Warning, known_name};
use slices_ipc::{Format, Seal, SliceContent};

/// A complete file of slices in a cache.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    file: File,
    content: SliceContent,
    seal: Seal,
    report: Value,
}

/// A warning as a report holds it.
pub(crate) fn warning_in(document: &Value) -> Option<Warning> {
    let text = |key: &str| document.get(key).and_then(Value::as_str);
    let mut warning = Warning::new(text("name").and_then(known_name)?, text("message")?);
    warning.file = text("file").map(PathBuf::from);
    warning.symbol = text("symbol").map(str::to_owned);
    warning.price_type = text("price_type").and_then(|one| one.parse().ok());
    Some(warning)
}

impl Entry {
    /// Opens an entry. `None` if it is incomplete, which only a damaged disk or another program can
    /// cause; the cache then builds it again.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let file = open_regular(File::options().read(true), path).ok()?;
        Self::of(file, path)
    }

    /// The same for an open file, which may have lost its name already.
    pub(super) fn of(file: File, path: &Path) -> Option<Self> {
        let (content, seal, report) = slices_ipc::read_footer(&file, path).ok()?;
        Some(Self {
            path: path.to_owned(),
            file,
            content,
            seal,
            report,
        })
    }

    /// Marks the entry as used now. If that fails, it counts as old.
    pub(super) fn touch(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }

    /// The path of the Arrow IPC file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The schema, symbols and request of its slices.
    #[must_use]
    pub fn content(&self) -> &SliceContent {
        &self.content
    }

    /// Number of slices.
    #[must_use]
    pub fn slices(&self) -> u64 {
        self.seal.slices
    }

    /// The report of the run that built it, with its warnings.
    #[must_use]
    pub fn report(&self) -> &Value {
        &self.report
    }

    /// The first warning of the run, as the error of a strict run.
    pub(super) fn first_warning(&self) -> Option<Error> {
        let warning = self.report.get("warnings")?.get(0)?;
        Some(warning_in(warning)?.to_error())
    }

    /// Size in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.size())
    }

    /// When it was last built or found.
    #[must_use]
    pub fn last_used(&self) -> Option<SystemTime> {
        self.file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
    }

    /// Writes the slices: the same bytes as a run without a cache.
    ///
    /// # Errors
    ///
    /// A system failure; [`Error::is_broken_pipe`] identifies a closed pipe.
    pub fn copy_to(&self, format: Format, mut output: impl Write) -> Result<()> {
        let bytes = match format {
            Format::File => 0..self.size_bytes(),
            Format::Stream => slices_ipc::stream_in_file(&self.file, &self.path)?,
        };
        let mut copy = || {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(bytes.start))?;
            let length = bytes.end - bytes.start;
            // Between files, pipes and sockets, the kernel copies directly.
            if io::copy(&mut file.take(length), &mut output)? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            output.flush()
        };
        copy().map_err(|error| {
            Error::system(format!("cannot write the output: {error}"))
                .with_source(error)
                .with_hint("make room there, or name another output")
        })
    }
}
