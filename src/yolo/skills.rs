//! Finds skills: directories, or links to directories, with a `SKILL.md` in them. Reads the file
//! system; changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The file that makes a directory a skill.
const MARK: &str = "SKILL.md";

/// Which skills an agent CLI is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Those of every root and the fleet's, all given by argument.
    All,
    /// It finds its own; of the fleet's, those that it does not find.
    Discover,
    /// The fleet's alone.
    None,
}

impl Mode {
    /// Reads the value of the environment variable; unset or empty is [`Mode::All`].
    ///
    /// # Errors
    /// Any other word.
    pub fn parse(value: &str) -> Result<Self, String> {
        match value {
            "" | "all" => Ok(Self::All),
            "discover" => Ok(Self::Discover),
            "none" => Ok(Self::None),
            other => Err(format!("`{other}` is no skill mode")),
        }
    }

    /// The agent CLI must look for none by itself.
    pub const fn only_given(self) -> bool {
        !matches!(self, Self::Discover)
    }
}

/// Where skills are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// The fleet's, which every mode gives.
    pub forced: Vec<PathBuf>,
    /// mosaic's, which only [`Mode::All`] gives.
    pub own: Vec<PathBuf>,
    /// Those the agent CLI looks into by itself.
    pub native: Vec<PathBuf>,
}

/// What was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Directories to give, as they stand in their roots, each real directory once: the fleet's
    /// first, then root by root, by name.
    pub given: Vec<PathBuf>,
    /// Roots that could not be read, and why.
    pub unread: Vec<String>,
}

/// Chooses.
pub fn choose(mode: Mode, roots: &Roots) -> Chosen {
    let mut chosen = Chosen::default();
    let mut seen = BTreeSet::new();
    if mode == Mode::Discover {
        // What is native need not be given a second time.
        for root in &roots.native {
            seen.extend(skills(root, &mut chosen.unread).into_iter().map(|s| s.real));
        }
    }
    let others = roots.own.iter().chain(&roots.native);
    let rest: Vec<_> = others.filter(|_| mode == Mode::All).collect();
    for root in roots.forced.iter().chain(rest) {
        for skill in skills(root, &mut chosen.unread) {
            if seen.insert(skill.real) {
                chosen.given.push(skill.path);
            }
        }
    }
    chosen
}

struct Skill {
    /// As it stands in its root.
    path: PathBuf,
    /// Without links.
    real: PathBuf,
}

/// The skills of a root, by name. A root that is missing has none. Links that lead nowhere or in a
/// circle are none.
fn skills(root: &Path, unread: &mut Vec<String>) -> Vec<Skill> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            let why = format!("cannot read `{}`: {e}", root.display());
            if !unread.contains(&why) {
                unread.push(why);
            }
            return Vec::new();
        }
    };
    let mut found: Vec<Skill> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let real = path.canonicalize().ok()?;
            let is = real.is_dir() && real.join(MARK).is_file();
            is.then_some(Skill { path, real })
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }
        fn skill(&self, path: &str) {
            std::fs::create_dir_all(self.at(path)).unwrap();
            std::fs::write(self.at(path).join(MARK), "---\n").unwrap();
        }
        fn roots(&self) -> Roots {
            Roots {
                forced: vec![self.at("fleet")],
                own: vec![self.at("skills"), self.at("local")],
                native: vec![self.at("home"), self.at("cwd")],
            }
        }
        fn given(&self, mode: Mode) -> Vec<String> {
            let chosen = choose(mode, &self.roots());
            assert_eq!(chosen.unread, Vec::<String>::new());
            let short = |p: &PathBuf| p.strip_prefix(self.0.path()).unwrap().display().to_string();
            chosen.given.iter().map(short).collect()
        }
    }

    #[test]
    fn modes_give_what_they_say() {
        let t = Tree::new();
        for skill in [
            "fleet/b", "fleet/a", "skills/c", "local/d", "home/e", "cwd/f",
        ] {
            t.skill(skill);
        }
        let all = [
            "fleet/a", "fleet/b", "skills/c", "local/d", "home/e", "cwd/f",
        ];
        assert_eq!(t.given(Mode::All), all);
        assert_eq!(t.given(Mode::Discover), ["fleet/a", "fleet/b"]);
        assert_eq!(t.given(Mode::None), ["fleet/a", "fleet/b"]);
        // A link to a fleet skill in a native root: pi finds it by itself.
        symlink(t.at("fleet/a"), t.at("cwd/again")).unwrap();
        assert_eq!(t.given(Mode::Discover), ["fleet/b"]);
        assert_eq!(t.given(Mode::None), ["fleet/a", "fleet/b"]);
        assert_eq!(t.given(Mode::All), all, "each real directory once");
    }

    #[test]
    fn a_skill_is_a_directory_or_a_link_to_one_with_its_file() {
        let t = Tree::new();
        t.skill("elsewhere/real");
        t.skill("skills/dir");
        std::fs::create_dir_all(t.at("skills/empty")).unwrap();
        std::fs::create_dir_all(t.at("skills/odd").join(MARK)).unwrap();
        std::fs::write(t.at("skills/file.md"), "x").unwrap();
        symlink(t.at("elsewhere/real"), t.at("skills/link")).unwrap();
        symlink(t.at("skills/loop"), t.at("skills/loop")).unwrap();
        symlink(t.at("nowhere"), t.at("skills/broken")).unwrap();
        assert_eq!(t.given(Mode::All), ["skills/dir", "skills/link"]);
    }

    #[test]
    fn a_root_that_cannot_be_read_is_said_and_a_missing_one_is_empty() {
        let t = Tree::new();
        std::fs::write(t.at("skills"), "a file").unwrap();
        let chosen = choose(Mode::All, &t.roots());
        assert_eq!(chosen.given, Vec::<PathBuf>::new());
        assert_eq!(chosen.unread.len(), 1, "{:?}", chosen.unread);
        assert!(chosen.unread[0].contains("skills"));
    }

    #[test]
    fn words_for_modes() {
        assert_eq!(Mode::parse(""), Ok(Mode::All));
        assert_eq!(Mode::parse("none"), Ok(Mode::None));
        assert!(Mode::parse("ALL").is_err());
    }
}
