-- answers of look-ups that are for all runs that ask the same; lookup is a hash
CREATE TABLE answer (
  connection TEXT NOT NULL,
  lookup TEXT NOT NULL,
  asked_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  known INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  outcome BLOB NOT NULL,
  PRIMARY KEY (connection, lookup)
) WITHOUT ROWID;
CREATE INDEX answer_age ON answer (expires_at, bytes);
ALTER TABLE step ADD COLUMN asked_at BIGINT NOT NULL DEFAULT 0;
