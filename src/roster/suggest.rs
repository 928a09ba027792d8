//! Words for hints: the nearest known name, the list of known names.

/// Longest piece of the user's text repeated in a message, in characters.
const CLIP: usize = 60;

/// The candidate nearest to a word, if it is near enough to be a slip.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances of very long words take long to compute and are never slips.
    if word.chars().count() > CLIP {
        return None;
    }
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let rank = |candidate: &str| {
        let lower = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&word, &lower);
        let alike = word
            .chars()
            .zip(lower.chars())
            .take_while(|(a, b)| a == b)
            .count();
        // A slip, an abbreviation (`she`), or a word of the same stem (`workdir`), in this order.
        if distance <= limit {
            Some(distance)
        } else if (word.len() >= 3 && lower.starts_with(&word)) || alike >= 4 {
            Some(100 - alike.min(50))
        } else {
            None
        }
    };
    candidates
        .into_iter()
        .filter_map(|c| Some((rank(c)?, c)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, c)| c)
}

/// `did you mean …?`, and which names there are.
pub fn hint<'a>(
    word: &str,
    kind: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let mut all: Vec<&str> = candidates.clone().into_iter().collect();
    all.sort_unstable();
    let known = format!("known {kind}: {}", all.join(", "));
    match nearest(word, candidates) {
        // A long list would bury the answer.
        Some(near) if all.len() > 12 => format!("did you mean `{near}`?"),
        Some(near) => format!("did you mean `{near}`? {known}"),
        None => known,
    }
}

/// `` `a`, `b` or `c` ``.
pub fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// The user's text as it may stand in a message: one line, no controls, not long.
pub fn clip(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(CLIP)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect();
    if text.chars().nth(CLIP).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_slips_only() {
        let names = ["claude", "codex", "pi", "shell"];
        for (word, want) in [
            ("claud", Some("claude")),
            ("Claude", Some("claude")),
            ("cladue", Some("claude")),
            ("pii", Some("pi")),
            ("xyz", None),
            ("she", Some("shell")),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), want, "{word}");
        }
        assert_eq!(nearest(&"c".repeat(10_000), names), None);
    }

    #[test]
    fn words_of_one_stem() {
        let keys = [
            "env",
            "restart",
            "restart_delay",
            "working_directory",
            "resume",
        ];
        for (word, want) in [
            ("workdir", Some("working_directory")),
            ("restart_pause", Some("restart_delay")),
            ("environment", None),
            ("res", Some("restart")),
        ] {
            assert_eq!(nearest(word, keys), want, "{word}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(one_of(&["a"]), "`a`");
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(clip("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(clip(&"x".repeat(99)).chars().count(), 61);
        assert_eq!(
            hint("claud", "runtimes", ["pi", "claude"]),
            "did you mean `claude`? known runtimes: claude, pi"
        );
    }
}
