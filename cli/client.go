package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/funnelsec/funnel/internal/secret"
)

// remote is the API of a running server.
type remote struct {
	server string
	token  string
	asJSON bool
}

func (r *remote) flags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&r.server, "server", envOr("FUNNEL_SERVER", "http://127.0.0.1:8080"), "address of the server")
	cmd.PersistentFlags().BoolVar(&r.asJSON, "json", false, "print JSON, as the API answers")
	_ = cmd.RegisterFlagCompletionFunc("server", cobra.NoFileCompletions) // the flag is there
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// maxAnswer bounds an answer in bytes.
const maxAnswer = 32 << 20

// get reads a resource into v and returns it as it came.
func (r *remote) get(ctx context.Context, path string, v any) ([]byte, error) {
	status, _, body, err := r.ask(ctx, http.MethodGet, path, nil, nil, 30*time.Second)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refusal(status, "", body)
	}
	if v == nil {
		v = &json.RawMessage{}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return nil, unreadable(err)
	}
	return body, nil
}

// post sends a JSON body and returns the answer, whatever its status.
func (r *remote) post(ctx context.Context, path string, header http.Header, body []byte, within time.Duration) (status int, location string, answer []byte, err error) {
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json")
	return r.ask(ctx, http.MethodPost, path, header, body, within)
}

func (r *remote) ask(ctx context.Context, method, path string, header http.Header, body []byte, within time.Duration) (status int, location string, answer []byte, err error) {
	r.token = os.Getenv("FUNNEL_TOKEN")
	if r.token == "" {
		return 0, "", nil, errors.New("the environment has no FUNNEL_TOKEN: set it to the token that the server's first start printed")
	}
	base, err := url.Parse(r.server)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.User != nil {
		return 0, "", nil, exitError{exitUsage, errors.New("reading --server or FUNNEL_SERVER: want an address such as http://127.0.0.1:8080")}
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base.String(), "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, errors.New("asking the server: the address cannot be built")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	// A redirect leads somewhere else, which the token is not for.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which follows
		}
		return 0, "", nil, fmt.Errorf("asking the server: %w; is it running at %s?", err, r.server)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, "", nil, fmt.Errorf("reading the server's answer: %w", err)
	case len(answer) > maxAnswer:
		return 0, "", nil, fmt.Errorf("reading the server's answer: it is larger than %d MiB", maxAnswer>>20)
	}
	return res.StatusCode, res.Header.Get("Location"), answer, nil
}

func unreadable(err error) error { return fmt.Errorf("reading the server's answer: %w", err) }

// refusal says what a problem says, with its single faults.
func refusal(status int, location string, body []byte) error {
	var problem struct {
		Title, Detail, Run string
		Errors             []struct{ Location, Message, Pointer string }
	}
	err := json.Unmarshal(body, &problem)
	if err != nil || problem.Title == "" {
		return fmt.Errorf("the server answered %d %s, but not as Funnel does: is --server or FUNNEL_SERVER right?", status, http.StatusText(status))
	}
	text := fmt.Sprintf("the server answered %d: %s", status, problem.Detail)
	if status == http.StatusUnauthorized {
		text = "the server does not accept the token in FUNNEL_TOKEN: \"funnel token\" on its machine makes a new one"
	}
	for _, e := range problem.Errors {
		text += "; " + e.Location
		if e.Pointer != "" && e.Location == "body" {
			text += " at " + e.Pointer
		}
		text += ": " + e.Message
	}
	if problem.Run != "" && location != "" {
		text += "; see funnel show run " + location[strings.LastIndexByte(location, '/')+1:]
	}
	return errors.New(clean(text))
}

// clean makes text from outside fit for a terminal: no control characters.
func clean(text string) string { return secret.Escape(text) }

// printJSON prints JSON, indented or on one line. What a terminal would take for
// more than text is escaped, which leaves the JSON the same.
func (p *program) printJSON(raw []byte, indent bool) error {
	var b bytes.Buffer
	var err error
	if indent {
		err = json.Indent(&b, raw, "", "  ")
	} else {
		err = json.Compact(&b, raw)
	}
	if err != nil {
		return unreadable(err)
	}
	_, err = fmt.Fprintln(p.out, cleanJSON(bytes.TrimSpace(b.Bytes())))
	return err
}

func cleanJSON(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))
	for _, r := range string(raw) { // a byte that is not UTF-8 becomes U+FFFD
		if r == '\n' || r >= ' ' && r < 0x7f || clean(string(r)) == string(r) {
			b.WriteRune(r)
			continue
		}
		quoted, _ := json.Marshal(string(r)) // always encodable
		text := string(quoted[1 : len(quoted)-1])
		if text == string(r) { // JSON does not mind it, a terminal does
			text = ""
			for _, unit := range utf16.Encode([]rune{r}) {
				text += fmt.Sprintf(`\u%04x`, unit)
			}
		}
		b.WriteString(text)
	}
	return b.String()
}
