//! Finds the files of each series from the default layout or path templates, and explains missing
//! files. Opens no file of this machine.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::input_list;
use crate::places::{Places, open_objects};
use crate::series_files::{FileEntry, Resolved, Role, SeriesFiles};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::report::SeriesName;
use slices_core::request::{
    DEFAULT_TEMPLATES, MAX_SYMBOLS, PathTemplate, PriceType, Reading, Request, Symbols,
    TemplateFields, Timeframe, check_timeline, decoded, encoded, owner, remote_scheme,
};
use slices_store::Storage;

/// One letter of this many may differ, be missing or be swapped in a name that is suggested.
const LETTERS_PER_TYPO: usize = 3;

/// Number of names that a hint suggests at most.
const NEAR_NAMES: usize = 3;

/// Finds the files of every requested series. They must stay in the folder that the user spelled,
/// unless `follow_links` is set.
///
/// # Errors
///
/// [`Code::SymbolNotFound`], [`Code::TimeframeNotFound`] or [`Code::InvalidPriceType`] for the
/// first series without a file. If all symbols are requested, also an error of a timeline that does
/// not fit them.
pub fn resolve(request: &Request, follow_links: bool, storage: &Storage) -> Result<Resolved> {
    if let Some(list) = request.inputs() {
        return input_list::resolve(request, list, storage);
    }
    let around = (follow_links, storage);
    let primary = FileLocator::candles(request, request.timeframe(), around)?;
    let symbols = match request.symbols() {
        Symbols::Listed(symbols) => symbols.clone(),
        Symbols::All => {
            let symbols = primary.all_symbols()?;
            check_timeline(request.timeline(), &symbols)?;
            symbols
        }
    };
    let sides: Vec<_> = request.price_types().iter().copied().map(Some).collect();
    let mut series = Vec::with_capacity(symbols.len() * request.price_types().len());
    primary.find_all(Role::Primary, &symbols, &sides, &mut series)?;
    for (number, higher) in request.higher_timeframes().iter().enumerate() {
        let layout = FileLocator::candles(request, higher.timeframe(), around)?;
        layout.find_all(Role::Higher(number), &symbols, &sides, &mut series)?;
    }
    if !request.indicators().is_empty() {
        let layout = FileLocator::indicators(request, around)?;
        layout.find_all(Role::Indicators, &symbols, &[None], &mut series)?;
    }
    open_objects(&series, storage)?;
    Ok(Resolved { symbols, series })
}

/// Finds the files of one timeframe.
struct FileLocator<'a> {
    request: &'a Request,
    timeframe: &'a Timeframe,
    root: &'a str,
    /// In order of preference: the first template that yields files wins.
    templates: Vec<PathTemplate>,
    /// For each template, the folder that its files must stay in.
    within: Vec<Option<Arc<Path>>>,
    places: Places<'a>,
    /// The symbols of `key=value` folders, by template and price type.
    encoded: RefCell<HashMap<(String, Option<PriceType>), EncodedSymbols>>,
}

/// Symbols, and the texts that encode them in names.
type EncodedSymbols = Rc<BTreeMap<String, String>>;

impl<'a> FileLocator<'a> {
    fn candles(
        request: &'a Request,
        timeframe: &'a Timeframe,
        around: (bool, &'a Storage),
    ) -> Result<Self> {
        let template = request.path_template();
        Self::new(request, timeframe, template, &DEFAULT_TEMPLATES, around)
    }

    fn indicators(request: &'a Request, around: (bool, &'a Storage)) -> Result<Self> {
        let default = ["{root}/{symbol}/{symbol}_{timeframe}_IND.parquet"];
        let template = request.indicator_template();
        let timeframe = request.timeframe();
        Self::new(request, timeframe, template, &default, around)
    }

    fn new(
        request: &'a Request,
        timeframe: &'a Timeframe,
        template: Option<&PathTemplate>,
        default: &[&str],
        (follow_links, storage): (bool, &'a Storage),
    ) -> Result<Self> {
        let templates = match template {
            Some(template) => vec![template.clone()],
            None => {
                let default = default.iter().map(|text| PathTemplate::parse(text));
                default.collect::<Result<_>>()?
            }
        };
        let root = request.data().to_str().ok_or_else(|| {
            Error::usage(format!(
                "invalid data root {:?}: expected UTF-8",
                request.data()
            ))
            .with_hint("rename the folder, or reach it through a link with a name in UTF-8")
        })?;
        let root = match remote_scheme(request.data()) {
            Some(_) => root.trim_end_matches('/'),
            None => root,
        };
        // A missing folder is reported as missing later.
        let real =
            |folder: PathBuf| -> Arc<Path> { fs::canonicalize(&folder).unwrap_or(folder).into() };
        let within = |template: &PathTemplate| {
            let folder = template.spelled_folder(root).filter(|_| !follow_links);
            // An object has one name.
            folder
                .filter(|folder| remote_scheme(folder).is_none())
                .map(real)
        };
        Ok(Self {
            request,
            timeframe,
            root,
            within: templates.iter().map(within).collect(),
            templates,
            places: Places::new(storage),
            encoded: RefCell::default(),
        })
    }

    /// Appends the series of all symbols, in their order.
    fn find_all(
        &self,
        role: Role,
        symbols: &[String],
        sides: &[Option<PriceType>],
        series: &mut Vec<SeriesFiles>,
    ) -> Result<()> {
        self.find_objects(symbols, sides)?;
        self.check_stars(Some(symbols), sides)?;
        if let (Some(symbol), Some(&price_type)) = (symbols.first(), sides.first()) {
            self.check_root()
                .map_err(|error| error.at_series(symbol, price_type))?;
        }
        for symbol in symbols {
            for &price_type in sides {
                let found = self.files(symbol, price_type);
                let (files, within) = found.map_err(|error| error.at_series(symbol, price_type))?;
                if files.is_empty() {
                    return Err(self.missing(symbol, price_type)?);
                }
                let files = files.into_iter().map(FileEntry::from).collect();
                let name = SeriesName {
                    symbol: symbol.clone(),
                    timeframe: self.timeframe.as_str().to_owned(),
                    price_type,
                };
                series.push(SeriesFiles {
                    name,
                    role,
                    files,
                    within,
                });
            }
        }
        Ok(())
    }

    /// Asks for the objects of all series at once, rather than for one after the other.
    fn find_objects(&self, symbols: &[String], sides: &[Option<PriceType>]) -> Result<()> {
        let series = || {
            let of_symbol = |symbol| sides.iter().map(move |side| (symbol, *side));
            symbols.iter().flat_map(of_symbol)
        };
        let mut unfound: Vec<_> = series().collect();
        for template in &self.templates {
            if template.encodes_symbol() {
                let patterns = sides
                    .iter()
                    .map(|side| template.pattern(self.fields_of_any_symbol(*side)));
                self.places.list(&patterns.collect::<Vec<_>>())?;
            }
            let mut spelled = Vec::with_capacity(unfound.len());
            for (symbol, side) in unfound {
                for text in self.texts(template, symbol, side)? {
                    spelled.push((symbol, side, text));
                }
            }
            if template.has_star() {
                let patterns = spelled
                    .iter()
                    .map(|(_, side, text)| template.pattern(self.fields(text, *side)));
                self.places.list(&patterns.collect::<Vec<_>>())?;
                return Ok(());
            }
            let paths: Vec<_> = spelled
                .iter()
                .map(|(_, side, text)| PathBuf::from(template.path(self.fields(text, *side))))
                .collect();
            if !self.places.open(&paths)? {
                return Ok(());
            }
            let mut found = paths.iter().map(|path| self.places.may_exist(path));
            spelled.retain(|_| !matches!(found.next(), Some(Ok(true))));
            unfound = spelled
                .into_iter()
                .map(|(symbol, side, _)| (symbol, side))
                .collect();
            unfound.dedup();
        }
        Ok(())
    }

    /// The fields of a symbol, by the text that spells it.
    fn fields<'f>(&'f self, text: &'f str, price_type: Option<PriceType>) -> TemplateFields<'f> {
        TemplateFields {
            symbol: Some(text),
            ..self.fields_of_any_symbol(price_type)
        }
    }

    /// The texts that spell a symbol in names; usually one.
    fn texts(
        &self,
        template: &PathTemplate,
        symbol: &str,
        price_type: Option<PriceType>,
    ) -> Result<Vec<String>> {
        if !template.encodes_symbol() {
            return Ok(self.request.naming().texts(symbol));
        }
        if !self.places.can_list(Path::new(self.root)) {
            let texts = self.request.naming().texts(symbol);
            return Ok(texts.iter().map(|text| encoded(text)).collect());
        }
        let known = self.encoded_symbols(template, price_type)?;
        Ok(known.get(symbol).into_iter().cloned().collect())
    }

    /// The symbols of `key=value` folders, and the texts that encode them.
    fn encoded_symbols(
        &self,
        template: &PathTemplate,
        price_type: Option<PriceType>,
    ) -> Result<EncodedSymbols> {
        let key = (template.as_str().to_owned(), price_type);
        if let Some(known) = self.encoded.borrow().get(&key) {
            return Ok(known.clone());
        }
        let folders = template.through_symbol();
        let fields = self.fields_of_any_symbol(price_type);
        let mut symbols = BTreeMap::new();
        for folder in self.places.matching_names(&folders.pattern(fields))? {
            let readings = self.readings(&folders, &folder, fields);
            if let Some(reading) = owner(&readings) {
                self.add_symbol(template, &folder, &reading.symbol, &mut symbols)?;
            }
        }
        let symbols = Rc::new(symbols);
        self.encoded.borrow_mut().insert(key, symbols.clone());
        Ok(symbols)
    }

    /// Adds the symbol that a text of a path spells. Another text must not spell it too.
    fn add_symbol(
        &self,
        template: &PathTemplate,
        path: &Path,
        text: &str,
        symbols: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        let symbol = self.symbol(template, text).ok_or_else(|| {
            let message = format!("the name {text:?} of a symbol is not percent-encoded UTF-8");
            Error::input(Code::CorruptInput, message)
                .at_file(path)
                .with_hint("rename the folder")
        })?;
        let known = symbols.entry(symbol).or_insert_with(|| text.to_owned());
        if known == text {
            return Ok(());
        }
        let symbol = self.symbol(template, text).unwrap_or_default();
        let message =
            format!("ambiguous names: {known:?} and {text:?} both spell the symbol {symbol:?}");
        Err(Error::input(Code::AmbiguousInput, message)
            .at_file(path)
            .at_symbol(&symbol)
            .with_hint("rename one of them, or merge both"))
    }

    /// The symbol that a text in names spells. `None` if it is no UTF-8 when decoded.
    fn symbol(&self, template: &PathTemplate, text: &str) -> Option<String> {
        let text = self.decoded(template, text)?;
        Some(self.request.naming().symbol(&text))
    }

    fn decoded<'t>(&self, template: &PathTemplate, text: &'t str) -> Option<Cow<'t, str>> {
        if template.encodes_symbol() {
            decoded(text).map(Cow::Owned)
        } else {
            Some(text.into())
        }
    }

    /// How a text is named in messages.
    fn shown(&self, template: &PathTemplate, text: &str) -> String {
        self.symbol(template, text)
            .unwrap_or_else(|| text.to_owned())
    }

    /// The files of a series, and the folder that they must stay in.
    fn files(
        &self,
        symbol: &str,
        price_type: Option<PriceType>,
    ) -> Result<(Vec<PathBuf>, Option<Arc<Path>>)> {
        for (template, within) in self.templates.iter().zip(&self.within) {
            let mut files: Vec<PathBuf> = Vec::new();
            for text in self.texts(template, symbol, price_type)? {
                let found = self.files_of_text(template, &text, price_type)?;
                if let (Some(one), Some(other)) = (files.first(), found.first()) {
                    return Err(two_texts(symbol, one, other));
                }
                files.extend(found);
            }
            if !files.is_empty() {
                self.check_tables(template, &files)?;
                return Ok((files, within.clone()));
            }
        }
        Ok((Vec::new(), None))
    }

    /// The files of a series whose symbol is spelled so.
    fn files_of_text(
        &self,
        template: &PathTemplate,
        text: &str,
        price_type: Option<PriceType>,
    ) -> Result<Vec<PathBuf>> {
        let fields = self.fields(text, price_type);
        if template.has_star() {
            let matching = self.places.matching(&template.pattern(fields))?;
            return self.own_files(template, text, price_type, matching);
        }
        let path = PathBuf::from(template.path(fields));
        if !self.places.may_exist(&path)? {
            return Ok(Vec::new());
        }
        self.check_timeframe(template, &path, fields)?;
        Ok(vec![path])
    }

    /// Rejects templates that leave the end of a symbol open, even if only one file matches.
    fn check_stars(&self, symbols: Option<&[String]>, sides: &[Option<PriceType>]) -> Result<()> {
        let beside = |template: &&PathTemplate| template.has_star_beside_symbol();
        let Some(template) = self.templates.iter().find(beside) else {
            return Ok(());
        };
        let mut message =
            format!("ambiguous path template {template}: it has a * right beside {{symbol}}");
        let hint = "put the text between them into the template, as in {symbol}-1m-*";
        let refuse = |message: String| Error::input(Code::AmbiguousInput, message).with_hint(hint);
        let price_type = sides.first().copied().flatten();
        for &price_type in sides {
            let second = self.second_reading(template, symbols, price_type)?;
            if let Some((file, symbol, other)) = second {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                message.push_str(&format!(
                    ", and {name} matches the symbols {symbol} and {other}"
                ));
                return Err(refuse(message)
                    .at_series(&symbol, price_type)
                    .at_file(&file));
            }
        }
        Err(match symbols.and_then(<[_]>::first) {
            Some(symbol) => refuse(message).at_series(symbol, price_type),
            None => refuse(message),
        })
    }

    /// Finds a file that matches two symbols, preferably as whole words.
    fn second_reading(
        &self,
        template: &PathTemplate,
        symbols: Option<&[String]>,
        price_type: Option<PriceType>,
    ) -> Result<Option<(PathBuf, String, String)>> {
        let fields = self.fields_of_any_symbol(price_type);
        let mut candidates: Vec<(PathBuf, String, Vec<Reading>)> = Vec::new();
        let mut add = |symbol: Option<&String>| -> Result<()> {
            let of_symbol = TemplateFields {
                symbol: symbol.map(String::as_str),
                ..fields
            };
            for file in self.places.matching(&template.pattern(of_symbol))? {
                let mut readings = self.readings(template, &file, fields);
                let in_a_word = |one: &Reading| {
                    let rest = one.rest.as_deref().and_then(|rest| rest.chars().next());
                    rest.is_some_and(|next| next.is_alphanumeric() || next == '_')
                };
                readings.sort_by_key(|one| (in_a_word(one), one.symbol.len()));
                let shortest = readings.first().map(|one| &one.symbol);
                if let Some(symbol) = symbol.or(shortest).cloned() {
                    candidates.push((file, symbol, readings));
                }
            }
            Ok(())
        };
        match symbols {
            Some(symbols) => {
                for symbol in symbols {
                    for text in self.texts(template, symbol, price_type)? {
                        add(Some(&text))?;
                    }
                }
            }
            None => add(None)?,
        }
        for most in [1, usize::MAX] {
            for (file, symbol, readings) in &candidates {
                let other = readings.iter().take(most).find(|one| one.symbol != *symbol);
                if let Some(other) = other {
                    let (symbol, other) = (symbol.as_str(), other.symbol.as_str());
                    let [symbol, other] = [symbol, other].map(|text| self.shown(template, text));
                    return Ok(Some((file.clone(), symbol, other)));
                }
            }
        }
        Ok(None)
    }

    /// Keeps the matching files that belong to the symbol of a text, and not to another one.
    fn own_files(
        &self,
        template: &PathTemplate,
        own_text: &str,
        price_type: Option<PriceType>,
        files: Vec<PathBuf>,
    ) -> Result<Vec<PathBuf>> {
        let of_series = self.fields(own_text, price_type);
        for file in &files {
            self.check_timeframe(template, file, of_series)?;
        }
        let fields = self.fields_of_any_symbol(price_type);
        if !template.may_have_readings(fields) {
            return Ok(files);
        }
        let mut own = Vec::with_capacity(files.len());
        for file in files {
            let readings = self.readings(template, &file, fields);
            match owner(&readings) {
                Some(owner) if owner.symbol != own_text => {
                    // With all symbols, each file goes to its owner. A user who names one symbol
                    // may want rows of the other file too.
                    if *self.request.symbols() != Symbols::All {
                        let texts = [own_text, owner.symbol.as_str()];
                        let [symbol, other] = texts.map(|text| self.shown(template, text));
                        let message = format!(
                            "ambiguous file name: it matches the symbols {symbol} and {other}, and belongs to the latter"
                        );
                        return Err(Error::input(Code::AmbiguousInput, message)
                            .at_file(&file)
                            .with_hint(hint![
                                "put the text after the symbol into the path template, or list the \
                                 files with ",
                                Setting::Inputs,
                                format!("; if {other} is not a symbol, describe symbols with "),
                                Setting::SymbolPattern,
                                ", such as [A-Z]+",
                            ]));
                    }
                }
                _ => own.push(file),
            }
        }
        Ok(own)
    }

    /// Rejects a file that is of a longer timeframe, too.
    fn check_timeframe(
        &self,
        template: &PathTemplate,
        file: &Path,
        of_series: TemplateFields<'_>,
    ) -> Result<()> {
        let text = file.to_str().unwrap_or_default();
        let timeframe = self.request.naming().timeframe(self.timeframe.as_str());
        let Some(other) = template.longer_timeframe(text, timeframe, of_series) else {
            return Ok(());
        };
        let message =
            format!("ambiguous file name: it matches the timeframes {timeframe} and {other}");
        Err(Error::input(Code::AmbiguousInput, message)
            .at_file(file)
            .with_hint("put the text around {timeframe} into the path template"))
    }

    /// The readings of a path whose symbol matches the symbol pattern.
    fn readings(
        &self,
        template: &PathTemplate,
        path: &Path,
        fields: TemplateFields<'_>,
    ) -> Vec<Reading> {
        let Some(path) = path.to_str() else {
            return Vec::new();
        };
        let mut readings = template.readings(path, fields);
        if let Some(pattern) = self.request.symbol_pattern() {
            readings.retain(|reading| {
                let text = self.decoded(template, &reading.symbol);
                text.is_some_and(|text| pattern.matches(&text))
            });
        }
        readings
    }

    fn fields_of_any_symbol(&self, price_type: Option<PriceType>) -> TemplateFields<'_> {
        TemplateFields {
            root: self.root,
            symbol: None,
            timeframe: Some(self.request.naming().timeframe(self.timeframe.as_str())),
            price_type,
        }
    }

    /// Rejects a root inside a table, with links resolved.
    fn check_root(&self) -> Result<()> {
        let uses_root = |template: &PathTemplate| template.as_str().contains("{root}");
        if !self.templates.iter().any(uses_root) {
            return Ok(());
        }
        match self.places.table_around(Path::new(self.root))? {
            Some((folder, format)) => Err(of_table(&folder, format).at_file(self.request.data())),
            None => Ok(()),
        }
    }

    /// Rejects files of a table format: only the table itself knows which of its files are live.
    fn check_tables(&self, template: &PathTemplate, files: &[PathBuf]) -> Result<()> {
        let depth = |path: &Path| path.components().count();
        let top = if template.as_str().starts_with("{root}") {
            Some(depth(Path::new(self.root)))
        } else {
            template.spelled_folder(self.root).map(|folder| {
                // Paths below the current folder do not start with its name.
                let is_here = folder == Path::new(".");
                if is_here { 0 } else { depth(&folder) }
            })
        };
        for file in files {
            let Some(parent) = file.parent() else {
                continue;
            };
            let top = top.unwrap_or_else(|| depth(parent));
            let folders = parent.ancestors().take_while(|folder| depth(folder) >= top);
            for folder in folders {
                if let Some(format) = self.places.table_format(folder)? {
                    return Err(of_table(folder, format).at_file(file));
                }
                if folder.as_os_str().is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Symbols with a file of the timeframe and of any requested price type, in name order.
    fn all_symbols(&self) -> Result<Vec<String>> {
        let sides: Vec<_> = self
            .request
            .price_types()
            .iter()
            .copied()
            .map(Some)
            .collect();
        self.check_stars(None, &sides)?;
        let symbols = self.found_symbols(self.request.price_types())?;
        if symbols.is_empty() {
            return Err(self.no_root().unwrap_or_else(|| {
                Error::input(
                    Code::SymbolNotFound,
                    format!(
                        "no symbol has {} candles of price type {}",
                        self.timeframe,
                        self.price_types()
                    ),
                )
                .at_file(self.request.data())
                .with_hint(self.layout_hint())
            }));
        }
        if symbols.len() > MAX_SYMBOLS {
            return Err(Error::usage(format!(
                "found {} symbols: one stream holds at most {MAX_SYMBOLS}",
                symbols.len()
            ))
            .with_hint(hint!["list fewer symbols with ", Setting::Symbols]));
        }
        let symbols: Vec<_> = symbols.into_iter().collect();
        // The names come from the disk and follow the same rules as names in a request.
        let checked = Request::builder(self.request.data())
            .symbols(symbols.clone())
            .path_template(self.request.path_template().cloned())
            .price_types(self.request.price_types().iter().copied().take(1))
            .naming(self.request.naming().clone())
            .build();
        checked.map_err(|error| {
            let refused = Error::input(error.code(), error.message()).with_hint(hint![
                "rename the folder or file, or list the symbols with ",
                Setting::Symbols
            ]);
            match &error.location().symbol {
                Some(symbol) => refused.at_symbol(symbol),
                None => refused,
            }
        })?;
        Ok(symbols)
    }

    /// Symbols with a file of the timeframe and of any of the price types.
    fn found_symbols(&self, price_types: &[PriceType]) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for &price_type in price_types {
            for template in &self.templates {
                let mut symbols = BTreeMap::new();
                let fields = self.fields_of_any_symbol(Some(price_type));
                let files = self.places.matching(&template.pattern(fields))?;
                for file in files {
                    let readings = self.readings(template, &file, fields);
                    if let Some(reading) = owner(&readings) {
                        self.add_symbol(template, &file, &reading.symbol, &mut symbols)?;
                    }
                }
                all.extend(symbols.into_keys());
            }
        }
        Ok(all)
    }

    /// The error for a series without a file, by the first missing part.
    fn missing(&self, symbol: &str, price_type: Option<PriceType>) -> Result<Error> {
        if let Some(error) = self.no_root() {
            return Ok(error.at_series(symbol, price_type));
        }
        let timeframe = self.timeframe;
        let texts = self.texts(&self.templates[0], symbol, price_type)?;
        let text = texts.first().map_or(symbol, String::as_str);
        let expected = PathBuf::from(self.templates[0].path(self.fields(text, price_type)));
        let Some(price_type) = price_type else {
            let message = format!("symbol {symbol} has no indicators of timeframe {timeframe}");
            return Ok(Error::input(Code::TimeframeNotFound, message)
                .at_symbol(symbol)
                .at_file(&expected)
                .with_hint(hint![
                    "add the file, or name its path with ",
                    Setting::IndicatorTemplate
                ]));
        };
        let error = if self.any_file(
            symbol,
            Some(self.request.naming().timeframe(timeframe.as_str())),
        )? {
            Error::input(
                Code::InvalidPriceType,
                format!(
                    "symbol {symbol} has {timeframe} candles, but not of price type {price_type}"
                ),
            )
            .with_hint("request another price type, or add the file")
        } else if self.any_file(symbol, None)? {
            Error::input(
                Code::TimeframeNotFound,
                format!("symbol {symbol} has no candles of timeframe {timeframe}"),
            )
            .with_hint("request another timeframe, or add the file")
        } else {
            Error::input(Code::SymbolNotFound, format!("symbol {symbol} has no file"))
                .with_hint(self.symbol_hint(symbol))
        };
        Ok(error.at_series(symbol, price_type).at_file(&expected))
    }

    fn no_root(&self) -> Option<Error> {
        let root = self.request.data();
        let uses_root = self
            .templates
            .iter()
            .any(|template| template.as_str().contains("{root}"));
        (uses_root && !self.places.is_folder(root)).then(|| {
            let message = if self.places.may_exist(root).unwrap_or(true) {
                "the data root is not a folder"
            } else {
                "the data root does not exist"
            };
            Error::input(Code::SymbolNotFound, message)
                .at_file(root)
                .with_hint(hint![
                    "name the root folder with ",
                    Setting::Data,
                    " or OMEGA_DATA_PARQUET_ROOT"
                ])
        })
    }

    /// Whether the symbol has a file (of this timeframe) of any price type.
    fn any_file(&self, symbol: &str, timeframe: Option<&str>) -> Result<bool> {
        if !self.places.can_list(Path::new(self.root)) {
            return Ok(false);
        }
        for template in &self.templates {
            for price_type in PriceType::ALL {
                for text in self.texts(template, symbol, Some(price_type))? {
                    let pattern = template.pattern(TemplateFields {
                        root: self.root,
                        symbol: Some(&text),
                        timeframe,
                        price_type: Some(price_type),
                    });
                    if !self.places.matching(&pattern)?.is_empty() {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn price_types(&self) -> String {
        let names: Vec<_> = self
            .request
            .price_types()
            .iter()
            .map(|one| one.as_str())
            .collect();
        names.join(" or ")
    }

    fn layout_hint(&self) -> String {
        format!(
            "files are searched as {}; request another timeframe, price type or path template for other files",
            self.templates[0]
        )
    }

    /// What to do about a symbol without a file: its other spelling, if a symbol with files has a
    /// similar name.
    fn symbol_hint(&self, symbol: &str) -> String {
        let found = self.found_symbols(&PriceType::ALL).unwrap_or_default();
        if let Some(other) = found.iter().find(|one| one.eq_ignore_ascii_case(symbol)) {
            return format!("did you mean {other}? Names are case-sensitive");
        }
        let distance = |other: &String| {
            strsim::osa_distance(&symbol.to_ascii_lowercase(), &other.to_ascii_lowercase())
        };
        let mut near: Vec<_> = found
            .iter()
            .map(|other| (distance(other), other))
            .filter(|(distance, _)| distance * LETTERS_PER_TYPO <= symbol.chars().count())
            .collect();
        near.sort_unstable();
        let names = near.iter().map(|(_, name)| name.as_str());
        let names: Vec<_> = names.take(NEAR_NAMES).collect();
        if names.is_empty() {
            self.layout_hint()
        } else {
            format!("did you mean {}?", names.join(" or "))
        }
    }
}

/// The error for a symbol that two texts spell.
fn two_texts(symbol: &str, one: &Path, other: &Path) -> Error {
    let message = format!(
        "ambiguous names: {} and {} both spell the symbol {symbol:?}",
        one.display(),
        other.display()
    );
    Error::input(Code::AmbiguousInput, message)
        .at_file(other)
        .with_hint("rename one of them, or merge both")
}

/// The error for a file of a table format.
fn of_table(folder: &Path, format: &str) -> Error {
    let message = format!(
        "cannot read the file by its name: {} is {format}, in which only some files are live",
        folder.display()
    );
    Error::input(Code::UnsupportedInput, message)
        .with_hint(hint!["list the table's live files with ", Setting::Inputs])
}
