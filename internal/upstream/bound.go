package upstream

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/funnelsec/funnel"
)

// bound is an http.RoundTripper for one base address.
type bound struct {
	options   Options
	transport *http.Transport
	base      origin
	authorize func(http.Header)
}

// origin is scheme, host and port of an address.
type origin struct{ scheme, host, port string }

func baseOf(u *url.URL) origin {
	if u == nil {
		return origin{}
	}
	o := origin{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port()}
	if o.port == "" {
		o.port = map[string]string{"http": "80", "https": "443"}[o.scheme]
	}
	return o
}

func (o origin) String() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.scheme == "https" && o.port == "443" || o.scheme == "http" && o.port == "80" {
		return o.scheme + "://" + host
	}
	return o.scheme + "://" + host + ":" + o.port
}

// check refuses what does not go to the base address.
func (b *bound) check(u *url.URL) *funnel.Error {
	switch {
	case b.base.scheme != "http" && b.base.scheme != "https" || b.base.host == "":
		return funnel.Errorf(funnel.Invalid, "the connection's base address is not an http or https address: correct it in the configuration")
	case u == nil || baseOf(u) != b.base:
		return funnel.Errorf(funnel.Invalid, "refusing to call %s: this connection is bound to %s", baseOf(u), b.base)
	case u.User != nil:
		return funnel.Errorf(funnel.Invalid, "refusing to call %s: the address holds a user name; give the credential in the connection's options", b.base)
	}
	return nil
}

// RoundTrip implements http.RoundTripper. Its errors are *funnel.Error.
func (b *bound) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := b.check(req.URL); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), b.options.Timeout)
	x := &exchange{ctx: ctx, timeout: b.options.Timeout, method: req.Method, to: b.base}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: x.gotConn})

	out := req.Clone(ctx)
	out.Host = ""     // the URL's host, nothing else
	out.GetBody = nil // without it a body cannot be sent again
	if b.authorize != nil {
		b.authorize(out.Header)
	}
	for name := range out.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Idempotency-Key", "X-Idempotency-Key":
			if !x.harmless() { // with it, net/http repeats a POST on a lost connection by itself
				delete(out.Header, name)
			}
		case "Accept-Encoding":
			delete(out.Header, name)
		}
	}
	out.Header.Set("User-Agent", "funnel/"+b.options.Version)

	resp, err := b.transport.RoundTrip(out)
	if err != nil {
		defer cancel()
		return nil, x.failure(err)
	}
	resp.Request = req // without the credential
	resp.Body = &answer{body: resp.Body, left: b.options.MaxAnswer, max: b.options.MaxAnswer, exchange: x, cancel: cancel}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections work.
func (b *bound) CloseIdleConnections() { b.transport.CloseIdleConnections() }
