//! A machine within the machine: own home, own XDG directories, own tmux directory, own manager. It
//! ends everything that was started in it, and fails the test when something outlives that.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::manager::{members, purge};
use super::wait::{Permit, Watchdog, permit};
use super::{Account, Needs, Output, Running, UserManager, available, proc};

/// Longest time for a test from its first process on.
const DEADLINE: Duration = Duration::from_secs(150);
/// How long what was told to end may take to be gone.
const ENDING: Duration = Duration::from_secs(10);
/// Name of the fleet's socket, the roster's default.
const SOCKET: &str = "mosaic-factory";

/// The sandbox. Fields are dropped in their order.
pub struct Sandbox {
    manager: Option<UserManager>,
    dir: tempfile::TempDir,
    account: Account,
    watchdog: Watchdog,
    deadline: Duration,
    extra: BTreeMap<String, String>,
    _permit: Permit,
}

/// The real tmux.
pub fn tmux() -> Result<PathBuf, String> {
    which::which("tmux").map_err(|_| "tmux is not installed".to_owned())
}

impl Sandbox {
    /// Without a manager; `None` when tmux is missing.
    #[track_caller]
    pub fn plain() -> Option<Self> {
        available(Needs::Tmux).then(|| Self::new(false, DEADLINE))
    }

    /// With a manager of its own; `None` when there can be none.
    #[track_caller]
    pub fn booted() -> Option<Self> {
        available(Needs::Manager).then(|| Self::new(true, DEADLINE))
    }

    /// With a manager of its own, for a test that is known to take longer than others.
    #[track_caller]
    pub fn lasting(deadline: Duration) -> Option<Self> {
        available(Needs::Manager).then(|| Self::new(true, deadline))
    }

    /// Without a manager, for a test that is known to take longer than others.
    #[allow(dead_code, reason = "only real agents take so long without one")]
    #[track_caller]
    pub fn plain_lasting(deadline: Duration) -> Option<Self> {
        available(Needs::Tmux).then(|| Self::new(false, deadline))
    }

    fn new(manager: bool, deadline: Duration) -> Self {
        let permit = permit();
        let account = Account::under_test();
        // Short, because socket paths are; not below TMPDIR, which may be long.
        let dir = tempfile::Builder::new()
            .prefix("ms-")
            .rand_bytes(4)
            .tempdir_in("/tmp")
            .unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(dir.path(), 0o755);
        account.own(dir.path());
        // r: runtime, t: where the caller's tmux sockets are, o: where those of whoever has not been
        // told are, and where nothing must ever appear.
        for name in [
            "home",
            "home/.config",
            "home/.config/systemd",
            "home/.config/systemd/user",
            "r",
            "t",
            "o",
            "bin",
            "work",
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            mode(&path, 0o700);
            account.own(&path);
        }
        let built = Path::new(env!("CARGO_BIN_EXE_mosaic"));
        let own = dir.path().join("bin/mosaic");
        if std::fs::hard_link(built, &own).is_err() {
            std::fs::copy(built, &own).unwrap();
        }
        std::os::unix::fs::symlink(tmux().unwrap(), dir.path().join("bin/tmux")).unwrap();
        let home = dir.path().join("home");
        let groups = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let theirs = std::sync::Arc::clone(&groups);
        let rescued = home.clone();
        let watchdog = Watchdog::new(deadline, move || {
            purge(&theirs.lock().unwrap());
            end(&proc::at_home(&rescued));
        });
        let mut sandbox = Self {
            manager: None,
            dir,
            account,
            watchdog,
            deadline,
            extra: BTreeMap::new(),
            _permit: permit,
        };
        for name in ["XDG_RUNTIME_DIR", "TMUX_TMPDIR"] {
            let value = &sandbox.environment()[name];
            assert!(
                Path::new(value).starts_with(sandbox.path("")),
                "{name}={value}"
            );
        }
        if manager {
            let environment = [
                ("HOME", sandbox.path("home")),
                ("XDG_RUNTIME_DIR", sandbox.path("r")),
                ("TMUX_TMPDIR", sandbox.path("o")),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_string_lossy().into_owned()));
            let mut environment = environment.to_vec();
            environment.push(("PATH".into(), "/usr/bin:/bin".into()));
            environment.push(("LANG".into(), "C.UTF-8".into()));
            let manager = UserManager::boot(sandbox.dir.path(), &sandbox.account, &environment);
            *groups.lock().unwrap() = manager.groups();
            sandbox.manager = Some(manager);
        }
        sandbox
    }

    /// A path in the sandbox.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// A path in the home directory.
    pub fn home(&self, relative: &str) -> PathBuf {
        self.path("home").join(relative)
    }

    /// A path in mosaic's state directory.
    pub fn state(&self, relative: &str) -> PathBuf {
        self.home(".local/state/mosaic/fleet").join(relative)
    }

    /// A path in the user's unit directory.
    pub fn units(&self, relative: &str) -> PathBuf {
        self.home(".config/systemd/user").join(relative)
    }

    /// The roster.
    pub fn roster(&self) -> PathBuf {
        self.home(".config/mosaic/fleet/roster.yaml")
    }

    /// The fleet's socket.
    pub fn socket(&self) -> PathBuf {
        self.path("t")
            .join(format!("tmux-{}", self.account.uid))
            .join(SOCKET)
    }

    /// The account under test.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The manager's process.
    pub fn manager_pid(&self) -> i32 {
        self.manager.as_ref().unwrap().pid()
    }

    /// Ends the manager in the middle of a test, as a logout does; its socket file stays.
    pub fn end_manager(&mut self) {
        self.manager = None;
    }

    /// Writes a file with its directories, as the account would.
    pub fn write(&self, path: &Path, text: impl AsRef<[u8]>) {
        let mut missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|p| !p.exists())
            .collect();
        missing.reverse();
        for dir in missing {
            std::fs::create_dir(dir).unwrap();
            self.account.own(dir);
        }
        std::fs::write(path, text).unwrap();
        self.account.own(path);
    }

    /// Writes an executable file.
    pub fn write_program(&self, path: &Path, text: &str) {
        self.write(path, text);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a directory, as the account would.
    pub fn mkdir(&self, path: &Path) {
        std::fs::create_dir_all(path).unwrap();
        self.account.own(path);
    }

    /// A directory of the account's own that is in none of the places every sandbox level leaves
    /// writable (`/tmp`, `/dev`); `None` when the account reaches no such place.
    pub fn elsewhere(&self) -> Option<tempfile::TempDir> {
        [env!("CARGO_TARGET_TMPDIR"), "/var/lib", "/srv"]
            .into_iter()
            .filter(|base| !Path::new(base).starts_with("/tmp"))
            .find_map(|base| {
                let dir = tempfile::Builder::new()
                    .prefix("ms-")
                    .tempdir_in(base)
                    .ok()?;
                self.account.own(dir.path());
                let path = dir.path().to_str()?.to_owned();
                let reached = self.run("test", &["-w", &path]).status.success();
                reached.then_some(dir)
            })
    }

    /// Adds a variable to the environment of every later command.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.extra.insert(key.to_owned(), value.into());
    }

    /// The environment of commands.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let at = |name: &str| self.path(name).to_string_lossy().into_owned();
        let mut env = BTreeMap::from(
            [
                ("HOME", at("home")),
                ("XDG_CONFIG_HOME", at("home/.config")),
                ("XDG_DATA_HOME", at("home/.local/share")),
                ("XDG_STATE_HOME", at("home/.local/state")),
                ("XDG_CACHE_HOME", at("home/.cache")),
                ("XDG_RUNTIME_DIR", at("r")),
                (
                    "DBUS_SESSION_BUS_ADDRESS",
                    format!("unix:path={}", at("r/bus")),
                ),
                ("TMUX_TMPDIR", at("t")),
                ("PATH", format!("{}:/usr/bin:/bin", at("bin"))),
                ("LANG", "C.UTF-8".into()),
                ("USER", self.account.name.clone()),
            ]
            .map(|(k, v)| (k.to_owned(), v)),
        );
        env.extend(self.extra.clone());
        env
    }

    /// A command in this sandbox.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment())
            .current_dir(self.path("work"));
        self.account.apply(&mut command);
        command
    }

    /// Runs a program to its end.
    #[track_caller]
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, program: &str, args: &[S]) -> Output {
        let mut command = self.command(program);
        command.args(args);
        Running::start(command, None).wait()
    }

    /// Runs mosaic to its end.
    #[track_caller]
    pub fn mosaic<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Output {
        self.start(args).wait()
    }

    /// Runs mosaic with a text on its standard input.
    #[track_caller]
    pub fn mosaic_with<S: AsRef<std::ffi::OsStr>>(&self, args: &[S], input: &[u8]) -> Output {
        let mut command = self.command(self.path("bin/mosaic"));
        command.args(args);
        Running::start(command, Some(input)).wait()
    }

    /// Starts mosaic.
    #[track_caller]
    pub fn start<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Running {
        let mut command = self.command(self.path("bin/mosaic"));
        command.args(args);
        Running::start(command, None)
    }

    /// Runs `systemctl --user`.
    #[track_caller]
    pub fn systemctl(&self, args: &[&str]) -> Output {
        let mut all = vec!["--user", "--no-pager"];
        all.extend(args);
        self.run("systemctl", &all)
    }

    /// Runs a tmux client on the fleet's socket; it never starts a server.
    #[track_caller]
    pub fn tmux(&self, args: &[&str]) -> Output {
        self.tmux_on(&self.socket(), args)
    }

    /// Runs a tmux client on a socket in the sandbox; it never starts a server.
    #[track_caller]
    pub fn tmux_on(&self, socket: &Path, args: &[&str]) -> Output {
        assert!(socket.starts_with(self.path("")), "{}", socket.display());
        let socket = socket.to_string_lossy().into_owned();
        let mut all = vec!["-u", "-N", "-S", &socket];
        all.extend(args);
        // As mosaic itself does it: not while one of its control clients begins, which some tmux dies of.
        let locked = |name: &str| {
            let file = std::fs::File::open(format!("{socket}.{name}")).ok()?;
            let shared = rustix::fs::FlockOperation::NonBlockingLockShared;
            let until = Instant::now() + Duration::from_secs(2);
            while rustix::fs::flock(&file, shared).is_err() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            Some(file)
        };
        let turn = locked("turn");
        let locked = locked("calls");
        drop(turn);
        let out = self.run("tmux", &all);
        drop(locked);
        out
    }

    /// Processes of this sandbox.
    pub fn processes(&self) -> Vec<i32> {
        let mut pids = proc::at_home(&self.path("home"));
        if let Some(manager) = &self.manager {
            pids.extend(members(&manager.groups()));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    fn sockets(&self) -> Vec<PathBuf> {
        ["t", "o", "r"]
            .iter()
            .flat_map(|base| std::fs::read_dir(self.path(base)).into_iter().flatten())
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with("tmux-"))
            .flat_map(|dir| {
                std::fs::read_dir(dir.path())
                    .into_iter()
                    .flatten()
                    .flatten()
            })
            .filter(|e| e.file_type().is_ok_and(|t| t.is_socket()))
            .map(|e| e.path())
            .collect()
    }

    /// Ends everything; what is wrong at the end is said.
    fn finish(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let describe = |pid: i32| format!("{pid}: {}", proc::cmdline(pid).join(" "));
        if let Some(mut manager) = self.manager.take() {
            let left: Vec<i32> = manager.stop();
            if !left.is_empty() {
                wrong.push(format!("the manager left processes: {left:?}"));
            }
        }
        self.hang_up();
        for socket in self.sockets() {
            let mut kill = self.command("tmux");
            kill.args(["-N", "-S"]).arg(&socket).arg("kill-server");
            let _ = kill.output();
        }
        let deadline = Instant::now() + ENDING;
        let mut left = proc::at_home(&self.path("home"));
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            left = proc::at_home(&self.path("home"));
        }
        if !left.is_empty() {
            let lines: Vec<String> = left.iter().map(|p| describe(*p)).collect();
            wrong.push(format!("left running:\n  {}", lines.join("\n  ")));
            end(&left);
        }
        let stray: Vec<_> = std::fs::read_dir(self.path("o"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect();
        if !stray.is_empty() {
            wrong.push(format!(
                "a tmux server of somebody who read TMUX_TMPDIR late: {stray:?}"
            ));
        }
        if self.watchdog.barked() {
            wrong.push(format!(
                "the test took longer than {} s",
                self.deadline.as_secs()
            ));
        }
        wrong
    }
}

fn end(pids: &[i32]) {
    for pid in pids {
        proc::kill(*pid, rustix::process::Signal::KILL);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(manager) = &self.manager {
                eprintln!("--- the manager's log\n{}", manager.log());
            }
            let events =
                std::fs::read_to_string(self.state("log/events.jsonl")).unwrap_or_default();
            let lines: Vec<&str> = events.lines().collect();
            let tail = &lines[lines.len().saturating_sub(25)..];
            eprintln!("--- the fleet's events\n{}", tail.join("\n"));
        }
        let wrong = self.finish();
        if wrong.is_empty() {
            return;
        }
        let wrong = wrong.join("\n");
        if std::thread::panicking() {
            eprintln!("--- and then\n{wrong}");
        } else {
            panic!("{wrong}");
        }
    }
}
