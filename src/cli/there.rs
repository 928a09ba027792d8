//! `-H HOST`: the same verb, by the mosaic of another host. What was typed here is given to it word
//! for word; what it prints and how it ends is passed on.

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde_json::Value;

use super::Context;
use crate::error::{Error, Result};
use crate::remote::{End, Exchange, Host, Ssh, exchange};
use crate::ui::Ui;

/// Until a host answers, where nobody types a password: ssh gives up by itself before.
const CONNECT: Duration = Duration::from_secs(30);

/// On top of the times that the verb itself is told to wait.
const MARGIN: Duration = Duration::from_secs(60);

/// The flag, for verbs that know it.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct HostArg {
    /// Do it on another host, by ssh: `[user@]host`, or a name of your ssh configuration
    #[arg(short = 'H', long, value_name = "HOST")]
    pub host: Option<Host>,
}

/// Arguments that say where, or what is sent, and are not passed on as they are.
const OURS: [&str; 8] = [
    "host",
    "message",
    "file",
    "sender",
    "host_label",
    "id",
    "config",
    "color",
];

/// The verb of a command line: its words, its definition, its arguments.
pub struct Verb<'m> {
    /// `agent`, `status`.
    pub words: Vec<String>,
    definition: clap::Command,
    /// As parsed.
    pub matches: &'m ArgMatches,
}

impl<'m> Verb<'m> {
    /// Finds it.
    pub fn of(root: clap::Command, matches: &'m ArgMatches) -> Self {
        let mut verb = Self {
            words: Vec::new(),
            definition: root,
            matches,
        };
        while let Some((name, inner)) = verb.matches.subcommand() {
            let Some(next) = verb.definition.find_subcommand(name).cloned() else {
                break;
            };
            verb.words.push(name.to_owned());
            verb.definition = next;
            verb.matches = inner;
        }
        verb
    }

    /// The host it is meant for, where that is another one.
    pub fn host(&self) -> Option<&Host> {
        self.matches.try_get_one::<Host>("host").ok().flatten()
    }

    /// Whether it has an argument of this id.
    pub fn knows(&self, id: &str) -> bool {
        self.definition.get_arguments().any(|a| a.get_id() == id)
    }

    /// Whether a flag was given.
    pub fn flag(&self, id: &str) -> bool {
        self.matches.try_get_one::<bool>(id).ok().flatten() == Some(&true)
    }

    /// The arguments as they were given, without those that are [`OURS`]; positional ones behind `--`.
    ///
    /// # Errors
    /// One that is no text.
    pub fn given(&self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut options, mut words) = (Vec::new(), Vec::new());
        for arg in self.definition.get_arguments() {
            let id = arg.get_id().as_str();
            if OURS.contains(&id)
                || !self.matches.try_contains_id(id).unwrap_or(false)
                || self.matches.value_source(id) != Some(ValueSource::CommandLine)
            {
                continue;
            }
            if matches!(arg.get_action(), clap::ArgAction::Count) {
                let times = self.matches.get_count(id);
                options.extend((0..times).filter_map(|_| Some(format!("--{}", arg.get_long()?))));
                continue;
            }
            let text = |value: &std::ffi::OsStr| {
                value
                    .to_str()
                    .map(str::to_owned)
                    .ok_or_else(|| Error::usage(format!("the value of `{id}` is not UTF-8 text")))
            };
            let values = self.matches.get_raw(id).into_iter().flatten();
            let values: Vec<String> = values.map(text).collect::<Result<_>>()?;
            match (arg.get_long(), arg.get_action().takes_values()) {
                (Some(long), true) => {
                    options.extend(values.iter().map(|v| format!("--{long}={v}")));
                }
                (Some(long), false) => options.push(format!("--{long}")),
                (None, _) => words.extend(values),
            }
        }
        Ok((options, words))
    }

    /// How long the verb may take: what it is told to wait, and some; `None` where it goes on for ever.
    pub fn bound(&self) -> Option<Duration> {
        if self.flag("follow") {
            return None;
        }
        let seconds = |id: &str| {
            let raw = self.matches.try_contains_id(id).ok().filter(|there| *there);
            let raw = raw.and_then(|_| self.matches.get_raw(id)?.next());
            raw.and_then(|v| v.to_str()?.trim_end_matches('s').parse::<u64>().ok())
        };
        let sum: u64 = ["wait", "timeout"].into_iter().filter_map(seconds).sum();
        Some(MARGIN.saturating_add(Duration::from_secs(sum)))
    }
}

/// One verb on another host.
pub struct There<'a> {
    /// The way.
    pub ssh: Ssh,
    host: &'a Host,
    ui: &'a Ui,
    /// The verb prints JSON.
    json: bool,
    connect: Option<Duration>,
}

impl<'a> There<'a> {
    /// Prepares.
    pub fn new(context: &Context<'a>, host: &'a Host, json: bool) -> Self {
        let terminal = context.ui.interactive();
        Self {
            ssh: Ssh::to(host, &context.paths, terminal),
            host,
            ui: context.ui,
            json,
            connect: (!terminal).then_some(CONNECT),
        }
    }

    /// Runs mosaic there and passes on what it prints. `message`: one line, in base64.
    ///
    /// # Errors
    /// ssh is missing, or a word cannot be passed on.
    pub fn mosaic(
        &self,
        args: &[String],
        message: Option<Vec<u8>>,
        bound: Option<Duration>,
    ) -> Result<End> {
        let command = self.ssh.mosaic(args, message.is_some())?;
        let talk = Exchange {
            first: None,
            message,
            connect: self.connect,
            finish: bound,
        };
        let mut document = String::new();
        let end = exchange(
            command,
            &talk,
            &mut |line| {
                if !self.json {
                    self.ui.line(line);
                } else if document.is_empty()
                    && let Some(value) = object(line)
                {
                    // A stream, one document a line.
                    self.ui.json_line(&named(value, self.host));
                } else {
                    document.push_str(line);
                    document.push('\n');
                }
            },
            &mut |line| self.ui.pass_on(line),
        )?;
        match serde_json::from_str::<Value>(&document) {
            Ok(value) => self.ui.json(&named(value, self.host)),
            Err(_) => document.lines().for_each(|line| self.ui.line(line)),
        }
        Ok(end)
    }

    /// Runs a script there; returns how it ended and the lines it printed.
    ///
    /// # Errors
    /// ssh is missing, or a word cannot be passed on.
    pub fn script(
        &self,
        args: &[String],
        script: Vec<u8>,
        message: Vec<u8>,
        bound: Duration,
    ) -> Result<(End, Vec<String>)> {
        let talk = Exchange {
            first: Some(script),
            message: Some(message),
            connect: self.connect,
            finish: Some(bound),
        };
        let mut lines = Vec::new();
        let end = exchange(
            self.ssh.script(args)?,
            &talk,
            &mut |line| lines.push(line.to_owned()),
            &mut |line| self.ui.pass_on(line),
        )?;
        Ok((end, lines))
    }
}

fn object(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(Value::is_object)
}

/// Says whose document it is.
pub fn named(mut value: Value, host: &Host) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.insert("host".to_owned(), Value::String(host.to_string()));
        }
        Value::Array(list) => {
            for item in list.iter_mut() {
                *item = named(item.take(), host);
            }
        }
        _ => {}
    }
    value
}

/// The words for mosaic there: the verb, how it is to print, its options, then `more`, then its
/// positional arguments.
///
/// # Errors
/// As [`Verb::given`].
pub fn words(verb: &Verb<'_>, ui: &Ui, more: &[String]) -> Result<Vec<String>> {
    let (options, positional) = verb.given()?;
    let color = if ui.colored() { "always" } else { "never" };
    let mut all = vec![format!("--color={color}")];
    all.extend(verb.words.iter().cloned());
    all.extend(options);
    all.extend_from_slice(more);
    if !positional.is_empty() {
        all.push("--".to_owned());
        all.extend(positional);
    }
    Ok(all)
}

/// A verb without a message.
///
/// # Errors
/// ssh failed: kind `Unavailable` where certainly nothing was done, else `No`.
pub fn forward(context: &Context<'_>, verb: &Verb<'_>, host: &Host) -> Result<ExitCode> {
    let there = There::new(context, host, verb.flag("json"));
    let words = words(verb, context.ui, &[])?;
    match there.mosaic(&words, None, verb.bound())? {
        End::Exit(127) => Err(missing(host)),
        End::Exit(status) => Ok(exit_code(status)),
        End::NotStarted(why) => Err(unreached(host, &why)),
        End::Lost(why) => Err(Error::no(format!("the connection to `{host}` was lost"))
            .because(why)
            .hint("what was done there is not known: look with `mosaic agent status -H`")),
    }
}

/// The status of the program there as ours.
pub fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

/// The host was not reached; nothing was done.
pub fn unreached(host: &Host, why: &str) -> Error {
    Error::unavailable(format!("cannot reach `{host}`"))
        .because(why)
        .hint(format!("nothing was done; does `ssh {host} true` work?"))
}

fn missing(host: &Host) -> Error {
    Error::unavailable(format!("mosaic is not installed on `{host}`"))
        .hint("install it there, on the PATH or in ~/.local/bin or ~/.cargo/bin")
}
