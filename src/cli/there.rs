//! `-H HOST`: the same verb, by the mosaic of another host. What was typed here is given to it word
//! for word; what it prints and how it ends is passed on.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde_json::Value;

use super::Context;
use super::agent::message_text;
use crate::delivery;
use crate::error::{Error, Result};
use crate::remote::sender::line_of;
use crate::remote::{End, Exchange, Host, Ssh, exchange};
use crate::ui::Ui;

/// Until a host answers, where nobody types a password: ssh gives up by itself before.
const CONNECT: Duration = Duration::from_secs(30);

/// On top of the times that the verb itself is told to wait.
const MARGIN: Duration = Duration::from_secs(60);

/// For a verb that waits for the end of a turn and is not told how long.
const ANSWER: Duration = Duration::from_secs(60 * 60);

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
            if OURS.contains(&id) || !self.was_given(id) {
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

    /// How many values a positional argument has.
    fn words_of(&self, id: &str) -> usize {
        match self.matches.try_contains_id(id) {
            Ok(true) => self.matches.get_raw(id).map_or(0, Iterator::count),
            _ => 0,
        }
    }

    fn was_given(&self, id: &str) -> bool {
        self.matches.try_contains_id(id).unwrap_or(false)
            && self.matches.value_source(id) == Some(ValueSource::CommandLine)
    }

    fn string(&self, id: &str) -> Option<&String> {
        self.matches.try_get_one::<String>(id).ok().flatten()
    }

    /// The message's id, as told or made.
    pub fn id(&self) -> String {
        let told = self.string("id").cloned();
        told.unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
    }

    /// Who sends, said whole: the host there would put its own name before it.
    pub fn sender(&self) -> String {
        let agent = std::env::var("MOSAIC_AGENT").ok();
        let told = self.string("sender").map(String::as_str);
        let sender = delivery::sender(told, agent.as_deref());
        if sender.contains(':') {
            return sender;
        }
        let label = self.string("host_label").filter(|l| !l.trim().is_empty());
        let host = label.cloned().unwrap_or_else(delivery::host_name);
        format!("{host}:{sender}")
    }

    /// The text of its message.
    ///
    /// # Errors
    /// It cannot be read, or is empty.
    pub fn text(&self) -> Result<Vec<u8>> {
        let file = self.matches.try_get_one::<PathBuf>("file").ok().flatten();
        message_text(
            self.string("message").map(String::as_str),
            file.map(PathBuf::as_path),
        )
    }

    /// How long the verb may take: what it is told to wait, and some; `None` where it goes on for ever.
    pub fn bound(&self) -> Option<Duration> {
        if self.flag("follow") {
            return None;
        }
        // A turn may take long, and is waited for that long without being told to.
        let words: Vec<&str> = ["until"]
            .into_iter()
            .filter(|id| self.was_given(id))
            .filter_map(|id| self.matches.get_raw(id)?.next()?.to_str())
            .collect();
        let answer = words.contains(&"answered") || self.words.last().is_some_and(|w| w == "ask");
        if answer && !self.was_given("timeout") {
            return Some(ANSWER);
        }
        let seconds = |id: &str| {
            let raw = self.matches.try_contains_id(id).ok().filter(|there| *there);
            let raw = raw.and_then(|_| self.matches.get_raw(id)?.next());
            raw.and_then(|v| v.to_str()?.trim_end_matches('s').parse::<u64>().ok())
        };
        let mut sum: u64 = ["wait", "timeout"].into_iter().filter_map(seconds).sum();
        let answered = || {
            let until = self.matches.try_contains_id("until").unwrap_or(false);
            until
                && self
                    .matches
                    .get_raw("until")
                    .is_some_and(|mut v| v.any(|w| w == "answered"))
        };
        if sum == 0 && (self.words.last().is_some_and(|w| w == "ask") || answered()) {
            sum = super::agent::ANSWER_TIMEOUT;
        }
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

/// What became of a message that was given to the mosaic there.
pub enum Given {
    /// The verb there ended with this status, and has printed what became of it.
    Ended(i32),
    /// There is no mosaic there; nothing was done.
    Missing,
    /// The connection was lost, and the next one as well, or the verb knows no ids.
    Unknown {
        /// The message's id.
        id: String,
        /// What ssh said.
        why: String,
    },
}

/// Runs a verb with its message there. A connection that is lost in the midst is made once more, with
/// the same id: the other side then tells what became of the message, and delivers it only if it never
/// saw it.
///
/// # Errors
/// Kind `Unavailable`: the host was not reached, and nothing was done.
pub fn give(
    context: &Context<'_>,
    there: &There<'_>,
    verb: &Verb<'_>,
    id: &str,
    raw: &[u8],
) -> Result<Given> {
    let mut more = vec!["--file=-".to_owned()];
    if verb.knows("sender") {
        more.push(format!("--sender={}", verb.sender()));
    }
    // An id is of one message, to one agent.
    let one = verb.words_of("agents") == 1 && !verb.was_given("class");
    let idempotent = verb.knows("id") && (one || !verb.knows("agents"));
    if idempotent {
        more.push(format!("--id={id}"));
    }
    let words = words(verb, context.ui, &more)?;
    let mut lost = None;
    for _ in 0..2 {
        match there.mosaic(&words, Some(line_of(raw)), verb.bound())? {
            End::Exit(127) => return Ok(Given::Missing),
            End::Exit(status) => return Ok(Given::Ended(status)),
            End::NotStarted(why) if lost.is_none() => return Err(unreached(there.host, &why)),
            End::NotStarted(_) => break,
            End::Lost(why) => lost = Some(why),
        }
        // Without ids the other side could not tell, and would send it twice.
        if !idempotent {
            break;
        }
    }
    Ok(Given::Unknown {
        id: id.to_owned(),
        why: lost.unwrap_or_default(),
    })
}

/// Any verb but `send`.
///
/// # Errors
/// ssh failed: kind `Unavailable` where certainly nothing was done, else `No`.
pub fn forward(context: &Context<'_>, verb: &Verb<'_>, host: &Host) -> Result<ExitCode> {
    let there = There::new(context, host, verb.flag("json"));
    if verb.knows("message") {
        let id = verb.id();
        return match give(context, &there, verb, &id, &verb.text()?)? {
            Given::Ended(status) => Ok(exit_code(status)),
            Given::Missing => Err(missing(host)),
            Given::Unknown { id, why } => Err(Error::no(format!(
                "the connection to `{host}` was lost, and whether the message `{id}` was delivered is not known"
            ))
            .because(why)),
        };
    }
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
