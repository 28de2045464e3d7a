package webhook

import (
	"net/http"
	"testing"

	"github.com/funnelsec/funnel/funneltest"
)

func TestHostileReceiver(t *testing.T) {
	funneltest.HostileHTTP(t, funneltest.Hostile{
		Integration: Integration(),
		Options:     func(base string) string { return `{"url":"` + base + secretPath + `","secret":"s1gning-secret"}` },
		Secrets:     []string{"s1gning-secret", "path-secret", "query-secret"},
		Healthy: func(testing.TB) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
		},
	})
}
