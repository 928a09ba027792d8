//! Gets to know an agent CLI by trying it out: it is started in a pane of a private tmux server, typed
//! into and told something, its screens are captured on the way, and what is seen becomes a definition
//! for a roster. The definition is tested against every capture before it is handed out.

mod derive;
mod dialog;
mod prove;
mod stage;

use std::path::Path;
use std::time::Duration;

use crate::delivery::held::{Held, held};
use crate::error::{Error, Result};
use crate::runtime::{RuntimeSpec, ScreenRules, TitleRules, Typing};
use crate::state::screen::{Rules, Seen, read};

pub use prove::Proof;
pub use stage::{Shot, Stage};

/// How long a screen must stand still before it is taken for what it is.
const STILL: Duration = Duration::from_millis(1200);

/// How long a start may take, and a turn.
const PATIENT: Duration = Duration::from_secs(60);

/// How long what is typed may take to show.
const ECHO: Duration = Duration::from_secs(10);

/// What is typed as a draft: nothing that any program prints by itself.
const DRAFT: &str = "mosaic-draft-7q";

/// How to learn.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the new runtime.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What is said to the agent, to see it work.
    pub say: String,
}

/// Who is asked on the way: a person, or a script's options.
pub trait Guide {
    /// The program was started. Returns once it stands at its prompt.
    ///
    /// # Errors
    /// Broken off.
    fn at_prompt(&self, attach: &str) -> Result<()>;

    /// What makes the agent ask for approval; `None` leaves that out. Empty: a person has made it ask.
    ///
    /// # Errors
    /// Broken off.
    fn ask(&self, attach: &str) -> Result<Option<String>>;

    /// Says what is done.
    fn progress(&self, what: &str);
}

/// What was learnt.
#[derive(Debug)]
pub struct Learnt {
    /// The definition.
    pub spec: RuntimeSpec,
    /// The screens it is made from, by name.
    pub captures: Vec<(String, Shot)>,
    /// What could not be learnt.
    pub unknown: Vec<String>,
    /// How each screen is read by the definition.
    pub proofs: Vec<Proof>,
}

/// What is known so far.
struct Learner<'a> {
    stage: Stage,
    guide: &'a dyn Guide,
    screen: ScreenRules,
    captures: Vec<(String, Shot)>,
    unknown: Vec<String>,
}

/// Learns. Nothing is left behind but what the program itself wrote.
///
/// # Errors
/// The program cannot be started, ends, or has no box that could be described.
pub fn learn(
    options: &Options,
    tmux: &Path,
    directory: &Path,
    guide: &dyn Guide,
) -> Result<Learnt> {
    guide.progress("starting it");
    let stage = Stage::start(tmux, &options.command, directory)?;
    guide.at_prompt(&stage.attach())?;
    let idle = stage.still(STILL, PATIENT)?;
    guide.progress("typing a draft");
    stage.paste(DRAFT)?;
    let draft = stage
        .until(ECHO, |shot| shot.holds(DRAFT))?
        .ok_or_else(|| {
            Error::no("what was typed does not show: its box could not be found")
                .hint("bring it to its prompt first: without `--auto` you are given the time")
        })?;
    let input = derive::input_box(&idle, &draft, DRAFT).map_err(|why| {
        Error::no(format!("its input box could not be described: {why}"))
            .hint("describe it yourself: see docs/runtimes.md, and `mosaic runtime show claude`")
    })?;
    let mut learner = Learner {
        stage,
        guide,
        screen: ScreenRules {
            input,
            working: Vec::new(),
            limited: Vec::new(),
            working_within: 8,
            ends_turn: false,
            dialog: Vec::new(),
            menus: Vec::new(),
            collapsed: Vec::new(),
            title: TitleRules::default(),
            typing: Typing {
                piece_lines: 1,
                ..Typing::default()
            },
            enter_delay_ms: 50,
        },
        captures: vec![("idle".to_owned(), idle), ("draft".to_owned(), draft)],
        unknown: Vec::new(),
    };
    learner.known_box()?;
    learner.clear()?;
    learner.lines()?;
    learner.long_paste()?;
    learner.pieces()?;
    learner.turn(&options.say)?;
    learner.dialog()?;
    learner.finish(options)
}

impl Learner<'_> {
    fn rules(&self) -> Result<Rules> {
        Rules::compile(&self.screen)
    }

    fn seen(&self, shot: &Shot) -> Result<Seen> {
        Ok(read(&shot.text, shot.width, &self.rules()?))
    }

    fn keep(&mut self, name: &str, shot: Shot) {
        self.captures.push((name.to_owned(), shot));
    }

    fn captured(&self, name: &str) -> Option<&Shot> {
        let found = self.captures.iter().find(|(n, _)| n == name)?;
        Some(&found.1)
    }

    /// Checks that the box reads idle as empty and the draft as the draft.
    fn known_box(&self) -> Result<()> {
        for (name, want) in [("idle", ""), ("draft", DRAFT)] {
            let Some(shot) = self.captured(name) else {
                continue;
            };
            let seen = self.seen(shot)?;
            let got = seen.input.as_ref().map(|i| i.text.trim());
            if got != Some(want) {
                return Err(Error::no(format!(
                    "its input box could not be described: the {name} screen is read as {}",
                    got.map_or("no box".to_owned(), |t| format!("a box with `{t}`"))
                ))
                .hint("a placeholder that is not dim is taken for a draft"));
            }
        }
        Ok(())
    }

    /// Empties the box, and sees it empty.
    fn clear(&mut self) -> Result<()> {
        let presses: [(&str, usize); 2] = [("C-u", 45), ("BSpace", 900)];
        for (key, most) in presses {
            for _ in 0..most.div_ceil(45) {
                self.stage.keys(key, 45.min(most))?;
                let empty = |seen: &Seen| seen.input.as_ref().is_some_and(|i| i.empty);
                let rules = self.rules()?;
                let done = self.stage.until(Duration::from_millis(700), |shot| {
                    empty(&read(&shot.text, shot.width, &rules))
                })?;
                if done.is_some() {
                    return Ok(());
                }
            }
        }
        Err(Error::no(
            "its box could not be emptied with Ctrl-U or Backspace",
        ))
    }

    /// How further lines stand in the box.
    fn lines(&mut self) -> Result<()> {
        const SECOND: &str = "mosaic-second-7q";
        self.guide.progress("typing two lines");
        self.stage.paste(&format!("{DRAFT}\n{SECOND}"))?;
        match self.stage.until(ECHO, |shot| shot.holds(SECOND))? {
            Some(shot) => {
                if let Some(indent) = derive::before(&shot, SECOND) {
                    self.screen.input.indent = indent;
                }
                self.keep("draft-lines", shot);
            }
            None => self
                .unknown
                .push("how a second line stands in the box: it does not show".to_owned()),
        }
        self.clear()
    }

    /// What a long paste looks like.
    fn long_paste(&mut self) -> Result<()> {
        const LINES: usize = 40;
        self.guide.progress("pasting forty lines");
        let text: Vec<String> = (1..=LINES).map(|n| format!("line {n} of forty")).collect();
        let text = text.join("\n");
        self.stage.paste(&text)?;
        let shot = self.stage.still(Duration::from_millis(600), ECHO)?;
        let seen = self.seen(&shot)?;
        if !shot.holds(&format!("line {LINES} of forty"))
            && let Some(input) = seen.input.filter(|i| !i.empty)
        {
            match derive::collapsed(&input.text, LINES, text.chars().count()) {
                Some(pattern) => self.screen.collapsed.push(pattern),
                None => self.unknown.push(format!(
                    "what a long paste looks like: the box shows `{}`",
                    input.text
                )),
            }
        }
        self.keep("draft-long", shot);
        self.clear()
    }

    /// How much can be pasted at once and stays readable.
    fn pieces(&mut self) -> Result<()> {
        self.guide.progress("trying how much it takes at once");
        for size in [800usize, 300, 100] {
            let text: String = "seven7 ".chars().cycle().take(size).collect();
            let text = text.trim_end();
            self.stage.paste(text)?;
            let rules = self.rules()?;
            let whole = self.stage.until(Duration::from_secs(3), |shot| {
                let seen = read(&shot.text, shot.width, &rules);
                seen.input
                    .is_some_and(|i| i.collapsed.is_empty() && held(&i, text) == Held::Whole)
            })?;
            self.clear()?;
            if whole.is_some() {
                self.screen.typing.piece_chars = u32::try_from(size).unwrap_or(100);
                return Ok(());
            }
        }
        self.screen.typing.piece_chars = 100;
        self.unknown
            .push("how much it takes at once: not even 100 characters were seen whole".to_owned());
        Ok(())
    }

    /// Says something, and watches the turn.
    fn turn(&mut self, say: &str) -> Result<()> {
        self.guide
            .progress("saying something, and watching it work");
        let frames = self.submit(say)?;
        let after = self.stage.still(STILL, PATIENT)?;
        let quiet: Vec<Shot> = [self.captured("idle"), Some(&after)]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let rules = self.rules()?;
        match derive::working(&frames, &quiet, &rules, say) {
            Some(found) => {
                self.screen.working = vec![found.pattern];
                self.screen.working_within = found.within;
                if let Some(frame) = frames.get(found.frame) {
                    self.keep("working", frame.clone());
                }
            }
            None => self.unknown.push(
                "how it looks while it works: nothing above its box came and went".to_owned(),
            ),
        }
        self.screen.title = derive::titles(&frames, &quiet);
        if self.screen.working.is_empty() && self.screen.title.working.is_empty() {
            self.unknown.push(
                "when it is idle: without a sign of work, it is `unknown` for ever".to_owned(),
            );
        }
        self.keep("idle-after", after);
        Ok(())
    }

    /// Types a message and submits it; what was on the screen from Enter on, until it stood still.
    fn submit(&mut self, text: &str) -> Result<Vec<Shot>> {
        let rules = self.rules()?;
        self.stage.paste(text)?;
        let holds = |shot: &Shot| {
            let seen = read(&shot.text, shot.width, &rules);
            seen.input.is_some_and(|i| held(&i, text) != Held::No)
        };
        if self.stage.until(ECHO, holds)?.is_none() {
            return Err(Error::no("its box does not show what was typed"));
        }
        for wait in [50u64, 200, 500, 1000] {
            std::thread::sleep(Duration::from_millis(wait));
            self.stage.keys("Enter", 1)?;
            let frames = self
                .stage
                .film(STILL, PATIENT, Duration::from_millis(600), &holds)?;
            if let Some(frames) = frames {
                self.screen.enter_delay_ms = self.screen.enter_delay_ms.max(wait);
                return Ok(frames);
            }
        }
        Err(Error::no("Enter does not submit what is in its box"))
    }

    /// Has it ask for approval.
    fn dialog(&mut self) -> Result<()> {
        let Some(text) = self.guide.ask(&self.stage.attach())? else {
            self.unknown
                .push("what its dialogs look like: none was shown".to_owned());
            return Ok(());
        };
        self.guide.progress("looking at the dialog");
        if !text.is_empty() {
            self.submit(&text)?;
        }
        let shot = self.stage.still(STILL, PATIENT)?;
        if self.seen(&shot)?.input.is_some() {
            self.unknown
                .push("what its dialogs look like: its box stayed on the screen".to_owned());
            self.keep("no-dialog", shot);
            return Ok(());
        }
        match dialog::menu(&shot) {
            Some(menu) => self.screen.menus.push(menu),
            None => self.unknown.push(
                "how a dialog's options look: no two rows with a mark on one were found".to_owned(),
            ),
        }
        self.keep("dialog", shot);
        // Esc refuses in every agent CLI that was measured; where it does not, that is said.
        self.stage.keys("Escape", 1)?;
        let rules = self.rules()?;
        let back = self.stage.until(Duration::from_secs(5), |shot| {
            read(&shot.text, shot.width, &rules).input.is_some()
        })?;
        match (back, self.screen.menus.first_mut()) {
            (Some(_), Some(menu)) => menu.cancel = Some("Escape".to_owned()),
            (Some(_), None) => {}
            (None, _) => self
                .unknown
                .push("a key that refuses: Escape does not close the dialog".to_owned()),
        }
        Ok(())
    }

    fn finish(mut self, options: &Options) -> Result<Learnt> {
        let last = self.stage.still(STILL, ECHO)?;
        if self.seen(&last)?.input.is_some() {
            self.keep("idle-last", last);
        }
        self.guide.progress("testing what was learnt");
        let proofs = prove::prove(&self.captures, &self.rules()?);
        self.unknown
            .push("what becomes of a leading `!` or `/`: such messages are refused".to_owned());
        self.unknown
            .push("whether it records what it is told: receipts go up to `submitted`".to_owned());
        let (command, args) = options.command.split_first().ok_or_else(|| {
            Error::usage("no command").hint("name the program: `mosaic runtime learn PROGRAM`")
        })?;
        Ok(Learnt {
            spec: RuntimeSpec {
                description: Some(format!("{}, as learnt by mosaic", options.name)),
                rules: Some(1),
                command: Some(command.clone()),
                args: (!args.is_empty()).then(|| args.to_vec()),
                channels: Some(vec![crate::delivery::channel::ChannelKind::Paste]),
                screen: Some(self.screen),
                ..RuntimeSpec::default()
            },
            captures: self.captures,
            unknown: self.unknown,
            proofs,
        })
    }
}
