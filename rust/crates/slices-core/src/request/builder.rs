//! Builds and checks a request: its options were parsed one by one, and are checked together here.
//! Opens no file.

use std::collections::HashSet;
use std::path::PathBuf;

use super::{
    Ambiguous, ColumnChoice, ColumnNames, Days, DecisionTime, DuplicatePolicy, EmptyRows, Fields,
    Fill, HigherTimeframe, MAX_SYMBOLS, MaxAge, Naming, PathTemplate, PriceType, Request, Scales,
    Session, StampedSides, SymbolPattern, SymbolZones, Symbols, SymbolsOut, Timeframe, Timeline,
    TimestampOut, TimestampUnit, UnsortedPolicy, Zone, check_readable, format_timestamp,
    without_file_scheme,
};
use crate::error::{Code, Error, Result};
use crate::hint::{Setting, hint};

/// Collects the options of a request; [`RequestBuilder::build`] checks them together.
#[derive(Debug, Clone)]
#[must_use]
pub struct RequestBuilder {
    pub(super) request: Request,
}

impl RequestBuilder {
    /// Sets the symbols, in this order.
    pub fn symbols<S: Into<String>>(mut self, symbols: impl IntoIterator<Item = S>) -> Self {
        self.request.symbols = Symbols::Listed(symbols.into_iter().map(Into::into).collect());
        self
    }

    /// Requests every symbol that has a file of the timeframe.
    pub fn all_symbols(mut self) -> Self {
        self.request.symbols = Symbols::All;
        self
    }

    /// Sets the timeframe; the default is `M1`.
    pub fn timeframe(mut self, timeframe: Timeframe) -> Self {
        self.request.timeframe = timeframe;
        self
    }

    /// Sets the price types; the default is bid and ask. Their order does not matter.
    pub fn price_types(mut self, price_types: impl IntoIterator<Item = PriceType>) -> Self {
        self.request.price_types = price_types.into_iter().collect();
        self
    }

    /// Sets the first raw timestamp to keep (included), nanoseconds UTC.
    pub fn start_ns(mut self, start_ns: Option<i64>) -> Self {
        self.request.start_ns = start_ns;
        self
    }

    /// Sets the last raw timestamp to keep (included), nanoseconds UTC.
    pub fn end_ns(mut self, end_ns: Option<i64>) -> Self {
        self.request.end_ns = end_ns;
        self
    }

    /// Sets the exclusive end of the window, nanoseconds UTC, in place of [`Self::end_ns`].
    pub fn before_ns(mut self, before_ns: Option<i64>) -> Self {
        self.request.before_ns = before_ns;
        self
    }

    /// Sets which timestamps become slices.
    pub fn timeline(mut self, timeline: Timeline) -> Self {
        self.request.timeline = timeline;
        self
    }

    /// Sets which rows lie in trading hours.
    pub fn session(mut self, session: Session) -> Self {
        self.request.session = session;
        self
    }

    /// Sets whether to floor timestamps to the timeframe.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.request.normalize = normalize;
        self
    }

    /// Sets what to do with a series that is not in time order.
    pub fn unsorted(mut self, unsorted: UnsortedPolicy) -> Self {
        self.request.unsorted = unsorted;
        self
    }

    /// Sets which row to keep if several share a timestamp. The default is the last one, with a
    /// warning if rows differ.
    pub fn duplicates(mut self, duplicates: impl Into<Option<DuplicatePolicy>>) -> Self {
        self.request.duplicates = duplicates.into();
        self
    }

    /// Sets the path template of the candle files, instead of the default layout.
    pub fn path_template(mut self, path_template: Option<PathTemplate>) -> Self {
        self.request.path_template = path_template;
        self
    }

    /// Sets how names of files spell symbols and timeframes.
    pub fn naming(mut self, naming: Naming) -> Self {
        self.request.naming = naming;
        self
    }

    /// Sets the column names of the input files.
    pub fn columns(mut self, columns: ColumnNames) -> Self {
        self.request.columns = columns;
        self
    }

    /// Sets the factors of prices that are stored as integers.
    pub fn price_scales(mut self, scales: impl Into<Scales>) -> Self {
        self.request.price_scales = scales.into();
        self
    }

    /// Sets the factors of volumes that are stored as integers.
    pub fn volume_scales(mut self, scales: impl Into<Scales>) -> Self {
        self.request.volume_scales = scales.into();
        self
    }

    /// Sets what to do with rows of which all prices are null or NaN.
    pub fn empty_rows(mut self, empty_rows: EmptyRows) -> Self {
        self.request.empty_rows = empty_rows;
        self
    }

    /// Sets what to show where a series has no candle; [`Fill::Forward`] needs [`Self::max_age`].
    pub fn fill(mut self, fill: Fill) -> Self {
        self.request.fill = fill;
        self
    }

    /// Sets the maximum age of a candle that is carried forward.
    pub fn max_age(mut self, max_age: Option<MaxAge>) -> Self {
        self.request.max_age = max_age;
        self
    }

    /// Sets the higher timeframes, of which each slice shows the latest complete candles.
    pub fn higher_timeframes<F: Into<HigherTimeframe>>(
        mut self,
        higher: impl IntoIterator<Item = F>,
    ) -> Self {
        self.request.higher_timeframes = higher.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the decision time, at which candles of higher timeframes must be complete.
    pub fn known_at(mut self, known_at: DecisionTime) -> Self {
        self.request.known_at = known_at;
        self
    }

    /// Sets a Parquet or CSV file of sessions, with the columns `open` (included) and `close`
    /// (excluded).
    pub fn session_file(mut self, session_file: Option<PathBuf>) -> Self {
        self.request.session_file = session_file.map(without_file_scheme);
        self
    }

    /// Sets the name of these sessions in the stream metadata, instead of the file name.
    pub fn session_name(mut self, session_name: Option<String>) -> Self {
        self.request.session_name = session_name;
        self
    }

    /// Sets the columns to read from the indicator files.
    pub fn indicators<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.request.indicators = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the path template of the indicator files, instead of the default layout.
    pub fn indicator_template(mut self, indicator_template: Option<PathTemplate>) -> Self {
        self.request.indicator_template = indicator_template;
        self
    }

    /// Sets a JSON document that lists the input files, instead of a root folder and templates.
    pub fn inputs(mut self, inputs: Option<PathBuf>) -> Self {
        self.request.inputs = inputs.map(without_file_scheme);
        self
    }

    /// Sets the pattern that symbols in file names must match.
    pub fn symbol_pattern(mut self, symbol_pattern: Option<SymbolPattern>) -> Self {
        self.request.symbol_pattern = symbol_pattern;
        self
    }

    /// Sets whether a column of instruments may contain several values in one series.
    pub fn one_instrument(mut self, one_instrument: bool) -> Self {
        self.request.one_instrument = one_instrument;
        self
    }

    /// Sets the unit of timestamps that are stored as integers.
    pub fn timestamp_unit(mut self, timestamp_unit: Option<TimestampUnit>) -> Self {
        self.request.timestamp_unit = timestamp_unit;
        self
    }

    /// Sets the zone of local times, and of days in columns of UTC instants.
    pub fn zone(mut self, zone: Option<Zone>) -> Self {
        self.request.zone = zone;
        self
    }

    /// Sets how to read local times that occur twice.
    pub fn ambiguous(mut self, ambiguous: Ambiguous) -> Self {
        self.request.ambiguous = ambiguous;
        self
    }

    /// Sets which side of a candle its timestamp marks, of all timeframes or of some.
    pub fn stamped(mut self, stamped: impl Into<StampedSides>) -> Self {
        self.request.stamped = stamped.into();
        self
    }

    /// Sets the zones of some symbols, in place of that of the request.
    pub fn zones(mut self, zones: SymbolZones) -> Self {
        self.request.zones = zones;
        self
    }

    /// Sets what the timestamps of daily and weekly candles mean.
    pub fn days(mut self, days: Option<Days>) -> Self {
        self.request.days = days;
        self
    }

    /// Sets what the timestamps of daily and weekly candles mean, if the request has any and says
    /// nothing else.
    pub fn days_of_layout(mut self, days: Option<Days>) -> Self {
        self.request.days_of_layout = days;
        self
    }

    /// Sets the fields of the candles of every timeframe; the default is all five. Only these are
    /// decoded, unless a rule needs others.
    pub fn fields(mut self, fields: Fields) -> Self {
        self.request.fields = fields;
        self
    }

    /// Sets the unit of all timestamps in the output; the default is nanoseconds.
    pub fn timestamp_out(mut self, timestamp_out: TimestampOut) -> Self {
        self.request.timestamp_out = timestamp_out;
        self
    }

    /// Sets the type of the column of symbols in the output; the default is a dictionary.
    pub fn symbols_out(mut self, symbols_out: SymbolsOut) -> Self {
        self.request.symbols_out = symbols_out;
        self
    }

    /// Checks the request as a whole. Opens no file.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] for a symbol name that could leave the root, and for an unknown
    /// leader. All other errors are usage errors:
    ///
    /// - missing or repeated symbols, price types or indicators
    /// - a window that ends before it starts
    /// - a template that cannot tell its series apart
    /// - a quorum larger than the number of symbols
    /// - fill without an age
    /// - a higher timeframe shorter than the primary one
    pub fn build(self) -> Result<Request> {
        let mut request = self.request;
        let of_layout = request.days_of_layout.take();
        if request.has_whole_days() {
            request.days = request.days.or(of_layout);
        }
        check_places(&request)?;
        if let Symbols::Listed(symbols) = &request.symbols {
            check_symbols(symbols, Freedom::of(&request))?;
            check_pattern(symbols, &request)?;
        }
        let asked = request.price_types.len();
        request.price_types.sort_unstable();
        request.price_types.dedup();
        if request.price_types.is_empty() {
            return Err(Error::usage("the request names no price type")
                .with_hint("choose from bid, ask and trade"));
        }
        if request.price_types.len() < asked {
            return Err(Error::usage("the request names a price type twice")
                .with_hint("name each price type once"));
        }
        if let (Some(start), Some(end)) = (request.start_ns, request.end_ns)
            && start > end
        {
            return Err(Error::usage(format!(
                "invalid window: it starts at {} and ends earlier, at {}",
                format_timestamp(start),
                format_timestamp(end)
            ))
            .with_hint(hint![
                "set ",
                Setting::Start,
                " to a time at or before ",
                Setting::End
            ]));
        }
        check_before(&request)?;
        check_columns(&request)?;
        check_templates(&request)?;
        check_times(&request)?;
        check_fill(&request)?;
        check_higher_timeframes(&request)?;
        check_sessions(&request)?;
        check_indicators(&request)?;
        if let Symbols::Listed(symbols) = &request.symbols {
            check_timeline(&request.timeline, symbols)?;
        }
        Ok(request)
    }
}

/// Checks an exclusive end.
fn check_before(request: &Request) -> Result<()> {
    let Some(before_ns) = request.before_ns else {
        return Ok(());
    };
    if request.end_ns.is_some() {
        return Err(
            Error::usage("the window has an inclusive and an exclusive end").with_hint(hint![
                "set ",
                Setting::End,
                " or ",
                Setting::Before,
                ", not both"
            ]),
        );
    }
    let starts_at = request.start_ns.unwrap_or(i64::MIN);
    if before_ns <= starts_at {
        return Err(Error::usage(format!(
            "invalid window: it starts at {} and ends before {}",
            format_timestamp(starts_at),
            format_timestamp(before_ns)
        ))
        .with_hint(hint![
            "set ",
            Setting::Start,
            " to a time before ",
            Setting::Before
        ]));
    }
    Ok(())
}

/// Checks that files come either from a root or from a list, and that all paths are local.
fn check_places(request: &Request) -> Result<()> {
    let Some(inputs) = &request.inputs else {
        if request.data.as_os_str().is_empty() {
            return Err(Error::usage("the data root is empty")
                .with_hint(hint!["name the root folder with ", Setting::Data]));
        }
        let templates = [&request.path_template, &request.indicator_template];
        let templates = templates.into_iter().flatten().map(PathTemplate::as_str);
        let places = [Some(&request.data), request.session_file.as_ref()];
        let places = places
            .into_iter()
            .flatten()
            .map(|path| path.to_string_lossy());
        return places
            .chain(templates.map(Into::into))
            .try_for_each(|place| check_readable(&place));
    };
    check_readable(&inputs.to_string_lossy())?;
    if !request.data.as_os_str().is_empty()
        || request.path_template.is_some()
        || request.indicator_template.is_some()
    {
        return Err(Error::usage(
            "cannot combine a list of inputs with a data root or a path template",
        )
        .with_hint(hint![
            "choose either ",
            Setting::Inputs,
            " or ",
            Setting::Data,
            " with its path templates"
        ]));
    }
    let sessions = request.session_file.iter();
    sessions
        .map(|path| path.to_string_lossy())
        .try_for_each(|place| check_readable(&place))
}

fn check_pattern(symbols: &[String], request: &Request) -> Result<()> {
    let Some(pattern) = &request.symbol_pattern else {
        return Ok(());
    };
    // The pattern describes symbols as names spell them.
    let matches = |symbol: &str| {
        let texts = request.naming.texts(symbol);
        texts.is_empty() || texts.iter().any(|text| pattern.matches(text))
    };
    match symbols.iter().find(|symbol| !matches(symbol)) {
        None => Ok(()),
        Some(symbol) => Err(Error::usage(format!(
            "invalid symbol {symbol:?}: expected a match of the symbol pattern {:?}",
            pattern.as_str()
        ))
        .at_symbol(symbol)
        .with_hint("widen the pattern, or request other symbols")),
    }
}

/// Checks that slices show a value of each price type.
fn check_columns(request: &Request) -> Result<()> {
    let is_empty = |price_type: &&PriceType| {
        let names = |field| request.columns.value(**price_type, field);
        let mut shown = request.fields.indices().map(names);
        shown.all(|choice| *choice == ColumnChoice::Absent)
    };
    match request.price_types.iter().find(is_empty) {
        None => Ok(()),
        Some(price_type) => Err(Error::usage(format!(
            "the request shows the volume alone, and the files have none of price type {price_type}"
        ))
        .with_hint(hint!["add prices to ", Setting::Fields])),
    }
}

fn check_times(request: &Request) -> Result<()> {
    // A list of inputs may name zones too.
    let has_zone = request.zone.is_some() || request.inputs.is_some() || !request.zones.is_empty();
    if request.ambiguous != Ambiguous::Error && !has_zone {
        return Err(
            Error::usage("a policy for ambiguous times needs a time zone").with_hint(hint![
                "name the zone of the timestamps with ",
                Setting::Zone
            ]),
        );
    }
    if request.days.is_some() && !request.has_whole_days() {
        return Err(Error::usage(
            "the meaning of days is set, but no requested timeframe lasts whole days",
        )
        .with_hint(hint![
            "leave out ",
            Setting::Days,
            ", or request a timeframe of days or weeks"
        ]));
    }
    Ok(())
}

fn check_templates(request: &Request) -> Result<()> {
    let several_symbols = match &request.symbols {
        Symbols::Listed(symbols) => symbols.len() > 1,
        Symbols::All => true,
    };
    let same_files = |template: &PathTemplate, what: &str, hint: &str| {
        Err(Error::usage(format!(
            "invalid path template {:?}: it yields the same files for every {what}",
            template.as_str()
        ))
        .with_hint(hint))
    };
    if let Some(template) = &request.path_template {
        if several_symbols && !template.names_symbol() && !symbols_differ(request) {
            let hint = "add {symbol} to it, or to the names of the columns";
            return same_files(template, "symbol", hint);
        }
        if !template.names_side() && !price_types_differ(request) {
            let hint = "add {side} or {SIDE} to it, request one price type, or name the columns of \
                        each, as in bid_open=…";
            return same_files(template, "price type", hint);
        }
        if !request.higher_timeframes.is_empty() && !template.names_timeframe() {
            return same_files(template, "timeframe", "add {timeframe} to it");
        }
    }
    if let Some(template) = &request.indicator_template {
        if template.names_side() {
            return Err(Error::usage(format!(
                "invalid indicator template {:?}: indicator files have no price type",
                template.as_str()
            ))
            .with_hint("use only the fields {root}, {symbol} and {timeframe}"));
        }
        if several_symbols && !template.names_symbol() {
            return same_files(template, "symbol", "add {symbol} to it");
        }
    }
    Ok(())
}

/// Whether one file can hold all price types of a request: each has columns of its own.
fn price_types_differ(request: &Request) -> bool {
    let all = &request.price_types;
    let mut pairs = all
        .iter()
        .enumerate()
        .flat_map(|(number, one)| all[number + 1..].iter().map(move |other| (*one, *other)));
    pairs.all(|(one, other)| request.columns.tell_apart(one, other))
}

/// Whether one file can hold all symbols of a request: each has columns of its own.
fn symbols_differ(request: &Request) -> bool {
    let Symbols::Listed(symbols) = &request.symbols else {
        return false;
    };
    let mut all = request.price_types.iter();
    all.all(|price_type| request.columns.tell_symbols_apart(*price_type, symbols))
}

fn check_fill(request: &Request) -> Result<()> {
    match (request.fill, &request.max_age) {
        (Fill::Forward, None) => Err(Error::usage("carrying candles forward needs a maximum age")
            .with_hint(hint![
                "set the maximum age: ",
                Setting::MaxAge.to("15m"),
                ", 2h, 3d or 5bars"
            ])),
        (Fill::None, Some(max_age)) => Err(Error::usage(format!(
            "the maximum age {max_age} is set, but no candles are carried forward"
        ))
        .with_hint(hint![
            "add ",
            Setting::Fill.to("forward"),
            ", or leave out ",
            Setting::MaxAge
        ])),
        (Fill::None, None) => Ok(()),
        (Fill::Forward, Some(max_age)) => max_age.nanoseconds(&request.timeframe).map(drop),
    }
}

fn check_higher_timeframes(request: &Request) -> Result<()> {
    let primary = &request.timeframe;
    let mut seen = HashSet::new();
    for higher in &request.higher_timeframes {
        let timeframe = higher.timeframe();
        if timeframe == primary {
            return Err(Error::usage(format!(
                "the higher timeframe {timeframe} is the primary one"
            ))
            .with_hint("leave it out: every slice shows these candles already"));
        }
        if timeframe.duration_ns() < primary.duration_ns() {
            return Err(Error::usage(format!(
                "the higher timeframe {timeframe} is shorter than the primary one, {primary}"
            ))
            .with_hint(hint![
                "make the shortest timeframe the primary one with ",
                Setting::Timeframe
            ]));
        }
        if !seen.insert(timeframe.as_str()) {
            return Err(Error::usage(format!(
                "the higher timeframe {timeframe} is requested twice"
            ))
            .with_hint("name each higher timeframe once"));
        }
        if let Some(max_age) = higher.max_age() {
            max_age.nanoseconds(timeframe)?;
        }
    }
    Ok(())
}

fn check_sessions(request: &Request) -> Result<()> {
    match (&request.session_file, &request.session_name) {
        (Some(_), _) if request.session != Session::None => Err(Error::usage(format!(
            "cannot combine the session {} with a file of sessions",
            request.session
        ))
        .with_hint(hint![
            "choose either ",
            Setting::Session,
            " or ",
            Setting::SessionFile
        ])),
        (None, Some(_)) => Err(Error::usage("a session name needs a file of sessions")
            .with_hint(hint!["name the file with ", Setting::SessionFile])),
        _ => Ok(()),
    }
}

fn check_indicators(request: &Request) -> Result<()> {
    if request.indicators.is_empty() && request.indicator_template.is_some() {
        return Err(
            Error::usage("an indicator template is set, but no indicator is requested")
                .with_hint(hint!["name the indicators with ", Setting::Indicators]),
        );
    }
    let mut seen = HashSet::new();
    for name in &request.indicators {
        let is_bad = |character: char| character.is_control() || character == ',';
        if name.is_empty() || name.contains(is_bad) {
            return Err(
                Error::usage(format!("invalid indicator name {name:?}: expected text without commas and control characters"))
                    .with_hint("name a column of the indicator files"),
            );
        }
        if !seen.insert(name.as_str()) {
            return Err(
                Error::usage(format!("the indicator {name:?} is requested twice"))
                    .with_hint("name each indicator once"),
            );
        }
    }
    Ok(())
}

/// Checks a timeline against the symbols of the request.
pub fn check_timeline(timeline: &Timeline, symbols: &[String]) -> Result<()> {
    match timeline {
        Timeline::Leader(leader) if !symbols.contains(leader) => Err(Error::bad_request(
            Code::SymbolNotFound,
            format!("the leader {leader:?} is not one of the symbols"),
        )
        .at_symbol(leader)
        .with_hint("add it to the symbols, or choose one of them as the leader")),
        Timeline::Quorum(quorum) if quorum.get() > symbols.len() => Err(Error::usage(format!(
            "the quorum of {quorum} symbols is larger than the number of symbols, {}",
            symbols.len()
        ))
        .with_hint(hint![
            "choose ",
            Setting::Timeline.to("quorum:K"),
            " where K is at most the number of symbols"
        ])),
        _ => Ok(()),
    }
}

/// What names of symbols may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Freedom {
    /// What a name of a file may.
    Names,
    /// Slashes too: names of files spell them differently.
    Slashes,
    /// Anything: files are listed, and symbols are part of no path.
    Listed,
}

impl Freedom {
    fn of(request: &Request) -> Self {
        let template = request.path_template.as_ref();
        if request.inputs.is_some() {
            Self::Listed
        } else if request.naming.spells_symbols()
            || template.is_some_and(PathTemplate::encodes_symbol)
        {
            Self::Slashes
        } else {
            Self::Names
        }
    }
}

fn check_symbols(symbols: &[String], freedom: Freedom) -> Result<()> {
    if symbols.is_empty() {
        return Err(Error::usage("the request names no symbol").with_hint(hint![
            "name symbols with ",
            Setting::Symbols.to("A,B"),
            ", or request all with ",
            Setting::AllSymbols
        ]));
    }
    if symbols.len() > MAX_SYMBOLS {
        return Err(Error::usage(format!(
            "the request names {} symbols: one stream holds at most {MAX_SYMBOLS}",
            symbols.len()
        ))
        .with_hint("split the request"));
    }
    let mut seen = HashSet::with_capacity(symbols.len());
    for symbol in symbols {
        check_symbol(symbol, freedom)?;
        if !seen.insert(symbol.as_str()) {
            return Err(
                Error::usage(format!("the symbol {symbol:?} is requested twice"))
                    .at_symbol(symbol)
                    .with_hint("name each symbol once"),
            );
        }
    }
    Ok(())
}

/// Rejects a symbol that cannot stand in a list of symbols. Rejects one that could leave the root
/// too, unless files are listed.
fn check_symbol(symbol: &str, freedom: Freedom) -> Result<()> {
    let invalid = |why: &str| {
        Error::bad_request(
            Code::SymbolNotFound,
            format!("invalid symbol name {symbol:?}: {why}"),
        )
        .with_hint("use the plain name of a file or folder below the data root")
    };
    if symbol.is_empty() {
        return Err(invalid("it is empty"));
    }
    let refuse = |why: &str| Err(invalid(why).at_symbol(symbol));
    if freedom < Freedom::Listed && (symbol == "." || symbol.contains("..")) {
        return refuse("it could leave the data root");
    }
    let separators: &[char] = match freedom {
        Freedom::Names => &['/', '\\'],
        Freedom::Slashes => &['\\'],
        Freedom::Listed => &[],
    };
    if symbol.contains(separators) {
        return refuse("it contains a path separator");
    }
    if symbol.contains(|character: char| character.is_control()) {
        return refuse("it contains a control character");
    }
    if symbol.contains(',') {
        return refuse("it contains a comma");
    }
    if symbol.trim() != symbol {
        return refuse("it starts or ends with a blank");
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
            assert_eq!(error.kind(), crate::error::ErrorKind::Usage);
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
        let higher = |text: &str| text.parse::<HigherTimeframe>().expect(text);
        let columns = |fields: &[&str]| {
            let mut names = ColumnNames::default();
            for field in fields {
                names.rename(field, &format!("{field} price")).expect(field);
            }
            names
        };
        let age = |text: &str| Some(text.parse::<MaxAge>().expect(text));
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
            builder()
                .path_template(template("{root}/{symbol}"))
                .columns(columns(&["ask_open", "ask_high", "ask_low"])),
            builder()
                .path_template(template("{root}/{symbol}/{side}"))
                .higher_timeframes([higher("H1")]),
            builder().timeline("leader:C".parse().expect("a timeline")),
            builder().timeline("quorum:3".parse().expect("a timeline")),
            builder().fill(Fill::Forward),
            builder().max_age(age("1h")),
            builder().fill(Fill::Forward).max_age(age("200000000bars")),
            builder().higher_timeframes([higher("S30")]),
            builder().higher_timeframes([higher("M1")]),
            builder().higher_timeframes([higher("H1"), higher("H1:max-age=1d")]),
            builder().higher_timeframes([higher("D1:max-age=200000bars")]),
            builder()
                .session(Session::Fx)
                .session_file(Some("sessions.csv".into())),
            builder().session_name(Some("XNYS".into())),
            builder().indicators(["a", "a"]),
            builder().indicators([""]),
            builder().indicators(["a,b"]),
            builder().indicator_template(template("{root}/{symbol}")),
            builder()
                .indicators(["a"])
                .indicator_template(template("{root}/ind")),
            builder()
                .indicators(["a"])
                .indicator_template(template("{root}/{symbol}_{side}")),
        ];
        for (case, builder) in bad.into_iter().enumerate() {
            assert!(builder.build().is_err(), "case {case}");
        }
        builder()
            .start_ns(Some(1))
            .end_ns(Some(1))
            .build()
            .expect("one instant is a window");
        builder()
            .path_template(template("{root}/{symbol}"))
            .columns(columns(&["ask_open", "ask_high", "ask_low", "ask_close"]))
            .build()
            .expect("bid and ask have columns of their own");
        builder()
            .timeline("quorum:2".parse().expect("a timeline"))
            .fill(Fill::Forward)
            .max_age(age("5bars"))
            .higher_timeframes([higher("M60"), higher("H1:max-age=2bars")])
            .timeframe("M60".parse().expect("a timeframe"))
            .higher_timeframes([higher("H1")])
            .indicators(["a b", "É"])
            .build()
            .expect("a higher timeframe of the same length has another name");
    }
}
