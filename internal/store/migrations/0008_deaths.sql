-- how often the process ended while it worked on the run, and how often of these
-- by a crash of its own while it worked on no other
ALTER TABLE run ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
