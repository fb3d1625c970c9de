//! Owns the request: every word of it checked before anything is opened.
//!
//! A [`Request`] that exists is consistent; whether the files it asks for exist is found out by
//! [`crate::data`]. What does not change the output (threads, chunk sizes) is not part of it.

mod template;
mod time;
mod timeframe;
mod words;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use template::PathTemplate;
pub(crate) use template::{Fields, PathPattern};
pub use time::{format_timestamp, parse_timestamp};
pub use timeframe::Timeframe;
pub use words::{DuplicatePolicy, PriceType, Session, Timeline, UnsortedPolicy};

use crate::error::{Code, Error, Result};

/// The most symbols one stream can hold: the symbol column has 16-bit dictionary keys.
pub const MAX_SYMBOLS: usize = i16::MAX as usize;

/// The names under which the input files hold the six columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnNames {
    /// The open time of the candle.
    pub timestamp: String,
    /// The four prices and the volume, in the order of [`ColumnNames::VALUE_FIELDS`].
    pub values: [String; 5],
}

impl ColumnNames {
    /// The value fields of a candle, in the order in which everything here keeps them.
    pub const VALUE_FIELDS: [&'static str; 5] = ["open", "high", "low", "close", "volume"];

    /// Renames one field (`timestamp`, `open`, `high`, `low`, `close` or `volume`).
    ///
    /// # Errors
    ///
    /// A usage error where there is no such field, or the name is empty.
    pub fn rename(&mut self, field: &str, column: &str) -> Result<()> {
        if column.is_empty() {
            return Err(Error::usage(format!(
                "the column for {field:?} has no name"
            )));
        }
        let slot = match Self::VALUE_FIELDS.iter().position(|name| *name == field) {
            Some(index) => &mut self.values[index],
            None if field == "timestamp" => &mut self.timestamp,
            None => {
                return Err(
                    Error::usage(format!("{field:?} is no field of a candle")).with_hint(
                        "the fields are timestamp, open, high, low, close and volume: \
                     timestamp=ts,open=o",
                    ),
                );
            }
        };
        column.clone_into(slot);
        Ok(())
    }

    fn renamed(&self) -> BTreeMap<&'static str, String> {
        let plain = Self::default();
        let values = Self::VALUE_FIELDS
            .into_iter()
            .zip(self.values.iter().zip(&plain.values));
        values
            .chain(std::iter::once((
                "timestamp",
                (&self.timestamp, &plain.timestamp),
            )))
            .filter(|(_, (name, default))| name != default)
            .map(|(field, (name, _))| (field, name.clone()))
            .collect()
    }
}

impl Default for ColumnNames {
    fn default() -> Self {
        Self {
            timestamp: "UTC time".to_owned(),
            values: ["Open", "High", "Low", "Close", "Volume"].map(str::to_owned),
        }
    }
}

/// The symbols of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Symbols {
    /// These, in this order.
    Listed(Vec<String>),
    /// Every symbol that has a file of the timeframe and at least one requested price type, in
    /// name order.
    All,
}

/// A checked request: what to read and what to make of it.
///
/// ```
/// use omega_slices::{Request, Timeline};
///
/// let request = Request::builder("data/parquet")
///     .symbols(["EURUSD", "GBPUSD"])
///     .timeframe("M1".parse()?)
///     .timeline(Timeline::Union)
///     .build()?;
/// assert_eq!(request.timeframe().as_str(), "M1");
/// # Ok::<(), omega_slices::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    data: PathBuf,
    symbols: Symbols,
    timeframe: Timeframe,
    price_types: Vec<PriceType>,
    start_ns: Option<i64>,
    end_ns: Option<i64>,
    timeline: Timeline,
    session: Session,
    normalize: bool,
    unsorted: UnsortedPolicy,
    duplicates: DuplicatePolicy,
    path_template: Option<PathTemplate>,
    columns: ColumnNames,
}

impl Request {
    /// Begins a request over the files below `data`.
    pub fn builder(data: impl Into<PathBuf>) -> RequestBuilder {
        RequestBuilder {
            request: Self {
                data: data.into(),
                symbols: Symbols::Listed(Vec::new()),
                timeframe: "M1".parse().expect("M1 is a timeframe"),
                price_types: vec![PriceType::Bid, PriceType::Ask],
                start_ns: None,
                end_ns: None,
                timeline: Timeline::default(),
                session: Session::default(),
                normalize: false,
                unsorted: UnsortedPolicy::default(),
                duplicates: DuplicatePolicy::default(),
                path_template: None,
                columns: ColumnNames::default(),
            },
        }
    }

    /// The root folder of the input files.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The symbols.
    #[must_use]
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The timeframe of the candles.
    #[must_use]
    pub fn timeframe(&self) -> &Timeframe {
        &self.timeframe
    }

    /// The price types, each once, in the order bid, ask, trade.
    #[must_use]
    pub fn price_types(&self) -> &[PriceType] {
        &self.price_types
    }

    /// The first raw timestamp that is kept, nanoseconds UTC; `None` is no limit.
    #[must_use]
    pub fn start_ns(&self) -> Option<i64> {
        self.start_ns
    }

    /// The last raw timestamp that is kept, nanoseconds UTC; `None` is no limit.
    #[must_use]
    pub fn end_ns(&self) -> Option<i64> {
        self.end_ns
    }

    /// Which timestamps become slices.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Which rows lie in trading hours.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// Whether timestamps are floored to the timeframe.
    #[must_use]
    pub fn normalize(&self) -> bool {
        self.normalize
    }

    /// What to do with a series that is not in time order.
    #[must_use]
    pub fn unsorted(&self) -> UnsortedPolicy {
        self.unsorted
    }

    /// Which row wins where several share a timestamp.
    #[must_use]
    pub fn duplicates(&self) -> DuplicatePolicy {
        self.duplicates
    }

    /// The path template that replaces the default layout.
    #[must_use]
    pub fn path_template(&self) -> Option<&PathTemplate> {
        self.path_template.as_ref()
    }

    /// The column names of the input files.
    #[must_use]
    pub fn columns(&self) -> &ColumnNames {
        &self.columns
    }

    /// The whole request as compact JSON, with the symbols that it came down to.
    #[must_use]
    pub(crate) fn to_json(&self, symbols: &[String]) -> String {
        let document = RequestDocument {
            data: self.data.to_string_lossy().into_owned(),
            symbols,
            timeframe: self.timeframe.as_str(),
            price_types: &self.price_types,
            start: self.start_ns.map(format_timestamp),
            end: self.end_ns.map(format_timestamp),
            timeline: self.timeline,
            session: self.session,
            normalize: self.normalize,
            unsorted: self.unsorted,
            duplicates: self.duplicates,
            path_template: self.path_template.as_ref().map(PathTemplate::as_str),
            columns: self.columns.renamed(),
        };
        serde_json::to_string(&document).expect("strings, lists and maps with string keys are JSON")
    }
}

/// The request as it stands in the stream's metadata; the order of the fields is part of it.
#[derive(Serialize)]
struct RequestDocument<'a> {
    data: String,
    symbols: &'a [String],
    timeframe: &'a str,
    price_types: &'a [PriceType],
    start: Option<String>,
    end: Option<String>,
    timeline: Timeline,
    session: Session,
    normalize: bool,
    unsorted: UnsortedPolicy,
    duplicates: DuplicatePolicy,
    path_template: Option<&'a str>,
    columns: BTreeMap<&'static str, String>,
}

/// Collects the words of a request; [`RequestBuilder::build`] checks them together.
#[derive(Debug, Clone)]
#[must_use]
pub struct RequestBuilder {
    request: Request,
}

impl RequestBuilder {
    /// These symbols, in this order.
    pub fn symbols<S: Into<String>>(mut self, symbols: impl IntoIterator<Item = S>) -> Self {
        self.request.symbols = Symbols::Listed(symbols.into_iter().map(Into::into).collect());
        self
    }

    /// Every symbol that has a file of the timeframe.
    pub fn all_symbols(mut self) -> Self {
        self.request.symbols = Symbols::All;
        self
    }

    /// The timeframe; `M1` where it is not set.
    pub fn timeframe(mut self, timeframe: Timeframe) -> Self {
        self.request.timeframe = timeframe;
        self
    }

    /// The price types; bid and ask where they are not set. Their order does not matter.
    pub fn price_types(mut self, price_types: impl IntoIterator<Item = PriceType>) -> Self {
        self.request.price_types = price_types.into_iter().collect();
        self
    }

    /// The first raw timestamp to keep, nanoseconds UTC.
    pub fn start_ns(mut self, start_ns: Option<i64>) -> Self {
        self.request.start_ns = start_ns;
        self
    }

    /// The last raw timestamp to keep, nanoseconds UTC.
    pub fn end_ns(mut self, end_ns: Option<i64>) -> Self {
        self.request.end_ns = end_ns;
        self
    }

    /// Which timestamps become slices.
    pub fn timeline(mut self, timeline: Timeline) -> Self {
        self.request.timeline = timeline;
        self
    }

    /// Which rows lie in trading hours.
    pub fn session(mut self, session: Session) -> Self {
        self.request.session = session;
        self
    }

    /// Whether to floor timestamps to the timeframe.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.request.normalize = normalize;
        self
    }

    /// What to do with a series that is not in time order.
    pub fn unsorted(mut self, unsorted: UnsortedPolicy) -> Self {
        self.request.unsorted = unsorted;
        self
    }

    /// Which row wins where several share a timestamp.
    pub fn duplicates(mut self, duplicates: DuplicatePolicy) -> Self {
        self.request.duplicates = duplicates;
        self
    }

    /// Where the files lie, instead of the default layout.
    pub fn path_template(mut self, path_template: Option<PathTemplate>) -> Self {
        self.request.path_template = path_template;
        self
    }

    /// The column names of the input files.
    pub fn columns(mut self, columns: ColumnNames) -> Self {
        self.request.columns = columns;
        self
    }

    /// Checks the request as a whole. Opens nothing.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] for a symbol name that could leave the root, otherwise a usage
    /// error: no or repeated symbols or price types, a window that ends before it starts, a
    /// template that cannot tell its series apart.
    pub fn build(self) -> Result<Request> {
        let mut request = self.request;
        if let Symbols::Listed(symbols) = &request.symbols {
            check_symbols(symbols)?;
        }
        if request.data.as_os_str().is_empty() {
            return Err(Error::usage("the data root has no name"));
        }
        let asked = request.price_types.len();
        request.price_types.sort_unstable();
        request.price_types.dedup();
        if request.price_types.is_empty() {
            return Err(Error::usage("no price type is requested")
                .with_hint("the price types are bid, ask and trade"));
        }
        if request.price_types.len() < asked {
            return Err(Error::usage("a price type is requested twice"));
        }
        if let (Some(start), Some(end)) = (request.start_ns, request.end_ns)
            && start > end
        {
            return Err(Error::usage(format!(
                "the window starts at {} and ends before that, at {}",
                format_timestamp(start),
                format_timestamp(end)
            ))
            .with_hint("both ends belong to the window; give --start no later than --end"));
        }
        if let Some(template) = &request.path_template {
            let several_symbols = match &request.symbols {
                Symbols::Listed(symbols) => symbols.len() > 1,
                Symbols::All => true,
            };
            if several_symbols && !template.names_symbol() {
                return Err(Error::usage(format!(
                    "the path template {:?} yields the same files for every symbol",
                    template.as_str()
                ))
                .with_hint("add {symbol} to it"));
            }
            if request.price_types.len() > 1 && !template.names_side() {
                return Err(Error::usage(format!(
                    "the path template {:?} yields the same files for every price type",
                    template.as_str()
                ))
                .with_hint("add {side} or {SIDE} to it, or request one price type"));
            }
        }
        Ok(request)
    }
}

fn check_symbols(symbols: &[String]) -> Result<()> {
    if symbols.is_empty() {
        return Err(Error::usage("no symbol is requested")
            .with_hint("give --symbols A,B, --symbols-file FILE or --all-symbols"));
    }
    if symbols.len() > MAX_SYMBOLS {
        return Err(Error::usage(format!(
            "{} symbols are requested; one stream holds at most {MAX_SYMBOLS}",
            symbols.len()
        ))
        .with_hint("split the request"));
    }
    let mut seen = HashSet::with_capacity(symbols.len());
    for symbol in symbols {
        check_symbol(symbol)?;
        if !seen.insert(symbol.as_str()) {
            return Err(
                Error::usage(format!("the symbol {symbol:?} is requested twice")).at_symbol(symbol),
            );
        }
    }
    Ok(())
}

/// Refuses a name that could leave the root or could not be written in a list of symbols.
fn check_symbol(symbol: &str) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::bad_request(
            Code::SymbolNotFound,
            format!("the symbol name {symbol:?} is refused: {why}"),
        )
        .at_symbol(symbol)
        .with_hint("a symbol name is one plain folder or file name below the data root"))
    };
    if symbol.is_empty() {
        return refuse("it is empty");
    }
    if symbol == "." || symbol.contains("..") {
        return refuse("it could leave the data root");
    }
    if symbol.contains(['/', '\\']) {
        return refuse("it holds a path separator");
    }
    if symbol.contains(|character: char| character.is_control()) {
        return refuse("it holds a control character");
    }
    if symbol.contains(',') {
        return refuse("it holds a comma");
    }
    if symbol.trim() != symbol {
        return refuse("it begins or ends with a blank");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> RequestBuilder {
        Request::builder("root").symbols(["A", "B"])
    }

    #[test]
    fn names_that_could_leave_the_root_are_refused() {
        for symbol in [
            "", ".", "..", "a/b", "a\\b", "../a", "a..b", "a\0", "a\n", "a,b", " a", "a\u{a0}",
            "\u{1b}",
        ] {
            let error = Request::builder("root")
                .symbols([symbol])
                .build()
                .expect_err(symbol);
            assert_eq!(error.code(), Code::SymbolNotFound, "{symbol:?}");
            assert_eq!(error.class(), crate::error::Class::Usage);
        }
        for symbol in ["EURUSD", "BRK.B", "^GSPC", "EUR USD", "ÄÖ", "-X", "A*[b]"] {
            Request::builder("root")
                .symbols([symbol])
                .build()
                .expect(symbol);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let template = |text| Some(PathTemplate::parse(text).expect("a template"));
        let bad = [
            Request::builder("root"),
            Request::builder(""),
            Request::builder("root").symbols(["A", "A"]),
            Request::builder("root").symbols((0..=MAX_SYMBOLS).map(|i| i.to_string())),
            builder().price_types([]),
            builder().price_types([PriceType::Bid, PriceType::Bid]),
            builder().start_ns(Some(1)).end_ns(Some(0)),
            builder().path_template(template("{root}/{side}")),
            builder().path_template(template("{root}/{symbol}")),
        ];
        for (case, builder) in bad.into_iter().enumerate() {
            assert!(builder.build().is_err(), "case {case}");
        }
        builder()
            .start_ns(Some(1))
            .end_ns(Some(1))
            .build()
            .expect("one instant is a window");
    }

    #[test]
    fn the_json_has_every_word_in_a_fixed_order() {
        let mut columns = ColumnNames::default();
        columns.rename("timestamp", "ts").expect("a field");
        columns.rename("close", "c").expect("a field");
        let request = builder()
            .price_types([PriceType::Ask, PriceType::Bid])
            .start_ns(Some(0))
            .columns(columns)
            .build()
            .expect("a request");
        assert_eq!(
            request.to_json(&["A".to_owned(), "B".to_owned()]),
            concat!(
                r#"{"data":"root","symbols":["A","B"],"timeframe":"M1","price_types":["bid","ask"],"#,
                r#""start":"1970-01-01T00:00:00.000000000Z","end":null,"timeline":"intersection","#,
                r#""session":"none","normalize":false,"unsorted":"sort","duplicates":"last","#,
                r#""path_template":null,"columns":{"close":"c","timestamp":"ts"}}"#
            )
        );
    }
}
