package schema

import (
	"mime"
	"net/http"
	"strings"
)

// MediaTypeError is a request whose headers announce something else than plain JSON; callers answer it with 415.
type MediaTypeError struct {
	Header string // "Content-Type" or "Content-Encoding"
	What   string
}

// Error names the header and what to send instead, never the value that came.
func (e *MediaTypeError) Error() string { return "reading header " + e.Header + ": " + e.What }

// MediaType refuses, with a *MediaTypeError, a request that is not application/json in UTF-8 (no charset means UTF-8, RFC 8259
// section 8.1) or whose body is compressed. The body is not looked at.
func MediaType(header http.Header) error {
	const expected = "application/json is expected"
	values := header.Values("Content-Type")
	switch {
	case len(values) == 0:
		return &MediaTypeError{"Content-Type", "it is missing; " + expected}
	case len(values) > 1:
		return &MediaTypeError{"Content-Type", "it is sent more than once; send it once"}
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return &MediaTypeError{"Content-Type", "it cannot be read; " + expected}
	}
	if media != "application/json" {
		return &MediaTypeError{"Content-Type", expected}
	}
	for name, value := range params {
		if name != "charset" {
			return &MediaTypeError{"Content-Type", "it has an unknown parameter; " + expected + ", with no parameter but charset=utf-8"}
		}
		if !strings.EqualFold(value, "utf-8") {
			return &MediaTypeError{"Content-Type", "the charset must be utf-8"}
		}
	}
	for _, value := range header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(value), "identity") {
			return &MediaTypeError{"Content-Encoding", "compressed bodies are not accepted; send the body as it is"}
		}
	}
	return nil
}
