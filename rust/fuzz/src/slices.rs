//! Runs the targets that read slices back: streams and files, inspected and compared.

use std::fs;
use std::io::{self, Cursor, Read};
use std::path::Path;

use omega_slices::ipc::{Format, Seal, SliceReader};
use omega_slices::{Code, Diff, Error, Storage, Tolerance, inspect};

use crate::findings;
use crate::seeds;
use crate::sync::Folder;

/// Fuzzes a stream or file of slices: read whole, read in small pieces, inspected.
pub fn slices(input: &[u8]) {
    let whole = read(Box::new(Cursor::new(input.to_vec())));
    findings::count(&whole);
    let pieces = read(Box::new(Pieces(Cursor::new(input.to_vec()))));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (Err(whole), Err(pieces)) => {
            check_code(whole);
            assert_eq!(whole.to_string(), pieces.to_string());
        }
        _ => panic!("how bytes arrive decides what they are"),
    }
    let path = Folder::get().path("slices");
    fs::write(&path, input).expect("room for the input");
    let inspected = inspect(&path, &Storage::default());
    match (whole, inspected) {
        (Ok((format, seal)), Ok(found)) => {
            assert!(
                found.sealed && found.problem.is_none(),
                "complete, but not for inspect"
            );
            assert_eq!(
                (found.format, found.slices, found.batches),
                (format, seal.slices, seal.batches)
            );
        }
        (Ok(_), Err(error)) => panic!("complete, but not for inspect: {error}"),
        // For a file, inspect reads only the footer.
        (Err(_), Ok(found)) => {
            assert!(
                found.format == Format::File || !found.sealed,
                "sealed, but only for inspect"
            );
            assert_eq!(found.sealed, found.problem.is_none());
        }
        (Err(_), Err(error)) => check_code(&error),
    }
}

/// Fuzzes one side of a comparison; the first byte selects the other one.
pub fn diff(input: &[u8]) {
    let Some((&choice, input)) = input.split_first() else {
        return;
    };
    let sound = seeds::written();
    let sound = &sound[usize::from(choice & 63) % sound.len()];
    let tolerance = match choice >> 6 {
        0 => Tolerance::EXACT,
        1 => Tolerance::new(0.25).expect("a tolerance"),
        2 => Tolerance::new(1e300).expect("a tolerance"),
        _ => Tolerance::new(f64::INFINITY).expect("a tolerance"),
    };
    let here = compare(sound, input, tolerance);
    findings::count(&here);
    let there = compare(input, sound, tolerance);
    match (here, there) {
        (Ok(here), Ok(there)) => {
            assert_eq!(here.is_equal(), there.is_equal());
            assert_eq!(here.differing_values, there.differing_values);
            assert_eq!(
                (here.slices.a, here.slices.b),
                (there.slices.b, there.slices.a)
            );
            assert_eq!(here.slices.both, there.slices.both);
            assert_eq!(here.only_in_a, there.only_in_b);
            assert_eq!(here.only_in_b, there.only_in_a);
            let itself = compare(input, input, Tolerance::EXACT).expect("it could be read before");
            assert!(itself.is_equal(), "slices differ from themselves");
        }
        (Err(here), Err(there)) => {
            check_code(&here);
            check_code(&there);
        }
        _ => panic!("which side it is decides whether it can be read"),
    }
}

fn compare(a: &[u8], b: &[u8], tolerance: Tolerance) -> Result<Diff, Error> {
    let open = |bytes: &[u8], name| {
        SliceReader::new(Box::new(Cursor::new(bytes.to_vec())), Path::new(name))
    };
    omega_slices::diff(open(a, "a")?, open(b, "b")?, tolerance)
}

/// Reads all slices and checks them.
fn read(input: Box<dyn Read + Send>) -> Result<(Format, Seal), Error> {
    let mut reader = SliceReader::new(input, Path::new("input"))?;
    let symbols = reader.content().symbols.len();
    let mut last_ns = None;
    let mut slices = 0;
    while let Some(batch) = reader.next().transpose()? {
        assert_eq!(batch.record_batch().num_rows(), batch.len() * symbols);
        assert!(!batch.record_batch().schema().fields().is_empty());
        for slice in 0..batch.len() {
            let timestamp_ns = Some(batch.timestamp_ns(slice));
            assert!(last_ns < timestamp_ns, "time goes back");
            last_ns = timestamp_ns;
        }
        slices += batch.len() as u64;
    }
    assert!(reader.next().is_none(), "it goes on after its end");
    assert_eq!(reader.so_far().slices, slices);
    Ok((reader.format(), reader.so_far()))
}

fn check_code(error: &Error) {
    assert_eq!(error.code(), Code::DeserializationError, "{error}");
}

/// A reader that returns a few bytes at a time.
struct Pieces(Cursor<Vec<u8>>);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(13);
        self.0.read(&mut buffer[..most])
    }
}
