-- several nodes on one PostgreSQL; on SQLite all of it stays as it is
ALTER TABLE schema_version ADD COLUMN compatible BIGINT NOT NULL DEFAULT 0;

-- generation counts the jobs made for the run, fence its leases; times are the database's
ALTER TABLE run ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN fence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN woken INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN called_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX run_leased ON run (lease_until) WHERE lease_until > 0;

CREATE TABLE node (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL
);

-- what only one step at a time may do: write to a thing, ask a question
CREATE TABLE turn (
  name TEXT PRIMARY KEY,
  run_id BIGINT NOT NULL,
  path TEXT NOT NULL,
  failed_at BIGINT NOT NULL DEFAULT 0,
  code TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX turn_run ON turn (run_id);

-- what all nodes together have used of a connection's bounds; calls is a list, as
-- JSON, of those under way and those that count still for the rate
CREATE TABLE gate (
  connection TEXT PRIMARY KEY,
  calls TEXT NOT NULL,
  day BIGINT NOT NULL,
  used BIGINT NOT NULL,
  paused_until BIGINT NOT NULL,
  paused_why TEXT NOT NULL
);
