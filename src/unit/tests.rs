//! Rendered units, whole. That systemd accepts them is tried in the real-process suite.

#![allow(clippy::unwrap_used)]

use crate::desired;
use crate::fleet::{Limits, Restart, Sandbox};
use crate::install::Mode;
use crate::plan::tests::{Nothing, agent, fleet, install};

fn rendered(edit: impl FnOnce(&mut crate::fleet::Agent), name: &str) -> String {
    let mut one = agent("coder0");
    edit(&mut one);
    let install = install(Mode::Systemd);
    let desired = desired::render(&install, &fleet(vec![one]), &Nothing);
    let (_, file) = desired
        .files
        .iter()
        .find(|(p, _)| p.ends_with(name))
        .unwrap();
    file.text.clone()
}

#[test]
fn holder() {
    insta::assert_snapshot!(rendered(|_| {}, "mosaic-tmux-holder.service"));
}

#[test]
fn courier() {
    insta::assert_snapshot!(rendered(|_| {}, "mosaic-courier.service"));
}

#[test]
fn gateway() {
    let install = install(Mode::Systemd);
    let mut fleet = fleet(vec![agent("coder0")]);
    let none = desired::render(&install, &fleet, &Nothing);
    let has = |desired: &desired::Desired| {
        let mut paths = desired.files.keys().chain(desired.links.keys());
        paths.any(|p| p.ends_with("mosaic-gateway.service"))
    };
    assert!(!has(&none));
    fleet.routing.gateway = true;
    let desired = desired::render(&install, &fleet, &Nothing);
    let link = install
        .paths
        .units
        .join("mosaic-fleet.target.wants/mosaic-gateway.service");
    assert!(desired.links.contains_key(&link));
    let path = install.paths.units.join("mosaic-gateway.service");
    insta::assert_snapshot!(desired.files[&path].text);
}

#[test]
fn agent_template() {
    insta::assert_snapshot!(rendered(|_| {}, "mosaic-agent@.service"));
}

#[test]
fn dropin_usual() {
    insta::assert_snapshot!(rendered(|_| {}, "50-roster.conf"));
}

#[test]
fn dropin_strict_with_limits_and_a_hostile_directory() {
    let text = rendered(
        |a| {
            a.sandbox = Sandbox::Strict;
            a.restart = Restart::Never;
            a.limits = Limits {
                memory_max: Some(2 << 30),
                cpu_quota: Some(150),
                tasks_max: Some(300),
            };
            a.working_directory = "/w/100% \"mine\" $HOME".into();
        },
        "50-roster.conf",
    );
    insta::assert_snapshot!(text);
}

#[test]
fn no_text_of_a_roster_reaches_a_unit() {
    let text = rendered(
        |a| {
            a.command = vec!["sh".into(), "-c".into(), "x\nExecStart=/bin/evil".into()];
            a.env.insert("A".into(), "b\nExecStart=/bin/evil".into());
            a.class = "c\nExecStart=/bin/evil".into();
            a.sandbox = Sandbox::Strict;
        },
        "50-roster.conf",
    );
    assert!(!text.contains("evil"), "{text}");
}
