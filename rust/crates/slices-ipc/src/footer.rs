//! Reads and writes our entries in the footer of a file: the seal, the report of the run, and an
//! index of timestamps.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plain_types::first_timestamp_ns;
use slices_core::report::{Report, Warning};

const SEAL: &str = "seal";
const REPORT: &str = "report";
const BATCH_INDEX: &str = "batch_index";

/// Marks a file as complete and counts its contents. Written last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Slices in the file.
    pub slices: u64,
    /// Record batches in the file, without the empty one.
    pub batches: u64,
}

/// The slice count and first timestamp of every batch: a reader finds a timestamp without touching
/// the batches.
#[derive(Debug, Default, Serialize)]
pub(super) struct BatchIndex {
    slices: Vec<u64>,
    first_timestamps_ns: Vec<i64>,
}

impl BatchIndex {
    /// Adds a batch of whole slices.
    pub fn add(&mut self, batch: &RecordBatch, symbols: usize) {
        self.slices.push((batch.num_rows() / symbols) as u64);
        self.first_timestamps_ns.push(first_timestamp_ns(batch));
    }

    fn seal(&self) -> Seal {
        Seal {
            slices: self.slices.iter().sum(),
            batches: self.slices.len() as u64,
        }
    }
}

/// The run in one document: its report and all warnings.
#[derive(Serialize)]
struct Run<'a> {
    #[serde(flatten)]
    report: &'a Report,
    warnings: &'a [Warning],
}

/// Serialises the run for the footer.
pub(super) fn run_document(report: &Report, warnings: &[Warning]) -> String {
    to_json(&Run { report, warnings })
}

/// The entries of the footer, by key.
pub(super) fn entries(index: &BatchIndex, run_document: String) -> [(&'static str, String); 3] {
    [
        (SEAL, to_json(&index.seal())),
        (REPORT, run_document),
        (BATCH_INDEX, to_json(index)),
    ]
}

/// Reads the seal and the report of a footer; `None` if either is missing or invalid.
pub(super) fn read(metadata: &HashMap<String, String>) -> Option<(Seal, Value)> {
    let seal = serde_json::from_str(metadata.get(SEAL)?).ok()?;
    let report = serde_json::from_str(metadata.get(REPORT)?).ok()?;
    Some((seal, report))
}

fn to_json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("names and numbers are JSON")
}
