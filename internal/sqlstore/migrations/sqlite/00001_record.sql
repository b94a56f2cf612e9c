-- +goose Up

-- The tables that do not grow with a day's traffic. Those that do are made by day: see days.go.
-- Times are milliseconds since 1970 in UTC; 0 is no time.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- AUTOINCREMENT: an id is part of device ids, so it is never used again.
CREATE TABLE app (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT    NOT NULL,
    time_zone TEXT    NOT NULL,
    packages  TEXT    NOT NULL, -- JSON
    settings  TEXT    NOT NULL, -- JSON
    created   INTEGER NOT NULL,
    doomed    INTEGER NOT NULL DEFAULT 0 -- 1: deleted, and what it owned is being removed
);
CREATE UNIQUE INDEX app_name ON app (name) WHERE doomed = 0;

CREATE TABLE credential (
    app     INTEGER NOT NULL REFERENCES app (id),
    service TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    shared  INTEGER NOT NULL,
    sealed  BLOB    NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (app, service, key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX credential_key ON credential (service, key) WHERE shared = 0;

-- What is asked for has columns; what only the index needs is packed, attributes and tags too: see packed.go.
CREATE TABLE device (
    app      INTEGER NOT NULL,
    ordinal  INTEGER NOT NULL,
    install  BLOB NOT NULL,
    account  TEXT NOT NULL, -- '' for none, as the next two
    phone    TEXT NOT NULL,
    previous TEXT NOT NULL, -- its id at another provider
    active   INTEGER NOT NULL,
    removed  INTEGER NOT NULL,
    network  TEXT NOT NULL,
    badge    INTEGER NOT NULL,
    reset    INTEGER NOT NULL,
    tokens   TEXT NOT NULL, -- JSON, '' for none
    packed   BLOB NOT NULL,
    PRIMARY KEY (app, ordinal)
);
CREATE UNIQUE INDEX device_install ON device (app, install) WHERE removed = 0;
CREATE UNIQUE INDEX device_previous ON device (app, previous) WHERE removed = 0 AND previous <> '';
CREATE INDEX device_account ON device (app, account, ordinal) WHERE removed = 0 AND account <> '';
CREATE INDEX device_phone ON device (app, phone, ordinal) WHERE removed = 0 AND phone <> '';

-- A tag's id is never given again, so a tag that was removed stays.
CREATE TABLE tag (
    app     INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (app, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX tag_name ON tag (app, name) WHERE removed = 0;

-- Registered devices only; a device has an alias once. The owners of an alias stand together, the oldest first.
CREATE TABLE alias (
    app     INTEGER NOT NULL,
    type    TEXT NOT NULL,
    value   TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    at      INTEGER NOT NULL, -- microseconds: the order in which aliases were given, no two alike
    PRIMARY KEY (app, type, value, at, ordinal)
) WITHOUT ROWID;
CREATE INDEX alias_device ON alias (app, ordinal, at);

CREATE TABLE change (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    app     INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    what    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    data    BLOB -- of many devices: see packActive
);

-- Uploaded files, from their first part on.
CREATE TABLE file (
    app     INTEGER NOT NULL,
    id      TEXT NOT NULL,
    state   INTEGER NOT NULL, -- 0: being uploaded, 1: complete, 2: being removed
    lines   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (app, id)
) WITHOUT ROWID;
CREATE INDEX file_expires ON file (expires);

CREATE TABLE file_part (
    app     INTEGER NOT NULL,
    id      TEXT NOT NULL,
    n       INTEGER NOT NULL,
    lines   BLOB NOT NULL,
    PRIMARY KEY (app, id, n)
);

-- Bulk pushes. A direct push is a row of its day's table.
CREATE TABLE push (
    id      INTEGER PRIMARY KEY,
    app     INTEGER NOT NULL,
    state   TEXT    NOT NULL,
    created INTEGER NOT NULL,
    start   INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    size    INTEGER NOT NULL, -- devices in the target
    target  BLOB,             -- hash of the target, NULL until the push has begun
    reason  TEXT    NOT NULL,
    cursor   INTEGER NOT NULL,
    schedule INTEGER NOT NULL, -- 0 for none
    collapse TEXT   NOT NULL, -- the collapse id, '' for none
    request BLOB    NOT NULL  -- JSON
);
CREATE INDEX push_app ON push (app, id);
CREATE INDEX push_live ON push (id) WHERE state IN ('open', 'scheduled', 'accepted', 'sending', 'paused', 'done');
CREATE INDEX push_over ON push (expires) WHERE state IN ('cancelled', 'recalled', 'expired', 'failed');
CREATE INDEX push_collapse ON push (app, collapse, start, id) WHERE collapse <> '';
CREATE INDEX push_target ON push (target) WHERE target IS NOT NULL;

CREATE TABLE target (
    hash  BLOB    NOT NULL,
    chunk INTEGER NOT NULL,
    bits  BLOB    NOT NULL,
    PRIMARY KEY (hash, chunk)
);

CREATE TABLE sets (
    push  INTEGER NOT NULL,
    mark  INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    bits  BLOB    NOT NULL,
    PRIMARY KEY (push, mark, chunk)
);

-- One row a commit. AUTOINCREMENT: a sequence is never used again, also when all rows are folded away.
CREATE TABLE receipt_log (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    packed BLOB NOT NULL
);

CREATE TABLE dedupe (
    app         INTEGER NOT NULL,
    namespace   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    push        INTEGER NOT NULL,
    fingerprint BLOB    NOT NULL,
    expires     INTEGER NOT NULL,
    PRIMARY KEY (app, namespace, key)
) WITHOUT ROWID;
CREATE INDEX dedupe_expires ON dedupe (expires);

-- The direct pushes that were cancelled or recalled.
CREATE TABLE withdrawn (
    push INTEGER PRIMARY KEY,
    day  INTEGER NOT NULL, -- of the push's table
    mark INTEGER NOT NULL
);

-- The direct pushes that are paused.
CREATE TABLE held (
    push    INTEGER PRIMARY KEY,
    app     INTEGER NOT NULL,
    day     INTEGER NOT NULL, -- of the push's table
    expires INTEGER NOT NULL  -- when the push does
);
CREATE INDEX held_expires ON held (expires);

-- The ids of requests, and the pushes that were accepted for them.
CREATE TABLE request (
    app     INTEGER NOT NULL,
    id      TEXT NOT NULL,
    push    INTEGER NOT NULL,
    expires INTEGER NOT NULL, -- when the row may go
    PRIMARY KEY (app, id)
) WITHOUT ROWID;
CREATE INDEX request_expires ON request (expires);

-- What was used of quotas: one row a limit of an app.
CREATE TABLE quota (
    app    INTEGER NOT NULL,
    name   TEXT NOT NULL,
    packed BLOB NOT NULL, -- see quota.pack
    PRIMARY KEY (app, name)
) WITHOUT ROWID;
