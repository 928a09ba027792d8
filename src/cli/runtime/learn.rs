//! `mosaic runtime learn`: from an agent CLI that nobody has described to a tested definition.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::{Context, answer};
use crate::error::{Error, Result};
use crate::host::files;
use crate::learn::{self, Guide, Learnt, Options, Proof};
use crate::names;
use crate::runtime::{builtin, yaml};
use crate::ui::Ui;

/// What is said to see it work, unless told otherwise.
const SAY: &str = "Say hello in one short sentence.";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The program, and its arguments; those with a dash come after `--`
    #[arg(required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Name of the new runtime
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where to write the definition; its screens go into a directory beside it [default: NAME.yaml]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Ask nobody: it must come to its prompt by itself
    #[arg(long)]
    auto: bool,
    /// What to say to it, to see it work
    #[arg(long, value_name = "TEXT", default_value = SAY)]
    say: String,
    /// What to say to make it ask for approval; with --auto its dialogs are left out without it
    #[arg(long, value_name = "TEXT")]
    ask: Option<String>,
    /// Print what was learnt as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    name: &'a str,
    file: &'a Path,
    screens: &'a Path,
    proofs: &'a [Proof],
    unknown: &'a [String],
}

/// Exit status 1 where a screen is not read as what it is; the definition is written all the same.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    if let Err(why) = names::check(&args.name) {
        return Err(Error::usage(format!(
            "invalid runtime name `{}`: {why}",
            args.name
        )));
    }
    if builtin::get(&args.name).is_some() {
        return Err(
            Error::usage(format!("`{}` is a built-in runtime", args.name))
                .hint("choose another name with `--name`"),
        );
    }
    if !args.auto && !context.ui.interactive() {
        return Err(Error::usage("nobody is there to be asked")
            .hint("run it on a terminal, or with `--auto`"));
    }
    let tmux =
        which::which("tmux").map_err(|e| Error::unavailable("tmux is not installed").because(e))?;
    let directory =
        std::env::current_dir().map_err(|e| Error::io("cannot find this directory", e))?;
    let options = Options {
        name: args.name.clone(),
        command: args.command.clone(),
        say: args.say.clone(),
    };
    let guide = Steps {
        ui: context.ui,
        auto: args.auto,
        ask: args.ask.as_deref(),
    };
    let learnt = learn::learn(&options, &tmux, &directory, &guide)?;
    let file = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.yaml", args.name)));
    let screens = file.with_extension("screens");
    write(&args.name, &learnt, &file, &screens)?;
    let good = learnt.proofs.iter().all(Proof::holds);
    if args.json {
        context.ui.json(&Document {
            version: 1,
            name: &args.name,
            file: &file,
            screens: &screens,
            proofs: &learnt.proofs,
            unknown: &learnt.unknown,
        });
    } else {
        print(context.ui, &learnt, &file);
    }
    Ok(answer(good))
}

fn write(name: &str, learnt: &Learnt, file: &Path, screens: &Path) -> Result<()> {
    let value = serde_json::to_value(&learnt.spec)
        .map_err(|e| Error::bug("a definition cannot be written").because(e))?;
    let mut text = format!(
        "# Learnt by `mosaic runtime learn`. Put it below `runtimes:` of the roster.\n{name}:\n"
    );
    text.push_str(&yaml::mapping(&value, 2, &|_| None));
    std::fs::create_dir_all(screens)
        .map_err(|e| Error::io(format!("cannot make `{}`", screens.display()), e))?;
    for (name, shot) in &learnt.captures {
        let path = screens.join(format!("{name}.ansi"));
        files::write_atomic(&path, shot.text.as_bytes(), files::PRIVATE)?;
    }
    files::write_atomic(file, text.as_bytes(), files::PRIVATE)?;
    Ok(())
}

fn print(ui: &Ui, learnt: &Learnt, file: &Path) {
    for proof in &learnt.proofs {
        let word = if proof.holds() { "ok" } else { "WRONG" };
        ui.line(format!(
            "{word:<6} {:<12} is {}, read as {}",
            proof.screen, proof.want, proof.got
        ));
    }
    for line in &learnt.unknown {
        ui.status(format!("not learnt: {line}"));
    }
    ui.status(format!("written: {}", file.display()));
    ui.hint("put it below `runtimes:` of the roster, then `mosaic runtime check` and `mosaic fleet apply`");
}

/// Asks a person, or goes by the options.
struct Steps<'a> {
    ui: &'a Ui,
    auto: bool,
    ask: Option<&'a str>,
}

impl Steps<'_> {
    fn wait(&self, what: &str) -> Result<String> {
        self.ui.status(what);
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            _ => Err(Error::no("broken off")),
        }
    }
}

impl Guide for Steps<'_> {
    fn at_prompt(&self, attach: &str) -> Result<()> {
        if self.auto {
            return Ok(());
        }
        self.wait(&format!(
            "it runs; look at it in another terminal: `{attach}`\n\
             bring it to its empty prompt (log in, answer its first questions), then press Enter here"
        ))
        .map(drop)
    }

    fn ask(&self, attach: &str) -> Result<Option<String>> {
        match (self.ask, self.auto) {
            (Some(text), _) => Ok(Some(text.to_owned())),
            (None, true) => Ok(None),
            (None, false) => {
                let line = self.wait(&format!(
                    "make it ask for approval (`{attach}`) and press Enter here when it does; `s` leaves that out"
                ))?;
                Ok((line != "s").then(String::new))
            }
        }
    }

    fn progress(&self, what: &str) {
        self.ui.status(format!("{what} …"));
    }
}
