//! One object, read in ranges of one version of it, into the temporary file of the run.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::fault::{Fault, FaultKind};
use super::ranges::{GAP_BYTES, merged, missing, overlap, requests};
use super::spool::Place;
use super::stores::{Stores, block_on, runtime};
use super::uri::Uri;
use slices_core::error::Result;

/// The end of an object is read at once: it holds the footer of nearly every Parquet file, and all
/// of a small one.
const END_BYTES: u64 = 64 << 10;

/// A read outside what was announced takes at least this much.
const READ_BYTES_MIN: u64 = 64 << 10;

/// A reader hears of new bytes this often.
const PROGRESS_BYTES: u64 = 256 << 10;

/// An answer that breaks off is asked for again this often, if the store cannot go on by itself.
const ATTEMPTS: u32 = 5;

/// Number of steps of a plan that are fetched ahead of the one that is read.
const STEPS_AHEAD: usize = 1;

/// An object of a bucket or web server, open for reading. What it returns is of one version.
pub struct StoredObject {
    source: Source,
    state: Mutex<State>,
    arrived: Condvar,
    /// Whether it is still there, unchanged, once that was asked.
    verdict: Mutex<Option<Result<(), Fault>>>,
}

impl std::fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StoredObject")
            .field(&self.source.uri.path)
            .finish()
    }
}

/// What a request for a range needs to know.
#[derive(Clone)]
struct Source {
    stores: Arc<Stores>,
    store: Arc<dyn ObjectStore>,
    uri: Uri,
    version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    bytes: u64,
    /// The strong tag, which every later request demands. `None` if the server has none.
    tag: Option<String>,
    /// The tag, strong or weak.
    any_tag: Option<String>,
    /// Nanoseconds since 1970.
    modified_ns: i64,
}

#[derive(Default)]
struct State {
    /// By their start; they do not overlap.
    extents: BTreeMap<u64, Extent>,
    /// What will be read, in the order of reading.
    steps: Vec<Step>,
    /// Number of steps that were fetched or are on their way.
    fetched_steps: usize,
    fault: Option<Fault>,
}

/// Ranges of an object that are read at about the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Ranges with one reader each, which calls [`StoredObject::done`].
    pub once: Vec<Range<u64>>,
    /// Ranges with any number of readers.
    pub shared: Vec<Range<u64>>,
}

impl Step {
    /// Number of bytes of all ranges.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ranges().map(|range| range.end - range.start).sum()
    }

    fn ranges(&self) -> impl Iterator<Item = &Range<u64>> {
        self.once.iter().chain(&self.shared)
    }

    /// Adds the ranges of another step.
    pub fn add(&mut self, other: Self) {
        self.once.extend(other.once);
        self.shared.extend(other.shared);
    }
}

/// Consecutive bytes of the object that are here, or on their way.
struct Extent {
    bytes: u64,
    /// How many of them are here.
    ready: u64,
    place: Arc<Place>,
    /// Number of announced readers that are not done with it.
    readers: usize,
}

impl Extent {
    fn range(&self, start: u64) -> Range<u64> {
        start..start + self.bytes
    }
}

impl State {
    /// Number of announced readers of a range.
    fn readers(&self, range: &Range<u64>) -> usize {
        let readers = self.steps.iter().flat_map(|step| &step.once);
        readers.filter(|reader| overlap(reader, range)).count()
    }
}

/// Bytes of the object that are here: a part of the temporary file.
pub struct Readable {
    place: Arc<Place>,
    offset: u64,
    /// Number of bytes.
    pub bytes: usize,
}

impl Readable {
    /// The file that holds them, and where in it they begin.
    #[must_use]
    pub fn file(&self) -> (&File, u64) {
        let (file, start) = self.place.file();
        (file, start + self.offset)
    }
}

impl Version {
    fn of(meta: &ObjectMeta) -> Self {
        let is_strong = |tag: &&String| !tag.starts_with("W/");
        Self {
            bytes: meta.size,
            tag: meta.e_tag.as_ref().filter(is_strong).cloned(),
            any_tag: meta.e_tag.clone(),
            modified_ns: meta.last_modified.timestamp_nanos_opt().unwrap_or_default(),
        }
    }

    /// How another answer contradicts it, if it does.
    fn change_to(&self, now: &Self) -> Option<&'static str> {
        if self.bytes > now.bytes {
            Some("it became shorter")
        } else if self.bytes < now.bytes {
            Some("it became longer")
        } else if self.any_tag != now.any_tag
            || self.tag.is_none() && self.modified_ns != now.modified_ns
        {
            Some("it was replaced")
        } else {
            None
        }
    }

    fn check(&self, meta: &ObjectMeta) -> Result<(), Fault> {
        match self.change_to(&Self::of(meta)) {
            Some(what) => Err(Fault::changed(what)),
            None => Ok(()),
        }
    }
}

impl StoredObject {
    /// Reads the end of an object, and holds on to its version.
    pub(super) async fn open(stores: &Arc<Stores>, uri: Uri) -> Result<Self, Fault> {
        let store = stores.store(&uri).await?;
        let of_range = |range| GetOptions {
            range: Some(range),
            ..GetOptions::default()
        };
        let key = &uri.key;
        let suffix = GetRange::Suffix(END_BYTES);
        let answer = match store.get_opts(key, of_range(suffix)).await {
            Ok(answer) => answer,
            Err(error) => {
                let fault = Fault::of_store(&error);
                if !matches!(fault.kind, FaultKind::Unsupported | FaultKind::OutOfRange) {
                    return Err(fault);
                }
                // The store takes no range from the end, or the object is empty.
                let meta = store
                    .head(key)
                    .await
                    .map_err(|error| Fault::of_store(&error))?;
                if meta.size == 0 {
                    let source = Source {
                        stores: stores.clone(),
                        version: Version::of(&meta),
                        store,
                        uri,
                    };
                    return Ok(Self::new(source, State::default()));
                }
                let range = meta.size.saturating_sub(END_BYTES)..meta.size;
                let options = GetOptions {
                    if_match: Version::of(&meta).tag,
                    ..of_range(GetRange::Bounded(range))
                };
                let answer = store.get_opts(key, options).await;
                answer.map_err(|error| of_answer(&error))?
            }
        };
        let source = Source {
            stores: stores.clone(),
            version: Version::of(&answer.meta),
            store,
            uri,
        };
        if source.version.tag.is_none() {
            stores.counts.add_unversioned();
        }
        let range = answer.range.clone();
        let bytes = range.end - range.start;
        let place = source.place(bytes)?;
        source
            .receive(range.clone(), Some(answer), &place, |_| {})
            .await?;
        let mut state = State::default();
        let extent = Extent {
            bytes,
            ready: bytes,
            place,
            readers: 0,
        };
        state.extents.insert(range.start, extent);
        Ok(Self::new(source, state))
    }

    fn new(source: Source, state: State) -> Self {
        Self {
            source,
            state: Mutex::new(state),
            arrived: Condvar::new(),
            verdict: Mutex::new(None),
        }
    }

    /// Its URI.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.source.uri.path
    }

    /// Its size in bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "it is a number of bytes, as of a file"
    )]
    pub fn len(&self) -> u64 {
        self.source.version.bytes
    }

    /// When it was last modified, in nanoseconds since 1970.
    #[must_use]
    pub fn modified_ns(&self) -> i64 {
        self.source.version.modified_ns
    }

    /// What tells its version from others.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.source.version.any_tag.as_deref()
    }

    /// Announces what will be read, in steps. The first ones are fetched at once, and each later
    /// one before it is needed. If that is `all`, frees what is here and in no step.
    ///
    /// # Errors
    ///
    /// A system error if the temporary file cannot hold more.
    pub fn plan(self: &Arc<Self>, steps: Vec<Step>, all: bool) -> Result<()> {
        let mut state = self.lock();
        let mut extents = std::mem::take(&mut state.extents);
        state.steps = steps;
        state.fetched_steps = 0;
        extents.retain(|&start, extent| {
            let mut planned = state.steps.iter().flat_map(Step::ranges);
            !all || planned.any(|range| overlap(range, &extent.range(start)))
        });
        for (&start, extent) in &mut extents {
            extent.readers = state.readers(&extent.range(start));
        }
        state.extents = extents;
        self.fetch_steps(&mut state, STEPS_AHEAD + 1)
    }

    /// Says that a range is about to be read. What is missing is fetched, and the next step of the
    /// plan.
    ///
    /// # Errors
    ///
    /// As [`Self::plan`].
    pub fn want(self: &Arc<Self>, ranges: &[Range<u64>]) -> Result<()> {
        let mut state = self.lock();
        let holds_one = |step: &Step| {
            let mut planned = step.ranges();
            planned.any(|planned| ranges.iter().any(|range| overlap(planned, range)))
        };
        if let Some(step) = state.steps.iter().position(holds_one) {
            self.fetch_steps(&mut state, step + 1 + STEPS_AHEAD)?;
        }
        self.fetch(&mut state, ranges)
    }

    /// Says that a reader is done with a range that was announced.
    pub fn done(&self, range: &Range<u64>) {
        let mut state = self.lock();
        state.extents.retain(|&start, extent| {
            if !overlap(range, &extent.range(start)) {
                return true;
            }
            extent.readers = extent.readers.saturating_sub(1);
            extent.readers > 0
        });
    }

    /// Waits until some of the bytes from `start` on are here, at most `wanted` ones. Fetches them
    /// if nothing announced them.
    ///
    /// # Errors
    ///
    /// [`slices_core::Code::CorruptInput`] if the object has changed, or an answer holds another
    /// range than the one asked for. A system error if the storage fails.
    pub fn readable(self: &Arc<Self>, start: u64, wanted: usize) -> Result<Readable> {
        let mut state = self.lock();
        loop {
            if let Some(fault) = &state.fault {
                return Err(fault.of_input(self.path()));
            }
            let before = state.extents.range(..=start).next_back();
            let holds = before.filter(|(first, extent)| start < *first + extent.bytes);
            let Some((&first, extent)) = holds else {
                let end = start.saturating_add((wanted as u64).max(READ_BYTES_MIN));
                let range = start..end.min(self.len());
                self.fetch(&mut state, &[range])?;
                continue;
            };
            let offset = start - first;
            if offset < extent.ready {
                return Ok(Readable {
                    place: extent.place.clone(),
                    offset,
                    bytes: wanted.min((extent.ready - offset) as usize),
                });
            }
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Fills `bytes` from `start` on.
    ///
    /// # Errors
    ///
    /// As [`Self::readable`].
    pub fn read_exact_at(self: &Arc<Self>, bytes: &mut [u8], start: u64) -> Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            let part = self.readable(start + filled as u64, bytes.len() - filled)?;
            let (file, offset) = part.file();
            let into = &mut bytes[filled..filled + part.bytes];
            file.read_exact_at(into, offset).map_err(|error| {
                let message = format!("cannot read the temporary file: {error}");
                slices_core::Error::system(message).with_source(error)
            })?;
            filled += part.bytes;
        }
        Ok(())
    }

    /// Whether reading it has failed, and why.
    ///
    /// # Errors
    ///
    /// The failure.
    pub fn check_read(&self) -> Result<()> {
        match &self.lock().fault {
            Some(fault) => Err(fault.of_input(self.path())),
            None => Ok(()),
        }
    }

    /// Checks that its name still names this version.
    ///
    /// # Errors
    ///
    /// [`slices_core::Code::CorruptInput`] if it was replaced or removed.
    pub fn check_named(&self) -> Result<()> {
        if !self.is_checked() {
            block_on(self.check())?;
        }
        match &*self.lock_verdict() {
            Some(Err(fault)) => Err(fault.of_input(self.path())),
            _ => Ok(()),
        }
    }

    pub(super) fn is_checked(&self) -> bool {
        self.lock_verdict().is_some()
    }

    pub(super) async fn check(&self) {
        let source = &self.source;
        let head = source.store.head(&source.uri.key).await;
        let verdict = match head {
            Ok(meta) => source.version.check(&meta),
            Err(error) => match Fault::of_store(&error) {
                fault if fault.is_missing() => Err(Fault::changed("it was removed")),
                fault => Err(fault),
            },
        };
        *self.lock_verdict() = Some(verdict);
    }

    /// Fetches the steps of the plan up to one, without it.
    fn fetch_steps(self: &Arc<Self>, state: &mut State, end: usize) -> Result<()> {
        let end = end.min(state.steps.len());
        while state.fetched_steps < end {
            let Step { once, shared } = &state.steps[state.fetched_steps];
            let ranges = [&once[..], shared].concat();
            state.fetched_steps += 1;
            self.fetch(state, &ranges)?;
        }
        Ok(())
    }

    /// Starts the requests for those parts of some ranges that are neither here nor on their way.
    fn fetch(self: &Arc<Self>, state: &mut State, ranges: &[Range<u64>]) -> Result<()> {
        let end = self.len();
        let inside = ranges
            .iter()
            .map(|range| range.start.min(end)..range.end.min(end));
        for range in merged(inside, GAP_BYTES) {
            let known = |(&start, extent): (&u64, &Extent)| extent.range(start);
            for part in missing(range, state.extents.iter().map(known)) {
                for request in requests(part) {
                    self.start(state, request)?;
                }
            }
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, state: &mut State, range: Range<u64>) -> Result<()> {
        let bytes = range.end - range.start;
        let place = Arc::new(self.source.stores.spool()?.take(bytes)?);
        let extent = Extent {
            bytes,
            ready: 0,
            place: place.clone(),
            readers: state.readers(&range),
        };
        state.extents.insert(range.start, extent);
        let (source, object) = (self.source.clone(), Arc::downgrade(self));
        runtime()?.spawn(async move {
            let Ok(_permit) = source.stores.ranges.acquire().await else {
                return;
            };
            if object.strong_count() == 0 {
                // Nobody waits for it any more.
                return;
            }
            // If the task ends otherwise, its readers must not wait for it.
            let mut unfinished = Unfinished(Some(object.clone()));
            let start = range.start;
            let told = |ready| tell(&object, start, |extent| extent.ready = ready);
            let received = source.receive(range, None, &place, told).await;
            unfinished.0 = None;
            if let Err(fault) = received {
                fail(&object, fault);
            }
        });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_verdict(&self) -> MutexGuard<'_, Option<Result<(), Fault>>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fault of a request for a range. A store that takes no ranges answers with another one.
fn of_answer(error: &object_store::Error) -> Fault {
    match Fault::of_store(error) {
        fault if fault.kind == FaultKind::Unsupported => Fault::of_wrong_answer(),
        fault => fault,
    }
}

/// Tells the readers of an object that a task has ended without an answer.
struct Unfinished(Option<Weak<StoredObject>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(object) = &self.0 {
            fail(object, Fault::interrupted());
        }
    }
}

fn fail(object: &Weak<StoredObject>, fault: Fault) {
    if let Some(object) = object.upgrade() {
        object.lock().fault.get_or_insert(fault);
        object.arrived.notify_all();
    }
}

/// Tells the readers of an object about an extent, if there are any.
fn tell(object: &Weak<StoredObject>, start: u64, change: impl FnOnce(&mut Extent)) {
    if let Some(object) = object.upgrade() {
        if let Some(extent) = object.lock().extents.get_mut(&start) {
            change(extent);
        }
        object.arrived.notify_all();
    }
}

impl Source {
    fn place(&self, bytes: u64) -> Result<Arc<Place>, Fault> {
        let place = self.stores.spool().and_then(|spool| spool.take(bytes));
        place.map(Arc::new).map_err(|error| Fault::of_error(&error))
    }

    /// Receives a range into its place. Calls `told` with the number of bytes that are there.
    async fn receive(
        &self,
        range: Range<u64>,
        mut first: Option<GetResult>,
        place: &Place,
        told: impl Fn(u64),
    ) -> Result<(), Fault> {
        let all = range.end - range.start;
        let (mut ready, mut said) = (0, 0);
        let mut attempt = 0;
        while ready < all {
            let answer = match first.take() {
                Some(answer) => answer,
                None => self.ask(range.start + ready..range.end).await?,
            };
            let mut stream = answer.into_stream();
            while let Some(bytes) = stream.next().await {
                let bytes = match bytes {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        let fault = Fault::of_store(&error);
                        attempt += 1;
                        if fault.kind != FaultKind::System || attempt == ATTEMPTS {
                            return Err(fault);
                        }
                        self.stores.counts.add_retry();
                        tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                        break;
                    }
                };
                let count = bytes.len() as u64;
                if ready + count > all {
                    return Err(Fault::corrupt(
                        "the answer of the server is longer than the range asked for",
                    ));
                }
                place
                    .write(&bytes, ready)
                    .map_err(|error| Fault::of_error(&error))?;
                self.stores.counts.add_read(count);
                ready += count;
                if ready == all || ready - said >= PROGRESS_BYTES {
                    said = ready;
                    told(ready);
                }
            }
            if ready < all {
                attempt += 1;
                if attempt >= ATTEMPTS {
                    return Err(Fault::corrupt(
                        "the answer of the server is shorter than the range asked for",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Asks for a range of this version.
    async fn ask(&self, range: Range<u64>) -> Result<GetResult, Fault> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: self.version.tag.clone(),
            ..GetOptions::default()
        };
        let answer = self.store.get_opts(&self.uri.key, options).await;
        let answer = answer.map_err(|error| match of_answer(&error) {
            fault if fault.is_missing() => Fault::changed("it was removed"),
            fault if fault.kind == FaultKind::OutOfRange => Fault::changed("it became shorter"),
            fault => fault,
        })?;
        self.version.check(&answer.meta)?;
        if answer.range != range {
            return Err(Fault::corrupt(
                "the answer of the server is not the range that was asked for",
            ));
        }
        Ok(answer)
    }
}
