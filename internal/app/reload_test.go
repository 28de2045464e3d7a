package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
)

// keyed is a client with a secret that knows who it is, and notes that it was
// closed.
type keyed struct {
	key    string
	closed chan string
}

func (k *keyed) Account(context.Context) (string, error) { return "account of " + k.key, nil }

func (k *keyed) Close() error { k.closed <- k.key; return nil }

type keyedConfig struct {
	Key funnel.Secret `json:"key"`
}

// reloading is a server whose configuration and secret are files.
type reloading struct {
	*App
	dir    string
	closed chan string
}

func startReloading(t *testing.T, text string) *reloading {
	t.Helper()
	r := &reloading{dir: t.TempDir(), closed: make(chan string, 10)}
	r.write(t, "key", "first-key")
	r.write(t, "funnel.yaml", text)
	in := funnel.Integration{Name: "keyed", Connect: funnel.Connect(func(_ context.Context, _ funnel.Env, c keyedConfig) (*keyed, error) {
		return &keyed{c.Key.Reveal(), r.closed}, nil
	})}
	c, err := r.load()
	if err != nil {
		t.Fatal(err)
	}
	r.App, err = New(t.Context(), Options{Config: c, Registry: funnel.NewRegistry().Add(in)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *reloading) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *reloading) load() (*config.Config, error) {
	return config.Load(filepath.Join(r.dir, "funnel.yaml"), os.Getenv)
}

func (r *reloading) reloadWith(t *testing.T, text string) error {
	t.Helper()
	r.write(t, "funnel.yaml", text)
	return r.Reload(t.Context(), r.load)
}

const reloadable = `
server: {listen: "127.0.0.1:0"}
data: data
connections:
  one: {integration: keyed, options: {key: "${file:key}"}, limits: {daily: %d}}
  two: {integration: keyed, options: {key: "${file:key}"}}
`

// TestReloadKeepsWhatDidNotChange: a connection that stays as it was is the same
// one; of a changed one, what was used of the limits is carried over.
func TestReloadKeepsWhatDidNotChange(t *testing.T) {
	t.Parallel()
	r := startReloading(t, fmt.Sprintf(reloadable, 10))
	before := r.setup.Load().links
	leave, err := before["one"].Gate.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leave(nil)
	if err := r.reloadWith(t, fmt.Sprintf(reloadable, 20)); err != nil {
		t.Fatal(err)
	}
	now := r.setup.Load().links
	if now["two"] != before["two"] || now["one"] == before["one"] {
		t.Error("the changed connection is the same, or the other is not")
	}
	if s := now["one"].governor.State(); s.QuotaUsed != 1 || s.QuotaLimit != 20 {
		t.Errorf("of the day's quota of %d, %d are used; want 1 of 20", s.QuotaLimit, s.QuotaUsed)
	}
	if s := r.Status(t.Context()); len(s.Config.NeedsRestart) > 0 || s.Config.Error != "" {
		t.Errorf("the status says %+v", s.Config)
	}
}

// TestReloadRotates: a secret that changed behind the same reference makes a new
// client, which knows at once who we are there, and the log takes both out.
func TestReloadRotates(t *testing.T) {
	t.Parallel()
	r := startReloading(t, fmt.Sprintf(reloadable, 10))
	before := r.setup.Load().links["one"]
	for before.knownAccount() == "" {
		time.Sleep(time.Millisecond) // it is asked for in the background
	}
	r.write(t, "key", "second-key")
	if err := r.reloadWith(t, fmt.Sprintf(reloadable, 10)); err != nil {
		t.Fatal(err)
	}
	now := r.setup.Load().links["one"]
	if key := now.Client.(*keyed).key; key != "second-key" || now.knownAccount() == "" {
		t.Errorf("the client has %q and says that it is %q", key, now.knownAccount())
	}
	var keys []string
	for _, s := range r.secrets {
		keys = append(keys, s.Reveal())
	}
	if slices.Sort(keys); !slices.Equal(keys, []string{"first-key", "second-key"}) {
		t.Errorf("the log takes out %v", keys)
	}
	select {
	case key := <-r.closed:
		t.Errorf("the client with %q is closed, and a step may still use it", key)
	default:
	}
}

// TestReloadRefuses: what is not right changes nothing, and the error names the
// place.
func TestReloadRefuses(t *testing.T) {
	t.Parallel()
	good := fmt.Sprintf(reloadable, 10)
	r := startReloading(t, good)
	before, loaded := r.setup.Load(), r.told.Load().loaded
	for name, bad := range map[string]struct{ text, want string }{
		"syntax":      {strings.Replace(good, "data: data", "data: [", 1), "funnel.yaml:3:7:"},
		"key":         {strings.Replace(good, "two: {", "two: {keys: 1, ", 1), "funnel.yaml:6:9:"},
		"integration": {strings.Replace(good, "two: {integration: keyed", "two: {integration: lock", 1), "funnel.yaml:6:9:"},
		"secret":      {strings.Replace(good, "  two: {integration: keyed, options: {key: \"${file:key}\"", "  two: {integration: keyed, options: {key: \"${file:lost}\"", 1), "funnel.yaml:6:44:"},
	} {
		err := r.reloadWith(t, bad.text)
		if err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: the error is %v, want one with %s", name, err, bad.want)
		}
		if r.setup.Load() != before {
			t.Errorf("%s: the setup has changed", name)
		}
		if s := r.Status(t.Context()).Config; !strings.Contains(s.Error, bad.want) || s.ErrorAt.IsZero() || !s.LoadedAt.Equal(loaded) {
			t.Errorf("%s: the status says %+v", name, s)
		}
	}
	if err := r.reloadWith(t, good); err != nil || r.Status(t.Context()).Config.Error != "" {
		t.Errorf("the good one again: %v, and the status says %+v", err, r.Status(t.Context()).Config)
	}
}

// TestReloadNamesWhatNeedsARestart: it applies the rest.
func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	r := startReloading(t, fmt.Sprintf(reloadable, 10))
	text := strings.Replace(fmt.Sprintf(reloadable, 30), "127.0.0.1:0", "127.0.0.1:1", 1) + "engine: {workers: 5, attempts: 3}\n"
	if err := r.reloadWith(t, text); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Status(t.Context()).Config.NeedsRestart, []string{"engine.workers", "server"}; !slices.Equal(got, want) {
		t.Errorf("a restart is needed for %v, want %v", got, want)
	}
	if l := r.setup.Load().links["one"].Limits.Daily; l != 30 {
		t.Errorf("the quota is %d, want 30", l)
	}
}
