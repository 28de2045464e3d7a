-- finds an event again when the outside system is read, whichever way it came
CREATE TABLE kin (
  family TEXT NOT NULL,
  dedup_key TEXT NOT NULL,
  likeness TEXT NOT NULL,
  mark TEXT NOT NULL,
  event_id BIGINT NOT NULL,
  pushed INTEGER NOT NULL,
  found INTEGER NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (family, dedup_key)
) WITHOUT ROWID;
CREATE INDEX kin_age ON kin (at);
-- families that were compared and need not be again
CREATE TABLE settled (
  family TEXT PRIMARY KEY,
  at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX settled_age ON settled (at);
-- what only one node does at a time, until when
CREATE TABLE duty (
  name TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  until BIGINT NOT NULL
) WITHOUT ROWID;
