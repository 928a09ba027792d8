//! Ids of messages in opencode's own form. opencode sorts messages by their ids, so one that it is
//! given has to stand where its own would; the same message always gets the same one, which is what
//! makes handing it over twice harmless.

use sha2::{Digest as _, Sha256};

/// The id of a message without its prefix: twelve hex digits of the time, as opencode makes them
/// (milliseconds times 4096, plus a counter, of which the lowest 48 bits count), then fourteen of what
/// names the message.
pub fn native(message: &str, milliseconds: i64) -> String {
    let time = milliseconds.cast_unsigned().wrapping_mul(0x1000) | 1;
    let digest = Sha256::digest(message.as_bytes());
    let name: String = digest
        .iter()
        .take(7)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{:012x}{name}", time & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_with_those_that_opencode_makes() {
        // `msg_1fdf1abad0011mWOuOo4LfEo9Q` was made by opencode 1.18.33 at this time.
        let at = 1_795_261_836_205;
        assert_eq!(&native("m", at)[..12], "1fdf1abad001");
        assert!(native("m", at - 1).as_str() < "1fdf1abad0011mWOuOo4LfEo9Q");
        assert!(native("m", at + 1).as_str() > "1fdf1abad0011mWOuOo4LfEo9Q");
    }

    #[test]
    fn a_message_has_one_id() {
        assert_eq!(native("m", 5), native("m", 5));
        assert_ne!(native("m", 5), native("n", 5));
        assert_eq!(native("m", 5).len(), 26);
    }
}
