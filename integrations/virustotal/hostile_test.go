package virustotal

import (
	"net/http"
	"testing"

	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

func TestHostileVirusTotal(t *testing.T) {
	funneltest.HostileHTTP(t, funneltest.Hostile{
		Integration: Integration(),
		Options:     func(base string) string { return `{"url":"` + base + `","api_key":"` + apiKey + `"}` },
		Secrets:     []string{apiKey},
		Healthy: func(testing.TB) http.Handler {
			return virustotalfake.New(virustotalfake.Options{APIKey: apiKey, Files: virustotalfake.Demo(), URLs: virustotalfake.DemoURLs(), Domains: virustotalfake.DemoDomains(), IPs: virustotalfake.DemoIPs()})
		},
	})
}
