package floors

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reasons says of every module in go.mod why it is there. The ones that come
// with another are named with it.
func reasons() map[string]string {
	return map[string]string{
		"github.com/danielgtaylor/huma/v2":                   "the HTTP API's routes, validation and OpenAPI",
		"github.com/go-asn1-ber/asn1-ber":                    "LDAP's messages, for the client and the directory fake",
		"github.com/go-ldap/ldap/v3":                         "LDAP",
		"github.com/goccy/go-yaml":                           "funnel.yaml with line and column in its errors",
		"github.com/jackc/pgx/v5":                            "PostgreSQL",
		"github.com/riverqueue/river":                        "jobs of several nodes in PostgreSQL",
		"github.com/riverqueue/river/riverdriver/riverpgxv5": "river's driver for pgx",
		"github.com/riverqueue/river/rivertype":              "river's types",
		"github.com/prometheus/client_golang":                "metrics",
		"github.com/spf13/cobra":                             "the command line",
		"github.com/tidwall/gjson":                           "Splunk's rows in one pass, numbers as they are written",
		"golang.org/x/net":                                   "public suffix list, names beyond ASCII",
		"golang.org/x/sys":                                   "file locks; SQLite and Prometheus need it too",
		"golang.org/x/term":                                  "whether the output is a terminal, and how wide",
		"modernc.org/sqlite":                                 "the embedded database, without cgo",

		"github.com/chromedp/chromedp":    "tests only: a real browser",
		"github.com/chromedp/cdproto":     "tests only: what the browser tells",
		"github.com/getkin/kin-openapi":   "tests only: fakes against vendors' OpenAPI, and our own",
		"go.uber.org/goleak":              "tests only: goroutines that were left behind",
		"github.com/Shopify/toxiproxy/v2": "tests only: connections that misbehave",
		"github.com/rs/zerolog":           "tests only: the logger of toxiproxy",
		"github.com/mattn/go-colorable":   "with toxiproxy",
		"github.com/rs/xid":               "with toxiproxy",
		"gopkg.in/tomb.v1":                "with toxiproxy",
		"github.com/hanwen/go-fuse/v2":    "tests only: a disk that loses power",
		"pgregory.net/rapid":              "tests only: properties",

		"github.com/Azure/go-ntlmssp":              "with go-ldap: NTLM, not used",
		"github.com/google/uuid":                   "with go-ldap",
		"golang.org/x/crypto":                      "with go-ldap: MD4 of NTLM, not used",
		"github.com/riverqueue/river/riverdriver":  "with river",
		"github.com/riverqueue/river/rivershared":  "with river",
		"github.com/tidwall/sjson":                 "with river",
		"github.com/jackc/pgpassfile":              "with pgx",
		"github.com/jackc/pgservicefile":           "with pgx",
		"github.com/jackc/puddle/v2":               "with pgx: its pool of connections",
		"golang.org/x/sync":                        "with pgx's pool",
		"github.com/beorn7/perks":                  "with client_golang: quantiles",
		"github.com/cespare/xxhash/v2":             "with client_golang: hashes of labels",
		"github.com/munnerz/goautoneg":             "with client_golang: content negotiation",
		"github.com/prometheus/client_model":       "with client_golang",
		"github.com/prometheus/common":             "with client_golang: the text format",
		"github.com/prometheus/procfs":             "with client_golang: figures of the process",
		"google.golang.org/protobuf":               "with client_golang",
		"github.com/spf13/pflag":                   "with cobra: flags",
		"github.com/inconshreveable/mousetrap":     "with cobra: on Windows only, not linked",
		"github.com/dustin/go-humanize":            "with sqlite's libc",
		"github.com/mattn/go-isatty":               "with sqlite's libc, not linked",
		"github.com/ncruces/go-strftime":           "with sqlite's libc, not linked",
		"github.com/remyoudompheng/bigfft":         "with sqlite's mathutil",
		"modernc.org/libc":                         "with sqlite: keep it at the version that sqlite's go.mod names",
		"modernc.org/mathutil":                     "with sqlite",
		"modernc.org/memory":                       "with sqlite",
		"github.com/chromedp/sysutil":              "tests only, with chromedp",
		"github.com/go-json-experiment/json":       "tests only, with chromedp",
		"github.com/gobwas/httphead":               "tests only, with chromedp",
		"github.com/gobwas/pool":                   "tests only, with chromedp",
		"github.com/gobwas/ws":                     "tests only, with chromedp",
		"github.com/go-openapi/jsonpointer":        "tests only, with kin-openapi",
		"github.com/go-openapi/swag/jsonname":      "tests only, with kin-openapi",
		"github.com/gorilla/mux":                   "tests only, with kin-openapi",
		"github.com/santhosh-tekuri/jsonschema/v6": "tests only, with kin-openapi",
		"github.com/tidwall/match":                 "with gjson",
		"github.com/tidwall/pretty":                "with gjson",
		"go.yaml.in/yaml/v4":                       "tests only, with kin-openapi",
		"golang.org/x/text":                        "with x/net's names beyond ASCII",
	}
}

// A module comes in only with a reason, so that nothing is linked by accident.
func TestEveryModuleHasAReason(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range judge(string(text), reasons()) {
		t.Error(wrong)
	}
}

var requirement = regexp.MustCompile(`^(\S+) (v\S+)$`)

// judge returns what is wrong with a go.mod.
func judge(text string, reasons map[string]string) (wrong []string) {
	seen, block := map[string]bool{}, ""
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "//")
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "":
			continue
		case line == ")":
			block = ""
			continue
		case rest == "(":
			block = verb
			continue
		case block != "":
			verb, rest = block, line
		}
		switch verb {
		case "module", "go", "toolchain", "retract":
		case "require":
			m := requirement.FindStringSubmatch(rest)
			switch {
			case m == nil:
				wrong = append(wrong, fmt.Sprintf("go.mod:%d: cannot read %q", n+1, rest))
			case reasons[m[1]] == "":
				wrong = append(wrong, fmt.Sprintf("go.mod:%d: module %s has no reason: add it with one to internal/floors/modules_test.go, or do without it", n+1, m[1]))
			default:
				seen[m[1]] = true
			}
		default: // replace, exclude, tool and what may come
			wrong = append(wrong, fmt.Sprintf("go.mod:%d: %s is not allowed here: versions are pinned by require alone", n+1, verb))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		if !seen[name] {
			wrong = append(wrong, fmt.Sprintf("module %s is not in go.mod any more: take its reason out of internal/floors/modules_test.go", name))
		}
	}
	return wrong
}

func TestJudge(t *testing.T) {
	t.Parallel()
	reasons := map[string]string{"example.com/a": "a reason", "example.com/b": "another"}
	const good = "module m\n\ngo 1.26.0\n\nrequire example.com/a v1.0.0\n\nrequire (\n\texample.com/b v0.1.0 // indirect\n)\n"
	for name, c := range map[string]struct{ text, want string }{
		"good":          {good, ""},
		"without one":   {good + "require example.com/c v1.0.0\n", "go.mod:10: module example.com/c has no reason"},
		"in a block":    {good + "require (\n\texample.com/c v1.0.0 // indirect\n)\n", "go.mod:11: module example.com/c"},
		"replaced":      {good + "replace example.com/a => ../a\n", "go.mod:10: replace is not allowed"},
		"replace block": {good + "replace (\n\texample.com/a => ../a\n)\n", "go.mod:11: replace is not allowed"},
		"gone":          {strings.Replace(good, "require example.com/a v1.0.0\n", "", 1), "example.com/a is not in go.mod any more"},
		"no version":    {good + "require example.com/a latest\n", "go.mod:10: cannot read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := judge(c.text, reasons)
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want) && !strings.Contains(got[0], c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
