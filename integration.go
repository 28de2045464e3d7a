package funnel

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"time"
)

// Integration is the code for one outside system, as a value.
type Integration struct {
	Name    string // the first part of its actions' IDs
	Summary string
	// Connect makes a client from a connection's options; made by the function
	// Connect. Nil if the integration only has triggers.
	Connect  *Connector
	Limits   Limits // what a connection keeps to unless configured otherwise
	Actions  []AnyAction
	Triggers []AnyTrigger
	// Docs are the doc comments of the package's types and methods by their names,
	// such as "Client.AddComment"; generated, so that there is no second text.
	Docs map[string]string
}

// Doc returns the doc comment of a type or method, "" if it has none.
func (in Integration) Doc(name string) string { return in.Docs[name] }

// Limits bound what a connection is asked to do. Zero means no bound of that
// kind, and of the ages that no answer is kept.
type Limits struct {
	Concurrency int           // actions at the same time
	Rate        int           // actions per Per
	Per         time.Duration // of Rate
	Daily       int           // actions per day, counted from 00:00 UTC
	Timeout     time.Duration // of one whole exchange

	// Cache is how old the answer of a look-up may be that is declared as Cached,
	// CacheUnknown how old if the answer was that nothing is known. Negative: only
	// runs that wait at the same time share an answer.
	Cache, CacheUnknown time.Duration
}

// Env is what an integration gets to reach its outside system: the only way out.
type Env struct {
	Connection string // the connection's name

	// HTTP returns a client for one base address. Requests to another scheme,
	// host or port fail before anything is sent; authorize adds the credential
	// after that check. The client follows no redirects, caps answers and bounds
	// the whole exchange. Its errors are *Error: Unavailable when surely nothing
	// was sent, Uncertain when something may have been.
	HTTP func(base *url.URL, authorize func(http.Header)) *http.Client

	// Dial opens a TCP connection, within the rules and limits of the server.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// RootCAs are the authorities that may sign a server's certificate. HTTP knows
	// them already; they are for TLS on a connection of Dial. Nil: the system's.
	RootCAs *x509.CertPool

	Log   *slog.Logger
	Clock func() time.Time
	// Timeout bounds one exchange.
	Timeout time.Duration
}

// Connector makes clients.
type Connector struct {
	Config  reflect.Type
	Connect func(ctx context.Context, env Env, options []byte) (any, error)
}

// Connect returns a Connector from a function that takes the integration's
// configuration type. The function must not need the outside system to answer:
// a connection to a system that is down must still come up.
func Connect[Config, C any](fn func(context.Context, Env, Config) (C, error)) *Connector {
	return &Connector{
		Config: reflect.TypeFor[Config](),
		Connect: func(ctx context.Context, env Env, options []byte) (any, error) {
			if len(options) == 0 {
				options = []byte("{}")
			}
			config, err := decodeStrict[Config](options)
			if err != nil {
				return nil, Errorf(Invalid, "reading the options of connection %s: %w", env.Connection, err)
			}
			return fn(ctx, env, config)
		},
	}
}

// Checker is implemented by clients that can tell whether their system answers
// and accepts the credential, without changing anything.
type Checker interface{ Check(context.Context) error }

// Accounter is implemented by clients of systems that send us webhooks about
// our own doings. Account returns our own account's ID there, and asks for it if
// it is not known yet.
type Accounter interface {
	Account(context.Context) (string, error)
}
