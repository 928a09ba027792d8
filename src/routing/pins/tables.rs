//! The tables of the pins.

use crate::host::database::Database;

/// The pins.
pub const PINS: Database = Database {
    name: "table of pins",
    lost: "chats of servers are found by their names still, others are placed anew",
    steps: &[
        "
    CREATE TABLE pin (
        chat TEXT PRIMARY KEY,
        node TEXT NOT NULL,
        dialect TEXT NOT NULL,
        standing TEXT NOT NULL,
        native TEXT,
        owner TEXT,
        took TEXT,
        revision INTEGER NOT NULL DEFAULT 0,
        created INTEGER NOT NULL,
        used INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX pin_node ON pin (node);
    CREATE TABLE drained (
        node TEXT PRIMARY KEY,
        since INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE setting (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
",
        // A session is found by its node's own name of it.
        "CREATE INDEX pin_native ON pin (native) WHERE native IS NOT NULL;",
    ],
};
