package jirafake_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func TestTokensRotate(t *testing.T) {
	t.Parallel()
	s := jirafake.New(jirafake.Options{})
	t.Cleanup(s.Close)
	status := func(token string) int {
		req := httptest.NewRequest(http.MethodGet, "/rest/api/3/myself", nil)
		req.SetBasicAuth(jirafake.DefaultEmail, token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Code
	}
	for _, c := range []struct {
		valid    []string
		old, new int
	}{{nil, 200, 401}, {[]string{jirafake.DefaultToken, "new"}, 200, 200}, {[]string{"new"}, 401, 200}} {
		if c.valid != nil {
			s.SetTokens(c.valid...)
		}
		if old, now := status(jirafake.DefaultToken), status("new"); old != c.old || now != c.new {
			t.Errorf("with %v: the old one %d, the new one %d", c.valid, old, now)
		}
	}
	if uses := s.TokenUses(); uses[jirafake.DefaultToken] != 2 || uses["new"] != 2 {
		t.Errorf("uses: %v", uses)
	}
}
