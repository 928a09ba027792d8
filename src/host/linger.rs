//! Whether the user's manager outlives the login.

/// The user's name when linger is off; `None` when it is on. logind keeps a file per user, so no bus
/// is needed to ask.
pub fn missing_for() -> Option<String> {
    let user = user_name().or_else(|| std::env::var("USER").ok())?;
    (!std::path::Path::new("/var/lib/systemd/linger")
        .join(&user)
        .exists())
    .then_some(user)
}

fn user_name() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}
