package funneltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/funnelsec/funnel"
)

// Conform checks what every integration has to be: registered without a fault,
// documented in each action and field, its examples valid, its secrets secret,
// its options strict, connected without asking anybody, and deaf to nonsense.
// options are those of a connection, as JSON, that could be real; "" if the
// integration has no connections. How it behaves towards its system is not looked
// at; see HostileHTTP.
func Conform(t testing.TB, in funnel.Integration, options string) {
	t.Helper()
	c := &conformance{TB: t, in: in}
	c.names()
	c.registers()
	for _, a := range in.Actions {
		c.action(a.Spec())
	}
	for _, trigger := range in.Triggers {
		c.trigger(trigger.Spec())
	}
	if in.Connect != nil {
		c.config(in.Connect.Config, options)
		c.connects(options)
	}
}

type conformance struct {
	testing.TB
	in funnel.Integration
}

func (c *conformance) complain(format string, args ...any) {
	c.Helper()
	c.Errorf("integration %s: "+format, append([]any{c.in.Name}, args...)...)
}

var (
	integrationName = regexp.MustCompile(`^[a-z][a-z0-9]{1,30}$`)
	fieldName       = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
)

func (c *conformance) names() {
	if !integrationName.MatchString(c.in.Name) {
		c.complain("the name is not of the form %s", integrationName)
	}
	c.sentence("the summary", c.in.Summary)
	if l := c.in.Limits; l.Concurrency < 0 || l.Rate < 0 || l.Daily < 0 || l.Timeout < 0 || l.Per < 0 || (l.Rate > 0) != (l.Per > 0) {
		c.complain("the limits make no sense: %+v", l)
	}
}

// sentence checks a text for people: one line that begins with a capital letter
// and ends with a full stop.
func (c *conformance) sentence(what, text string) {
	first, _ := utf8.DecodeRuneInString(text)
	if text == "" || !strings.HasSuffix(text, ".") || strings.ContainsAny(text, "\n\t") || first >= 'a' && first <= 'z' {
		c.complain("%s is no sentence: %q", what, text)
	}
}

// registers makes sure that registration finds no fault, among them an effect
// that does not say how an unsure outcome is settled.
func (c *conformance) registers() {
	defer func() {
		if v := recover(); v != nil {
			c.complain("it cannot be registered: %v", v)
		}
	}()
	funnel.NewRegistry().Add(c.in)
}

func (c *conformance) action(s *funnel.ActionSpec) {
	c.sentence(s.ID+"'s summary", s.Summary)
	doc, method := c.in.Doc(s.Method), s.Method[strings.LastIndexByte(s.Method, '.')+1:]
	if !strings.HasPrefix(doc, method+" ") {
		c.complain("%s: the doc comment of %s, which the API shows, does not begin with its name: %q; run make generate", s.ID, s.Method, doc)
	}
	c.fields(s.ID+"'s input", s.Input, nil)
	c.fields(s.ID+"'s outcome", s.Output, nil)
	example, ok := s.ExampleInput()
	if !ok {
		c.complain("%s has no example: give its required fields one, or declare funnel.Example", s.ID)
		return
	}
	v := reflect.New(s.Input)
	if err := decodeStrict(example, v.Interface()); err != nil {
		c.complain("%s: the example %s is no input: %v", s.ID, example, err)
		return
	}
	c.allows(s.ID+"'s example", v.Elem())
}

func (c *conformance) trigger(s *funnel.TriggerSpec) {
	c.sentence(s.ID+"'s summary", s.Summary)
	c.fields(s.ID+"'s event", s.Event, nil)
	for _, body := range nonsense() {
		c.decodes(s, body)
	}
}

// decodes gives a trigger a body that is not for it: it may refuse, ignore, or
// find a way to read it, but not panic and not quote it.
func (c *conformance) decodes(s *funnel.TriggerSpec, body string) {
	defer func() {
		if v := recover(); v != nil {
			c.complain("%s panics on %.60q: %v", s.ID, body, v)
		}
	}()
	found, err := s.Decode(funnel.Request{Source: "test", Connection: "test", Account: "us", Header: http.Header{}, Body: []byte(body), ReceivedAt: time.Now()})
	var ignored funnel.Ignored
	switch {
	case err == nil:
		for _, a := range found {
			if !json.Valid(a.Event) {
				c.complain("%s makes an event that is not JSON of %.60q", s.ID, body)
			}
		}
	case errors.As(err, &ignored), errors.Is(err, funnel.ErrAccountUnknown):
	case funnel.CodeOf(err) != funnel.Invalid:
		c.complain("%s refuses %.60q with code %s, want invalid: %v", s.ID, body, funnel.CodeOf(err), err)
	}
	if err != nil && strings.Contains(err.Error(), bodyMark) {
		c.complain("%s quotes the body: %v", s.ID, err)
	}
}

// nonsense are bodies and inputs that are for nobody.
func nonsense() []string {
	return []string{
		"", " ", "null", "true", "7", `"` + bodyMark + `"`, "[]", "{}", `[{}]`, `{"` + bodyMark + `":1}`, `{"result":null}`, `{"result":[]}`, `{"result":{}}`, `{"result":"` + bodyMark + `"}`,
		`{"issue":null}`, `{"issue":"` + bodyMark + `"}`, `{"issue":{"fields":null}}`, `{"webhookEvent":7}`, `{"webhookEvent":"jira:issue_created"}`, `{"sid":{}}`, `{"sid":"` + bodyMark + `"}`,
		bodyMark, `{"a":`, `{"a":"` + bodyMark, strings.Repeat("[", 200), "{}{}", "\xff", `{"a":"\ud800"}`, `{"a":1e999}`,
	}
}

// fields checks that each field of a type has a name, a meaning and, if it is
// called like one, is a secret.
func (c *conformance) fields(where string, t reflect.Type, above []reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || slices.Contains(above, t) || marshals(t) {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			c.fields(where, f.Type, append(above, t))
			continue
		case !f.IsExported(), name == "-":
			continue
		case !fieldName.MatchString(name):
			c.complain("%s: field %s has the JSON name %q, want words in small letters with _", where, f.Name, name)
		case f.Tag.Get("doc") == "":
			c.complain("%s: field %s has no doc tag", where, name)
		}
		if f.Type == reflect.TypeFor[funnel.Secret]() {
			if _, ok := f.Tag.Lookup("example"); ok {
				c.complain("%s: secret %s has an example", where, name)
			}
		}
		c.fields(where+"."+name, f.Type, append(above, t))
	}
}

// marshals reports a type that says itself how it looks in JSON.
func marshals(t reflect.Type) bool {
	m := reflect.TypeFor[json.Marshaler]()
	return t.Implements(m) || reflect.PointerTo(t).Implements(m)
}

// allows checks a value against the tags of its type's fields.
func (c *conformance) allows(where string, v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		f, field := t.Field(i), v.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			c.allows(where, field)
			continue
		}
		if !f.IsExported() || name == "-" || field.IsZero() {
			continue
		}
		number := func(tag string) (float64, bool) {
			n, err := strconv.ParseFloat(f.Tag.Get(tag), 64)
			return n, err == nil
		}
		size := 0.0
		switch {
		case field.Kind() == reflect.String:
			text := field.String()
			if p := f.Tag.Get("pattern"); p != "" && !regexp.MustCompile(p).MatchString(text) {
				c.complain("%s: %s is %q, which is not of the pattern %s", where, name, text, p)
			}
			if e := f.Tag.Get("enum"); e != "" && !slices.Contains(strings.Split(e, ","), text) {
				c.complain("%s: %s is %q, want one of %s", where, name, text, e)
			}
			size = float64(utf8.RuneCountInString(text))
		case field.CanInt():
			size = float64(field.Int())
		}
		for _, tag := range []string{"minLength", "minimum"} {
			if n, ok := number(tag); ok && size < n {
				c.complain("%s: %s breaks %s %v", where, name, tag, n)
			}
		}
		for _, tag := range []string{"maxLength", "maximum"} {
			if n, ok := number(tag); ok && size > n {
				c.complain("%s: %s breaks %s %v", where, name, tag, n)
			}
		}
	}
}

// secretive are the words in the name of an option that must not leave.
var secretive = regexp.MustCompile(`(^|_)(token|secret|password|passphrase|passwd|key|credential)s?$`)

func (c *conformance) config(t reflect.Type, options string) {
	c.fields("the options", t, nil)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if secretive.MatchString(name) && f.Type != reflect.TypeFor[funnel.Secret]() {
			c.complain("option %s is a %v, want a funnel.Secret, which does not show itself", name, f.Type)
		}
	}
	v := reflect.New(t)
	if err := decodeStrict([]byte(options), v.Interface()); err != nil {
		c.complain("the options %s do not decode: %v", options, err)
		return
	}
	shown, err := json.Marshal(v.Interface())
	if err != nil {
		c.complain("the options cannot be shown: %v", err)
	}
	for _, secret := range c.secrets(options) {
		if bytes.Contains(shown, []byte(secret)) || strings.Contains(fmt.Sprintf("%v %+v %#v", v.Elem(), v.Elem(), v.Elem()), secret) {
			c.complain("the options show a secret")
		}
	}
}

// secrets returns the values of the secret options.
func (c *conformance) secrets(options string) (list []string) {
	members := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(options), &members) != nil {
		return nil
	}
	t := c.in.Connect.Config
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		var text string
		if t.Field(i).Type == reflect.TypeFor[funnel.Secret]() && json.Unmarshal(members[name], &text) == nil && len(text) >= 6 {
			list = append(list, text)
		}
	}
	return list
}

// unreached is a way out that nobody may take.
type unreached struct{ *conformance }

func (u unreached) RoundTrip(r *http.Request) (*http.Response, error) {
	u.complain("it asks %s %s, although it only connects or is given nonsense", r.Method, r.URL.Redacted())
	return nil, funnel.Errorf(funnel.Unavailable, "there is no way out in this test")
}

func (c *conformance) env() funnel.Env {
	return funnel.Env{
		Connection: "conform", Log: slog.New(slog.DiscardHandler), Clock: time.Now, Timeout: 5 * time.Second,
		HTTP: func(*url.URL, func(http.Header)) *http.Client { return &http.Client{Transport: unreached{c}} },
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			c.complain("it dials %s %s, although it only connects or is given nonsense", network, address)
			return nil, funnel.Errorf(funnel.Unavailable, "there is no way out in this test")
		},
	}
}

// connects makes a client: from good options without asking anybody, since a
// connection to a system that is down must come up, and from bad ones not at all.
func (c *conformance) connects(options string) {
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	client, err := c.connect(ctx, options)
	if err != nil {
		c.complain("it does not connect with %s: %v", options, err)
		return
	}
	for _, a := range c.in.Actions {
		for _, input := range []string{"", " ", "true", "7", `"` + bodyMark + `"`, "[]", "[{}]", `{"no_such_field":1}`, bodyMark, `{"a":`, strings.Repeat("[", 200), "{}{}", "{}x", "\xff"} {
			c.refuses(ctx, a.Spec(), client, input)
		}
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(options), &members); err != nil {
		c.complain("the options are no object: %v", err)
		return
	}
	bad := []string{"[]", `"x"`, "{", `{"no_such_option":1}`}
	for name := range members {
		for _, value := range []string{`{}`, `["x"]`, `"\u0000://\n"`, `""`, `-1`} {
			other := map[string]json.RawMessage{}
			for k, v := range members {
				other[k] = v
			}
			other[name] = json.RawMessage(value)
			b, err := json.Marshal(other)
			if err != nil {
				c.Fatal(err)
			}
			bad = append(bad, string(b))
		}
	}
	for i, text := range bad {
		_, err := c.connect(ctx, text)
		if err == nil {
			if i < 4 {
				c.complain("it connects with %s", text)
			}
			continue
		}
		for _, secret := range c.secrets(options) {
			if strings.Contains(err.Error(), secret) {
				c.complain("the error about bad options holds a secret: %v", err)
			}
		}
	}
}

func (c *conformance) connect(ctx context.Context, options string) (client any, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.complain("connecting panics with %s: %v", options, v)
			err = errors.New("it panicked")
		}
	}()
	return c.in.Connect.Connect(ctx, c.env(), []byte(options))
}

// refuses gives an action what is no input.
func (c *conformance) refuses(ctx context.Context, s *funnel.ActionSpec, client any, input string) {
	defer func() {
		if v := recover(); v != nil {
			c.complain("%s panics on %.60q: %v", s.ID, input, v)
		}
	}()
	if _, err := s.Invoke(ctx, client, []byte(input)); funnel.CodeOf(err) != funnel.Invalid {
		c.complain("%s takes %.60q: code %q, want invalid: %v", s.ID, input, funnel.CodeOf(err), err)
	}
}
