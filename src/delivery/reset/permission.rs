//! Whether an agent may be reset: what its persona asks for.

use crate::fleet::Persona;

/// Whether an agent may be reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permitted {
    /// Yes.
    Permitted,
    /// If the person at the terminal agrees.
    Ask,
    /// No; why, and what to type.
    Refused(String),
}

/// Decides by the agent's `persistent_persona`.
pub fn permitted(persona: Persona, force: bool, yes: bool, terminal: bool) -> Permitted {
    match persona {
        Persona::Free => Permitted::Permitted,
        _ if force => Permitted::Permitted,
        Persona::Persistent => {
            Permitted::Refused("its persona is persistent; `--force` resets it all the same".into())
        }
        Persona::Semi if yes => Permitted::Permitted,
        Persona::Semi if terminal => Permitted::Ask,
        Persona::Semi => {
            Permitted::Refused("its persona is semi-persistent; `--yes` confirms the reset".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personas_decide_who_may_reset() {
        use Persona::{Free, Persistent, Semi};
        let verdict = |persona, force, yes, terminal| match permitted(persona, force, yes, terminal)
        {
            Permitted::Permitted => "yes",
            Permitted::Ask => "ask",
            Permitted::Refused(_) => "no",
        };
        assert_eq!(verdict(Free, false, false, false), "yes");
        assert_eq!(verdict(Persistent, false, true, true), "no");
        assert_eq!(verdict(Persistent, true, false, false), "yes");
        assert_eq!(verdict(Semi, false, false, true), "ask");
        assert_eq!(verdict(Semi, false, false, false), "no");
        assert_eq!(verdict(Semi, false, true, false), "yes");
    }
}
