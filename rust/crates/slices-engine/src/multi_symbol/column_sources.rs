//! Decides where the values of each column come from, so that the run stays within its budget of
//! memory: from the files while it runs, or from a temporary file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::buffer::MutableBuffer;

use crate::memory::{MemoryBudget, Reservation};
use crate::multi_symbol::ReadOptions;
use crate::multi_symbol::options::Shares;
use crate::series::{OpenSeries, ValueCursor};
use crate::spill::{SpillFile, SpilledColumn};
use crate::thread_pool::{Priority, SerialTask, ThreadPool};
use slices_core::candle::StreamSchema;
use slices_core::error::{Error, Result};

/// What a cursor takes beside its pages.
const CURSOR_BYTES: u64 = 3 << 10;

/// Possible lengths of a piece in the temporary file, in rows.
const PIECE_ROWS: [usize; 5] = [8_192, 4_096, 2_048, 1_024, 512];

/// The cost of writing and reading a piece, beside that of its rows; as a number of rows.
const PIECE_COST_ROWS: u64 = 512;

/// A page is held decompressed, and the allocator rounds its size up.
fn held_bytes(page_bytes: u64) -> u64 {
    CURSOR_BYTES + page_bytes + page_bytes / 8
}

/// What is taken while columns are decoded: each thread holds a page of one, compressed and not,
/// and a piece of the temporary file. The allocator gives the memory of earlier pages back later.
fn decoding_bytes(columns: &[SourceColumn], options: &ReadOptions) -> u64 {
    let largest = columns.iter().map(|column| column.bytes).max().unwrap_or(0);
    let piece = (PIECE_ROWS[0] * size_of::<f64>()) as u64;
    let threads = options.threads().get().min(columns.len());
    threads as u64 * (5 * largest + piece)
}

/// A value column of a series.
#[derive(Debug, Clone, Copy)]
struct SourceColumn {
    series: usize,
    field: usize,
    rows: u64,
    /// Number of bytes that its cursor holds if it reads the files.
    bytes: u64,
}

/// The sources of all value columns of a request.
pub(super) struct ColumnSources {
    /// Cursors over the columns with the numbers of their series, in the order of the layout.
    columns: std::vec::IntoIter<(usize, ValueCursor)>,
    temporary_bytes: u64,
    _held: Reservation,
}

impl ColumnSources {
    /// Decides for all columns, in the order of the layout. Writes the temporary file, if one is
    /// needed.
    ///
    /// # Errors
    ///
    /// A system error: even with a temporary file the run would need more memory, or the file
    /// cannot be written.
    pub fn new(
        layout: &StreamSchema,
        symbols: usize,
        all_series: &[Arc<OpenSeries>],
        (memory, shares): (&Arc<MemoryBudget>, Shares<'_>),
        options: &ReadOptions,
        thread_pool: &ThreadPool,
    ) -> Result<Self> {
        let of_groups = layout.groups.iter().flat_map(|group| {
            let fields = 0..group.values.len();
            fields.flat_map(move |field| {
                (0..symbols).map(move |symbol| {
                    let series = group.series(symbol);
                    SourceColumn {
                        series,
                        field,
                        rows: all_series[series].rows(),
                        bytes: held_bytes(all_series[series].column_bytes_by_footer(field)),
                    }
                })
            })
        });
        let mut columns: Vec<_> = of_groups.collect();
        let ahead_rows = ReadOptions::ahead_rows(columns.len(), memory.limit());
        let total =
            |columns: &[SourceColumn]| columns.iter().map(|column| column.bytes).sum::<u64>();
        let shared = shares.bytes(memory.limit());
        let mut decoding = decoding_bytes(&columns, options);
        let mut left = memory.left().saturating_sub(shared + decoding);
        if total(&columns) > left {
            // A chunk of many pages takes less than its footer says.
            for column in &mut columns {
                let series = &all_series[column.series];
                column.bytes = held_bytes(series.column_bytes_by_headers(column.field)?);
            }
            decoding = decoding_bytes(&columns, options);
            left = memory.left().saturating_sub(shared + decoding);
        }
        if total(&columns) <= left && options.forced_spill().is_none() {
            let _held = memory.reserve(total(&columns) + decoding, "the columns")?;
            return Ok(Self {
                columns: cursors(&columns, all_series, ahead_rows, Vec::new()),
                temporary_bytes: 0,
                _held,
            });
        }
        let plan = match options.forced_spill() {
            None => {
                let most = memory.left_at_most().saturating_sub(shared + decoding);
                let plan = SpillPlan::new(&columns, left);
                let plan = plan.or_else(|_| SpillPlan::new(&columns, most));
                plan.map_err(|needed| {
                    let what = format!("{} columns side by side", columns.len());
                    let others = memory.taken() + decoding;
                    memory.too_small(shares.enough(others + needed), what)
                })?
            }
            Some((every, piece_rows)) => SpillPlan {
                spilled: (0..columns.len()).step_by(every.get()).collect(),
                piece_rows,
                bytes: 0,
            },
        };
        let _held = memory.reserve(plan.bytes + decoding, "the columns")?;
        let rows: Vec<_> = plan.spilled.iter().map(|&one| columns[one].rows).collect();
        let folder = options.temp_dir();
        let file = SpillFile::create(&folder, &rows, plan.piece_rows, options.temp_limit())?;
        let file = Arc::new(file);
        let decoded = plan.spilled.iter().map(|&one| {
            let column = columns[one];
            (all_series[column.series].clone(), column.field)
        });
        let failures = write_columns(&file, decoded.collect(), options, thread_pool)?;
        let mut spilled: Vec<_> = columns.iter().map(|_| None).collect();
        for ((number, &one), failure) in plan.spilled.iter().enumerate().zip(failures) {
            spilled[one] = Some(SpilledColumn::new(file.clone(), number, failure));
        }
        Ok(Self {
            columns: cursors(&columns, all_series, ahead_rows, spilled),
            temporary_bytes: file.bytes(),
            _held,
        })
    }

    /// Number of bytes of the temporary file; 0 without one.
    pub fn temporary_bytes(&self) -> u64 {
        self.temporary_bytes
    }

    /// Cursors over the next columns, with the numbers of their series.
    pub fn next_columns(&mut self, columns: usize) -> impl Iterator<Item = (usize, ValueCursor)> {
        self.columns.by_ref().take(columns)
    }
}

/// Cursors over columns: of the files, or of the temporary file where one is given.
fn cursors(
    columns: &[SourceColumn],
    all_series: &[Arc<OpenSeries>],
    ahead_rows: usize,
    spilled: Vec<Option<SpilledColumn>>,
) -> std::vec::IntoIter<(usize, ValueCursor)> {
    let spilled = spilled.into_iter().chain(std::iter::repeat_with(|| None));
    let cursors = columns.iter().zip(spilled).map(|(column, spilled)| {
        let series = all_series[column.series].clone();
        let cursor = match spilled {
            None => ValueCursor::new(series, column.field, ahead_rows),
            Some(spilled) => ValueCursor::spilled(series, spilled),
        };
        (column.series, cursor)
    });
    cursors.collect::<Vec<_>>().into_iter()
}

/// Which columns go through the temporary file.
struct SpillPlan {
    /// Their indexes, ascending.
    spilled: Vec<usize>,
    piece_rows: usize,
    /// What all columns then take.
    bytes: u64,
}

impl SpillPlan {
    /// The plan that fits into what is left and costs least to write and read. Otherwise the bytes
    /// that would be enough.
    fn new(columns: &[SourceColumn], left: u64) -> Result<Self, u64> {
        let plans = PIECE_ROWS.map(|piece_rows| Self::with_pieces(columns, piece_rows, left));
        let needed = plans.iter().map(|plan| plan.bytes).min().unwrap_or(0);
        let fitting = plans.into_iter().filter(|plan| plan.bytes <= left);
        let cost = |plan: &Self| {
            let of_column = |&one: &usize| {
                let rows = columns[one].rows;
                rows + rows.div_ceil(plan.piece_rows as u64) * PIECE_COST_ROWS
            };
            plan.spilled.iter().map(of_column).sum::<u64>()
        };
        fitting.min_by_key(cost).ok_or(needed)
    }

    /// Takes the columns that save most memory for their rows, until the others fit.
    fn with_pieces(columns: &[SourceColumn], piece_rows: usize, left: u64) -> Self {
        let spilled_bytes =
            |column: &SourceColumn| CURSOR_BYTES + SpillFile::column_bytes(column.rows, piece_rows);
        let mut by_saving: Vec<_> = (0..columns.len())
            .map(|one| {
                let column = &columns[one];
                (column.bytes.saturating_sub(spilled_bytes(column)), one)
            })
            .filter(|&(saved, _)| saved > 0)
            .collect();
        by_saving.sort_by(|&(saved, one), &(other_saved, other)| {
            let per_row = |saved: u64, rows: u64| u128::from(saved) * u128::from(rows);
            per_row(other_saved, columns[one].rows)
                .cmp(&per_row(saved, columns[other].rows))
                .then(one.cmp(&other))
        });
        let mut bytes: u64 = columns.iter().map(|column| column.bytes).sum();
        let mut spilled = Vec::new();
        for (saved, one) in by_saving {
            if bytes <= left {
                break;
            }
            bytes -= saved;
            spilled.push(one);
        }
        spilled.sort_unstable();
        Self {
            spilled,
            piece_rows,
            bytes,
        }
    }
}

/// The first row of a column that could not be decoded, and why.
type Failure = (u64, Error);

/// The columns to decode.
struct Decoding {
    file: Arc<SpillFile>,
    columns: Vec<(Arc<OpenSeries>, usize)>,
    /// The next column to be decoded.
    next: AtomicUsize,
}

/// Decodes columns into the temporary file, each once. Returns the failure of each, if any.
fn write_columns(
    file: &Arc<SpillFile>,
    columns: Vec<(Arc<OpenSeries>, usize)>,
    options: &ReadOptions,
    thread_pool: &ThreadPool,
) -> Result<Vec<Option<Failure>>> {
    let mut failures: Vec<_> = columns.iter().map(|_| None).collect();
    let threads = options.threads().get().min(columns.len());
    let decoding = Arc::new(Decoding {
        file: file.clone(),
        columns,
        next: AtomicUsize::new(0),
    });
    let writers: Vec<_> = (0..threads)
        .map(|_| {
            let writer = thread_pool.serial_task(decoding.clone(), |decoding, ()| decoding.write());
            writer.submit(Priority::First, ());
            writer
        })
        .collect();
    // Wait for all, also if one fails.
    let written: Vec<_> = writers.iter().map(SerialTask::take).collect();
    for of_writer in written {
        for (column, failure) in of_writer? {
            failures[column] = Some(failure);
        }
    }
    Ok(failures)
}

impl Decoding {
    /// Decodes columns until none is left. Returns the failures, with their columns.
    fn write(&self) -> Result<Vec<(usize, Failure)>> {
        let mut piece = self.file.piece();
        let mut failures = Vec::new();
        loop {
            let column = self.next.fetch_add(1, Ordering::Relaxed);
            if column >= self.columns.len() {
                return Ok(failures);
            }
            let failure = self.write_column(column, &mut piece)?;
            failures.extend(failure.map(|failure| (column, failure)));
        }
    }

    /// Decodes a column, piece by piece. A failure is returned later to the reader of its row,
    /// after the slices before it.
    fn write_column(&self, column: usize, piece: &mut MutableBuffer) -> Result<Option<Failure>> {
        let (series, field) = &self.columns[column];
        let mut cursor = ValueCursor::new(series.clone(), *field, 0);
        for number in 0.. {
            let rows = self.file.rows_of_piece(column, number);
            if rows == 0 {
                break;
            }
            let values = &mut piece.typed_data_mut::<f64>()[..rows];
            let failure = cursor.read(values).err().map(|error| {
                let first_row = cursor.position();
                first_failure(series, *field, first_row, values, error)
            });
            let bytes = rows * size_of::<f64>();
            self.file
                .write(column, number, &piece.as_slice()[..bytes])?;
            if failure.is_some() {
                return Ok(failure);
            }
        }
        Ok(None)
    }
}

/// Reads rows again, one by one, of which some could not be decoded. Returns the first that cannot,
/// and why. `known` is the error of reading all at once.
fn first_failure(
    series: &Arc<OpenSeries>,
    field: usize,
    first_row: u64,
    values: &mut [f64],
    known: Error,
) -> Failure {
    let mut cursor = ValueCursor::starting_at(series.clone(), field, first_row);
    for (value, row) in values.iter_mut().zip(first_row..) {
        if let Err(error) = cursor.read(std::slice::from_mut(value)) {
            return (row, error);
        }
    }
    let last_row = first_row + (values.len() as u64).saturating_sub(1);
    (last_row, known)
}
