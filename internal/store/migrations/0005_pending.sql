-- a run whose job is on its way is not given another: begun is the generation of
-- the job begun last, queued_at when the latest was made, in the database's time
ALTER TABLE run ADD COLUMN begun BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN queued_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX run_pending ON run (queued_at) WHERE live = 1 AND begun < generation;
