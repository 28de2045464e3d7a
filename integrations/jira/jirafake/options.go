package jirafake

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// Values used where Options leaves a field empty.
const (
	DefaultEmail     = "funnel@example.com"
	DefaultToken     = "simulated-token"
	DefaultAccountID = "712020:00000000-0000-4000-8000-00000000f001"
	DefaultUserKey   = "JIRAUSER10100" // takes the place of DefaultAccountID in Data Center
	DefaultProject   = "SIRT"
)

// CustomField is the site's one custom field, a line of text.
const CustomField = "customfield_10050"

// Deployment is which product a Site simulates.
type Deployment string

// The products.
const (
	Cloud      Deployment = ""            // REST API versions 3 and 2, Atlassian documents, people by accountId
	DataCenter Deployment = "data_center" // REST API version 2, wiki markup, people by key and name
)

// Person is a user of the site.
type Person struct {
	AccountID   string // in Data Center the user's key
	Name        string // login name in Data Center; default: what stands before the @ of the e-mail address, else the key
	DisplayName string
	Email       string
}

// login returns the person's login name.
func (p Person) login() string {
	if p.Name != "" {
		return p.Name
	}
	before, _, _ := strings.Cut(p.Email, "@")
	return orDefault(before, p.AccountID)
}

// Project is a project of the site.
type Project struct {
	Key        string   // for example "SIRT"
	Name       string   // default: the key
	IssueTypes []string // default: Task, Incident, Bug
	// NeedsCustomField makes CustomField a required one.
	NeedsCustomField bool
}

// Lag draws how long a change stays invisible to search. It is called with a generator that is seeded from Options.Seed.
type Lag func(*rand.Rand) time.Duration

// UniformLag draws evenly between lo and hi; with lo equal to hi it is a fixed lag.
func UniformLag(lo, hi time.Duration) Lag {
	return func(r *rand.Rand) time.Duration {
		if hi <= lo {
			return lo
		}
		return lo + time.Duration(r.Int64N(int64(hi-lo)+1))
	}
}

// LognormalLag draws from a lognormal distribution, cut off at most. With a median of 3 s and a sigma of 1.2 one change in
// a thousand needs more than two minutes, which is the model behind Funnel's look-up schedule.
func LognormalLag(median time.Duration, sigma float64, most time.Duration) Lag {
	return func(r *rand.Rand) time.Duration {
		d := float64(median) * math.Exp(sigma*r.NormFloat64())
		return time.Duration(min(d, float64(most)))
	}
}

// WebhookMode says how the site's own webhooks behave. Retries happen on 408, 409, 425, 429, 5xx and connection failure,
// with the same identifier.
type WebhookMode struct {
	Off          bool          // send nothing
	Duplicate    bool          // send each event twice with one identifier
	BeforeAnswer bool          // deliver before the request that caused the event is answered
	Delay        time.Duration // wait before the first attempt (not with BeforeAnswer)
	Loss         float64       // probability in 0..1 that an event is never sent
	Retries      int           // attempts after the first; 0 means 5, negative means none
	RetryEvery   time.Duration // distance between attempts; 0 means 500 ms
}

// Options configures a Site. The zero value is a well-behaved site with one project, SIRT.
type Options struct {
	Deployment Deployment
	// OldComments makes a Data Center that knows no properties of comments: it ignores them in requests and answers none.
	OldComments bool
	SearchPage  int // most issues on one page of a search; default 100 with fields, in Data Center 1,000

	Account  Person    // the account whose credentials are accepted; default "Funnel"
	Token    string    // accepted as a bearer token, and in Cloud as the Basic password for Account.Email
	People   []Person  // who else can be assigned
	Projects []Project // default SIRT
	BaseURL  string    // for self links; default: the Host of the first request
	// Now is the clock of time stamps, index lag and write limits; default time.Now. What waits (late processing, webhooks)
	// waits on timers.
	Now  func() time.Time
	Seed uint64 // every random decision of the site follows from it and from the order of the requests

	IndexLag         Lag           // nil: search sees everything at once
	LoseAnswers      float64       // probability that a write is processed and its connection then dropped
	LateProcessing   float64       // probability that a write's connection is dropped and the write processed LateDelay later
	LateDelay        time.Duration // default 100 ms
	IssueWriteLimit  int           // writes to one issue per IssueWriteWindow; 0: no limit
	IssueWriteWindow time.Duration // default 1 s

	WebhookURL    string // empty: no webhooks
	WebhookSecret string // key of X-Hub-Signature; empty: unsigned
	Webhooks      WebhookMode
	WebhookClient *http.Client // default: a client that waits 20 s and follows no redirect
}

func (o Options) withDefaults() Options {
	if o.Account.DisplayName == "" {
		o.Account.DisplayName = "Funnel"
	}
	if o.Account.Email == "" {
		o.Account.Email = DefaultEmail
	}
	if o.Account.AccountID == "" {
		o.Account.AccountID = DefaultAccountID
		if o.Deployment == DataCenter {
			o.Account.AccountID = DefaultUserKey
		}
	}
	if o.SearchPage <= 0 {
		o.SearchPage = searchPageFull
		if o.Deployment == DataCenter {
			o.SearchPage = searchPageOld
		}
	}
	if o.Token == "" {
		o.Token = DefaultToken
	}
	if len(o.Projects) == 0 {
		o.Projects = []Project{{Key: DefaultProject, Name: "Security Incident Response"}}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LateDelay <= 0 {
		o.LateDelay = 100 * time.Millisecond
	}
	if o.IssueWriteWindow <= 0 {
		o.IssueWriteWindow = time.Second
	}
	if o.WebhookClient == nil {
		o.WebhookClient = &http.Client{
			Timeout:       20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return o
}
