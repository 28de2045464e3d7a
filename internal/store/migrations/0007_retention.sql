-- which steps have an outcome that is kept apart, to know when nobody has it any more
CREATE INDEX step_blob ON step (outcome_ref) WHERE outcome_ref <> '';
