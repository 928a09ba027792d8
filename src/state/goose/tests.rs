#![allow(clippy::unwrap_used)]
use super::*;

/// A database as goose 1.52.0 makes it, cut down to what is read, with a session `mine`.
fn database() -> (tempfile::TempDir, Connection, Goose) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "pragma journal_mode = wal;
         create table sessions (id text primary key, name text not null default '',
             created_at timestamp default current_timestamp,
             updated_at timestamp default current_timestamp);
         create table messages (id integer primary key autoincrement, session_id text not null,
             role text not null, content_json text not null, created_timestamp integer not null,
             metadata_json text);
         insert into sessions values ('s1', 'mine', '2026-11-21 12:00:48', '2026-11-21 12:00:48');
         insert into sessions values ('s2', 'other', '2026-11-21 12:00:48', '2026-11-21 12:00:48');",
    )
    .unwrap();
    let goose = Goose::at(&format!("{}#mine", path.display())).unwrap();
    (dir, db, goose)
}

fn add(db: &Connection, session: &str, role: &str, content: &str, seen: bool, at: i64) {
    let metadata = format!(r#"{{"userVisible":{seen},"agentVisible":true}}"#);
    db.execute(
        "insert into messages (session_id, role, content_json, created_timestamp, metadata_json)
         values (?1, ?2, ?3, ?4, ?5)",
        params![session, role, content, at, metadata],
    )
    .unwrap();
}

fn whats(reports: Vec<Report>) -> Vec<What> {
    reports.into_iter().map(|r| r.what).collect()
}

#[test]
fn a_turn_is_read_from_its_messages() {
    let (_dir, db, goose) = database();
    assert_eq!(goose.mark(), 0);
    add(
        &db,
        "s1",
        "user",
        r#"[{"type":"text","text":"old"}]"#,
        true,
        100,
    );
    let mark = goose.mark();
    assert_eq!(mark, 1);
    add(
        &db,
        "s2",
        "user",
        r#"[{"type":"text","text":"other"}]"#,
        true,
        101,
    );
    add(
        &db,
        "s1",
        "user",
        r#"[{"type":"text","text":"a\tb\nc"}]"#,
        true,
        102,
    );
    // What goose adds by itself.
    add(
        &db,
        "s1",
        "user",
        r#"[{"type":"text","text":"<turn-context>"}]"#,
        false,
        102,
    );
    add(
        &db,
        "s1",
        "assistant",
        r#"[{"type":"text","text":"I look"},{"type":"toolRequest","id":"1"}]"#,
        true,
        103,
    );
    add(
        &db,
        "s1",
        "user",
        r#"[{"type":"toolResponse","id":"1"}]"#,
        true,
        104,
    );
    add(
        &db,
        "s1",
        "assistant",
        r#"[{"type":"text","text":"done"}]"#,
        true,
        105,
    );
    let want = [
        What::Prompt {
            text: "a\tb\nc".into(),
        },
        What::Working,
        What::Working,
        What::Answer {
            text: "done".into(),
        },
    ];
    assert_eq!(whats(goose.since(mark).unwrap()), want);
    let at = |s: i64| Some(Timestamp::from_second(s).unwrap());
    assert_eq!(whats(goose.last(at(102)).unwrap()), want);
    assert_eq!(goose.last(at(106)).unwrap(), []);
}

#[test]
fn an_emptied_session_is_a_new_conversation() {
    let (_dir, db, goose) = database();
    assert_eq!(goose.last(None).unwrap(), []);
    add(
        &db,
        "s1",
        "user",
        r#"[{"type":"text","text":"old"}]"#,
        true,
        100,
    );
    let mark = goose.mark();
    assert_eq!(goose.since(mark).unwrap(), []);
    db.execute_batch(
        "delete from messages where session_id = 's1';
         update sessions set updated_at = '2026-11-21 12:30:00' where id = 's1';",
    )
    .unwrap();
    let session = What::Session {
        id: Some("mine".into()),
        file: None,
        reason: "clear".into(),
    };
    let cleared = std::slice::from_ref(&session);
    assert_eq!(whats(goose.since(mark).unwrap()), cleared);
    assert_eq!(whats(goose.last(None).unwrap()), [session]);
    // Positions go on rising, so that nothing said later is missed.
    assert_eq!(goose.mark(), mark);
    add(
        &db,
        "s1",
        "user",
        r#"[{"type":"text","text":"new"}]"#,
        true,
        200,
    );
    let news = whats(goose.since(mark).unwrap());
    assert_eq!(news.last(), Some(&What::Prompt { text: "new".into() }));
}

#[test]
fn what_exists_is_resumed() {
    let (dir, _db, goose) = database();
    let place = |name: &str| format!("{}#{name}", goose.database.display());
    assert_eq!(stored(&place("mine")), Stored::Whole);
    assert_eq!(stored(&place("unknown")), Stored::Nothing);
    let none = dir.path().join("none.db");
    assert_eq!(stored(&format!("{}#mine", none.display())), Stored::Nothing);
    // It cannot be read: a session of that name may well be in it.
    std::fs::write(&none, "no database").unwrap();
    assert_eq!(stored(&format!("{}#mine", none.display())), Stored::Whole);
}

#[test]
fn a_position_that_cannot_be_read_is_behind_everything() {
    let (_dir, db, goose) = database();
    let said = r#"[{"type":"text","text":"go on"}]"#;
    add(&db, "s1", "user", said, true, 100);
    // Another process holds it for longer than it is waited for.
    db.execute_batch("pragma journal_mode = delete; begin exclusive")
        .unwrap();
    let mark = goose.mark();
    assert_eq!(mark, u64::MAX);
    db.execute_batch("commit").unwrap();
    assert_eq!(goose.since(mark).unwrap(), []);
    assert_ne!(goose.since(0).unwrap(), []);
}
