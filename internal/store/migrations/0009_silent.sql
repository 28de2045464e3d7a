-- how often in a row the process ended without a trace while it worked on the run and
-- on no other, and the run had come no further since the death before; and how many of
-- its steps had ended at the latest death
ALTER TABLE run ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN died_after INTEGER NOT NULL DEFAULT 0;
-- with several nodes: 1 while one works on the run although it is suspected
ALTER TABLE run ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
