//! A process that something belongs to as long as it lives, named for good.

use serde::{Deserialize, Serialize};

use super::procfs;

/// A process of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id.
    pub pid: i32,
    /// Start of that process in clock ticks; with the boot it names the process for good.
    pub start_ticks: u64,
    /// The boot.
    pub boot: String,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        Self {
            pid,
            start_ticks: procfs::stat(pid).map_or(0, |s| s.start),
            boot: procfs::boot_id(),
        }
    }

    /// Whether it still lives.
    pub fn lives(&self) -> bool {
        self.boot == procfs::boot_id() && procfs::is_same(self.pid, self.start_ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_others_of_its_number_do_not() {
        let this = Owner::this();
        assert!(this.lives());
        let earlier = Owner {
            start_ticks: this.start_ticks + 1,
            ..this.clone()
        };
        let before_the_boot = Owner {
            boot: "another".to_owned(),
            ..this
        };
        assert!(!earlier.lives() && !before_the_boot.lives());
    }
}
