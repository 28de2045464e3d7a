package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/internal/auth"
	"github.com/funnelsec/funnel/internal/httpapi"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/observables"
	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/store"
)

const (
	clients    = 64
	alertBytes = 2048
	hookSecret = "bench-splunk-secret-0123456789"
	hookPath   = "/hooks/splunk/" + hookSecret
)

// TestDurableAcceptance compares how many alerts per second are on the disk and
// answered.
func TestDurableAcceptance(t *testing.T) {
	alerts := 2 * clients
	if *full {
		alerts = 16000
	}
	var mine, bare string
	compare(t, "durable acceptance of 2 KiB alerts, 64 clients", "alerts/s", 0.60,
		func(t *testing.T) float64 {
			mine = database(t)
			s := open(t, mine)
			defer closing(t, s)
			return deliver(t, acceptor(t, s), alerts)
		},
		func(t *testing.T) float64 {
			bare = database(t)
			b := newBare(t, bare)
			defer closing(t, closer(b.close))
			return deliver(t, bareAcceptor(t, b), alerts)
		})
	if mine != "" && bare != "" {
		mustHoldTheSame(t, mine, bare)
	}
}

type closer func() error

func (c closer) Close() error { return c() }

func closing(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// acceptor is the server's own handler with its intake and its queue. The queue
// is not started: alerts are accepted and not worked on.
func acceptor(t *testing.T, s *store.Store) http.Handler {
	t.Helper()
	book := funnel.NewPlaybook("bench", "Do nothing.", splunk.Alert, func(*funnel.Run, splunk.AlertEvent) error { return nil })
	registry := funnel.NewRegistry().Add(splunk.Integration()).AddPlaybooks(book)
	counters, log := metrics.New(), slog.New(slog.DiscardHandler)
	waiting := queue.New(queue.Options{Backlog: s, Workers: 32, Log: log})
	receiver := intake.New(intake.Options{
		Inbox: s, Match: func(string) []string { return []string{book.Name} }, Wake: waiting.Add, Log: log, Metrics: counters,
		Observe: observables.NewOurs([]string{"corp.example.com"}, nil).Observe,
		Sources: []intake.Source{{Name: "splunk", Triggers: []*funnel.TriggerSpec{splunk.Alert.Spec()}, Auth: intake.PathSecret(hookSecret), MaxBody: 1 << 20}},
	})
	dir := filepath.Join(t.TempDir(), "tokens")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	tokens, _, err := auth.Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, tokens) })
	return httpapi.New(httpapi.Options{Intake: receiver, Reader: s, Tokens: tokens, Registry: registry, Metrics: counters, Version: "bench", Log: log})
}

// bareAcceptor reads the body and inserts what the server would insert, with
// bytes of the same length that it does not look into.
func bareAcceptor(t *testing.T, b *bare) http.Handler {
	t.Helper()
	alert := newAlert()
	arrivals, err := splunk.Alert.Spec().Decode(funnel.Request{Source: "splunk", Body: alert.body, ReceivedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	data, key := []byte(arrivals[0].Event), "splunk:"+arrivals[0].Key
	before, after, _ := strings.Cut(key, firstSerial)
	var serial atomic.Int64
	serial.Store(serialBase)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		now := time.Now().UnixMicro()
		key := before + strconv.FormatInt(serial.Add(1), 10) + after
		err = b.do(func() error {
			res, err := b.exec(insertEvent, "splunk", key, now, body, data)
			if err != nil {
				return err
			}
			event, _ := res.LastInsertId()
			if _, err := b.exec(insertRun, event, now, now); err != nil {
				return err
			}
			_, err = b.exec(insertDelivery, "splunk", now, event, len(body))
			return err
		})
		if err != nil {
			panic(err)
		}
		w.WriteHeader(http.StatusAccepted)
	})
}

// deliver serves the handler on the loopback interface, has the clients deliver
// the alerts over connections that they keep, and returns the alerts per second.
func deliver(t *testing.T, handler http.Handler, alerts int) float64 {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.Server(handler, listen.Addr().String())
	go func() { _ = server.Serve(listen) }()
	defer func() { _ = server.Close() }()

	var serial atomic.Int64
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	errs := make(chan error, clients)
	for range clients {
		ready.Add(1)
		done.Go(func() {
			c, err := dial(listen.Addr().String())
			ready.Done()
			if err != nil {
				errs <- err
				return
			}
			defer func() { _ = c.Close() }()
			<-start
			for n := serial.Add(1); n <= int64(alerts); n = serial.Add(1) {
				if err := c.send(serialBase + n); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	ready.Wait()
	began := time.Now()
	close(start)
	done.Wait()
	took := time.Since(began)
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	return float64(alerts) / took.Seconds()
}

// alert is a body of which only the serial number changes.
type alert struct {
	body []byte
	at   []int // where the serial number stands
}

// Serial numbers have a fixed number of digits.
const (
	serialBase  = 1_000_000_000
	firstSerial = "1000000000"
)

// newAlert makes an alert as Splunk's webhook action sends it, with the fields
// of an endpoint product and a raw event that fills it up to its size.
func newAlert() alert {
	text := fmt.Sprintf(`{"sid":"scheduler__admin__search__RMD5a1b2c3d4e5f60718_at_1700000000_%[1]s","search_name":"MockScan: Credential dumping tool",`+
		`"app":"search","owner":"admin","results_link":"https://splunk.example.com:8000/app/search/@go?sid=scheduler__admin__search__RMD5a1b2c3d4e5f60718_at_1700000000_%[1]s",`+
		`"result":{"_time":"1700000000.123","_indextime":"1700000001","_sourcetype":"mockscan:alert","_bkt":"main~17~3F1B","_cd":"17:4711","_serial":"0","_si":["idx01","main"],`+
		`"host":"collector01","index":"main","source":"mockscan","sourcetype":"mockscan:alert","splunk_server":"idx01","linecount":"1","punct":"--_::_...",`+
		`"severity":"high","signature":"HackTool:Win64/Mimikatz","action":"blocked","category":"credential-access","user":"jdoe","src_user":"EXAMPLE\\jdoe",`+
		`"dest":"ws-0042.example.com","dest_ip":"192.0.2.42","src_ip":"198.51.100.7","url":"https://files.example.com/tools/m.exe","domain":"files.example.com",`+
		`"process":"C:\\Users\\jdoe\\Downloads\\m.exe","process_id":"%[1]s","file_name":"m.exe",`+
		`"file_hash":"SHA256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08,MD5=098f6bcd4621d373cade4e832627b4f6","_raw":"`, firstSerial)
	const end = `"}}`
	text += strings.Repeat("event ", alertBytes)[:alertBytes-len(text)-len(end)] + end
	a := alert{body: []byte(text)}
	for at, found := 0, 0; found >= 0; at += found + len(firstSerial) {
		if found = strings.Index(text[at:], firstSerial); found >= 0 {
			a.at = append(a.at, at+found)
		}
	}
	return a
}

// client is one connection of a sender. It is lean, because the machine is
// shared with the server that is measured.
type client struct {
	net.Conn
	request []byte
	at      []int
	answer  *bufio.Reader
}

func dial(address string) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	a := newAlert()
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Splunk/bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", hookPath, address, len(a.body))
	c := &client{Conn: conn, request: append([]byte(head), a.body...), answer: bufio.NewReader(conn)}
	for _, at := range a.at {
		c.at = append(c.at, len(head)+at)
	}
	return c, nil
}

// send delivers the alert of the serial number and reads the answer.
func (c *client) send(serial int64) error {
	text := strconv.FormatInt(serial, 10)
	for _, at := range c.at {
		copy(c.request[at:], text)
	}
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.answer.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 202 ")) {
			rest, _ := io.ReadAll(io.LimitReader(c.answer, 400))
			return errors.New("not accepted: " + string(line) + string(rest))
		}
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			break
		}
	}
	_, err := c.answer.Discard(length)
	return err
}
