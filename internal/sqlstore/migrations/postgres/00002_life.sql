-- +goose Up

-- When and how pushes are sent, and the account of it.

-- Recurring schedules. A push that is sent once, later, is its own schedule: a row of push.
CREATE TABLE schedule (
    id      BIGINT PRIMARY KEY,
    app     BIGINT NOT NULL,
    state   TEXT    NOT NULL,
    created BIGINT NOT NULL,
    ended   BIGINT NOT NULL, -- 0 while it is active
    request BYTEA    NOT NULL  -- JSON
);
CREATE INDEX schedule_app ON schedule (app, id);
CREATE INDEX schedule_active ON schedule (app) WHERE state = 'active';
CREATE INDEX schedule_over ON schedule (ended) WHERE ended > 0;
CREATE INDEX push_scheduled ON push (app, id) WHERE state = 'scheduled';

-- An occurrence's id is that of the push that it becomes.
CREATE TABLE occurrence (
    id       BIGINT PRIMARY KEY,
    schedule BIGINT NOT NULL,
    app      BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    state    TEXT    NOT NULL
);
CREATE INDEX occurrence_schedule ON occurrence (schedule, at, id);
CREATE INDEX occurrence_waiting ON occurrence (schedule, at, id) WHERE state = 'waiting';

CREATE TABLE template (
    app      BIGINT NOT NULL,
    name     TEXT    COLLATE "C" NOT NULL, -- in order of bytes
    title    TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    defaults TEXT    NOT NULL, -- JSON, '' for none
    created  BIGINT NOT NULL,
    PRIMARY KEY (app, name)
);

-- Whoever holds the id of a webhook, or of a batch, that has gone must not find another.
CREATE TABLE webhook (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app     BIGINT NOT NULL,
    url     TEXT    NOT NULL,
    events  TEXT    NOT NULL, -- JSON, '' for all
    secret  BYTEA    NOT NULL, -- sealed
    created BIGINT NOT NULL
);
CREATE INDEX webhook_app ON webhook (app);

CREATE TABLE batch (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app      BIGINT NOT NULL,
    webhook  BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next     BIGINT NOT NULL, -- when it is told next; 0: never, it is dead
    events   BIGINT NOT NULL,
    error    TEXT    NOT NULL,
    packed   BYTEA    NOT NULL  -- see packHappened
);
CREATE INDEX batch_due ON batch (webhook, next, id);
CREATE INDEX batch_dead ON batch (created) WHERE next = 0;

-- What survives the pushes: totals are never removed, but with their app.
CREATE TABLE total (
    app    BIGINT NOT NULL,
    dim    TEXT    NOT NULL,
    name   TEXT    COLLATE "C" NOT NULL, -- in order of bytes
    day    BIGINT NOT NULL,
    metric BIGINT NOT NULL,
    n      BIGINT NOT NULL,
    PRIMARY KEY (app, dim, name, day, metric)
);

CREATE TABLE cap_level (
    app      BIGINT NOT NULL,
    day      BIGINT NOT NULL,
    category TEXT    NOT NULL,
    level    BIGINT NOT NULL,
    chunk    BIGINT NOT NULL,
    bits     BYTEA    NOT NULL,
    PRIMARY KEY (app, day, category, level, chunk)
);
CREATE INDEX cap_level_day ON cap_level (day);

CREATE TABLE device_day (
    app     BIGINT NOT NULL,
    day     BIGINT NOT NULL,
    added   BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    peak    BIGINT NOT NULL,
    active  BIGINT NOT NULL,
    PRIMARY KEY (app, day)
);

CREATE TABLE device_day_set (
    app   BIGINT NOT NULL,
    day   BIGINT NOT NULL,
    chunk BIGINT NOT NULL,
    bits  BYTEA    NOT NULL,
    PRIMARY KEY (app, day, chunk)
);
CREATE INDEX device_day_set_day ON device_day_set (day);

-- When the commit was, and how far the receipts of a bulk push are counted in totals: its report, in JSON.
ALTER TABLE receipt_log ADD COLUMN at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE push ADD COLUMN counted BYTEA;
