//! Lists the inputs of a request: which files it reads, and how. Synchronises nothing and reads no
//! values.

use std::ops::RangeInclusive;
use std::path;

use serde::Serialize;

use crate::discovery;
use crate::input_list::InputFileDocument;
use crate::multi_symbol::ReadOptions;
use crate::series;
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::{PriceType, Request, SplitBy, remote_scheme};

/// The series of a request and their files. Serializes to the document that
/// [`Request::inputs`] names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InputList {
    /// The series, in the order of the stream.
    pub series: Vec<InputSeries>,
}

/// A series and its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InputSeries {
    /// The symbol.
    pub symbol: String,
    /// The price type; `None` for indicators.
    pub price_type: Option<PriceType>,
    /// The timeframe of its candles.
    pub timeframe: String,
    /// Its files, in name order or in the order of the list of inputs.
    pub files: Vec<InputFileDocument>,
}

/// Cuts a request into parts that follow each other without a gap or an overlap. Joined, their
/// slices are those of the whole.
///
/// Where the request sets no limit, the range of the primary candles counts, as [`inputs`] lists
/// them.
///
/// # Errors
///
/// Those of [`inputs`], if the request lacks a limit. A usage error if it starts inside a candle,
/// and floored rows are carried: no parts have the slices of the whole.
pub fn split(request: &Request, by: SplitBy, options: &ReadOptions) -> Result<Vec<Request>> {
    if request.starts_inside_a_candle() {
        let message = "cannot split the request: it starts inside a candle, and the parts would carry \
                       rows from before its start";
        return Err(Error::usage(message).with_hint(hint![
            "let ",
            Setting::Start,
            " name a time at which a candle of the timeframe opens"
        ]));
    }
    let is_limited = request.start_ns().is_some() && request.end_ns().is_some();
    let rows = if is_limited {
        None
    } else {
        inputs(request, options)?.primary_range(request)
    };
    Ok(request.split_within(by, rows))
}

impl InputList {
    /// The range of the timestamps of the primary candles; `None` without rows.
    fn primary_range(&self, request: &Request) -> Option<RangeInclusive<i64>> {
        let is_primary = |one: &&InputSeries| {
            one.price_type.is_some() && one.timeframe == request.timeframe().as_str()
        };
        let files = || {
            self.series
                .iter()
                .filter(is_primary)
                .flat_map(|one| &one.files)
        };
        let first_ns = files().filter_map(|file| file.first_timestamp_ns).min()?;
        let last_ns = files().filter_map(|file| file.last_timestamp_ns).max()?;
        Some(first_ns..=last_ns)
    }
}

/// Lists the inputs of a request. Opens each file and reads its footer, and its timestamps if the
/// footer does not state their range.
///
/// # Errors
///
/// The errors of [`SliceBatches::open`] for missing files and malformed footers.
///
/// [`SliceBatches::open`]: crate::multi_symbol::SliceBatches::open
pub fn inputs(request: &Request, options: &ReadOptions) -> Result<InputList> {
    let storage = options.storage();
    let resolved = discovery::resolve(request, options.follows_links(), &storage)?;
    let rules = options.series_rules(
        request,
        None,
        resolved.series.len(),
        &options.memory_budget(),
        &storage,
    );
    let listed = resolved.series.iter().map(|files| {
        let documents = series::inputs(files, rules.of(files))?;
        let absolute = documents.into_iter().map(|mut document| {
            if remote_scheme(&document.path).is_some() {
                return Ok(document);
            }
            document.path = path::absolute(&document.path).map_err(|error| {
                let message = format!("cannot find the current folder: {error}");
                Error::system(message)
                    .with_source(error)
                    .with_hint("start it in a folder that exists and is readable")
            })?;
            if document.path.to_str().is_none() {
                let message =
                    "cannot list the file: its path is not UTF-8, and JSON holds no other";
                let error = Error::input(Code::UnsupportedInput, message).at_file(&document.path);
                let renamed = "rename the file or folder";
                return Err(files.name.on(error).with_hint(renamed));
            }
            Ok(document)
        });
        Ok(InputSeries {
            symbol: files.name.symbol.clone(),
            price_type: files.name.price_type,
            timeframe: files.name.timeframe.clone(),
            files: absolute.collect::<Result<_>>()?,
        })
    });
    Ok(InputList {
        series: listed.collect::<Result<_>>()?,
    })
}
