//! What an agent CLI is, as data: how it is launched and resumed, what its screen looks like, where
//! it keeps its record of a conversation, how its context is reset.
//!
//! Built-in definitions are the files in `src/runtime/builtin/`, embedded in the binary. A roster's
//! `runtimes:` section overrides any key of one, or adds a new one. Nothing else in mosaic knows an
//! agent CLI by name.

pub mod builtin;
pub mod survey;
pub mod yaml;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::delivery::channel::ChannelKind;
use crate::routing::node::Dialect;

/// A runtime as written in YAML: every key optional, so that the same type serves the built-in
/// files and a roster's overrides. [`RuntimeSpec::over`] lays one on another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeSpec {
    /// One line: what this agent CLI is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Number of the definition's rules; it rises with every change of what is believed of a screen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<u32>,
    /// The program: a name looked up on PATH, or an absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Arguments of every start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Arguments added by `permissions: skip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_args: Option<Vec<String>>,
    /// Arguments that choose a model; `{model}` becomes the agent's `model_hint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_args: Option<Vec<String>>,
    /// Environment of every agent of this runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// How a conversation is named at the first start and taken up again later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Conversation>,
    /// The text typed to reset the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<ResetCommands>,
    /// The key that breaks its turn off; without one nothing is ever interrupted by a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<InterruptKey>,
    /// The ways into the agent, best first; without any, nothing is ever sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<ChannelKind>>,
    /// How its version is asked for, and which versions the rules were tested with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionProbe>,
    /// Environment added by `permissions: skip`, for agent CLIs that have no argument for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_env: Option<BTreeMap<String, String>>,
    /// Arguments that give a first prompt to an interactive start; `{prompt}` becomes its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_args: Option<Vec<String>>,
    /// How skills are chosen by argument. Only `mosaic yolo` uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skills: Option<SkillRules>,
    /// What the screen looks like; without it nothing is ever typed into the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen: Option<ScreenRules>,
    /// Where and how the agent records what it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
    /// A channel by which the agent itself reports its state to mosaic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reports: Option<Reports>,
    /// A directory of the agent's own in place of the one in the user's home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<OwnHome>,
    /// A server of the agent CLI that runs beside its terminal interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Beside>,
    /// Set when the agent is a server that speaks HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeSpec>,
    /// What its clients speak to it; without one, messages go by mosaic's own ways into the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// Memory in bytes below which the agent is killed while idle; a lower limit draws a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_memory: Option<u64>,
    /// How a person installs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
}

/// How conversations are identified on the command line. In the argument lists, `{id}` is a UUID
/// that mosaic makes and records, `{id8}` its first eight characters, `{file}` a file in mosaic's state directory, `{dir}` a directory
/// of the agent's own there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// Arguments that start a conversation under the recorded name.
    pub first: Vec<String>,
    /// Arguments that take the recorded conversation up again.
    pub resume: Vec<String>,
    /// Where the agent keeps conversations.
    #[serde(default)]
    pub store: Store,
    /// Glob (one `*` a path segment, `~` for home, `${VAR:-default}` from the agent's environment) of
    /// the file whose existence says that the conversation can be resumed. Absent: `resume` is
    /// right from the second start on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<String>,
    /// Text that this file holds once the conversation can be resumed. A file without it has used its
    /// id up, and the agent starts with a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<String>,
    /// The agent CLI makes the id itself, and mosaic knows it from the agent's reports: a conversation
    /// is resumed only if it was reported, and `{id}` stands in `resume` alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
}

/// Where an agent keeps its conversations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// Each in a file of its own.
    #[default]
    File,
    /// Goose's database of sessions; `exists` is its path, a `#`, and the session's name.
    GooseSessions,
    /// opencode's database of sessions; `exists` is its path, a `#`, and the session's id.
    OpencodeSessions,
}

/// How to ask an agent CLI for its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionProbe {
    /// Arguments that make the program print its version and end.
    pub args: Vec<String>,
    /// Versions that screen rules, channels and receipts were tested with, oldest first.
    #[serde(default)]
    pub tested: Vec<String>,
}

/// How an agent CLI takes skills by argument, and where it finds them by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillRules {
    /// Environment variable that chooses the mode: `all`, `discover` or `none`.
    pub mode_env: String,
    /// Arguments after which it loads only the skills that are given.
    pub only: Vec<String>,
    /// Arguments that give one; `{dir}` becomes the skill's directory.
    pub add: Vec<String>,
    /// Directories of skills that it looks into by itself: `~` for home, `${VAR:-default}` from the
    /// environment; a relative one is below the working directory.
    pub roots: Vec<String>,
}

/// Texts that reset an agent's context. Each is typed as a whole input line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResetCommands {
    /// Empties the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear: Option<String>,
    /// Begins a new conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// What proves that the context is empty.
    pub proof: ResetProof,
    /// A row of the screen of an empty context, as a regular expression; looked for with
    /// `proof: next-message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty: Option<String>,
}

/// What proves a reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResetProof {
    /// The agent reports a new conversation at once.
    #[default]
    Reported,
    /// The agent names the new conversation with its next message only: until then, what its screen
    /// shows.
    NextMessage,
}

/// The key that breaks a turn off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterruptKey {
    /// tmux's name of it.
    pub key: String,
    /// How often it is pressed at most; again only while the agent is seen to work on.
    #[serde(default = "once")]
    pub presses: u32,
}

fn once() -> u32 {
    1
}

/// How to read a screen and how to type into it. Patterns are regular expressions matched against
/// single rows, from which trailing white space is cut; they are kept apart from the code so that a
/// new release of an agent CLI needs new data only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenRules {
    /// Where the input box is.
    pub input: InputBox,
    /// A row that shows work going on; looked for only in the rows right above the box, since old
    /// output may hold the same words.
    #[serde(default)]
    pub working: Vec<String>,
    /// How many rows above the box are looked at for `working`.
    #[serde(default = "eight")]
    pub working_within: u16,
    /// A row of an open dialog; looked for only where no input box is, since dialogs replace it. Any
    /// one match will do.
    #[serde(default)]
    pub dialog: Vec<String>,
    /// A row that shows that the provider refuses requests for now and that the agent tries again by
    /// itself; looked for where `working` is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limited: Vec<String>,
    /// How the options of a dialog look and how one is chosen; the first form that fits counts. Without
    /// any, a dialog is seen and can only be answered by a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub menus: Vec<Menu>,
    /// What a collapsed paste looks like inside the box, with the size it names as a group: `(?<more>…)`
    /// lines after the first, `(?<lines>…)` lines, or `(?<chars>…)` characters.
    #[serde(default)]
    pub collapsed: Vec<String>,
    /// What the terminal's title tells.
    #[serde(default)]
    pub title: TitleRules,
    /// The agent's record does not tell the end of a turn: an answer is on record before the tool is
    /// called that goes with it. The turn has ended when the box is there after an answer, and neither
    /// title nor screen shows work.
    #[serde(default)]
    pub ends_turn: bool,
    /// How a message is put into the box.
    #[serde(default)]
    pub typing: Typing,
    /// Milliseconds for which the box of a young agent must have stood before it is typed into: what is
    /// typed sooner is thrown away where the agent draws a box, then takes its conversation up.
    #[serde(default)]
    pub settle_ms: u64,
    /// Milliseconds to wait at least between the last paste and Enter.
    #[serde(default)]
    pub enter_delay_ms: u64,
}

fn eight() -> u16 {
    8
}

/// What marks the input box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BoxShape {
    /// Rules above and below it, over the pane's whole width: the rows between the two lowest ones.
    #[default]
    Ruled,
    /// Its prompt mark: from the lowest row that starts with `glyph` (and follows a row that fits
    /// `above`, where that is given; and is no row of a dialog) through rows that start with `indent`
    /// or are blank, down to the row that fits `bottom`, or to the foot of the screen.
    Prompt,
    /// A bar at its left: the rows that start with `glyph` right above the lowest row that fits
    /// `bottom`, without the first `skip_first` and the last `skip_last` of them. Where that row begins
    /// and how wide it is, so does and is the box; `glyph` and `indent` count from there. Work shows
    /// below it.
    Bar,
}

/// The input box. A rule of a `ruled` one spans the pane's whole width, whatever its pattern says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputBox {
    /// What marks it.
    #[serde(default)]
    pub shape: BoxShape,
    /// A rule row above a `ruled` box.
    #[serde(default)]
    pub top: String,
    /// A rule row below the box; for the other shapes, the row that closes it.
    #[serde(default)]
    pub bottom: String,
    /// The row right above a `prompt` box; for a `ruled` one a full rule in the few rows above its upper
    /// rule, where the agent draws the same rules around old messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<String>,
    /// The agent reads keys one by one while its box takes input, and in whole lines while it works:
    /// nothing on the screen is a box or a dialog unless the terminal is in raw mode.
    #[serde(default)]
    pub raw: bool,
    /// Rows of a `bar` above its text.
    #[serde(default)]
    pub skip_first: u16,
    /// Rows of a `bar` below its text.
    #[serde(default)]
    pub skip_last: u16,
    /// A box of so many rows scrolls, and may show its end only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_rows: Option<u16>,
    /// The rule above a box of which only the end is shown; group 1 is the number of hidden rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tall: Option<String>,
    /// A box of which only the end is shown has no mark of its own: all its rows start with `indent`.
    #[serde(default)]
    pub tail_only: bool,
    /// A `ruled` box may grow past the top of the screen, its upper rule with it: all rows above the
    /// lower rule start with `indent` then, or the topmost one with the mark of the first row.
    #[serde(default)]
    pub overflows: bool,
    /// What the first row of the box starts with, exactly (the blank after the mark may be a
    /// no-break space); empty for none.
    #[serde(default)]
    pub glyph: String,
    /// The text of an empty box behind its mark, where the agent draws one that is not dim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
    /// What the first row starts with instead in other modes of the agent that take text as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_glyphs: Vec<String>,
    /// What the first row starts with instead while the box takes shell commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// What further rows start with.
    #[serde(default)]
    pub indent: String,
    /// Fewest rows below the lower rule, down to the last one that is not blank.
    #[serde(default)]
    pub below_least: u16,
    /// Most rows below the lower rule. More of them are a popup, or the rules are not the box.
    #[serde(default = "eight")]
    pub below_most: u16,
}

/// A form of dialog: rows with options, one of them marked. It counts only at the foot of a screen
/// without an input box, with at least two options and exactly one of them marked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Menu {
    /// A row with an option. Groups: `(?<label>…)`, `(?<selected>…)` which matches something only on the
    /// marked option, and `(?<number>…)` where options are numbered (then they count up from 1).
    pub option: String,
    /// How an option is chosen.
    #[serde(default)]
    pub choose: Choose,
    /// Labels of the option that allows what is asked, this once; the first option that one matches.
    /// None: the first option. An option that allows more than this once is never taken for it.
    #[serde(default)]
    pub approve: Vec<String>,
    /// Labels of the option that refuses.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Key that refuses where no option does: `Escape`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
    /// The row with which the dialog begins; the lowest match above the options. None, or none found:
    /// some rows above the options are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<String>,
    /// Most rows between two options, which describe the upper one.
    #[serde(default)]
    pub gap: u16,
    /// Most rows below the last option, down to the last one that is not blank.
    #[serde(default = "eight")]
    pub below_most: u16,
}

/// How an option of a dialog is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Choose {
    /// The key with its number takes it at once.
    Number,
    /// Up and Down until it is marked, then Enter.
    #[default]
    Arrows,
}

/// What the terminal's title tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TitleRules {
    /// Titles of an agent that does not work: it stands at its prompt or in a dialog.
    pub idle: Vec<String>,
    /// Titles of a working agent.
    pub working: Vec<String>,
    /// Titles of an agent that asks something.
    pub waiting: Vec<String>,
}

/// How a message is put into the box so that it arrives as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Typing {
    /// Most characters of one paste; 0 pastes the whole message at once. Agent CLIs collapse or wrap
    /// a long paste, and take the same text in pieces as if it was typed.
    pub piece_chars: u32,
    /// Most lines of one paste, for the same reason; 0 for any number.
    pub piece_lines: u32,
    /// Text that must not come whole in one paste, as the agent CLI would make something else of it (of
    /// an image's path, the image): the paste is cut before the last character of each match.
    pub split: Vec<String>,
    /// An end of a message that gets a blank behind it: with the cursor right behind it, a list of
    /// completions opens and takes the Enter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blank_after: Vec<String>,
    /// A message of more characters than this is pasted whole after all; 0 for never. Right where the
    /// agent CLI collapses it, names its size, delivers it as it was, and would be slow with the pieces.
    pub whole_above: u32,
    /// The key that puts a draft in the box aside, which the agent CLI gives back after the next message
    /// (tmux's name of it); absent where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stash: Option<String>,
    /// The key that empties the box, where that was measured: what mosaic typed and nobody submitted is
    /// taken back with it, as long as nothing else stands there. A person's draft is never touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear: Option<ClearKey>,
    /// A message of more characters than this goes as a file to which a line points; 0 for the most that
    /// is ever typed.
    pub as_file_above: u32,
    /// What becomes of a message that starts with `!`, which is a shell command to most agent CLIs.
    pub bang: Leading,
    /// What becomes of a message that starts with `/` and a word. A path is not meant: a second `/` in
    /// the first word makes it text everywhere.
    pub slash: Leading,
}

/// The key that empties the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClearKey {
    /// tmux's name of it.
    pub key: String,
    /// How often it is pressed at most, looking before each; twice for each row of a tall box.
    #[serde(default = "once")]
    pub presses: u32,
}

/// What becomes of a message whose first character could make a command of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Leading {
    /// The agent takes it as text.
    Text,
    /// The agent takes it as text behind a blank.
    Space,
    /// It is refused.
    #[default]
    Refuse,
}

/// Where the agent records conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// Glob of the file, with the variables of [`Conversation`].
    pub file: String,
    /// Its format.
    pub format: TranscriptFormat,
}

/// Known formats of conversation records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TranscriptFormat {
    /// JSON lines of Claude Code: `type: user` with `message.content`.
    Claude,
    /// JSON lines of pi: `type: message` with `message.role` user.
    Pi,
    /// JSON lines of Gemini CLI: `type: user` with `content`.
    Gemini,
    /// JSON lines of mosaic's demo agent.
    Demo,
}

/// How an agent reports its own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reports {
    /// Claude Code hooks, given by a settings file that mosaic owns (`--settings`).
    ClaudeHooks,
    /// A pi extension that mosaic owns (`--extension`).
    PiExtension,
    /// A plugin of opencode's terminal interface that mosaic owns (`OPENCODE_TUI_CONFIG`).
    OpencodePlugin,
    /// State lines in the demo agent's transcript.
    DemoTranscript,
    /// Gemini CLI's record of its conversations.
    GeminiChats,
    /// Goose's database of sessions.
    GooseSessions,
    /// codex's app-server, which mosaic runs beside codex and listens to (`server`).
    CodexServer,
}

/// A directory in which an agent CLI keeps settings, credentials and conversations, one for each agent:
/// what the user made is linked into it, what the agent makes stays its own. So no agent takes up
/// another's conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnHome {
    /// Environment variable that names the directory. An agent whose environment sets it keeps that.
    pub variable: String,
    /// The user's own directory: `~` for home.
    pub of: String,
    /// Names in it that are linked, where they exist.
    #[serde(default)]
    pub link: Vec<String>,
    /// Names in it that are linked even before they exist, so that what the agent CLI writes there (a
    /// login) is the user's.
    #[serde(default)]
    pub share: Vec<String>,
    /// Names in the agent's directory that are links to others of the user's, where those exist: `~` for
    /// home.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub link_as: BTreeMap<String, String>,
}

/// A server that an agent CLI offers beside its terminal interface. In the argument lists, `{socket}` is a
/// Unix socket that mosaic chooses, `{directory}` the working directory, escaped as between quotes
/// in TOML or JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// Arguments that start the server.
    pub args: Vec<String>,
    /// Arguments that attach the terminal interface to it.
    pub attach: Vec<String>,
}

/// An agent that offers HTTP on loopback: a plain server, or one with a screen as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Environment variable for the port mosaic chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_env: Option<String>,
    /// Arguments that give the port; `{port}` becomes its number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_args: Vec<String>,
    /// Environment variable for the secret mosaic made.
    pub secret_env: String,
    /// Path answered with 200 once the server is ready, without credentials. An agent without one is no
    /// plain server: its state is told by its reports and its screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_path: Option<String>,
}

impl RuntimeSpec {
    /// The path on which a plain server is asked for its health; `None` for agents with a screen.
    pub fn health_path(&self) -> Option<&str> {
        self.node.as_ref()?.health_path.as_deref()
    }

    /// Lays `self` over `base`: every key present here wins whole, but `env`, which is merged.
    #[must_use]
    pub fn over(self, base: &RuntimeSpec) -> RuntimeSpec {
        let env = match (self.env, base.env.clone()) {
            (Some(mine), Some(mut under)) => {
                under.extend(mine);
                Some(under)
            }
            (mine, under) => mine.or(under),
        };
        RuntimeSpec {
            description: self.description.or_else(|| base.description.clone()),
            rules: self.rules.or(base.rules),
            command: self.command.or_else(|| base.command.clone()),
            args: self.args.or_else(|| base.args.clone()),
            permission_args: self
                .permission_args
                .or_else(|| base.permission_args.clone()),
            model_args: self.model_args.or_else(|| base.model_args.clone()),
            env,
            conversation: self.conversation.or_else(|| base.conversation.clone()),
            reset: self.reset.or_else(|| base.reset.clone()),
            interrupt: self.interrupt.or_else(|| base.interrupt.clone()),
            channels: self.channels.or_else(|| base.channels.clone()),
            version: self.version.or_else(|| base.version.clone()),
            permission_env: self.permission_env.or_else(|| base.permission_env.clone()),
            prompt_args: self.prompt_args.or_else(|| base.prompt_args.clone()),
            skills: self.skills.or_else(|| base.skills.clone()),
            screen: self.screen.or_else(|| base.screen.clone()),
            transcript: self.transcript.or_else(|| base.transcript.clone()),
            reports: self.reports.or(base.reports),
            home: self.home.or_else(|| base.home.clone()),
            server: self.server.or_else(|| base.server.clone()),
            node: self.node.or_else(|| base.node.clone()),
            dialect: self.dialect.or(base.dialect),
            min_memory: self.min_memory.or(base.min_memory),
            install: self.install.or_else(|| base.install.clone()),
        }
    }
}
