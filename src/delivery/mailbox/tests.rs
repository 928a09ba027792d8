//! The mailbox over real files.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::host::owner::Owner;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }
    fn path(&self) -> PathBuf {
        self.dir.path().join("state/mailbox.db")
    }
    fn open(&self) -> Mailbox {
        Mailbox::at(&self.path(), &self.path().with_extension("poke")).unwrap()
    }
}

fn new(id: &str, agent: &str, text: &str) -> NewMessage {
    NewMessage {
        id: Some(id.to_owned()),
        agent: agent.to_owned(),
        text: text.to_owned(),
        sender: "user".to_owned(),
        host: "box".to_owned(),
        ..NewMessage::default()
    }
}

fn ids(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|r| r.id.as_str()).collect()
}

#[test]
fn what_is_stored_is_there_after_opening_again_and_nobody_elses_to_read() {
    let place = Place::new();
    let mailbox = place.open();
    let row = mailbox
        .enqueue(&new("m1", "a", "hello\t\u{1f600}"))
        .unwrap();
    assert_eq!(
        (row.stage, row.attempts, row.revision),
        (Stage::Queued, 0, 0)
    );
    drop(mailbox);
    let again = place.open();
    assert_eq!(again.require("m1").unwrap(), row);
    assert_eq!(again.agents_with_pending().unwrap(), ["a"]);
    for file in std::fs::read_dir(place.path().parent().unwrap()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", file.path());
    }
}

#[test]
fn an_id_names_one_message_for_good() {
    let place = Place::new();
    let mailbox = place.open();
    let mut row = mailbox.enqueue(&new("m1", "a", "hello")).unwrap();
    row.stage = Stage::Accepted;
    assert!(mailbox.save(&mut row).unwrap());
    let same = mailbox.enqueue(&new("m1", "a", "hello")).unwrap();
    assert_eq!(same, row);
    for other in [new("m1", "a", "other"), new("m1", "b", "hello")] {
        let e = mailbox.enqueue(&other).unwrap_err();
        assert_eq!(e.kind, crate::error::Kind::Usage);
    }
    let chats = NewMessage {
        chat: Some("ISSUE-12".into()),
        ..new("m1", "a", "hello")
    };
    let e = mailbox.enqueue(&chats).unwrap_err();
    assert_eq!(e.kind, crate::error::Kind::Usage);
    for bad in ["", "a b", "-x", "é", "a\n", &"x".repeat(129)] {
        let e = mailbox.enqueue(&new(bad, "a", "x")).unwrap_err();
        assert_eq!(e.kind, crate::error::Kind::Usage, "{bad:?}");
    }
    assert_eq!(mailbox.list(None, Which::All).unwrap().len(), 1);
}

#[test]
fn a_change_that_is_based_on_an_old_reading_is_refused() {
    let place = Place::new();
    let (one, two) = (place.open(), place.open());
    let mut mine = one.enqueue(&new("m1", "a", "x")).unwrap();
    assert_eq!(two.cancel("m1").unwrap().stage, Stage::Cancelled);
    mine.stage = Stage::Typing;
    assert!(!one.save(&mut mine).unwrap());
    assert_eq!(one.require("m1").unwrap().stage, Stage::Cancelled);
    // What has left is not taken back.
    let mut other = one.enqueue(&new("m2", "a", "x")).unwrap();
    other.stage = Stage::Typing;
    other.mark = Some(crate::delivery::channel::Mark {
        process: None,
        account: 7,
        transcript: Some(("/t".into(), 9)),
        session: Some("s".into()),
    });
    other.channel = Some(crate::delivery::channel::ChannelKind::Paste);
    other.owner = Some(Owner::this());
    assert!(one.save(&mut other).unwrap());
    assert_eq!(two.cancel("m2").unwrap(), other);
}

#[test]
fn queues_are_in_order_and_first_words_come_first() {
    let place = Place::new();
    let mailbox = place.open();
    for (id, agent) in [("1", "a"), ("2", "b"), ("3", "a")] {
        mailbox.enqueue(&new(id, agent, "x")).unwrap();
    }
    let mut first = new("4", "a", "x");
    first.options.first = true;
    mailbox.enqueue(&first).unwrap();
    assert_eq!(ids(&mailbox.pending("a").unwrap()), ["4", "1", "3"]);
    let mut row = mailbox.require("1").unwrap();
    row.stage = Stage::Uncertain;
    assert!(mailbox.save(&mut row).unwrap());
    assert_eq!(ids(&mailbox.pending("a").unwrap()), ["4", "3"]);
    let open = |since| mailbox.open_rows("a", since).unwrap();
    assert_eq!(ids(&open(row.changed)), ["4", "1", "3"]);
    assert_eq!(ids(&open(Timestamp::MAX)), ["4", "3"]);
    let agents = |since| mailbox.agents_with_open(since).unwrap();
    let mut left = mailbox.require("2").unwrap();
    left.stage = Stage::Submitted;
    assert!(mailbox.save(&mut left).unwrap());
    assert_eq!(agents(left.changed), ["a", "b"]);
    assert_eq!(agents(Timestamp::MAX), ["a"]);
    assert_eq!(mailbox.agents_with_pending().unwrap(), ["a"]);
    let dead = mailbox.list(Some("a"), Which::PendingAndDead).unwrap();
    assert_eq!(ids(&dead), ["1", "3", "4"]);
    // Tried again, it is the last.
    mailbox.retry("1").unwrap();
    assert_eq!(ids(&mailbox.pending("a").unwrap()), ["4", "3", "1"]);
    assert!(mailbox.retry("1").is_err());
    mailbox.enqueue(&new("5", "a", "x")).unwrap();
    assert_eq!(ids(&mailbox.pending("a").unwrap()), ["4", "3", "1", "5"]);
}

#[test]
fn what_ended_long_ago_goes_and_what_waits_stays() {
    let place = Place::new();
    let mailbox = place.open();
    let file = place.dir.path().join("as-file.txt");
    std::fs::write(&file, "long").unwrap();
    for (id, stage) in [
        ("queued", Stage::Queued),
        ("typed", Stage::Typed),
        ("accepted", Stage::Accepted),
        ("refused", Stage::Refused),
    ] {
        let mut row = mailbox.enqueue(&new(id, "a", "x")).unwrap();
        row.stage = stage;
        row.outcome.as_file = (stage == Stage::Accepted).then(|| file.clone());
        assert!(mailbox.save(&mut row).unwrap());
    }
    let now = Timestamp::now();
    assert_eq!(mailbox.prune(now).unwrap(), 0);
    assert_eq!(mailbox.prune(now + KEPT + KEPT).unwrap(), 2);
    assert!(!file.exists());
    let left = mailbox.list(None, Which::All).unwrap();
    assert_eq!(ids(&left), ["queued", "typed"]);
}

#[test]
fn a_chats_messages_are_in_order_and_no_other_chats() {
    let place = Place::new();
    let mailbox = place.open();
    let of = |id: &str, chat: &str| NewMessage {
        chat: Some(chat.to_owned()),
        ..new(id, "a", "x")
    };
    let since = Timestamp::now();
    for message in [of("1", "c"), of("2", "d"), new("3", "a", "x"), of("4", "c")] {
        let created = mailbox.enqueue(&message).unwrap().created;
        // Times are kept to the millisecond.
        while Timestamp::now().as_millisecond() <= created.as_millisecond() {
            std::hint::spin_loop();
        }
    }
    let mut first = mailbox.cancel("1").unwrap();
    // Tried again it is delivered last; it was said first all the same.
    first = mailbox.retry(&first.id).unwrap();
    assert_eq!(first.chat.as_deref(), Some("c"));
    let since = Timestamp::from_millisecond(since.as_millisecond()).unwrap();
    assert_eq!(ids(&mailbox.of_chat("c", since).unwrap()), ["1", "4"]);
    let later = first.created + SignedDuration::from_secs(60);
    assert_eq!(ids(&mailbox.of_chat("c", later).unwrap()), [""; 0]);
    assert_eq!(mailbox.require("3").unwrap().chat, None);
}

#[test]
fn many_write_at_once() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let place = &place;
            scope.spawn(move || {
                let mailbox = place.open();
                for n in 0..20 {
                    let id = format!("{writer}-{n}");
                    mailbox.enqueue(&new(&id, "a", "x")).unwrap();
                }
            });
        }
    });
    assert_eq!(place.open().pending("a").unwrap().len(), 160);
}

#[test]
fn the_first_format_is_read_for_ever() {
    let place = Place::new();
    files::make_private_dir(place.path().parent().unwrap()).unwrap();
    let db = Connection::open(place.path()).unwrap();
    db.execute_batch(include_str!("v1.sql")).unwrap();
    drop(db);
    let mailbox = place.open();
    let rows = mailbox.list(None, Which::All).unwrap();
    assert_eq!(ids(&rows), ["m1", "m2"]);
    assert_eq!(rows[0].stage, Stage::Queued);
    assert_eq!(rows[0].chat, None);
    assert_eq!(rows[0].options.style, Style::Message);
    let second = &rows[1];
    assert_eq!(second.stage, Stage::Uncertain);
    assert_eq!(second.outgoing().unwrap().text, "[box:user -> box:a] two");
    assert_eq!(second.mark.as_ref().unwrap().account, 812);
    assert_eq!(second.owner.as_ref().unwrap().pid, 4711);
    assert_eq!(second.outcome.reason.as_deref(), Some("it broke off"));
    let version: i64 = mailbox
        .db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, schema::MAILBOX.version());
}

#[test]
fn a_newer_format_and_no_mailbox_at_all_are_refused() {
    let place = Place::new();
    let mailbox = place.open();
    mailbox.db.pragma_update(None, "user_version", 99).unwrap();
    drop(mailbox);
    let open = || Mailbox::at(&place.path(), &place.path().with_extension("poke"));
    assert!(open().unwrap_err().to_string().contains("newer mosaic"));
    for file in std::fs::read_dir(place.path().parent().unwrap()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    std::fs::write(
        place.path(),
        "this is no database, but long enough to be looked at",
    )
    .unwrap();
    let e = open().unwrap_err();
    assert_eq!(e.kind, crate::error::Kind::Config, "{e:?}");
    assert!(e.hints[0].contains("mv "), "{e:?}");
}

#[test]
fn damage_in_the_middle_is_found_by_reading_all_of_it() {
    let place = Place::new();
    let mailbox = place.open();
    for n in 0..40 {
        let text = "x".repeat(2_000);
        mailbox.enqueue(&new(&format!("m{n}"), "a", &text)).unwrap();
    }
    mailbox.enqueue(&new("other", "b", "text")).unwrap();
    assert_eq!(mailbox.check().unwrap(), 41);
    mailbox
        .db
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(mailbox);
    let mut bytes = std::fs::read(place.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4_096].fill(0xa5);
    std::fs::write(place.path(), bytes).unwrap();
    let error = place.open().check().unwrap_err();
    // What SQLite wrote and has not moved yet lies in files beside it.
    let hints = error.hints.join(" ");
    assert!(hints.contains("mailbox.db-*"), "{error}: {hints}");
}
