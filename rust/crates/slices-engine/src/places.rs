//! Looks for the files of a request: on the disk, or in the storage that their names name.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::series_files::SeriesFiles;
use slices_core::error::{Code, Error, Result};
use slices_core::request::{PathPattern, Scheme, remote_scheme};
use slices_store::Storage;

/// The folder of a Delta Lake table that holds its log.
const DELTA: &str = "_delta_log";

/// The folder of a Hudi table that holds its timeline.
const HUDI: &str = ".hoodie";

/// The folder of an Iceberg table that holds its versions.
const ICEBERG: &str = "metadata";

/// Where files are looked for.
pub struct Places<'a> {
    storage: &'a Storage,
    /// The table formats of folders that were checked before.
    tables: RefCell<HashMap<PathBuf, Option<&'static str>>>,
}

impl<'a> Places<'a> {
    /// Looks on the disk and in `storage`.
    pub fn new(storage: &'a Storage) -> Self {
        Self {
            storage,
            tables: RefCell::default(),
        }
    }

    /// Whether a path is worth opening: it exists, or opening it gives the reason.
    pub fn may_exist(&self, path: &Path) -> Result<bool> {
        if remote_scheme(path).is_some() {
            return self.storage.exists(path);
        }
        // Check the link itself: a broken link is an unreadable file, not a missing one.
        Ok(fs::symlink_metadata(path).map_or_else(|error| !is_missing(&error), |_| true))
    }

    /// Whether the files below a folder can be listed.
    pub fn can_list(&self, folder: &Path) -> bool {
        remote_scheme(folder).is_none_or(Scheme::is_bucket)
    }

    /// Whether a path is a folder. Of objects, whether any is below it, if that can be known.
    pub fn is_folder(&self, path: &Path) -> bool {
        match remote_scheme(path) {
            None => path.is_dir(),
            Some(scheme) if scheme.is_bucket() => self
                .storage
                .list(path)
                .is_ok_and(|objects| !objects.is_empty()),
            Some(_) => true,
        }
    }

    /// Opens objects, many at a time. Whether they exist shows when each is looked for. `false` if
    /// the paths name none.
    pub fn open(&self, paths: &[PathBuf]) -> Result<bool> {
        let is_remote = paths.iter().any(|path| remote_scheme(path).is_some());
        if is_remote {
            self.storage.open_all(paths)?;
            self.look_for_tables(paths)?;
        }
        Ok(is_remote)
    }

    /// Lists the objects that patterns may match, many folders at a time.
    pub fn list(&self, patterns: &[PathPattern]) -> Result<()> {
        let folders = patterns.iter().map(folder_of);
        let mut folders: Vec<_> = folders
            .filter(|folder| remote_scheme(folder).is_some_and(Scheme::is_bucket))
            .collect();
        folders.sort_unstable();
        folders.dedup();
        self.storage.list_all(&folders)
    }

    /// The files that a pattern matches, in name order.
    pub fn matching(&self, pattern: &PathPattern) -> Result<Vec<PathBuf>> {
        let folder = folder_of(pattern);
        match remote_scheme(&folder) {
            None => self.matching_files(pattern),
            Some(Scheme::Http) => {
                let message = "cannot list the files of a web server";
                Err(Error::usage(message)
                    .at_file(&folder)
                    .with_hint("name each symbol, and use no * in path templates"))
            }
            Some(_) => {
                let listed = self.storage.list(&folder)?;
                let paths = listed.iter().map(|object| &object.path);
                let matches = |path: &&PathBuf| {
                    let names: Vec<_> = path.to_str().unwrap_or_default().split('/').collect();
                    pattern.matches(&names)
                };
                Ok(paths.filter(matches).cloned().collect())
            }
        }
    }

    fn matching_files(&self, pattern: &PathPattern) -> Result<Vec<PathBuf>> {
        let mut paths = matching_paths(pattern)?;
        paths.retain(|path| self.may_exist(path).unwrap_or(true) && !path.is_dir());
        Ok(paths)
    }

    /// The folders and files that a pattern matches, in name order. Of objects, the beginnings of
    /// their names.
    pub fn matching_names(&self, pattern: &PathPattern) -> Result<Vec<PathBuf>> {
        let folder = folder_of(pattern);
        if remote_scheme(&folder).is_none() {
            return matching_paths(pattern);
        }
        let listed = self.storage.list(&folder)?;
        let mut found = BTreeSet::new();
        for object in listed.iter() {
            let names: Vec<_> = object
                .path
                .to_str()
                .unwrap_or_default()
                .split('/')
                .collect();
            let beginnings = (1..=names.len()).map(|end| &names[..end]);
            let matching = beginnings.filter(|names| pattern.matches(names));
            found.extend(matching.map(|names| PathBuf::from(names.join("/"))));
        }
        Ok(found.into_iter().collect())
    }
}

/// The paths on this machine that a pattern matches, in name order.
fn matching_paths(pattern: &PathPattern) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = vec![PathBuf::new()];
    for (depth, part) in pattern.parts.iter().enumerate() {
        if part.is_any_depth() {
            let mut folders = Vec::new();
            for path in paths {
                add_folders(path, &mut folders)?;
            }
            paths = folders;
            continue;
        }
        if let Some(name) = part.literal() {
            for path in &mut paths {
                // The name before the first slash of an absolute path is empty.
                path.push(if depth == 0 && name.is_empty() {
                    "/"
                } else {
                    name
                });
            }
            continue;
        }
        let mut found = Vec::new();
        for folder in &paths {
            for name in names_in(folder)? {
                if part.matches(name.as_bytes()) {
                    found.push(folder.join(name));
                }
            }
        }
        paths = found;
    }
    paths.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    paths.dedup();
    Ok(paths)
}

/// Adds a folder, and those below it. As in shells, hidden ones and links are left out.
fn add_folders(folder: PathBuf, found: &mut Vec<PathBuf>) -> Result<()> {
    for name in names_in(&folder)? {
        let below = folder.join(&name);
        let is_folder = fs::symlink_metadata(&below).is_ok_and(|metadata| metadata.is_dir());
        if is_folder && !name.as_bytes().starts_with(b".") {
            add_folders(below, found)?;
        }
    }
    found.push(folder);
    Ok(())
}

impl Places<'_> {
    /// The table that a folder lies in, with links resolved, if any: its folder and format.
    pub fn table_around(&self, folder: &Path) -> Result<Option<(PathBuf, &'static str)>> {
        let folder = match remote_scheme(folder) {
            Some(_) => folder.to_owned(),
            None => match fs::canonicalize(folder) {
                Ok(real) => real,
                Err(_) => return Ok(None),
            },
        };
        for around in folder.ancestors().skip(1) {
            if is_scheme(around) {
                break;
            }
            if let Some(format) = self.table_format(around)? {
                return Ok(Some((around.to_owned(), format)));
            }
        }
        Ok(None)
    }

    /// The table format of a folder, if it is a table.
    pub fn table_format(&self, folder: &Path) -> Result<Option<&'static str>> {
        if let Some(known) = self.tables.borrow().get(folder) {
            return Ok(*known);
        }
        if !self.can_list(folder) || is_scheme(folder) {
            return Ok(None);
        }
        let format = match remote_scheme(folder) {
            None => table_format(folder),
            Some(_) => {
                let inside = self.storage.folders_in(&[folder.to_owned()])?;
                self.format_of(folder, &inside.concat())?
            }
        };
        self.tables.borrow_mut().insert(folder.to_owned(), format);
        Ok(format)
    }

    /// Looks for tables in the folders of objects, many at a time.
    fn look_for_tables(&self, paths: &[PathBuf]) -> Result<()> {
        let folders = paths.iter().filter_map(|path| path.parent());
        let mut folders: Vec<_> = folders
            .filter(|folder| remote_scheme(folder).is_some_and(Scheme::is_bucket))
            .map(Path::to_owned)
            .collect();
        folders.sort_unstable();
        folders.dedup();
        let inside = self.storage.folders_in(&folders)?;
        for (folder, names) in folders.into_iter().zip(inside) {
            let format = self.format_of(&folder, &names)?;
            self.tables.borrow_mut().insert(folder, format);
        }
        Ok(())
    }

    /// The format of a folder of objects, by the names of the folders in it.
    fn format_of(&self, folder: &Path, names: &[String]) -> Result<Option<&'static str>> {
        let has = |name: &str| names.iter().any(|one| one == name);
        let versions = if has(ICEBERG) {
            self.storage.list(&folder.join(ICEBERG))?
        } else {
            [].into()
        };
        let is_version = |path: &Path| {
            path.parent() == Some(&folder.join(ICEBERG))
                && is_of_iceberg(path.as_os_str().as_bytes())
        };
        let is_iceberg = versions.iter().any(|object| is_version(&object.path));
        Ok(format_with(has(DELTA), has(HUDI), is_iceberg))
    }
}

/// Opens the objects of all series at once, rather than one after the other.
pub fn open_objects(series: &[SeriesFiles], storage: &Storage) -> Result<()> {
    let paths = series
        .iter()
        .flat_map(|series| &series.files)
        .map(|file| &file.path);
    let paths = paths.filter(|path| remote_scheme(path).is_some());
    storage.open_all(&paths.cloned().collect::<Vec<_>>())
}

/// The beginning of a URI before its bucket, which a path takes for a folder.
fn is_scheme(folder: &Path) -> bool {
    let bytes = folder.as_os_str().as_bytes();
    bytes.ends_with(b":") || bytes.ends_with(b":/")
}

/// The folder of objects that a pattern may match: the names before the first open place.
fn folder_of(pattern: &PathPattern) -> PathBuf {
    let names = pattern.parts.iter().map_while(|part| part.literal());
    let names: Vec<_> = names.take(pattern.parts.len().saturating_sub(1)).collect();
    PathBuf::from(names.join("/"))
}

fn format_with(is_delta: bool, is_hudi: bool, is_iceberg: bool) -> Option<&'static str> {
    if is_delta {
        Some("a Delta Lake table (_delta_log)")
    } else if is_hudi {
        Some("a Hudi table (.hoodie)")
    } else {
        is_iceberg.then_some("an Iceberg table (metadata/*.metadata.json)")
    }
}

/// The table format of a folder of this machine, if it is a table.
fn table_format(folder: &Path) -> Option<&'static str> {
    let has = |name: &str| folder.join(name).is_dir();
    let versions = fs::read_dir(folder.join(ICEBERG)).ok();
    let mut names = versions.into_iter().flatten().flatten();
    let is_iceberg = || names.any(|entry| is_of_iceberg(entry.file_name().as_bytes()));
    let (is_delta, is_hudi) = (has(DELTA), has(HUDI));
    format_with(is_delta, is_hudi, !is_delta && !is_hudi && { is_iceberg }())
}

fn is_of_iceberg(name: &[u8]) -> bool {
    name.ends_with(b".metadata.json") || name.ends_with(b".metadata.json.gz")
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The names in a folder; empty if the folder does not exist.
fn names_in(folder: &Path) -> Result<Vec<OsString>> {
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let names = fs::read_dir(here).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    });
    match names {
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        names => names.map_err(|error| {
            Error::input(Code::CorruptInput, format!("cannot read a folder: {error}"))
                .at_file(here)
                .with_hint("check the permissions of the folder")
                .with_source(error)
        }),
    }
}
