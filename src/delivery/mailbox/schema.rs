//! The tables of the mailbox.

use crate::host::database::Database;

/// The mailbox.
pub const MAILBOX: Database = Database {
    name: "mailbox",
    lost: "messages in it are not delivered then",
    steps: &[
        "
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        agent TEXT NOT NULL,
        revision INTEGER NOT NULL DEFAULT 0,
        sender TEXT NOT NULL,
        host TEXT NOT NULL,
        text TEXT NOT NULL,
        options TEXT NOT NULL,
        stage TEXT NOT NULL,
        composed TEXT,
        mark TEXT,
        channel TEXT,
        outcome TEXT NOT NULL,
        created INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        expires INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        owner TEXT
    ) STRICT;
    CREATE INDEX message_open ON message (agent, seq)
        WHERE stage IN ('queued', 'typing', 'typed', 'submitted', 'uncertain');
    CREATE INDEX message_changed ON message (changed);
",
        "
    ALTER TABLE message ADD COLUMN chat TEXT;
    CREATE INDEX message_chat ON message (chat, created) WHERE chat IS NOT NULL;
",
    ],
};
