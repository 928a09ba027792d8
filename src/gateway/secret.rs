//! The gateway's own secret: made once, kept for ever, readable by its user alone.

use crate::error::{Error, Result};
use crate::host::files;
use crate::paths::Paths;

/// The secret; made when there is none.
///
/// # Errors
/// It cannot be read or written, or the file is empty.
pub fn obtain(paths: &Paths) -> Result<String> {
    let path = paths.gateway_secret();
    if let Some(text) = files::read_optional(&path)? {
        let secret = text.trim();
        if secret.is_empty() {
            return Err(
                Error::config(format!("`{}` holds no secret", path.display()))
                    .hint(format!("let it be made anew: `rm {}`", path.display())),
            );
        }
        return Ok(secret.to_owned());
    }
    // Two v4 UUIDs: 244 random bits from the system's generator.
    let secret = format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    );
    files::write_atomic(&path, format!("{secret}\n").as_bytes(), files::PRIVATE)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_is_made_once_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            home: dir.path().into(),
            roster: dir.path().join("r"),
            state: dir.path().join("s"),
            runtime: dir.path().join("t"),
            units: dir.path().join("u"),
        };
        let first = obtain(&paths).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(obtain(&paths).unwrap(), first);
        let mode = std::fs::metadata(paths.gateway_secret())
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        std::fs::write(paths.gateway_secret(), "\n").unwrap();
        assert!(obtain(&paths).is_err());
    }
}
