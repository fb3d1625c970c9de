//! Runs the targets of `sync`: files in, a stream or file of slices out.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::{fs, process};

use omega_slices::ipc::{self, Compression, Format, WriteOptions};
use omega_slices::{
    DecisionTime, DuplicatePolicy, Error, Fill, PathTemplate, PriceType, ReadOptions, Request,
    RequestBuilder, Session, SliceBatches, Timeline, UnsortedPolicy,
};
use tempfile::TempDir;

use crate::findings;
use crate::output::{self, Output};
use crate::seeds::{self, OPTION_BYTES};

/// Symbols whose series shape the timeline; the files of the second one are valid.
const SYMBOLS: [&str; 2] = ["A", "B"];

/// Fuzzes a Parquet file of candles or indicators, with a request from its first bytes.
pub fn parquet(input: &[u8]) {
    let Some((options, file)) = input.split_first_chunk::<OPTION_BYTES>() else {
        return;
    };
    let folder = Folder::get();
    let [_, how, _] = *options;
    let daily = how & 4 != 0;
    let timeframe = if daily { "D1" } else { "M1" };
    let mut request = request(*options, timeframe);
    let path = match how & 3 {
        0 => folder.path(&format!("A/A_{timeframe}_BID.parquet")),
        1 if !daily => {
            request = request.higher_timeframes(["M5"
                .parse::<omega_slices::HigherTimeframe>()
                .expect("a timeframe")]);
            folder.path("A/A_M5_BID.parquet")
        }
        2 => {
            request = request.indicators(["Open", "Close"]);
            folder.path(&format!("A/A_{timeframe}_IND.parquet"))
        }
        _ => {
            let template =
                PathTemplate::parse("{root}/{symbol}/{symbol}_{timeframe}_{SIDE}*.parquet");
            request = request.path_template(Some(template.expect("a template")));
            folder.path(&format!("A/A_{timeframe}_BID_later.parquet"))
        }
    };
    let sound = fs::read(&path).ok();
    fs::write(&path, file).expect("room for the input");
    run(&request.build().expect("a request"), *options);
    match sound {
        Some(sound) => fs::write(&path, sound),
        None => fs::remove_file(&path),
    }
    .expect("room for the file that was there");
}

/// Fuzzes a file of sessions, in Parquet or CSV.
pub fn sessions(input: &[u8]) {
    let Some((options, file)) = input.split_first_chunk::<OPTION_BYTES>() else {
        return;
    };
    let path = Folder::get().path("sessions");
    fs::write(&path, file).expect("room for the input");
    let request = request(*options, "M1")
        .session(Session::None)
        .session_file(Some(path));
    run(&request.build().expect("a request"), *options);
}

fn request([what, how, _]: [u8; OPTION_BYTES], timeframe: &str) -> RequestBuilder {
    let (first_ns, last_ns) = seeds::middle_ns();
    let window = |bit, bound_ns| (how & bit != 0).then_some(bound_ns);
    let mut request = Request::builder(&Folder::get().root)
        .symbols(SYMBOLS)
        .timeframe(timeframe.parse().expect("a timeframe"))
        .price_types([PriceType::Bid])
        .timeline(match what & 3 {
            0 => Timeline::Intersection,
            1 => Timeline::Union,
            2 => "leader:A".parse().expect("a timeline"),
            _ => "quorum:1".parse().expect("a timeline"),
        })
        .session(if what & 8 == 0 {
            Session::None
        } else {
            Session::Fx
        })
        .normalize(what & 16 != 0)
        .unsorted(if what & 32 == 0 {
            UnsortedPolicy::Sort
        } else {
            UnsortedPolicy::Error
        })
        .duplicates(match what >> 6 {
            1 => DuplicatePolicy::First,
            2 => DuplicatePolicy::Error,
            _ => DuplicatePolicy::Last,
        })
        .start_ns(window(8, first_ns))
        .end_ns(window(16, last_ns))
        .known_at(if how & 32 == 0 {
            DecisionTime::Open
        } else {
            DecisionTime::Close
        });
    if what & 4 != 0 {
        let max_age = "5bars".parse().expect("an age");
        request = request.fill(Fill::Forward).max_age(Some(max_age));
    }
    request
}

/// Runs a request twice, and checks the results.
fn run(request: &Request, [_, how, chunk]: [u8; OPTION_BYTES]) {
    let (format, compression) = match how >> 6 {
        0 => (Format::Stream, None),
        1 => (Format::File, None),
        2 => (Format::Stream, Some(Compression::Lz4)),
        _ => (Format::File, Some(Compression::Zstd)),
    };
    let form = WriteOptions::new(format).with_compression(compression);
    let one = NonZeroUsize::MIN;
    let chunk_rows = one.saturating_add(usize::from(chunk % 64));
    let mut small = ReadOptions::new()
        .with_threads(one)
        .with_chunk_rows(chunk_rows);
    if chunk >= 128 {
        small = small.with_spill_every(one.saturating_add(usize::from(chunk % 3)));
    }
    let result = outcome(request, &small, form);
    findings::count(&result);
    let usual = ReadOptions::new().with_threads(one.saturating_add(1));
    let again = outcome(request, &usual, form);
    match (result, again) {
        (Ok(bytes), Ok(again)) => {
            assert!(
                bytes == again,
                "chunks, threads or the temporary file show in the output"
            );
            output::check(&bytes, format, &SYMBOLS);
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => panic!("only in large chunks: {error}"),
        (Err(error), Ok(_)) => panic!("only in small chunks: {error}"),
    }
}

fn outcome(request: &Request, options: &ReadOptions, form: WriteOptions) -> Result<Vec<u8>, Error> {
    let mut batches = SliceBatches::open(request, options)?;
    let mut output = Output::default();
    ipc::write(&mut batches, form, &mut output, |_, _| {})?;
    Ok(output.0)
}

/// The files of this process. Their folder ends with the process, or with `scripts/fuzz` after a
/// crash.
pub struct Folder {
    root: PathBuf,
    _folder: TempDir,
}

impl Folder {
    /// The folder, created at the first call, with valid files in it.
    pub fn get() -> &'static Self {
        static FOLDER: OnceLock<Folder> = OnceLock::new();
        FOLDER.get_or_init(|| {
            let folder = TempDir::with_prefix(format!("omega-fuzz-{}-", process::id()));
            let folder = folder.expect("a folder for inputs");
            for symbol in SYMBOLS {
                fs::create_dir(folder.path().join(symbol)).expect("a folder");
                for (series, file) in seeds::sound_files() {
                    let name = format!("{symbol}/{symbol}_{series}.parquet");
                    fs::write(folder.path().join(name), file).expect("a file");
                }
            }
            Self {
                root: folder.path().to_owned(),
                _folder: folder,
            }
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}
