package httpapi

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/funnelsec/funnel/internal/auth"
)

// deny counts a failed authentication and says what is missing.
func (s *server) deny(remote netip.Addr) *Problem {
	if wait := s.Tokens.Deny(remote); wait > 0 {
		p := problem(http.StatusTooManyRequests, "this address has failed to authenticate too often; come back later")
		p.retryAfter = wait
		return p
	}
	p := problem(http.StatusUnauthorized, "send the admin token of the first start: Authorization: Bearer fnl_…")
	p.header = http.Header{"Www-Authenticate": {`Bearer realm="funnel"`}}
	return p
}

type principalKey struct{}

func withPrincipal(ctx context.Context, who auth.Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, who)
}

// principal returns the name of who sent the request.
func principal(ctx context.Context) string {
	who, _ := ctx.Value(principalKey{}).(auth.Principal)
	return who.Name
}
