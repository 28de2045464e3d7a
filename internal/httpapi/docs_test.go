package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The page and everything it names is served without a token, under a policy
// that names nobody else.
func TestDocs(t *testing.T) {
	h := newHouse(t)
	page := h.ask(header(request("GET", "/docs", ""), "Authorization", ""))
	if page.Code != 200 || page.Header().Get("Content-Security-Policy") != docsPolicy {
		t.Fatalf("%d with the policy %q", page.Code, page.Header().Get("Content-Security-Policy"))
	}
	named := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.Body.String(), -1)
	asked := 0
	for _, m := range named {
		if strings.HasPrefix(m[1], "data:") {
			continue
		}
		if !strings.HasPrefix(m[1], "/") || strings.HasPrefix(m[1], "//") {
			t.Errorf("the page loads %s from elsewhere", m[1])
			continue
		}
		asked++
		if w := h.ask(header(request("GET", m[1], ""), "Authorization", "")); w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %d bytes", m[1], w.Code, w.Body.Len())
		}
	}
	if asked < 4 {
		t.Errorf("the page names %d addresses", asked)
	}
	for _, word := range []string{"unsafe", "http:", "https:", "*"} {
		if strings.Contains(docsPolicy, word) {
			t.Errorf("the policy allows %s", word)
		}
	}
}

// Swagger UI is what its README says, compressed for those who can read it and
// plain for the others.
func TestDocsFiles(t *testing.T) {
	h := newHouse(t)
	readme, err := os.ReadFile("swaggerui/README.md")
	if err != nil {
		t.Fatal(err)
	}
	sums := regexp.MustCompile(`\| (swagger-ui\S+) \| ([0-9a-f]{64}) \|`).FindAllStringSubmatch(string(readme), -1)
	if len(sums) != 2 {
		t.Fatalf("the README names %d files", len(sums))
	}
	for _, m := range sums {
		plain := h.ask(request("GET", "/docs/"+m[1], ""))
		if plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: compressed for who did not ask for it", m[1])
		}
		packed := h.ask(header(request("GET", "/docs/"+m[1], ""), "Accept-Encoding", "br, gzip"))
		if packed.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: not compressed", m[1])
		}
		r, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(unpacked, plain.Body.Bytes()) {
			t.Errorf("%s: both forms are not the same (%v)", m[1], err)
		}
		if sum := sha256.Sum256(unpacked); hex.EncodeToString(sum[:]) != m[2] {
			t.Errorf("%s is not the file that the README names", m[1])
		}
		if again := h.ask(header(request("GET", "/docs/"+m[1], ""), "If-None-Match", packed.Header().Get("ETag"))); again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("%s: asked again it gives %d, %d bytes", m[1], again.Code, again.Body.Len())
		}
	}
}
