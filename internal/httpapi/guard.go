package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
)

// answer notes whether an answer has begun.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = a.begun || status >= 200
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach deadlines and flushing.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// fence sets the headers that every answer has and turns a panic into a
// problem. After an answer has begun the connection is dropped instead, so that
// nobody takes half of it for the whole.
func (s *server) fence(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		a := &answer{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(http.ErrAbortHandler)
			}
			if r.Context().Err() != nil { // Huma panics when the caller has gone
				panic(http.ErrAbortHandler)
			}
			p := s.fault("panic in a handler", "route", r.Pattern, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if a.begun {
				panic(http.ErrAbortHandler)
			}
			p.write(a)
		}()
		next.ServeHTTP(a, r)
	})
}

func hostNames(o Options) map[string]bool {
	names := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	if u, err := url.Parse(o.PublicURL); err == nil && u.Host != "" {
		names[hostName(u.Host)] = true
	}
	for _, h := range o.AllowedHosts {
		names[hostName(h)] = true
	}
	delete(names, "")
	return names
}

// hostName returns the name of a host with or without a port.
func hostName(host string) string {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
}

// addressed refuses requests for another host. A hostile page can give its own
// name our address, but not make a browser send our name.
func (s *server) addressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := hostName(r.Host)
		if !s.hosts[name] && !isLocalAddr(r, name) {
			problem(http.StatusMisdirectedRequest, "this server does not answer for that host: set server.public_url to the address that people use").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocalAddr reports whether the name is the very address that the connection
// came in on, as health probes use it: an address cannot be rebound.
func isLocalAddr(r *http.Request, name string) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	addr, err := netip.ParseAddr(name)
	at, err2 := netip.ParseAddrPort(local.String())
	return err == nil && err2 == nil && addr.Unmap() == at.Addr().Unmap()
}

// known answers 404 and 405 as problems. A path that is not in its simplest
// form is unknown too: the mux would redirect it.
func (s *server) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.EscapedPath()
		if clean := path.Clean("/" + p); clean != p {
			problem(http.StatusNotFound, "there is no such address; /openapi.json lists them all").write(w)
			return
		}
		h, pattern := s.mux.Handler(r)
		if _, ok := s.routes[pattern]; !ok {
			a := refused{header: http.Header{}}
			h.ServeHTTP(&a, r)
			if a.status == http.StatusMethodNotAllowed {
				refusal := problem(http.StatusMethodNotAllowed, "this address takes other methods, see the Allow header")
				refusal.header = http.Header{"Allow": a.header.Values("Allow")}
				refusal.write(w)
				return
			}
			problem(http.StatusNotFound, "there is no such address; /openapi.json lists them all").write(w)
			return
		}
		r.Pattern = pattern
		next.ServeHTTP(w, r)
	})
}

// refused takes the mux's own plain answer.
type refused struct {
	header http.Header
	status int
}

func (a *refused) Header() http.Header         { return a.header }
func (a *refused) WriteHeader(status int)      { a.status = status }
func (a *refused) Write(b []byte) (int, error) { return len(b), nil }

// sameOrigin refuses what another site's page makes a browser send. Webhooks
// come from elsewhere by nature and authenticate by their source.
func (s *server) sameOrigin(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	for pattern := range s.routes {
		if isHook(pattern) {
			guard.AddInsecureBypassPattern(pattern)
		}
	}
	if u, err := url.Parse(s.PublicURL); err == nil && u.Host != "" && u.Scheme != "" {
		_ = guard.AddTrustedOrigin(u.Scheme + "://" + u.Host) // cannot fail: both parts are there
	}
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(http.StatusForbidden, "the request comes from another site's page").write(w)
	}))
	return guard.Handler(next)
}

// authenticate lets in who may use the route. A route is guarded unless it says
// otherwise.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remote, here := s.caller(r)
		need := s.routes[r.Pattern]
		if need == open || need == local && here {
			next.ServeHTTP(w, r)
			return
		}
		who, ok := s.Tokens.Verify(r.Header)
		if !ok {
			s.Metrics.Denied("api")
			s.deny(remote).write(w)
			return
		}
		next.ServeHTTP(w, r.WithContext(withPrincipal(r.Context(), who)))
	})
}
