package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

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
	cmd.PersistentFlags().BoolVar(&r.asJSON, "json", false, "print the API's answer as it is")
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// get reads a resource into v and returns it as it came.
func (r *remote) get(ctx context.Context, path string, v any) ([]byte, error) {
	status, _, body, err := r.ask(ctx, http.MethodGet, path, nil, nil, 30*time.Second)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refusal(status, "", body)
	}
	if v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			return nil, fmt.Errorf("reading the server's answer: %w", err)
		}
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
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.server, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, fmt.Errorf("reading --server: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", nil, fmt.Errorf("asking the server: %w; is it running at %s?", err, r.server)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return 0, "", nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	return res.StatusCode, res.Header.Get("Location"), answer, nil
}

// clean makes text from outside fit for a terminal: no control characters.
func clean(text string) string { return secret.Escape(text) }
