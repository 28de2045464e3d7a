// Package config reads funnel.yaml: strictly, with every error at its line and column, and with secrets as references only.
//
// What belongs to an integration, a trigger or a playbook is not judged here: its options are kept as they stand, see Options.
package config

import (
	"net/netip"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/secret"
)

// Config is a whole funnel.yaml with its defaults filled in.
type Config struct {
	Server      Server
	Data        string // directory of the database; default "data". A relative path starts at the file's directory
	Database    Database
	Cluster     Cluster
	Connections map[string]Connection
	Sources     map[string]Source
	Playbooks   map[string]Playbook // a playbook that is not named here is enabled and has no options
	Observables Observables
	Engine      Engine
	Retention   Retention
	Notify      *Notify // nil: nobody is told

	doc     *document
	secrets secret.Resolver
}

// Retention is how long what has ended is kept.
type Retention struct {
	Deliveries time.Duration // what was received and what became of it; default 30 days
	Events     time.Duration // with their runs and steps; default 90 days
	Size       int64         // bytes that the database takes up: beyond, the oldest are dropped earlier; 0: no bound
}

// Server is where Funnel listens.
type Server struct {
	Listen      string        // host:port; default "127.0.0.1:8080". Other than loopback only with BehindProxy
	BehindProxy bool          // a proxy in front terminates TLS; default false
	PublicURL   string        // how people reach the server, without a slash at the end; default "http://" + Listen
	DrainDelay  time.Duration // for how long a server that is told to stop says that it is not ready and still accepts; default 0
	DrainLimit  time.Duration // for how long running steps may finish after that; default 25s
}

// Connection is a configured integration.
type Connection struct {
	Name        string
	Integration string
	Options     Options       // for the integration to judge
	Limits      funnel.Limits // a zero field is not configured: the integration's own bound holds
	CAFile      string        // PEM file with authorities that are trusted beside the system's; "" if there is none. A relative path starts at the file's directory
}

// Source is a configured trigger, or several that read the same deliveries.
type Source struct {
	Name        string
	Triggers    []string // one or more of one integration
	Auth        Auth
	Connection  string                   // "" if the trigger belongs to none
	Options     Options                  // for the trigger to judge
	Fingerprint []string                 // fields that make two alerts the same matter; empty: the trigger's own
	Fields      map[funnel.Kind][]string // the fields that hold observables of a kind, none if the list is empty; a kind that is absent: the trigger's own
	Text        []string                 // the fields with free text in which observables are looked for; nil: the trigger's own, empty: none
	MaxBody     int64                    // bytes; default 1 MiB, at most 8 MiB
	Reconcile   Reconcile
	Repeated    *bool // whether the sender repeats what was answered with 503; nil: as the trigger says
}

// Reconcile is how a source looks for what never arrived, by reading it at its
// connection.
type Reconcile struct {
	Every time.Duration // how often; 0: never
	Back  time.Duration // how far back is read; default 24 h
	Grace time.Duration // how long a delivery may be under way; default 1 min
}

// AuthKind is a way of authenticating webhooks.
type AuthKind string

// The kinds of authentication.
const (
	PathSecret AuthKind = "path_secret" // the secret is the last part of the path, for senders that cannot set headers
	Signature  AuthKind = "signature"   // HMAC of the body in X-Hub-Signature
	Bearer     AuthKind = "bearer"      // Authorization: Bearer
	None       AuthKind = "none"        // only on loopback and without a proxy
)

// Auth is how a source's requests are authenticated.
type Auth struct {
	Kind    AuthKind
	Secrets []SecretRef // one or two for PathSecret and Bearer (old and new), one for Signature, none for None
}

// Playbook holds a playbook's settings.
type Playbook struct {
	Name    string
	Enabled bool // default true
	Options Options
}

// Observables says what belongs to us, so that no outside service is asked about it.
type Observables struct {
	OwnDomains  []string       // with all names below them
	OwnNetworks []netip.Prefix // nil: the private networks
}

// Engine is how runs are worked on.
type Engine struct {
	Workers   int             // runs at the same time; default 32
	Lookups   []time.Duration // after which times an unsure effect is looked up; default 5s, 30s, 2m, 10m
	Quiet     time.Duration   // how long an unsure effect is looked for before the step's policy decides; default 30m
	TellAfter time.Duration   // how long a step may wait until the ticket says so; default 2m
	Attempts  int             // tries of a step; default 6
}

// Notify is the webhook that hears of what needs attention.
type Notify struct {
	URL    string    // https, or http on loopback
	Secret SecretRef // signs the body; unset if its Ref is zero
}

// SecretRef is a secret's reference and its place in the file.
type SecretRef struct {
	Ref          secret.Ref
	line, column int
	label        string
}

// IsZero reports whether there is no reference.
func (s SecretRef) IsZero() bool { return s.Ref == secret.Ref{} }

func defaults() *Config {
	return &Config{
		Server:      Server{Listen: "127.0.0.1:8080", DrainLimit: 25 * time.Second},
		Data:        "data",
		Cluster:     Cluster{Lease: 15 * time.Second},
		Connections: map[string]Connection{},
		Sources:     map[string]Source{},
		Playbooks:   map[string]Playbook{},
		Engine: Engine{
			Workers: 32, Lookups: []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute},
			Quiet: 30 * time.Minute, TellAfter: 2 * time.Minute, Attempts: 6,
		},
	}
}

const defaultMaxBody, mostMaxBody = 1 << 20, 8 << 20
