//! Texts made to hurt: each is refused with a clear message, in bounded time.

use std::time::{Duration, Instant};

use super::*;

fn first_of(text: &str) -> String {
    let begun = Instant::now();
    let error = Machine::default().resolve(text).unwrap_err();
    // Generous for a busy machine; without the bounds these take minutes or all of the memory.
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    format!("{error}")
}

#[test]
fn ten_megabytes() {
    let text = format!("version: 1\nagents: []\n#{}", "x".repeat(10 << 20));
    assert_eq!(
        first_of(&text),
        "cannot read `roster.yaml`: the file has 10485783 bytes, more than the 1048576 that a roster may have"
    );
}

#[test]
fn deep_nesting() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(50_000),
        format!("version: 1\nagents: {}{}", "[".repeat(200), "]".repeat(200)),
        (0..300).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        "- ".repeat(100_000),
        format!("version: 1\nagents: {}1", "!x ".repeat(10_000)),
    ] {
        let message = first_of(&text);
        assert!(message.len() < 300, "{message}");
    }
    let nested = format!("version: 1\nagents: {}{}", "[".repeat(40), "]".repeat(40));
    assert!(
        first_of(&nested).contains("deep") || first_of(&nested).contains("nest"),
        "{}",
        first_of(&nested)
    );
}

#[test]
fn alias_bombs() {
    let mut laughs = String::from("version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    laughs.push_str("agents: *a11\n");
    let message = first_of(&laughs);
    assert!(message.contains("alias"), "{message}");

    let item = format!("version: 1\nx: &x {}\nagents:\n", "y".repeat(100_000));
    let wide = item + &"  - {name: *x}\n".repeat(50_000);
    let message = first_of(&wide);
    assert!(message.len() < 300, "{message}");
}

#[test]
fn many_keys_and_many_errors_stay_fast() {
    let keys: String = (0..40_000).map(|i| format!("k{i}: 1\n")).collect();
    assert!(first_of(&format!("version: 1\n{keys}")).contains("unknown key"));
    let same = format!("version: 1\n{}", "k: 1\n".repeat(40_000));
    assert!(first_of(&same).contains("stands twice"));
    let agents: String = (0..30_000).map(|_| "  - {name: a}\n").collect();
    let message = first_of(&with_agents(&agents));
    assert!(
        message.contains("two agents have the name `a`"),
        "{message}"
    );
}
