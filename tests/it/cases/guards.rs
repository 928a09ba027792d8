//! What a verb must not do, however it is asked.

use serde_json::json;

use crate::support::{Agent, Roster, eventually, unit_name};

#[test]
fn a_stored_plan_does_not_restart_who_works_meanwhile() {
    let Some(s) = Roster::new([Agent::demo("a").env("MOSAIC_DEMO_THINK_MS", "60000")]).boot()
    else {
        return;
    };
    let a = s.up("a");
    let file = s.path("work/plan.json");
    let file = file.to_str().unwrap();
    Roster::new([Agent::demo("a").env("X", "1")]).write(&s);
    s.mosaic(&["fleet", "plan", "--out", file])
        .code(1)
        .says("restart");
    s.type_into("a", "work for a minute");
    s.press("a", "Enter");
    eventually("`a` works", || s.status("a")["state"] == "working");
    s.mosaic(&["fleet", "apply", file]).code(75).warns("stale");
    assert_eq!(s.up("a"), a);
}

#[test]
fn an_agent_whose_state_nobody_can_tell_is_restarted_by_force_only() {
    let Some(s) = Roster::new([Agent::script("a", "exec sleep 1000")]).boot() else {
        return;
    };
    let a = s.up("a");
    s.mosaic(&["fleet", "restart", "a"])
        .code(1)
        .warns("`a` is unknown and was not restarted");
    assert_eq!(s.up("a"), a);
    s.mosaic(&["fleet", "restart", "a", "--force"]).ok();
    s.back("a", &a);
}

#[test]
fn no_verb_puts_another_roster_in_the_place_of_the_first() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    let other = s.path("work/other.yaml");
    let text = json!({"version": 1, "agents": [
        {"name": "b", "runtime": "demo", "working_directory": s.path("work")}
    ]});
    s.write(&other, text.to_string());
    let other = other.to_str().unwrap();
    for verb in ["plan", "apply", "install-systemd", "up"] {
        s.mosaic(&["--config", other, "fleet", verb])
            .code(78)
            .warns("was installed from");
    }
    assert_eq!(s.up("a"), a);
}

#[test]
fn a_persons_own_units_are_left_alone() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    // A drop-in for the template names no agent; a want of the target is its maker's.
    s.write(
        &s.units("mosaic-agent@.service.d/override.conf"),
        "[Service]\nNice=5\n",
    );
    s.write(
        &s.units("mine.service"),
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=mosaic-fleet.target\n",
    );
    s.systemctl(&["enable", "mine.service"]).ok();
    s.in_sync();
    s.mosaic(&["fleet", "apply"]).ok();
    assert!(s.units("mosaic-agent@.service.d/override.conf").exists());
    assert!(
        s.units("mosaic-fleet.target.wants/mine.service")
            .is_symlink()
    );
    s.mosaic(&["fleet", "verify", "--live-only"]).ok();
}

#[test]
fn who_finds_the_fleet_locked_changes_nothing() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    let lock = std::fs::File::open(s.state("apply.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    s.mosaic(&["fleet", "stop"])
        .code(75)
        .warns("cannot stop agents");
    drop(lock);
    assert_eq!(s.up("a"), a);
    // It was not marked as stopped either: when it goes, the plan says so.
    s.systemctl(&["stop", &unit_name("a")]).ok();
    assert_eq!(s.plan(&[]), ["start a"]);
}

#[test]
fn an_agent_that_lost_its_pane_is_planned_for() {
    let Some(s) = Roster::new([Agent::demo("a").persona("never-exit-on-hangup")]).boot() else {
        return;
    };
    let a = s.up("a");
    // Without the hook nobody else restarts it.
    for hook in ["session-closed", "pane-exited"] {
        s.tmux(&["set-hook", "-gu", hook]);
    }
    s.tmux(&["kill-session", "-t", "=a"]).ok();
    eventually("it is seen", || s.plan(&[]) == ["restart a"]);
    s.mosaic(&["fleet", "apply"]).ok();
    assert_ne!(s.up("a").pid, a.pid);
    s.in_sync();
}

#[test]
fn a_damaged_record_is_named() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    s.write(&s.state("install.json"), "{");
    s.mosaic(&["fleet", "status"])
        .code(78)
        .warns("install.json` is damaged");
}

#[test]
fn a_persons_session_on_the_fleets_server_outlives_a_stop() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    s.tmux(&["new-session", "-d", "-s", "mine", "sleep 1000"])
        .ok();
    s.mosaic(&["fleet", "stop"])
        .ok()
        .warns("did not make session `mine`");
    s.tmux(&["has-session", "-t", "=mine"]).ok();
    s.mosaic(&["fleet", "uninstall", "--yes"])
        .code(1)
        .warns("did not make session `mine`");
    s.tmux(&["kill-session", "-t", "=mine"]).ok();
    s.mosaic(&["fleet", "stop"]).ok();
    s.tmux(&["has-session", "-t", "=_holder"]).code(1);
}
