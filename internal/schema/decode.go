package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/maphash"
	"net/netip"
	"net/url"
	"reflect"
	"time"

	"github.com/funnelsec/funnel"
)

// Decode checks raw as Check does and decodes it into a T. It also refuses keys that match a field of a struct in T in another
// case, at any depth, and, unless unknown is true, keys that match none. Numbers in an `any` become json.Number. The error is a
// *SyntaxError that names the JSON pointer and the wanted type, never the value.
//
// A caller who decodes the same T often keeps a Decoder.
func Decode[T any](raw []byte, lim Limits, unknown bool) (T, error) {
	return NewDecoder[T](lim, unknown).Decode(raw)
}

// DecodeInto is Decode into the value that a pointer points to, for callers who know the type at run time only. After an error the
// value may be half filled.
func DecodeInto(raw []byte, lim Limits, unknown bool, into any) error {
	p := reflect.TypeOf(into)
	if p == nil || p.Kind() != reflect.Pointer {
		return errors.New("decoding JSON: a pointer to decode into is needed")
	}
	d := newDecoder(p.Elem(), lim, unknown)
	if err := d.decode(raw, into); err != nil {
		return err
	}
	return nil
}

// Decoder decodes documents of one type. It may be used by several goroutines.
type Decoder[T any] struct{ decoder }

// NewDecoder looks at T once; see Decode for what lim and unknown mean.
func NewDecoder[T any](lim Limits, unknown bool) *Decoder[T] {
	return &Decoder[T]{newDecoder(reflect.TypeFor[T](), lim, unknown)}
}

// Decode decodes one document; see the function Decode.
func (d *Decoder[T]) Decode(raw []byte) (T, error) {
	var v, zero T
	if err := d.decode(raw, &v); err != nil {
		return zero, err
	}
	return v, nil
}

type decoder struct {
	lim     Limits
	unknown bool
	plan    *plan
}

func newDecoder(t reflect.Type, lim Limits, unknown bool) decoder {
	pl := planner{closed: !unknown, done: map[reflect.Type]*plan{}}
	return decoder{lim: lim, unknown: unknown, plan: pl.of(t)}
}

func (d *decoder) decode(raw []byte, into any) *SyntaxError {
	if err := check(raw, d.lim, d.plan); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if !d.unknown {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(into); err != nil {
		return d.explain(raw, err)
	}
	return nil
}

// explain turns an error of encoding/json, whose text may hold a value, into one that says where and what type was wanted.
func (d *decoder) explain(raw []byte, err error) *SyntaxError {
	c := checker{raw: raw, lim: d.lim.withDefaults(), next: d.plan, keys: keySet{seed: maphash.MakeSeed()}}
	if typeErr, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		c.seek = int(typeErr.Offset)
	} else {
		c.probe = true
	}
	if found := c.run(); found != nil {
		return found
	}
	return newError(raw, WrongShape, 0, "", "a value does not fit the wanted type")
}

// done is called after each complete value; in the two searches it stops at the culprit.
func (c *checker) done(p *plan, start int) *SyntaxError {
	switch {
	case c.seek > 0 && c.pos >= c.seek:
		return c.fail(WrongShape, start, "the value does not fit: "+describe(p)+" is expected here")
	case c.probe && p != nil && p.custom:
		if json.Unmarshal(c.raw[start:c.pos], reflect.New(p.typ).Interface()) != nil {
			return c.fail(WrongShape, start, "the value cannot be read: "+describe(p)+" is expected here")
		}
	}
	return nil
}

// describe names a wanted type in words.
func describe(p *plan) string {
	if p == nil {
		return "another value"
	}
	switch p.typ {
	case reflect.TypeFor[time.Time]():
		return `a time such as "2026-11-23T21:49:00Z" (RFC 3339)`
	case reflect.TypeFor[netip.Addr]():
		return "an IP address"
	case reflect.TypeFor[url.URL]():
		return "a URL"
	case reflect.TypeFor[funnel.Duration]():
		return `a duration such as "30s" or "1h30m"`
	case reflect.TypeFor[funnel.Secret]():
		return "a string"
	}
	switch {
	case p.custom:
		return "a " + p.typ.String()
	case p.want == wantInteger:
		return "a whole number that fits " + p.typ.Kind().String()
	case p.want == wantNumber:
		return "a number that fits " + p.typ.Kind().String()
	case p.want == wantAny && p.typ.Kind() == reflect.Slice:
		return "a base64 string"
	case p.want == wantAny:
		return "a " + p.typ.Kind().String()
	}
	return string(p.want)
}
