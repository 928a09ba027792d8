//! The command line reference, `docs/cli.md`, from the command tree itself.

use std::fmt::Write as _;

/// The whole reference as Markdown.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Command line reference\n\n\
         Generated from the program (`MOSAIC_UPDATE=1 cargo test --lib` rewrites it). The same binary answers to\n\
         `fleet …` and `agent …` when it is called by those names; `mosaic fleet link` makes the links.\n\n\
         Every verb takes `--config`, `--color`, `--verbose` and `--quiet`; they are listed once, here:\n\n",
    );
    let mut root = super::command().term_width(96);
    root.build();
    section(&root, "mosaic", &mut out, true);
    for sub in visible(&root) {
        let name = format!("mosaic {}", sub.get_name());
        section(sub, &name, &mut out, false);
        for verb in visible(sub) {
            section(
                verb,
                &format!("{name} {}", verb.get_name()),
                &mut out,
                false,
            );
        }
    }
    out
}

fn visible(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command
        .get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
}

fn section(command: &clap::Command, name: &str, out: &mut String, globals: bool) {
    let mut command = command.clone().bin_name(name).disable_help_flag(true);
    if !globals {
        let ids: Vec<clap::Id> = command
            .get_arguments()
            .filter(|a| a.is_global_set())
            .map(|a| a.get_id().clone())
            .collect();
        for id in ids {
            command = command.mut_arg(id, |a| a.hide(true));
        }
    }
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = writeln!(
        out,
        "## `{name}`\n\n```text\n{}\n```\n",
        help.join("\n").trim()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_fresh() {
        crate::golden::check("docs/cli.md", &markdown());
    }

    #[test]
    fn the_documented_exit_codes_are_those_of_the_program() {
        let path = format!("{}/docs/exit-codes.md", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let table = text
            .split_once("<!-- exit-codes:begin -->")
            .and_then(|(_, rest)| rest.split_once("<!-- exit-codes:end -->"))
            .map_or("", |(table, _)| table);
        for kind in crate::error::Kind::ALL {
            assert!(
                table
                    .lines()
                    .any(|l| l.starts_with(&format!("| {} |", kind.exit_code()))),
                "no row for {kind:?} in docs/exit-codes.md"
            );
        }
    }
}
