//! Rewrites Parquet files with the defaults of arrow-rs, for benchmarks.
//!
//! Usage: `rewrite_parquet [--snappy] FROM TO`, with two folders. The files below `TO` have the
//! names of those below `FROM`. With `--snappy` they look like those of Spark: compressed, with a
//! page index and without statistics in page headers.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use arrow::array::RecordBatchReader;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let is_compressed = arguments.next_if(|one| one == "--snappy").is_some();
    let (Some(from), Some(to), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: rewrite_parquet [--snappy] FROM TO".into());
    };
    let mut properties = WriterProperties::builder();
    if is_compressed {
        properties = properties.set_compression(Compression::SNAPPY);
    }
    rewrite_folder(Path::new(&from), Path::new(&to), &properties.build())
}

fn rewrite_folder(
    from: &Path,
    to: &Path,
    properties: &WriterProperties,
) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            rewrite_folder(&entry.path(), &target, properties)?;
        } else if entry.path().extension().is_some_and(|one| one == "parquet") {
            rewrite_file(&entry.path(), &target, properties)?;
        }
    }
    Ok(())
}

fn rewrite_file(
    from: &Path,
    to: &Path,
    properties: &WriterProperties,
) -> Result<(), Box<dyn Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(from)?)?.build()?;
    let target = File::create(to)?;
    let mut writer = ArrowWriter::try_new(target, reader.schema(), Some(properties.clone()))?;
    for batch in reader {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}
