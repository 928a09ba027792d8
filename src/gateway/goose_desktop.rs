//! What Goose Desktop is told so that it uses the gateway for its backend: `externalGoosed` in its
//! `settings.json`, in Electron's directory of the program's name. As of Goose 1.28 to 1.37.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::paths::Paths;

/// Its settings: Electron keeps them below `$XDG_CONFIG_HOME`, in a directory of the product's name.
pub fn settings(paths: &Paths) -> PathBuf {
    let own = paths.mosaic_config();
    own.parent()
        .unwrap_or(&paths.home)
        .join("Goose/settings.json")
}

/// The value of `externalGoosed`.
pub fn backend(url: &str, secret: &str) -> Value {
    json!({"enabled": true, "url": url, "secret": secret})
}

/// The settings with the gateway for a backend; everything else stays. `None` when they say so already.
///
/// # Errors
/// The text is no JSON object: it is not ours to mend.
pub fn with_backend(text: Option<&str>, url: &str, secret: &str) -> Result<Option<String>> {
    let mut all: Map<String, Value> = match text {
        None => Map::new(),
        Some(text) => serde_json::from_str(text)
            .map_err(|e| Error::no("Goose's settings are no JSON object").because(e))?,
    };
    let mut now = match all.get("externalGoosed") {
        Some(Value::Object(now)) => now.clone(),
        _ => Map::new(),
    };
    let before = now.clone();
    // A directory that a newer one keeps there, and whatever else, stays.
    if let Value::Object(wanted) = backend(url, secret) {
        now.extend(wanted);
    }
    if now == before {
        return Ok(None);
    }
    all.insert("externalGoosed".to_owned(), Value::Object(now));
    Ok(Some(crate::host::files::to_json(&all)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_backend_changes() {
        let url = "http://127.0.0.1:43123";
        let fresh = with_backend(None, url, "s").unwrap().unwrap();
        let fresh: Value = serde_json::from_str(&fresh).unwrap();
        assert_eq!(fresh, json!({"externalGoosed": backend(url, "s")}));
        let old =
            r#"{"theme":"dark","externalGoosed":{"enabled":false,"url":"x","workingDir":"/w"}}"#;
        let new = with_backend(Some(old), url, "s").unwrap().unwrap();
        let value: Value = serde_json::from_str(&new).unwrap();
        let want = json!({
            "theme": "dark",
            "externalGoosed": {"enabled": true, "url": url, "secret": "s", "workingDir": "/w"},
        });
        assert_eq!(value, want);
        assert_eq!(with_backend(Some(&new), url, "s").unwrap(), None);
        assert!(with_backend(Some("[]"), url, "s").is_err());
        assert!(with_backend(Some("{"), url, "s").is_err());
    }
}
