//! Generated files are fresh. `MOSAIC_UPDATE=1` rewrites them.

use crate::golden::check as fresh;
use crate::roster::{reference::reference_markdown, schema::schema};

#[test]
fn the_schema() {
    fresh("schema/roster.schema.json", &schema());
}

#[test]
fn the_reference() {
    fresh("docs/roster.md", &reference_markdown());
}

#[test]
fn the_schema_knows_what_the_reader_requires() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let required = |s: &serde_json::Value| s["required"].to_string();
    assert_eq!(required(&schema), r#"["version","agents"]"#);
    assert_eq!(required(&schema["$defs"]["Agent"]), r#"["name"]"#);
    assert_eq!(required(&schema["$defs"]["Defaults"]), "null");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$defs"]["Runtime"]["additionalProperties"], false);
    assert!(schema["$defs"]["Runtime"]["properties"]["like"].is_object());
    for part in ["Agent", "Defaults", "Runtime", "Tmux", "Limits"] {
        for (key, about) in schema["$defs"][part]["properties"].as_object().unwrap() {
            assert!(
                about["description"].is_string(),
                "{part}.{key} has no description"
            );
        }
    }
}
