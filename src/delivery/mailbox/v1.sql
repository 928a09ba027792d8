-- A mailbox as version 1 wrote it. Never changed: every later version must read it.
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
INSERT INTO message (id, agent, sender, host, text, options, stage, outcome, created, changed) VALUES
    ('m1', 'a', 'user', 'box', 'one', '{"version":1,"style":"message","draft":"wait","as_file":false,"first":false}',
     'queued', '{"evidence":[],"reason":null,"hint":null,"screen":[],"altered":[],"as_file":null,"dropped":[{"kind":"escape","count":1}],"answer":null}',
     1790000000000, 1790000000000);
INSERT INTO message VALUES
    (2, 'm2', 'a', 2, 'user', 'box', 'two', '{"version":1}', 'uncertain', '[box:user -> box:a] two',
     '{"account":812,"transcript":["/t.jsonl",99],"session":null}', '"paste"',
     '{"evidence":["the box held the whole message"],"reason":"it broke off"}',
     1790000000000, 1790000001000, 1790007200000, 1,
     '{"pid":4711,"start_ticks":88,"boot":"b"}');
PRAGMA user_version = 1;
