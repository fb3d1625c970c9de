//! Owns what the footer of a file says besides Arrow's own: the seal, the report of the run, and where
//! which timestamp is.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::{Report, Warning};

const SEAL: &str = "seal";
const REPORT: &str = "report";
const BATCH_INDEX: &str = "batch_index";

/// That a file is complete, and what it then holds. Written last of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Slices in the file.
    pub slices: u64,
    /// Record batches in the file, without the one that has no rows.
    pub batches: u64,
}

/// What every batch begins with, so that a reader finds a timestamp without touching any.
#[derive(Debug, Default, Serialize)]
pub(super) struct BatchIndex {
    slices: Vec<u64>,
    first_timestamps_ns: Vec<i64>,
}

impl BatchIndex {
    /// Notes a batch of whole slices.
    pub fn add(&mut self, batch: &RecordBatch, symbols: usize) {
        let timestamps = batch.column(0).as_primitive::<TimestampNanosecondType>();
        self.slices.push((batch.num_rows() / symbols) as u64);
        self.first_timestamps_ns.push(timestamps.value(0));
    }

    fn seal(&self) -> Seal {
        Seal {
            slices: self.slices.iter().sum(),
            batches: self.slices.len() as u64,
        }
    }
}

/// The whole run in one document: what the report says, and every warning.
#[derive(Serialize)]
struct Run<'a> {
    #[serde(flatten)]
    report: &'a Report,
    warnings: &'a [Warning],
}

/// The document of a run for the footer.
pub(super) fn run_document(report: &Report, warnings: &[Warning]) -> String {
    to_json(&Run { report, warnings })
}

/// The footer's entries by key.
pub(super) fn entries(index: &BatchIndex, run_document: String) -> [(&'static str, String); 3] {
    [
        (SEAL, to_json(&index.seal())),
        (REPORT, run_document),
        (BATCH_INDEX, to_json(index)),
    ]
}

/// The seal and the report that a footer holds; none of them where it is not whole.
pub(super) fn read(metadata: &HashMap<String, String>) -> Option<(Seal, Value)> {
    let seal = serde_json::from_str(metadata.get(SEAL)?).ok()?;
    let report = serde_json::from_str(metadata.get(REPORT)?).ok()?;
    Some((seal, report))
}

fn to_json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("names and numbers are JSON")
}
