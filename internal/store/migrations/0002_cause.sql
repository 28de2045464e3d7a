CREATE INDEX event_cause ON event (cause_event) WHERE cause_event <> 0;
