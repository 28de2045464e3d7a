CREATE TABLE event (
  id INTEGER PRIMARY KEY,
  source TEXT NOT NULL,
  trigger_id TEXT NOT NULL,
  connection TEXT NOT NULL,
  dedup_key TEXT NOT NULL,
  delivery_key TEXT,
  received_at BIGINT NOT NULL,
  body BLOB,
  data BLOB NOT NULL,
  disposition TEXT NOT NULL,
  cause_run BIGINT NOT NULL,
  cause_event BIGINT NOT NULL,
  depth INTEGER NOT NULL
);
CREATE UNIQUE INDEX event_dedup_key ON event (dedup_key);
CREATE UNIQUE INDEX event_delivery_key ON event (delivery_key) WHERE delivery_key IS NOT NULL;

CREATE INDEX event_unmatched ON event (disposition) WHERE disposition <> 'matched';

CREATE TABLE delivery (
  id INTEGER PRIMARY KEY,
  source TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  verdict TEXT NOT NULL,
  reason TEXT NOT NULL,
  event_id BIGINT NOT NULL,
  bytes INTEGER NOT NULL
);

CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  event_id BIGINT NOT NULL,
  kind TEXT NOT NULL,
  parent BIGINT NOT NULL,
  playbook TEXT NOT NULL,
  state TEXT NOT NULL,
  live INTEGER NOT NULL,
  replay INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  wake_at BIGINT NOT NULL,
  wait_on TEXT NOT NULL,
  wait_since BIGINT NOT NULL,
  why TEXT NOT NULL,
  step TEXT NOT NULL,
  code TEXT NOT NULL,
  told INTEGER NOT NULL,
  told_why TEXT NOT NULL,
  input BLOB
);
CREATE INDEX run_event ON run (event_id);
CREATE INDEX run_live ON run (wait_on, wake_at, id) WHERE live = 1;
CREATE INDEX run_failed ON run (id) WHERE state = 'failed';

CREATE TABLE step (
  run_id BIGINT NOT NULL,
  path TEXT NOT NULL,
  seq INTEGER NOT NULL,
  action TEXT NOT NULL,
  connection TEXT NOT NULL,
  input_hash TEXT NOT NULL,
  input BLOB,
  state TEXT NOT NULL,
  outcome BLOB,
  outcome_ref TEXT NOT NULL,
  code TEXT NOT NULL,
  error TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  effect_key TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  PRIMARY KEY (run_id, path)
) WITHOUT ROWID;

CREATE TABLE effect (
  effect_key TEXT PRIMARY KEY,
  run_id BIGINT NOT NULL,
  path TEXT NOT NULL,
  action TEXT NOT NULL,
  connection TEXT NOT NULL,
  scope TEXT NOT NULL,
  serial TEXT NOT NULL,
  state TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  looks INTEGER NOT NULL,
  unproven INTEGER NOT NULL,
  sent_at BIGINT NOT NULL,
  outcome BLOB
) WITHOUT ROWID;
CREATE INDEX effect_run ON effect (run_id);
CREATE INDEX effect_unsure ON effect (state) WHERE state IN ('sent', 'uncertain');

CREATE TABLE ticket (
  connection TEXT NOT NULL,
  scope TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  window_no INTEGER NOT NULL,
  effect_key TEXT NOT NULL,
  owner BIGINT NOT NULL,
  settled INTEGER NOT NULL,
  opened_at BIGINT NOT NULL,
  seen INTEGER NOT NULL,
  last_seen BIGINT NOT NULL,
  outcome BLOB,
  PRIMARY KEY (connection, scope, fingerprint, window_no)
) WITHOUT ROWID;
CREATE INDEX ticket_open ON ticket (owner) WHERE settled = 0;

-- small facts that outlive a restart, such as a connection's quota of the day
CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

-- outcomes over 256 KiB, by the SHA-256 of their bytes
CREATE TABLE blob (
  hash TEXT PRIMARY KEY,
  data BLOB NOT NULL
) WITHOUT ROWID;
