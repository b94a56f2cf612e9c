-- +goose Up

-- When and how pushes are sent, and the account of it.

-- Recurring schedules. A push that is sent once, later, is its own schedule: a row of push.
CREATE TABLE schedule (
    id      INTEGER PRIMARY KEY,
    app     INTEGER NOT NULL,
    state   TEXT    NOT NULL,
    created INTEGER NOT NULL,
    ended   INTEGER NOT NULL, -- 0 while it is active
    request BLOB    NOT NULL  -- JSON
);
CREATE INDEX schedule_app ON schedule (app, id);
CREATE INDEX schedule_active ON schedule (app) WHERE state = 'active';
CREATE INDEX schedule_over ON schedule (ended) WHERE ended > 0;
CREATE INDEX push_scheduled ON push (app, id) WHERE state = 'scheduled';

-- An occurrence's id is that of the push that it becomes.
CREATE TABLE occurrence (
    id       INTEGER PRIMARY KEY,
    schedule INTEGER NOT NULL,
    app      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    state    TEXT    NOT NULL
);
CREATE INDEX occurrence_schedule ON occurrence (schedule, at, id);
CREATE INDEX occurrence_waiting ON occurrence (schedule, at, id) WHERE state = 'waiting';

CREATE TABLE template (
    app      INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    title    TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    defaults TEXT    NOT NULL, -- JSON, '' for none
    created  INTEGER NOT NULL,
    PRIMARY KEY (app, name)
);

-- AUTOINCREMENT: whoever holds the id of a webhook, or of a batch, that has gone must not find another.
CREATE TABLE webhook (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    app     INTEGER NOT NULL,
    url     TEXT    NOT NULL,
    events  TEXT    NOT NULL, -- JSON, '' for all
    secret  BLOB    NOT NULL, -- sealed
    created INTEGER NOT NULL
);
CREATE INDEX webhook_app ON webhook (app);

CREATE TABLE batch (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    app      INTEGER NOT NULL,
    webhook  INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next     INTEGER NOT NULL, -- when it is told next; 0: never, it is dead
    events   INTEGER NOT NULL,
    error    TEXT    NOT NULL,
    packed   BLOB    NOT NULL  -- see packHappened
);
CREATE INDEX batch_due ON batch (webhook, next, id);
CREATE INDEX batch_dead ON batch (created) WHERE next = 0;

-- What survives the pushes: totals are never removed, but with their app.
CREATE TABLE total (
    app    INTEGER NOT NULL,
    dim    TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    day    INTEGER NOT NULL,
    metric INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (app, dim, name, day, metric)
) WITHOUT ROWID;

CREATE TABLE cap_level (
    app      INTEGER NOT NULL,
    day      INTEGER NOT NULL,
    category TEXT    NOT NULL,
    level    INTEGER NOT NULL,
    chunk    INTEGER NOT NULL,
    bits     BLOB    NOT NULL,
    PRIMARY KEY (app, day, category, level, chunk)
);
CREATE INDEX cap_level_day ON cap_level (day);

CREATE TABLE device_day (
    app     INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    added   INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    peak    INTEGER NOT NULL,
    active  INTEGER NOT NULL,
    PRIMARY KEY (app, day)
) WITHOUT ROWID;

CREATE TABLE device_day_set (
    app   INTEGER NOT NULL,
    day   INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    bits  BLOB    NOT NULL,
    PRIMARY KEY (app, day, chunk)
);
CREATE INDEX device_day_set_day ON device_day_set (day);

-- When the commit was, and how far the receipts of a bulk push are counted in totals: its report, in JSON.
ALTER TABLE receipt_log ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE push ADD COLUMN counted BLOB;
