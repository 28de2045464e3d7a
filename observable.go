package funnel

import (
	"net/netip"
	"strings"
)

// Kind is the kind of an observable.
type Kind string

// The kinds of observables.
const (
	User   Kind = "user"
	Host   Kind = "host"
	IP     Kind = "ip"
	Domain Kind = "domain"
	URL    Kind = "url"
	Email  Kind = "email"
	MD5    Kind = "md5"
	SHA1   Kind = "sha1"
	SHA256 Kind = "sha256"
)

// Kinds are all kinds of observables, in the order of the documentation.
func Kinds() []Kind { return []Kind{User, Host, IP, Domain, URL, Email, MD5, SHA1, SHA256} }

// Observable is a value in an event that can be looked up.
type Observable struct {
	Kind  Kind   `json:"kind" doc:"What the value is"`
	Value string `json:"value" doc:"The value as the event gave it"`
	Field string `json:"field,omitempty" doc:"The event's field that held it; text if it was found in free text"`
	Own   bool   `json:"own,omitempty" doc:"It belongs to us: outside services are not asked about it"`
}

// Identity is what two observables share that are the same: the kind and the
// value, an IP address in its usual form. Letter case does not matter, except in
// URLs. Whether they are our own and which field held them does not count.
func (o Observable) Identity() string {
	value := o.Value
	if o.Kind == IP {
		if addr, err := netip.ParseAddr(value); err == nil {
			value = addr.Unmap().String()
		}
	}
	if o.Kind != URL {
		value = strings.ToLower(value)
	}
	return string(o.Kind) + "=" + value
}

// Observables are the observables of an event; event types embed it.
type Observables struct {
	Observables []Observable `json:"observables" doc:"Values that can be looked up"`
}

func (o *Observables) observed() *Observables { return o }

// Observable returns the first observable of the kind, or "".
func (o Observables) Observable(kind Kind) string {
	for _, x := range o.Observables {
		if x.Kind == kind {
			return x.Value
		}
	}
	return ""
}

// FileHash returns the strongest file hash: SHA-256, else SHA-1, else MD5, or "".
func (o Observables) FileHash() string {
	for _, kind := range []Kind{SHA256, SHA1, MD5} {
		if v := o.Observable(kind); v != "" {
			return v
		}
	}
	return ""
}

// HashKind tells the kind of a file hash from its length and digits.
func HashKind(value string) (Kind, bool) {
	for i := range len(value) {
		c := value[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return "", false
		}
	}
	switch len(value) {
	case 32:
		return MD5, true
	case 40:
		return SHA1, true
	case 64:
		return SHA256, true
	}
	return "", false
}
