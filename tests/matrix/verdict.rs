//! Judges one message: what its sender was told, against what the agent's model got. Pure.

use super::sender::Said;
use super::{Arrival, Kind, Mark};

/// What became of a message, or of the worst of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Once, as it was sent, and the sender was told so.
    Exact,
    /// Once, in a file that the agent was pointed to.
    AsFile,
    /// Once, and what the agent made another of was said.
    Altered(Vec<String>),
    /// Kept first, and then once.
    Later,
    /// Kept, and still there.
    Queued,
    /// Nothing of it arrived, and the sender was told why.
    Refused(String),
    /// The sender was told that nobody knows.
    Uncertain(String),
    /// The runtime has no such situation.
    None,
    /// What the sender was told is not what happened.
    Lie(String),
}

/// What is known of a message at the end.
#[derive(Debug, Clone)]
pub struct Facts {
    pub agent: String,
    pub kind: Kind,
    pub mark: Mark,
    pub said: Said,
    /// Arrivals of its first word, when the sender had ended.
    pub early: Vec<Arrival>,
    /// Arrivals of its first word, when all was over.
    pub first: Vec<Arrival>,
    /// Arrivals of its last word, when all was over.
    pub last: Vec<Arrival>,
    /// Arrivals of the line that points to its file, when all was over.
    pub pointers: Vec<Arrival>,
    /// What stands in that file.
    pub file: Option<String>,
    /// What the mailbox says of it, when all was over.
    pub kept: Option<String>,
    /// Something else came to harm: a draft, a dialog.
    pub harm: Option<String>,
}

impl Verdict {
    /// Judges a message.
    pub fn of(facts: &Facts) -> Self {
        match judge(facts) {
            Ok(verdict) => verdict,
            Err(lie) => Self::Lie(lie),
        }
    }

    /// One sign for the table.
    pub const fn sign(&self) -> &'static str {
        match self {
            Self::Exact => "✓",
            Self::AsFile => "▤",
            Self::Altered(_) => "≈",
            Self::Later => "→",
            Self::Queued => "…",
            Self::Refused(_) => "✗",
            Self::Uncertain(_) => "?",
            Self::None => "–",
            Self::Lie(_) => "LIE",
        }
    }

    /// One word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::AsFile => "as-file",
            Self::Altered(_) => "altered",
            Self::Later => "later",
            Self::Queued => "queued",
            Self::Refused(_) => "refused",
            Self::Uncertain(_) => "uncertain",
            Self::None => "none",
            Self::Lie(_) => "lie",
        }
    }

    /// What else there is to say.
    pub fn note(&self) -> String {
        match self {
            Self::Altered(what) => what.join(", "),
            Self::Refused(why) | Self::Uncertain(why) | Self::Lie(why) => why.clone(),
            Self::Exact | Self::AsFile | Self::Later | Self::Queued | Self::None => String::new(),
        }
    }

    /// The worse one comes later.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Exact => 1,
            Self::AsFile => 2,
            Self::Altered(_) => 3,
            Self::Later => 4,
            Self::Queued => 5,
            Self::Refused(_) => 6,
            Self::Uncertain(_) => 7,
            Self::Lie(_) => 8,
        }
    }
}

fn judge(f: &Facts) -> Result<Verdict, String> {
    if let Some(harm) = &f.harm {
        return Err(harm.clone());
    }
    let all = f.first.iter().chain(&f.last).chain(&f.pointers);
    if let Some(stray) = all.clone().find(|a| a.agent != f.agent) {
        return Err(format!("it reached `{}`", stray.agent));
    }
    for (what, arrivals) in [
        ("it", &f.first),
        ("its end", &f.last),
        ("its file", &f.pointers),
    ] {
        if arrivals.len() > 1 {
            return Err(format!("{what} arrived {} times", arrivals.len()));
        }
    }
    let arrived = !(f.first.is_empty() && f.last.is_empty() && f.pointers.is_empty());
    let reason = || {
        f.said.receipt["reason"]
            .as_str()
            .unwrap_or("no reason")
            .to_owned()
    };
    let rung = f.said.rung();
    match (f.said.code, rung) {
        (Some(0), "submitted" | "accepted" | "answered") => whole(f, rung),
        (Some(0), other) => Err(format!("exit 0 with the receipt `{other}`")),
        // Its time was up before the record showed it: what is said is true as far as it goes.
        (Some(75), "submitted") => whole(f, rung).map(|_| Verdict::Uncertain(reason())),
        (Some(1 | 75), "queued") if !f.early.is_empty() => {
            // It may have been taken up in this moment by whoever else delivers.
            whole(f, "queued").map(|_| Verdict::Later)
        }
        (Some(1 | 75), "queued") if arrived => whole(f, "queued").map(|_| Verdict::Later),
        (Some(1 | 75), "queued") => match f.kept.as_deref() {
            Some("queued") => Ok(Verdict::Queued),
            Some("refused" | "expired" | "cancelled") => Ok(Verdict::Refused(reason())),
            Some("uncertain") => Ok(Verdict::Uncertain("given up later".to_owned())),
            kept => Err(format!(
                "it was queued, never arrived, and the mailbox says {kept:?}"
            )),
        },
        (Some(1 | 75), "refused") if arrived => Err("it arrived after a refusal".to_owned()),
        (Some(1 | 75), "refused") => Ok(Verdict::Refused(reason())),
        (Some(1 | 75), "typed" | "uncertain") => Ok(Verdict::Uncertain(reason())),
        (code, other) => Err(format!(
            "exit {code:?} with the receipt `{other}`: {}",
            f.said.stderr
        )),
    }
}

/// It must have arrived once, and as it was said.
fn whole(f: &Facts, rung: &str) -> Result<Verdict, String> {
    if let Some(file) = f.said.as_file() {
        if f.pointers.is_empty() {
            return Err(format!("`{rung}`, but nobody was pointed to {file}"));
        }
        if !f.first.is_empty() || !f.last.is_empty() {
            return Err("it went as a file, and arrived as well".to_owned());
        }
        let wanted = f.kind.clean(&f.mark);
        return match &f.file {
            Some(text) if text.trim_end() == wanted => Ok(Verdict::AsFile),
            _ => Err(format!("the file {file} does not hold it")),
        };
    }
    let (Some(arrival), Some(end)) = (f.first.first(), f.last.first()) else {
        return Err(match (f.first.is_empty(), f.last.is_empty()) {
            (true, true) => format!("`{rung}`, but it never arrived"),
            (true, false) => format!("`{rung}`, but only its end arrived"),
            _ => format!("`{rung}`, but its end never arrived"),
        });
    };
    if arrival != end {
        return Err("it arrived in two parts".to_owned());
    }
    let is = |text: &str| f.kind.is(&f.mark, text);
    let exact = arrival.blocks.iter().any(|b| is(b)) || is(&arrival.blocks.join("\n"));
    let altered = f.said.altered();
    match (exact, altered.is_empty()) {
        (true, true) => Ok(Verdict::Exact),
        // What was told of its record is not what its model got; that is to the good.
        (true, false) => Ok(Verdict::Altered(altered)),
        (false, false) if plausible(f, arrival, &altered) => Ok(Verdict::Altered(altered)),
        (false, _) => Err(format!(
            "it arrived as another text, said to be altered in {altered:?}: {:?}",
            arrival.blocks
        )),
    }
}

/// Whether the differences that were said make of the message what arrived: nothing else may be in that
/// text.
fn plausible(f: &Facts, arrival: &Arrival, altered: &[String]) -> bool {
    let said = |what: &str| altered.iter().any(|a| a == what);
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let wanted = bare(&f.kind.clean(&f.mark));
    let got = bare(&arrival.blocks.join("\n"));
    match got.split_once(&wanted) {
        Some(("", "")) => said("tabs") || said("blanks") || said("wrapped"),
        // Wrappings hold no words of other messages.
        Some((before, after)) => {
            let others = before.contains("mk0") || after.contains("mk0");
            !others && (said("wrapped") || (f.kind.preamble() && after.is_empty()))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts(kind: Kind, code: i32, receipt: serde_json::Value, got: &[&str]) -> Facts {
        let mark = Mark {
            first: "mk00001a".into(),
            last: "mk00001z".into(),
        };
        let holding = |word: &str| -> Vec<Arrival> {
            let texts = got.iter().filter(|t| t.contains(word));
            texts
                .flat_map(|t| {
                    let arrival = Arrival {
                        agent: "a".into(),
                        blocks: vec![(*t).to_owned()],
                    };
                    vec![arrival; t.matches(word).count()]
                })
                .collect()
        };
        Facts {
            agent: "a".into(),
            kind,
            said: Said {
                code: Some(code),
                receipt,
                stderr: String::new(),
            },
            early: Vec::new(),
            first: holding(&mark.first),
            last: holding(&mark.last),
            pointers: Vec::new(),
            mark,
            file: None,
            kept: None,
            harm: None,
        }
    }

    fn word(f: &Facts) -> &'static str {
        Verdict::of(f).word()
    }

    #[test]
    fn what_was_said_is_held_against_what_arrived() {
        let dash = "-mk00001a --flag -x mk00001z";
        let accepted = json!({"receipt": "accepted"});
        let refused = json!({"receipt": "refused", "reason": "a draft"});
        let queued = json!({"receipt": "queued"});
        let merged = format!("half a thought{dash}");
        let table: Vec<(i32, &serde_json::Value, Vec<&str>, &str)> = vec![
            (0, &accepted, vec![dash], "exact"),
            (0, &accepted, vec![], "lie"),
            (0, &accepted, vec![dash, dash], "lie"),
            (0, &accepted, vec![&merged], "lie"),
            (0, &accepted, vec![&dash[..20]], "lie"),
            (0, &accepted, vec![&dash[10..]], "lie"),
            (0, &accepted, vec![&dash[..14], &dash[14..]], "lie"),
            (0, &refused, vec![], "lie"),
            (1, &accepted, vec![dash], "lie"),
            (1, &refused, vec![], "refused"),
            (75, &refused, vec![], "refused"),
            (1, &refused, vec![dash], "lie"),
            (1, &refused, vec![&dash[..12]], "lie"),
            (75, &queued, vec![dash], "later"),
            (75, &queued, vec![&merged], "lie"),
            (75, &queued, vec![], "lie"),
            (2, &json!(null), vec![], "lie"),
        ];
        for (code, receipt, got, want) in table {
            let f = facts(Kind::Dash, code, receipt.clone(), &got);
            assert_eq!(word(&f), want, "{code} {receipt} {got:?}");
        }
    }

    #[test]
    fn strays_and_harm_are_lies_whatever_was_said() {
        let dash = "-mk00001a --flag -x mk00001z";
        let good = facts(Kind::Dash, 0, json!({"receipt": "accepted"}), &[dash]);
        let mut stray = good.clone();
        stray.first[0].agent = "ab".into();
        assert_eq!(word(&stray), "lie");
        let mut harmed = good;
        harmed.harm = Some("the draft is gone".into());
        assert_eq!(word(&harmed), "lie");
    }

    #[test]
    fn changes_must_be_said_and_be_what_was_said() {
        let altered = |what: &str| json!({"receipt": "accepted", "altered": [what]});
        let spaced = Kind::Tabs.text(&facts(Kind::Tabs, 0, json!({}), &[]).mark);
        let spaced = spaced.replace('\t', "    ");
        let unsaid = json!({"receipt": "accepted", "altered": []});
        assert_eq!(word(&facts(Kind::Tabs, 0, unsaid, &[&spaced])), "lie");
        let told = facts(Kind::Tabs, 0, altered("tabs"), &[&spaced]);
        assert_eq!(word(&told), "altered");
        let wrapped = "<pasted>\n-mk00001a --flag -x mk00001z\n</pasted>";
        let f = |what| facts(Kind::Dash, 0, altered(what), &[wrapped]);
        assert_eq!(
            (word(&f("wrapped")), word(&f("blanks"))),
            ("altered", "lie")
        );
        let other = "<pasted>\n-mk00001a --flag -x mk00001z\n</pasted> mk00002a";
        assert_eq!(
            word(&facts(Kind::Dash, 0, altered("wrapped"), &[other])),
            "lie"
        );
        let cut = "-mk00001a --flag mk00001z";
        assert_eq!(word(&facts(Kind::Dash, 0, altered("text"), &[cut])), "lie");
    }

    #[test]
    fn what_is_kept_is_kept_or_a_lie() {
        let mut f = facts(Kind::Dash, 75, json!({"receipt": "queued"}), &[]);
        for (kept, want) in [
            ("queued", "queued"),
            ("expired", "refused"),
            ("accepted", "lie"),
        ] {
            f.kept = Some(kept.to_owned());
            assert_eq!(word(&f), want);
        }
    }

    #[test]
    fn a_file_must_be_pointed_to_and_hold_the_message() {
        let receipt = json!({"receipt": "accepted", "as_file": "/f"});
        let mut f = facts(Kind::Kb60, 0, receipt, &[]);
        assert_eq!(word(&f), "lie");
        let pointer = Arrival {
            agent: "a".into(),
            blocks: vec!["read /f".into()],
        };
        f.pointers.push(pointer);
        assert_eq!(word(&f), "lie");
        f.file = Some(f.kind.text(&f.mark));
        assert_eq!(word(&f), "as-file");
        f.file = Some("another".into());
        assert_eq!(word(&f), "lie");
    }
}
