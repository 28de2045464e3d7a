package funneltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/funnelsec/funnel"
)

// bodies are answers of the healthy status that say something else.
func bodies() []misbehaviour {
	noBody := func(a attack) bool { return a.healthy.status == http.StatusNoContent }
	is := func(name, mediaType, body string, want func(attack) []funnel.Code) misbehaviour {
		return misbehaviour{name: name, want: want, skip: noBody, play: func(w *wire, _ attack) { w.text(w.healthy.status, mediaType, body) }}
	}
	// changed is the healthy body with every value changed.
	changed := func(name string, want func(attack) []funnel.Code, change func(any) any) misbehaviour {
		return misbehaviour{
			name: name, want: want,
			skip: func(a attack) bool { return noBody(a) || !json.Valid(a.healthy.body) },
			play: func(w *wire, _ attack) {
				var v any
				dec := json.NewDecoder(bytes.NewReader(w.healthy.body))
				dec.UseNumber()
				if dec.Decode(&v) != nil {
					w.answer(w.healthy.status, w.healthy.header, w.healthy.body)
					return
				}
				var out bytes.Buffer
				enc := json.NewEncoder(&out)
				enc.SetEscapeHTML(false)
				_ = enc.Encode(eachMember(v, change))
				w.text(w.healthy.status, "application/json", string(bytes.ReplaceAll(out.Bytes(), []byte(badByte), []byte("\xff"))))
			},
		}
	}
	const js = "application/json"
	zip := sync.OnceValue(bomb)
	return []misbehaviour{
		is("an empty body", js, "", odd),
		is("a page", "text/html", "<!doctype html><title>Sign in</title>"+bodyMark, odd),
		is("a page called JSON", js, "<html>"+bodyMark+"</html>", odd),
		is("malformed JSON", js, `{"id": "1", "key": `+bodyMark+`}`, odd),
		is("JSON that ends early", js, `{"id":"1","key":"`+bodyMark, odd),
		is("null", js, "null", oddOrNone),
		is("an empty list", js, "[]", oddOrNone),
		is("an empty object", js, "{}", odd),
		is("a text", js, `"`+bodyMark+`"`, odd),
		is("a number", js, "7", odd),
		is("a list of numbers", js, "[1,2,3]", odd),
		is("only unknown fields", js, `{"`+bodyMark+`":1}`, odd),
		is("two documents", js, `{"id":"1"}{"id":"2"}`, odd),
		is("an error in good clothes", js, `{"errorMessages":["`+bodyMark+`"],"errors":{},"error":{"code":"x","message":"y"}}`, odd),
		is("deep JSON", js, strings.Repeat(`{"data":[`, 100_000), odd),
		is("white space of 3 MiB", js, strings.Repeat(" ", 3<<20), odd),
		changed("every value is of another type", odd, func(v any) any {
			switch v.(type) {
			case string:
				return []any{7}
			case json.Number:
				return "x"
			case bool:
				return map[string]any{"x": 1}
			}
			return v
		}),
		changed("every text is empty", strange, func(v any) any {
			if _, ok := v.(string); ok {
				return ""
			}
			return v
		}),
		changed("every value is null", strange, func(any) any { return nil }),
		changed("every text is hostile", strange, func(v any) any {
			if _, ok := v.(string); ok {
				return "\x1b[31m\u202e<script>\u0000../../@here [~admin] {html}\r\n" + strings.Repeat("A", 300)
			}
			return v
		}),
		changed("every text has bad UTF-8", strange, func(v any) any {
			if s, ok := v.(string); ok {
				return s + badByte
			}
			return v
		}),
		changed("every number is huge", strange, func(v any) any {
			if _, ok := v.(json.Number); ok {
				return json.Number("1000000000")
			}
			return v
		}),
		changed("every number is beyond reason", strange, func(v any) any {
			if _, ok := v.(json.Number); ok {
				return json.Number("-1e999")
			}
			return v
		}),
		{name: "duplicate keys", want: strange, skip: func(a attack) bool {
			return noBody(a) || !bytes.HasPrefix(bytes.TrimSpace(a.healthy.body), []byte("{"))
		}, play: func(w *wire, _ attack) {
			body := bytes.TrimSuffix(bytes.TrimSpace(w.healthy.body), []byte("}"))
			w.text(w.healthy.status, js, string(body)+`,"id":{},"key":[],"data":7,"ID":{}}`)
		}},
		{name: "a byte order mark", want: strange, skip: noBody, play: func(w *wire, _ attack) { w.text(w.healthy.status, js, "\xef\xbb\xbf"+string(w.healthy.body)) }},
		{name: "another media type", want: strange, skip: noBody, play: func(w *wire, _ attack) { w.text(w.healthy.status, "image/svg+xml", string(w.healthy.body)) }},
		{name: "204 instead of an answer", slow: true, want: odd, play: func(w *wire, _ attack) { w.say("HTTP/1.1 204 No Content\r\n\r\n") }},
		{name: "compressed although nobody asked", want: odd, skip: noBody, play: func(w *wire, _ attack) {
			w.text(w.healthy.status, js, "\x1f\x8b\x08\x00"+bodyMark, "Content-Encoding", "gzip")
		}},
		{name: "a body without end", heavy: true, want: odd, skip: noBody, play: func(w *wire, a attack) {
			w.say(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n\r\n", a.healthy.status))
			w.flood(`{"data":"`, bodyMark)
		}},
		{name: "a list without end", heavy: true, want: odd, skip: noBody, play: func(w *wire, a attack) {
			w.say(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n\r\n", a.healthy.status))
			w.flood(`{"issues":[`, `{},`)
		}},
		{name: "a length of an exabyte", heavy: true, slow: true, want: odd, skip: noBody, play: func(w *wire, a attack) {
			w.say(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 1152921504606846976\r\n\r\n{", a.healthy.status))
			w.hang()
		}},
		{name: "a compressed bomb of 128 MiB", heavy: true, want: odd, skip: noBody, play: func(w *wire, _ attack) {
			w.text(w.healthy.status, js, string(zip()), "Content-Encoding", "gzip")
		}},
	}
}

// oddOrNone is an answer without anything in it. Of a list it says that there is
// nothing, so that the input names what does not exist.
func oddOrNone(a attack) []funnel.Code {
	if bytes.HasPrefix(bytes.TrimSpace(a.healthy.body), []byte("[")) {
		return append(odd(a), funnel.Invalid, funnel.NotFound, fine)
	}
	return odd(a)
}

// badByte stands for a byte that is not UTF-8 until the body is written.
const badByte = "\ue000bad\ue000"

// eachMember returns v with every value that is no object or list changed.
func eachMember(v any, change func(any) any) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = eachMember(x[k], change)
		}
		return x
	case []any:
		for i := range x {
			x[i] = eachMember(x[i], change)
		}
		return x
	}
	return change(v)
}
