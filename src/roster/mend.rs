//! What is seen to in the tree before it is read: keys that stand twice, and `~` as a directory.

use std::collections::HashMap;

use super::de::Step;
use super::parse::{MAX_PROBLEMS, describe, remove};
use super::source::{Source, Span};
use super::tree::{Node, Value};
use crate::error::Error;

/// To YAML a bare `~` is nothing; whoever writes it as a directory means the home directory.
pub(super) fn home_directories(source: &Source, tree: &mut Node) {
    fn mend(source: &Source, owner: &mut Node) {
        let Value::Map(entries) = &mut owner.value else {
            return;
        };
        for (key, value) in entries {
            let tilde = || {
                let line = source.line(value.span.line)?;
                line.chars().nth(value.span.column.checked_sub(1)?)
            };
            if key.text == "working_directory" && value.value == Value::Null && tilde() == Some('~')
            {
                value.value = Value::Text("~".to_owned());
            }
        }
    }
    let Value::Map(entries) = &mut tree.value else {
        return;
    };
    for (key, node) in entries {
        match (key.text.as_str(), &mut node.value) {
            ("defaults", _) => mend(source, node),
            ("agents", Value::List(agents)) => {
                agents.iter_mut().for_each(|agent| mend(source, agent))
            }
            _ => {}
        }
    }
}

/// Reports keys that stand twice in one mapping and keeps the first of each.
pub(super) fn duplicates(source: &Source, tree: &mut Node) -> Vec<Error> {
    fn walk(
        source: &Source,
        whole: &Node,
        node: &Node,
        path: &mut Vec<Step>,
        out: &mut Vec<(Vec<Step>, Error)>,
    ) {
        match &node.value {
            Value::Map(entries) => {
                let mut seen: HashMap<&str, Span> = HashMap::new();
                for (step, (key, value)) in entries.iter().enumerate() {
                    if out.len() >= MAX_PROBLEMS {
                        return;
                    }
                    path.push(step);
                    if let Some(first) = seen.get(key.text.as_str()) {
                        let (label, owner) = describe(whole, path);
                        let error = Error::config(format!("key `{label}` stands twice{owner}"))
                            .at(source.place(*first))
                            .at(source.place(key.span))
                            .hint("remove one of the two");
                        out.push((path.clone(), error));
                    } else {
                        seen.insert(&key.text, key.span);
                        walk(source, whole, value, path, out);
                    }
                    path.pop();
                }
            }
            Value::List(items) => {
                for (step, item) in items.iter().enumerate() {
                    path.push(step);
                    walk(source, whole, item, path, out);
                    path.pop();
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(source, tree, tree, &mut Vec::new(), &mut found);
    // From the end, so that removing one does not move the next.
    for (path, _) in found.iter().rev() {
        remove(tree, path);
    }
    found.into_iter().map(|(_, error)| error).collect()
}
