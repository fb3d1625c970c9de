//! Finds the inputs of a request before any series is opened: its files and its trading hours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::discovery;
use crate::multi_symbol::ReadOptions;
use crate::series_files::Resolved;
use slices_core::error::Result;
use slices_core::request::Request;
use slices_core::session::Hours;
use slices_store::Storage;

/// The files of every series, and the sessions of the session file.
#[derive(Debug)]
pub struct Inputs {
    /// The trading hours of the file of sessions.
    pub hours: Option<Arc<Hours>>,
    /// The files of each series.
    pub resolved: Resolved,
    /// Where those come from that are objects.
    pub storage: Storage,
}

impl Inputs {
    /// Finds the files and reads the sessions.
    ///
    /// # Errors
    ///
    /// Fails if a file is missing or the session file is invalid.
    pub fn find(request: &Request, options: &ReadOptions) -> Result<Self> {
        let storage = options.storage();
        let file = request.session_file();
        let hours = file.map(|file| slices_parquet::read_sessions(file, &storage));
        Ok(Self {
            hours: hours.transpose()?.map(Arc::new),
            resolved: discovery::resolve(request, options.follows_links(), &storage)?,
            storage,
        })
    }
}

/// The files that a request reads: those of all its series, its session file and its list of
/// inputs. Opens no file of a series.
///
/// # Errors
///
/// Fails if a file is missing.
pub fn input_files(request: &Request, options: &ReadOptions) -> Result<Vec<PathBuf>> {
    let resolved = discovery::resolve(request, options.follows_links(), &options.storage())?;
    let of_series = resolved.series.into_iter().flat_map(|series| series.files);
    let of_series = of_series.map(|file| file.path);
    let others = [request.session_file(), request.inputs()];
    let others = others.into_iter().flatten().map(Path::to_owned);
    Ok(of_series.chain(others).collect())
}
