-- +goose Up

-- The tables that do not grow with a day's traffic. Those that do are made by day: see days.go.
-- Times are milliseconds since 1970 in UTC; 0 is no time.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

-- An id is part of device ids, so it is never used again.
CREATE TABLE app (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name      TEXT    NOT NULL,
    time_zone TEXT    NOT NULL,
    packages  TEXT    NOT NULL, -- JSON
    settings  TEXT    NOT NULL, -- JSON
    created   BIGINT NOT NULL,
    doomed    BIGINT NOT NULL DEFAULT 0 -- 1: deleted, and what it owned is being removed
);
CREATE UNIQUE INDEX app_name ON app (name) WHERE doomed = 0;

CREATE TABLE credential (
    app     BIGINT NOT NULL REFERENCES app (id),
    service TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    shared  BIGINT NOT NULL,
    sealed  BYTEA    NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (app, service, key)
);
CREATE UNIQUE INDEX credential_key ON credential (service, key) WHERE shared = 0;

-- What is asked for has columns; what only the index needs is packed, attributes and tags too: see packed.go.
CREATE TABLE device (
    app      BIGINT NOT NULL,
    ordinal  BIGINT NOT NULL,
    install  BYTEA NOT NULL,
    account  TEXT NOT NULL, -- '' for none, as the next two
    phone    TEXT NOT NULL,
    previous TEXT NOT NULL, -- its id at another provider
    active   BIGINT NOT NULL,
    removed  BIGINT NOT NULL,
    network  TEXT NOT NULL,
    badge    BIGINT NOT NULL,
    reset    BIGINT NOT NULL,
    tokens   TEXT NOT NULL, -- JSON, '' for none
    packed   BYTEA NOT NULL,
    PRIMARY KEY (app, ordinal)
);
CREATE UNIQUE INDEX device_install ON device (app, install) WHERE removed = 0;
CREATE UNIQUE INDEX device_previous ON device (app, previous) WHERE removed = 0 AND previous <> '';
CREATE INDEX device_account ON device (app, account, ordinal) WHERE removed = 0 AND account <> '';
CREATE INDEX device_phone ON device (app, phone, ordinal) WHERE removed = 0 AND phone <> '';

-- A tag's id is never given again, so a tag that was removed stays.
CREATE TABLE tag (
    app     BIGINT NOT NULL,
    id      BIGINT NOT NULL,
    name    TEXT NOT NULL,
    created BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    PRIMARY KEY (app, id)
);
CREATE UNIQUE INDEX tag_name ON tag (app, name) WHERE removed = 0;

-- Registered devices only; a device has an alias once. The owners of an alias stand together, the oldest first.
CREATE TABLE alias (
    app     BIGINT NOT NULL,
    type    TEXT NOT NULL,
    value   TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    at      BIGINT NOT NULL, -- microseconds: the order in which aliases were given, no two alike
    PRIMARY KEY (app, type, value, at, ordinal)
);
CREATE INDEX alias_device ON alias (app, ordinal, at);

CREATE TABLE change (
    seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app     BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    what    TEXT NOT NULL,
    at      BIGINT NOT NULL,
    data    BYTEA -- of many devices: see packActive
);

-- Uploaded files, from their first part on.
CREATE TABLE file (
    app     BIGINT NOT NULL,
    id      TEXT NOT NULL,
    state   BIGINT NOT NULL, -- 0: being uploaded, 1: complete, 2: being removed
    lines   BIGINT NOT NULL,
    bytes   BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (app, id)
);
CREATE INDEX file_expires ON file (expires);

CREATE TABLE file_part (
    app     BIGINT NOT NULL,
    id      TEXT NOT NULL,
    n       BIGINT NOT NULL,
    lines   BYTEA NOT NULL,
    PRIMARY KEY (app, id, n)
);

-- Bulk pushes. A direct push is a row of its day's table.
CREATE TABLE push (
    id      BIGINT PRIMARY KEY,
    app     BIGINT NOT NULL,
    state   TEXT    NOT NULL,
    created BIGINT NOT NULL,
    start   BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    size    BIGINT NOT NULL, -- devices in the target
    target  BYTEA,             -- hash of the target, NULL until the push has begun
    reason  TEXT    NOT NULL,
    cursor   BIGINT NOT NULL,
    schedule BIGINT NOT NULL, -- 0 for none
    collapse TEXT   NOT NULL, -- the collapse id, '' for none
    request BYTEA    NOT NULL  -- JSON
);
CREATE INDEX push_app ON push (app, id);
CREATE INDEX push_live ON push (id) WHERE state IN ('open', 'scheduled', 'accepted', 'sending', 'paused', 'done');
CREATE INDEX push_over ON push (expires) WHERE state IN ('cancelled', 'recalled', 'expired', 'failed');
CREATE INDEX push_collapse ON push (app, collapse, start, id) WHERE collapse <> '';
CREATE INDEX push_target ON push (target) WHERE target IS NOT NULL;

CREATE TABLE target (
    hash  BYTEA    NOT NULL,
    chunk BIGINT NOT NULL,
    bits  BYTEA    NOT NULL,
    PRIMARY KEY (hash, chunk)
);

CREATE TABLE sets (
    push  BIGINT NOT NULL,
    mark  BIGINT NOT NULL,
    chunk BIGINT NOT NULL,
    bits  BYTEA    NOT NULL,
    PRIMARY KEY (push, mark, chunk)
);

-- One row a commit. A sequence is never used again, also when all rows are folded away.
CREATE TABLE receipt_log (
    seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    packed BYTEA NOT NULL
);

CREATE TABLE dedupe (
    app         BIGINT NOT NULL,
    namespace   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    push        BIGINT NOT NULL,
    fingerprint BYTEA    NOT NULL,
    expires     BIGINT NOT NULL,
    PRIMARY KEY (app, namespace, key)
);
CREATE INDEX dedupe_expires ON dedupe (expires);

-- The direct pushes that were cancelled or recalled.
CREATE TABLE withdrawn (
    push BIGINT PRIMARY KEY,
    day  BIGINT NOT NULL, -- of the push's table
    mark BIGINT NOT NULL
);

-- The direct pushes that are paused.
CREATE TABLE held (
    push    BIGINT PRIMARY KEY,
    app     BIGINT NOT NULL,
    day     BIGINT NOT NULL, -- of the push's table
    expires BIGINT NOT NULL  -- when the push does
);
CREATE INDEX held_expires ON held (expires);

-- The ids of requests, and the pushes that were accepted for them.
CREATE TABLE request (
    app     BIGINT NOT NULL,
    id      TEXT NOT NULL,
    push    BIGINT NOT NULL,
    expires BIGINT NOT NULL, -- when the row may go
    PRIMARY KEY (app, id)
);
CREATE INDEX request_expires ON request (expires);

-- What was used of quotas: one row a limit of an app.
CREATE TABLE quota (
    app    BIGINT NOT NULL,
    name   TEXT NOT NULL,
    packed BYTEA NOT NULL, -- see quota.pack
    PRIMARY KEY (app, name)
);
