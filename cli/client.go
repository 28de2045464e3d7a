package cli

import (
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
	r.token = os.Getenv("FUNNEL_TOKEN")
	if r.token == "" {
		return nil, errors.New("the environment has no FUNNEL_TOKEN: set it to the token that the server's first start printed")
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(r.server, "/")+path, nil)
	if err != nil {
		return nil, fmt.Errorf("reading --server: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w; is it running at %s?", err, r.server)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var problem struct{ Title, Detail string }
		_ = json.Unmarshal(body, &problem)
		return nil, fmt.Errorf("the server answered %d: %s", res.StatusCode, clean(strings.TrimSpace(problem.Title+". "+problem.Detail)))
	}
	if v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			return nil, fmt.Errorf("reading the server's answer: %w", err)
		}
	}
	return body, nil
}

// clean makes text from outside fit for a terminal: no control characters.
func clean(text string) string { return secret.Escape(text) }
