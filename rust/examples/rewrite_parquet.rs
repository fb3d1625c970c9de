//! Rewrites Parquet files with the defaults of arrow-rs, for benchmarks.
//!
//! Usage: `rewrite_parquet FROM TO`, with two folders. The files below `TO` have the names of those
//! below `FROM`.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use arrow::array::RecordBatchReader;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(from), Some(to), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: rewrite_parquet FROM TO".into());
    };
    rewrite_folder(Path::new(&from), Path::new(&to))
}

fn rewrite_folder(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            rewrite_folder(&entry.path(), &target)?;
        } else if entry.path().extension().is_some_and(|one| one == "parquet") {
            rewrite_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

fn rewrite_file(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(from)?)?.build()?;
    let mut writer = ArrowWriter::try_new(File::create(to)?, reader.schema(), None)?;
    for batch in reader {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}
