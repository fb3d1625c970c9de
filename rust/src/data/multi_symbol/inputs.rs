//! Owns what a request comes down to before any series is opened: its files and its trading hours.

use std::sync::Arc;

use crate::data::layout::{self, Resolved};
use crate::data::session::Hours;
use crate::data::source;
use crate::error::Result;
use crate::request::Request;

/// The files of every series, and the sessions of the request's file of sessions.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub hours: Option<Arc<Hours>>,
    pub resolved: Resolved,
}

impl Inputs {
    /// Finds them.
    ///
    /// # Errors
    ///
    /// What is missing, or a file of sessions that cannot be read.
    pub fn find(request: &Request) -> Result<Self> {
        let hours = request.session_file().map(source::read_sessions);
        Ok(Self {
            hours: hours.transpose()?.map(Arc::new),
            resolved: layout::resolve(request)?,
        })
    }
}
