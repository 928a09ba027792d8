//! Observers on files, processes and sockets alone: neither tmux nor a manager is there.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::desired;
use crate::fleet::Agent;
use crate::host::files;
use crate::install::Mode;
use crate::plan::tests::{Nothing, agent, install};
use crate::record::NodeRecord;
use crate::routing::node::Dialect;
use crate::runtime::NodeSpec;
use std::net::{Ipv4Addr, TcpListener};

struct World {
    dir: tempfile::TempDir,
    install: Install,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut install = install(Mode::Supervisor);
        install.paths.state = dir.path().join("state");
        install.paths.runtime = dir.path().join("run");
        install.socket = dir.path().join("no-server");
        Self { dir, install }
    }

    fn add(&self, name: &str, change: impl FnOnce(&mut Agent)) {
        let mut agent = agent(name);
        agent.working_directory = self.dir.path().to_owned();
        change(&mut agent);
        let launch = desired::launch(&self.install, &agent, &Nothing);
        let text = files::to_json(&launch);
        files::write_record(&self.install.paths.launch(name), text.as_bytes()).unwrap();
    }

    fn add_server(&self, name: &str, port: u16) {
        self.add(name, |a| {
            a.spec.dialect = Some(Dialect::Goosed);
            a.spec.node = Some(NodeSpec {
                port_env: None,
                port_args: Vec::new(),
                secret_env: "S".into(),
                health_path: Some("/status".into()),
            });
        });
        let record = NodeRecord {
            version: 1,
            port,
            secret: "geheim".into(),
        };
        let text = files::to_json(&record);
        files::write_record(&self.install.paths.node(name), text.as_bytes()).unwrap();
    }
}

fn by_id<'a>(adverts: &'a [Advert], id: &str) -> &'a Advert {
    adverts.iter().find(|a| a.id == id).unwrap()
}

#[test]
fn every_enabled_agent_is_a_node_and_a_damaged_file_is_one_unfit() {
    let world = World::new();
    world.add("a", |_| {});
    world.add("b", |a| a.enabled = false);
    world.add("c", |a| a.class = "first".into());
    files::write_record(&world.install.paths.launch("d"), b"{").unwrap();
    let mut observer = Observer::new(&world.install).unwrap();
    let ids =
        |o: &Observer| -> Vec<String> { o.nodes().iter().map(|k| k.node.id.clone()).collect() };
    assert_eq!(ids(&observer), ["a", "c", "d"]);
    let adverts = observer.observe(LONGEST);
    let said = |id| {
        (
            by_id(&adverts, id).health.as_str(),
            by_id(&adverts, id).state.as_str(),
        )
    };
    assert_eq!(said("a"), ("refused", "exited"));
    assert_eq!(said("d"), ("unfit", "unknown"));
    let load = by_id(&adverts, "a").load;
    assert!(load.disk_available_bytes > 0 && load.memory_used_pct > 0.0);
    assert!((0.0..=100.0).contains(&load.cpu_load_pct));
    // One that gets damaged is still what it was; one that is changed is the new one; one is gone.
    files::write_record(&world.install.paths.launch("c"), b"{").unwrap();
    world.add("d", |a| a.class = "mended".into());
    files::remove(&world.install.paths.launch("a")).unwrap();
    observer.refresh().unwrap();
    assert_eq!(ids(&observer), ["c", "d"]);
    let classes: Vec<&str> = observer
        .nodes()
        .iter()
        .map(|k| k.node.class.as_str())
        .collect();
    assert_eq!(classes, ["first", "mended"]);
    assert!(observer.nodes()[0].damaged.is_some() && observer.nodes()[1].damaged.is_none());
}

#[test]
fn servers_that_hang_cost_one_wait() {
    let world = World::new();
    let silent: Vec<TcpListener> = (0..8)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    for (n, listener) in silent.iter().enumerate() {
        world.add_server(&format!("s{n}"), listener.local_addr().unwrap().port());
    }
    world.add("tui", |_| {});
    let mut observer = Observer::new(&world.install).unwrap();
    let begun = Instant::now();
    let adverts = observer.observe(Duration::from_millis(400));
    let took = begun.elapsed();
    // Eight waits would take more.
    assert!(took < Duration::from_millis(3200), "{took:?}");
    for n in 0..8 {
        let health = &by_id(&adverts, &format!("s{n}")).health;
        assert_eq!(health.as_str(), "timeout", "{health:?}");
    }
    assert_eq!(by_id(&adverts, "tui").health.as_str(), "refused");
    // The port is another one after all.
    let port = silent[0].local_addr().unwrap().port();
    drop(silent);
    observer.refresh().unwrap();
    // On a busy machine even a refusal may come late.
    let nobody = format!("nobody listens on port {port}");
    let mut said = Vec::new();
    while said.len() < 20
        && !said
            .last()
            .is_some_and(|why: &String| why.contains(&nobody))
    {
        let adverts = observer.observe(Duration::from_millis(400));
        said.push(by_id(&adverts, "s0").health.why().to_owned());
    }
    assert!(
        said.last().is_some_and(|why| why.contains(&nobody)),
        "{said:?}"
    );
    files::remove(&world.install.paths.node("s0")).unwrap();
    observer.refresh().unwrap();
    assert_eq!(observer.nodes()[0].endpoint, None);
    let adverts = observer.observe(Duration::from_millis(400));
    assert_eq!(by_id(&adverts, "s0").health.as_str(), "refused");
}

#[test]
fn secrets_are_in_no_debug_output() {
    let world = World::new();
    world.add_server("s", 1);
    let observer = Observer::new(&world.install).unwrap();
    assert_eq!(
        observer.nodes()[0].endpoint.as_ref().unwrap().secret,
        "geheim"
    );
    assert!(!format!("{observer:?}").contains("geheim"));
}
