//! Runs `layout`: lists and shows layouts.

use omega_slices::{Error, Layout};

use crate::cli::args::LayoutCommand;
use crate::cli::stdout;

pub fn run(command: &LayoutCommand) -> Result<(), Error> {
    match command {
        LayoutCommand::List => {
            let layouts = Layout::built_in();
            let width = layouts.iter().map(|(name, _)| name.len()).max();
            let width = width.unwrap_or_default();
            let lines = layouts
                .iter()
                .map(|(name, description)| format!("{name:width$}  {description}\n"));
            stdout::text(&lines.collect::<String>())
        }
        LayoutCommand::Show { layout, storage } => {
            let layout = Layout::open(layout, &storage.open()?)?;
            layout.options()?;
            stdout::text(layout.text())
        }
    }
}
