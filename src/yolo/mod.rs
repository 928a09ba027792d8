//! An agent CLI in the present terminal and directory, without permission questions: puts its
//! command line and environment together. Starting it is left to the caller.

pub mod skills;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::process::shell_quote;
use crate::runtime::{RuntimeSpec, SkillRules};
use skills::{Mode, Roots};

/// What a command depends on besides the runtime.
pub struct Situation<'a> {
    /// Name of the runtime, for messages.
    pub runtime: &'a str,
    /// First prompt; empty for none.
    pub prompt: &'a str,
    /// Arguments passed on as they are.
    pub rest: &'a [String],
    /// Path of mosaic's own program, for `{mosaic}`.
    pub mosaic: &'a Path,
    /// Home directory, for `~`.
    pub home: &'a Path,
    /// Working directory.
    pub directory: &'a Path,
    /// Skills of the fleet, given in every mode.
    pub fleet_skills: &'a [PathBuf],
    /// mosaic's own skills.
    pub own_skills: &'a [PathBuf],
    /// Looks up a variable of the environment.
    pub var: &'a dyn Fn(&str) -> Option<String>,
}

/// A command ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program, as the runtime has it: a name or a path.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment to set, over what is there.
    pub env: BTreeMap<String, String>,
    /// What was left out, for a person.
    pub notes: Vec<String>,
}

impl Command {
    /// As a line for a shell.
    pub fn line(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        let word = |text: &str| match text {
            "" => shell_quote(text),
            text if text.chars().all(plain) => text.to_owned(),
            text => shell_quote(text),
        };
        let env = self.env.iter().map(|(k, v)| format!("{k}={}", word(v)));
        let words = std::iter::once(&self.program).chain(&self.args);
        env.chain(words.map(|w| word(w)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Puts it together: the runtime's arguments, those that skip permission questions, skills, what the
/// person passes on, the prompt.
///
/// # Errors
/// The runtime has nothing that skips permission questions, no program, or no way to take a prompt;
/// or the variable for the skill mode holds another word.
pub fn command(spec: &RuntimeSpec, situation: &Situation<'_>) -> Result<Command> {
    let runtime = situation.runtime;
    let program = spec
        .command
        .as_ref()
        .ok_or_else(|| Error::config(format!("runtime `{runtime}` has no `command`")))?;
    if spec.permission_args.is_none() && spec.permission_env.is_none() {
        return Err(Error::config(format!(
            "runtime `{runtime}` has nothing that skips permission questions"
        ))
        .hint(
            "set `permission_args` or `permission_env` for it in the roster's `runtimes`, or start it by itself",
        ));
    }
    let mosaic = situation.mosaic.to_string_lossy();
    let fill = |word: &String| word.replace("{mosaic}", &mosaic);
    let mut args: Vec<String> = spec.args.iter().flatten().map(fill).collect();
    args.extend(spec.permission_args.iter().flatten().cloned());
    let mut notes = Vec::new();
    if let Some(rules) = &spec.skills {
        args.extend(skill_args(rules, situation, &mut notes)?);
    }
    args.extend(situation.rest.iter().cloned());
    if !situation.prompt.is_empty() {
        let template = spec.prompt_args.as_ref().ok_or_else(|| {
            Error::usage(format!("runtime `{runtime}` takes no prompt at its start")).hint(format!(
                "start it without: `mosaic yolo {runtime}`; its own arguments go behind `--`"
            ))
        })?;
        args.extend(
            template
                .iter()
                .map(|a| a.replace("{prompt}", situation.prompt)),
        );
    }
    // What a person has set for themselves is meant; permissions are what was asked for here.
    let mut env: BTreeMap<String, String> = spec
        .env
        .iter()
        .flatten()
        .filter(|(key, _)| (situation.var)(key).is_none())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    env.extend(spec.permission_env.clone().unwrap_or_default());
    Ok(Command {
        program: fill(program),
        args,
        env,
        notes,
    })
}

fn skill_args(
    rules: &SkillRules,
    situation: &Situation<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<String>> {
    let value = (situation.var)(&rules.mode_env).unwrap_or_default();
    let mode = Mode::parse(&value).map_err(|why| {
        Error::usage(format!("invalid `{}`: {why}", rules.mode_env)).hint(format!(
            "unset it, or use `{}=all`, `discover` or `none`",
            rules.mode_env
        ))
    })?;
    let native = |root: &String| {
        let expanded = variables(root, situation.var);
        match expanded.strip_prefix("~/") {
            Some(rest) => situation.home.join(rest),
            None => situation.directory.join(expanded),
        }
    };
    let chosen = skills::choose(
        mode,
        &Roots {
            forced: situation.fleet_skills.to_vec(),
            own: situation.own_skills.to_vec(),
            native: rules.roots.iter().map(native).collect(),
        },
    );
    notes.extend(chosen.unread);
    let mut args = Vec::new();
    if mode.only_given() {
        args.extend(rules.only.iter().cloned());
    }
    for dir in &chosen.given {
        let dir = dir.to_string_lossy();
        args.extend(rules.add.iter().map(|a| a.replace("{dir}", &dir)));
    }
    Ok(args)
}

/// Fills `${VAR}` and `${VAR:-default}`; an empty variable counts as unset.
fn variables(template: &str, var: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((body, behind)) = after.split_once('}') else {
            break;
        };
        let (name, default) = body.split_once(":-").unwrap_or((body, ""));
        let value = var(name).filter(|v| !v.is_empty());
        out.push_str(before);
        out.push_str(&value.unwrap_or_else(|| default.to_owned()));
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::runtime::builtin;

    fn made(name: &str, prompt: &str, rest: &[&str], vars: &[(&str, &str)]) -> Result<Command> {
        let rest: Vec<String> = rest.iter().map(|s| (*s).to_owned()).collect();
        let var = |name: &str| {
            let found = vars.iter().find(|(k, _)| *k == name);
            found.map(|(_, v)| (*v).to_owned())
        };
        command(
            builtin::get(name).unwrap(),
            &Situation {
                runtime: name,
                prompt,
                rest: &rest,
                mosaic: Path::new("/bin/mosaic"),
                home: Path::new("/nonexistent/home"),
                directory: Path::new("/nonexistent/work"),
                fleet_skills: &[],
                own_skills: &[],
                var: &var,
            },
        )
    }

    #[test]
    fn arguments_come_in_the_order_in_which_cli_programs_take_them() {
        let line = |name, prompt, rest| made(name, prompt, rest, &[]).unwrap().line();
        assert_eq!(
            line("claude", "fix it's tests", &["--model", "opus"]),
            r"claude --dangerously-skip-permissions --model opus 'fix it'\''s tests'"
        );
        assert_eq!(
            line("codex", "", &[]),
            "codex --dangerously-bypass-approvals-and-sandbox"
        );
        assert_eq!(
            line("gemini", "hi", &[]),
            "gemini --yolo --prompt-interactive hi"
        );
        assert_eq!(line("pi", "hi", &[]), "pi --no-skills hi");
        assert_eq!(line("demo", "", &[]), "/bin/mosaic internal demo-agent");
        assert_eq!(made("demo", "x", &[], &[]).unwrap_err().kind.exit_code(), 2);
    }

    #[test]
    fn a_runtime_that_always_asks_is_refused() {
        let e = made("goosed", "", &[], &[]).unwrap_err();
        assert!(e.message.contains("nothing that skips"), "{e}");
    }

    #[test]
    fn permissions_may_be_environment() {
        let mut spec = builtin::get("goosed").unwrap().clone();
        spec.permission_env = Some(BTreeMap::from([("MODE".into(), "auto".into())]));
        let own = |name: &str| (name == "GOOSE_TLS").then(|| "true".to_owned());
        let made = command(
            &spec,
            &Situation {
                runtime: "goosed",
                prompt: "",
                rest: &[],
                mosaic: Path::new("/m"),
                home: Path::new("/h"),
                directory: Path::new("/w"),
                fleet_skills: &[],
                own_skills: &[],
                var: &own,
            },
        )
        .unwrap();
        assert_eq!(made.env.get("MODE").map(String::as_str), Some("auto"));
        assert!(!made.env.contains_key("GOOSE_TLS"), "the person's own wins");
        assert!(made.env.contains_key("GOOSE_HOST"));
        assert!(
            made.line().ends_with(" MODE=auto goosed agent"),
            "{}",
            made.line()
        );
    }

    #[test]
    fn the_skill_mode_is_one_of_three_words() {
        let mode = |word| made("pi", "", &[], &[("MOSAIC_PI_SKILL_MODE", word)]);
        assert_eq!(mode("discover").unwrap().line(), "pi");
        assert_eq!(mode("none").unwrap().line(), "pi --no-skills");
        let e = mode("some").unwrap_err();
        assert!(e.message.contains("`some`"), "{e}");
    }

    #[test]
    fn roots_follow_the_environment() {
        let var = |name: &str| (name == "A").then(|| "/a".to_owned());
        assert_eq!(variables("${A:-~/x}/s", &var), "/a/s");
        assert_eq!(variables("${B:-~/x}/s", &var), "~/x/s");
        assert_eq!(variables("${broken", &var), "${broken");
    }
}
