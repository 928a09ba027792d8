//! Another host: this one, by a real ssh client and a real sshd that is started for each connection.
//! The account is the same; what is on PATH there is the test's.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Sandbox, skip};

const SSHD: &str = "/usr/sbin/sshd";

impl Sandbox {
    /// Sets it up and returns its name for `-H`; `None` where sshd cannot run. There, `bin` of the
    /// sandbox comes first on PATH when `mosaic` is installed, else `far`.
    #[track_caller]
    pub fn far_host(&self, mosaic: bool) -> Option<String> {
        for program in [SSHD, "/usr/bin/ssh", "/usr/bin/ssh-keygen"] {
            if !Path::new(program).exists() {
                skip(&format!("{program} is not installed"));
                return None;
            }
        }
        // sshd refuses to run as root without its directory (sshd(8)), and a test makes none there.
        if self.account().uid == 0 && !Path::new("/run/sshd").is_dir() {
            skip("sshd needs the directory /run/sshd to run as root");
            return None;
        }
        let dir = self.path("ssh");
        if !dir.exists() {
            self.mkdir(&dir);
            self.mkdir(&self.path("far"));
            let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
            for key in ["host", "user"] {
                self.run(
                    "ssh-keygen",
                    &["-q", "-t", "ed25519", "-N", "", "-f", &at(key)],
                )
                .ok();
            }
            let public = std::fs::read_to_string(dir.join("user.pub")).unwrap();
            self.write(&dir.join("authorized"), public);
            self.write(
                &dir.join("sshd_config"),
                format!(
                    "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nForceCommand {}\n",
                    at("host"),
                    at("authorized"),
                    at("login")
                ),
            );
            self.write(
                &dir.join("config"),
                format!(
                    "Host *\n ProxyCommand {SSHD} -i -f {}\n IdentityFile {}\n IdentitiesOnly yes\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n",
                    at("sshd_config"),
                    at("user")
                ),
            );
            // The client reads the home directory of the account, whatever HOME says.
            let client = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", at("config"));
            self.write_program(&self.path("bin/ssh"), &client);
        }
        let mut script = "#!/bin/sh\nexec env -i".to_owned();
        for (key, value) in self.environment() {
            let value = match key.as_str() {
                "PATH" if mosaic => value,
                "PATH" => format!("{}:/usr/bin:/bin", self.path("far").display()),
                _ => value,
            };
            script.push_str(&format!(" '{key}={value}'"));
        }
        script.push_str(" SSH_ORIGINAL_COMMAND=\"$SSH_ORIGINAL_COMMAND\" /bin/bash -c \"$SSH_ORIGINAL_COMMAND\"\n");
        self.write_program(&dir.join("login"), &script);
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(dir.join("config"), mode).unwrap();
        Some(format!("{}@far.example.org", self.account().name))
    }

    /// Ends the connections that mosaic keeps for the next call.
    pub fn hang_up(&self) {
        let sockets = std::fs::read_dir(self.path("r/mosaic/fleet/ssh"));
        for socket in sockets.into_iter().flatten().flatten() {
            let path = format!("ControlPath={}", socket.path().display());
            let mut end = self.command("/usr/bin/ssh");
            end.args(["-o", &path, "-O", "exit", "far"]);
            let _ = end.output();
        }
    }
}
