package queue_test

import (
	"slices"
	"testing"

	"github.com/funnelsec/funnel/internal/record"
)

// TestLostJobs: a run whose job was fetched by a node that ended, or is not in the
// table any more, is worked on, whatever else such nodes have left in the table.
func TestLostJobs(t *testing.T) {
	for name, lose := range map[string]string{
		// Behind one that waits since yesterday: who looks for jobs that are gone cannot tell.
		"fetched": "UPDATE river_job SET state = 'scheduled', attempted_at = NULL, created_at = now() - INTERVAL '1 day', scheduled_at = now() + INTERVAL '1 day' WHERE id = (SELECT max(id) - 1 FROM river_job) AND $1::BIGINT[] IS NOT NULL",
		"gone":    "DELETE FROM river_job WHERE (args->>'run')::BIGINT = ANY($1)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shared(t)
			t.Cleanup(func() {
				s.queue.Stop()
				if err := s.store.Close(); err != nil {
					t.Error(err)
				}
			})
			exec := func(query string, args ...any) {
				t.Helper()
				if _, err := s.store.Pool().Exec(t.Context(), query, args...); err != nil {
					t.Fatal(err)
				}
			}
			runs := s.accept(501)
			lost := []int64{runs[0], runs[250], runs[500]} // in whatever order the table is read
			for _, run := range runs {
				if !slices.Contains(lost, run) {
					s.put(run, nil, func(r *record.Run) { r.State = record.Succeeded })
				}
			}
			exec("UPDATE river_job SET state = 'running', attempted_at = now() - INTERVAL '1 hour', created_at = created_at - INTERVAL '1 hour'")
			exec("UPDATE run SET queued_at = queued_at - 60000000")
			exec(lose, lost)
			s.start(1, s.end)
			s.want("worked on", slices.Sorted(slices.Values(s.await(3))), lost)
		})
	}
}
