//! `mosaic runtime show`: a definition as it is used.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::Context;
use crate::error::Result;
use crate::runtime::{RuntimeSpec, yaml};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The runtime
    name: String,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    /// Where each key comes from.
    origins: std::collections::BTreeMap<String, String>,
    definition: &'a RuntimeSpec,
}

/// Prints YAML that a roster's `runtimes:` takes.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let all = super::all(context)?;
    let definition = all
        .get(&args.name)
        .ok_or_else(|| super::unknown(&args.name, &all))?;
    let value = serde_json::to_value(&definition.spec)
        .map_err(|e| crate::error::Error::bug("a definition cannot be written").because(e))?;
    if args.json {
        let keys = value.as_object().into_iter().flat_map(|o| o.keys());
        context.ui.json(&Document {
            name: &definition.name,
            origins: keys
                .filter_map(|k| Some((k.clone(), definition.origin(k)?)))
                .collect(),
            definition: &definition.spec,
        });
    } else {
        context.ui.write(&format!("{}:\n", definition.name));
        let text = yaml::mapping(&value, 2, &|key| definition.origin(key));
        context.ui.write(&text);
    }
    Ok(ExitCode::SUCCESS)
}
