package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser starts Debian's Chromium and returns a tab.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := installed(t, "chromium", "chromium")
	dir, err := os.MkdirTemp("", "funnel-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 1600))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	ctx, closeBrowser := chromedp.NewExecAllocator(ctx, options...)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		closeTab()
		closeBrowser()
		cancel()
		for range 20 { // Chromium's helpers may still write for a moment
			if os.RemoveAll(dir) == nil {
				return
			}
		}
	})
	return ctx
}

// violations collects what a page does against its policy, and what it asks of
// others than the server.
type violations struct {
	mu   sync.Mutex
	list []string
}

func (v *violations) note(text string) {
	v.mu.Lock()
	v.list = append(v.list, text)
	v.mu.Unlock()
}

func (v *violations) all() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.list...)
}

func watch(ctx context.Context, server string) *violations {
	v := &violations{}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *log.EventEntryAdded:
			if e.Entry.Source == log.SourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
				v.note(e.Entry.Text)
			}
		case *runtime.EventConsoleAPICalled:
			for _, arg := range e.Args {
				if strings.HasPrefix(string(arg.Value), `"csp: `) {
					v.note(string(arg.Value))
				}
			}
		case *runtime.EventExceptionThrown:
			v.note("an exception: " + e.ExceptionDetails.Error())
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, server+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
				v.note("it asks " + e.Request.URL)
			}
		}
	})
	return v
}

// watchScript reports violations from inside the page too.
const watchScript = `document.addEventListener('securitypolicyviolation', e => console.log('csp: ' + e.violatedDirective + ' ' + e.blockedURI));`

// A browser executes "Try it out" in Swagger UI, offline and under the strict
// policy, without a single violation; a page that breaks the policy is seen.
func TestTryItOut(t *testing.T) {
	t.Parallel()
	useReal(t)
	d := startDemo(t)
	ctx := browser(t)
	seen := watch(ctx, d.server)
	prepare := chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(watchScript).Do(ctx)
		return err
	})
	const action = "virustotal.file_report"
	const block = `.opblock[id$="file_report"]`
	var answer, status string
	var shot []byte
	err := chromedp.Run(ctx) // starts the browser, which ends with this context
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what string
		do   chromedp.Action
	}{
		{"watching the log", log.Enable()},
		{"watching the network", network.Enable()},
		{"watching the policy", prepare},
		{"opening the page", chromedp.Navigate(d.server + "/docs")},
		{"waiting for the operations", chromedp.WaitVisible(`.opblock-tag`, chromedp.ByQuery)},
		{"asking to authorize", click(`.scheme-container button.authorize`)},
		{"waiting for the form", chromedp.WaitVisible(`.modal-ux input`, chromedp.ByQuery)},
		{"typing the token", chromedp.SendKeys(`.modal-ux input`, d.token, chromedp.ByQuery)},
		{"authorizing", click(`.modal-ux button.authorize`)},
		{"closing the form", click(`.modal-ux button.btn-done`)},
		{"opening the action", click(block + ` .opblock-summary-control`)},
		{"trying it out", click(block + ` .try-out__btn`)},
		{"executing it", click(block + ` button.execute`)},
		{"waiting for the answer", chromedp.WaitVisible(block+` .live-responses-table .response-col_status`, chromedp.ByQuery)},
		{"reading the status", chromedp.Text(block+` .live-responses-table tbody .response-col_status`, &status, chromedp.ByQuery)},
		{"reading the answer", chromedp.Text(block+` .live-responses-table tbody .highlight-code`, &answer, chromedp.ByQuery)},
	} {
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		if err = chromedp.Run(within, step.do); err != nil {
			err = fmt.Errorf("%s: %w", step.what, err)
		}
		cancel()
		if err != nil {
			break
		}
	}
	shotErr := chromedp.Run(ctx, chromedp.CaptureScreenshot(&shot))
	if shotErr != nil {
		t.Error(shotErr)
	}
	if len(shot) > 0 && os.Getenv("FUNNEL_E2E_SHOTS") != "" {
		if err := os.WriteFile(filepath.Join(os.Getenv("FUNNEL_E2E_SHOTS"), "docs.png"), shot, 0o600); err != nil {
			t.Error(err)
		}
	}
	if err != nil {
		t.Fatalf("trying %s out: %v; violations: %q", action, err, seen.all())
	}
	start, end := strings.IndexByte(answer, '{'), strings.LastIndexByte(answer, '}')
	var report struct{ Malicious int }
	if start < 0 || json.Unmarshal([]byte(answer[start:end+1]), &report) != nil || report.Malicious != 64 || !strings.HasPrefix(strings.TrimSpace(status), "200") {
		t.Errorf("the page shows %q: %s", status, answer)
	}
	if list := seen.all(); len(list) > 0 {
		t.Errorf("%d violations: %q", len(list), list)
	}
	// The watch can fail: what the policy forbids is seen.
	if err := chromedp.Run(ctx, chromedp.Evaluate(`{ const s = document.createElement('script'); s.textContent = '1'; document.body.append(s); null }`, nil), settled()); err != nil {
		t.Fatal(err)
	}
	if len(seen.all()) == 0 {
		t.Error("a script inside the page is no violation: nothing is watched")
	}
}

// click waits for an element and clicks it by its own method: where it is on the
// long page does not matter then.
func click(selector string) chromedp.Action {
	return chromedp.Tasks{
		chromedp.WaitVisible(selector, chromedp.ByQuery),
		chromedp.Evaluate(fmt.Sprintf(`document.querySelector(%q).click()`, selector), nil),
	}
}

// settled waits until the page has drawn twice, by when its events are out.
func settled() chromedp.Action {
	return chromedp.Evaluate(`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))`, nil, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	})
}
