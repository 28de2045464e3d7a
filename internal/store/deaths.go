package store

// Died notes that a process ended while it worked on the runs, and whether it
// crashed by itself. A run that was worked on at an earlier death too was worked on
// alone at this one, so a crash is its. So is an end without a trace, if the run was
// the one beside which nothing was begun (alone; 0: none) and had come no further since
// the death before: whoever ends processes from outside hardly meets it twice in the
// same step. With a shared database, runs that the node
// still holds are given back, for it is gone; those that another has taken over
// were counted then. It returns how many runs go on.
func (s *Store) Died(node string, runs []int64, alone int64, crashed bool) (n int, err error) {
	err = s.do(func(t *tx) error {
		n = 0
		for _, run := range runs {
			counted := false
			if t.cluster {
				ours, err := t.ids("UPDATE run SET lease_until = 0, node = '', woken = 0, fence = fence + 1 WHERE id = ? AND live = 1 AND node = ? RETURNING id", run, node)
				if err != nil {
					return err
				}
				t.wake(ours...)
				counted = len(ours) == 0
			}
			changed, err := t.count("UPDATE run SET crashes = crashes + CASE WHEN ? = 1 AND deaths > ? THEN 1 ELSE 0 END, "+
				"silent = CASE WHEN deaths <= ? OR died_after < "+stepsEnded+" THEN 0 WHEN ? = 1 THEN silent + 1 ELSE silent END, "+
				"died_after = "+stepsEnded+", alone = 0, deaths = deaths + ? WHERE id = ? AND live = 1",
				number(crashed), number(counted), number(counted), number(!crashed && run == alone), 1-number(counted), run)
			if err != nil {
				return err
			}
			n += int(changed)
		}
		return nil
	})
	return n, err
}

// stepsEnded is how far a run has come.
const stepsEnded = "(SELECT COUNT(*) FROM step WHERE step.run_id = run.id AND step.finished_at > 0)"

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Alone notes that a suspect is worked on now, for nodes that take it over: one that
// waited for it, with others, has not died of them.
func (s *Store) Alone(run int64) error {
	if s.pg == nil {
		return nil
	}
	return s.do(func(t *tx) error { return t.exec("UPDATE run SET alone = 1 WHERE id = ?", run) })
}

// Survived clears a run of suspicion: the process has worked on it alone and lives.
func (s *Store) Survived(run int64) error {
	return s.do(func(t *tx) error {
		return t.exec("UPDATE run SET deaths = 0, crashes = 0, silent = 0 WHERE id = ? AND deaths > 0", run)
	})
}
