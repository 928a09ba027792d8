//! The agents of a node's sessions: goosed keeps those used last, and one that it has to make anew has no model
//! until its session is resumed. Gone with the process.

/// So many are kept.
pub const MOST: usize = 100;

/// Sessions and whether their agents have models, the last used last.
#[derive(Debug, Default)]
pub struct Agents(Vec<(String, bool)>);

impl Agents {
    /// The agent of a session, made if it is not there. Whether it has its model.
    pub fn of(&mut self, id: &str) -> &mut bool {
        let known = self.0.iter().position(|(of, _)| of == id);
        let agent = match known {
            Some(at) => self.0.remove(at),
            None => (id.to_owned(), false),
        };
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(agent);
        &mut self.0.last_mut().unwrap().1
    }

    /// Takes it away; `false`: there is none.
    pub fn stop(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(of, _)| of != id);
        self.0.len() < before
    }

    /// All of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
