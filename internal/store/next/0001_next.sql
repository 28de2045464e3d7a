-- what a next version might add, for tests of an upgrade: a column, an index, a table
ALTER TABLE run ADD COLUMN remark TEXT NOT NULL DEFAULT '';
CREATE INDEX run_remark ON run (remark) WHERE remark <> '';
CREATE TABLE remark (
  id INTEGER PRIMARY KEY,
  run_id BIGINT NOT NULL,
  text TEXT NOT NULL
);
INSERT INTO remark (run_id, text) SELECT id, state FROM run;
