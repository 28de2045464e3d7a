package splunk

import (
	"fmt"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
)

const (
	md5a    = "44d88612fea8a8f36de82e1278abb02f"
	sha1a   = "3395856ce81f2b7382dee72602f798b642f14140"
	sha256a = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
)

func list(o funnel.Observables) string {
	var b []string
	for _, x := range o.Observables {
		b = append(b, fmt.Sprintf("%s=%s(%s)", x.Kind, x.Value, x.Field))
	}
	return strings.Join(b, " ")
}

func TestObservables(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxObservable+1)
	tests := map[string]struct {
		row     string
		mapping map[funnel.Kind][]string
		want    string
	}{
		"user first":         {`{"dest_user":"c","src_user":"b","user":"a"}`, nil, "user=a(user) user=b(src_user) user=c(dest_user)"},
		"host or address":    {`{"src":"10.0.0.7","dest":"WS-0142","src_host":"10.1.1.1"}`, nil, "host=WS-0142(dest) ip=10.0.0.7(src)"},
		"logging host":       {`{"host":"collector01"}`, nil, ""},
		"bad address":        {`{"src_ip":"10.0.0.700","dest_ip":"fe80::1%<b>x"}`, nil, ""},
		"hash by length":     {`{"file_hash":["` + sha256a + `","` + md5a + `"]}`, nil, "md5=" + md5a + "(file_hash) sha256=" + sha256a + "(file_hash)"},
		"hash in wrong name": {`{"sha256":"` + md5a + `"}`, nil, ""},
		"sysmon hashes":      {`{"process_hash":"SHA1=` + sha1a + `,MD5=` + md5a + `,IMPHASH=00000000000000000000000000000000x"}`, nil, "md5=" + md5a + "(process_hash) sha1=" + sha1a + "(process_hash)"},
		"no values":          {`{"user":["","-"," Unknown ","N/A",null,"` + long + `"]}`, nil, ""},
		"each once":          {`{"user":["a","A","a"],"src_user":"a"}`, nil, "user=a(user)"},
		"address once":       {`{"src":"10.0.0.7","src_ip":"::ffff:10.0.0.7"}`, nil, "ip=::ffff:10.0.0.7(src_ip)"},
		"others":             {`{"url":"http://evil.example.test/x","domain":["evil.example.test","CORP"],"sender":"a@example.com","recipient":"nobody"}`, nil, "domain=evil.example.test(domain) url=http://evil.example.test/x(url) email=a@example.com(sender)"},
		"inert":              {`{"user":"*)(uid=*"}`, nil, "user=*)(uid=*(user)"},
		"mapping":            {`{"user":"a","Account_Name":"b","src_ip":"10.0.0.7"}`, map[funnel.Kind][]string{funnel.User: {"Account_Name"}}, "user=b(Account_Name) ip=10.0.0.7(src_ip)"},
		"kind switched off":  {`{"user":"a","src_ip":"10.0.0.7"}`, map[funnel.Kind][]string{funnel.User: {}}, "ip=10.0.0.7(src_ip)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(alert(test.row))
			req.Fields = test.mapping
			_, e := decode(t, req)
			if got := list(e.Observables); got != test.want {
				t.Errorf("observables are\n%s, want\n%s", got, test.want)
			}
		})
	}
}

// Free text is what the source names, or some well-known fields; the raw event
// counts where nothing is mapped. It changes no fingerprint.
func TestFreeText(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		row    string
		fields []string
		want   string
	}{
		"well-known":     {`{"user":"a","message":"m","title":["t1","t2"],"other":"o","_raw":"r"}`, nil, "m\nt1\nt2"},
		"nothing mapped": {`{"message":"m","_raw":"r"}`, nil, "m\nr"},
		"named":          {`{"user":"a","message":"m","_raw":"r"}`, []string{"_raw", "absent"}, "r"},
		"switched off":   {`{"message":"m","_raw":"r"}`, []string{}, ""},
		"none":           {`{"user":"a"}`, nil, ""},
	} {
		req := request(alert(test.row))
		req.Text = test.fields
		arrivals, err := decodeAlert(req)
		if err != nil || arrivals[0].Text != test.want {
			t.Errorf("%s: the text is %q (%v), want %q", name, arrivals[0].Text, err, test.want)
		}
		req.Text = []string{}
		if without, err := decodeAlert(req); err != nil || without[0].Event.Fingerprint != arrivals[0].Event.Fingerprint {
			t.Errorf("%s: the text changes the fingerprint (%v)", name, err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	print := func(row string, fields ...string) string {
		req := request(alert(row))
		req.Fingerprint = fields
		_, e := decode(t, req)
		return e.Fingerprint
	}
	same := map[string][2]string{
		"other fields differ": {print(`{"user":"a","_time":"1","id":"7"}`), print(`{"user":"a","_time":"2","id":"8"}`)},
		"letter case":         {print(`{"user":"JDOE","md5":"` + md5a + `"}`), print(`{"user":"jdoe","md5":"` + strings.ToUpper(md5a) + `"}`)},
		"order of values":     {print(`{"user":["a","b"]}`), print(`{"user":["b","a"]}`)},
		"order of fields":     {print(`{"x":"1","y":"2"}`, "x", "y"), print(`{"x":"1","y":"2"}`, "y", "x", "y")},
		"missing is empty":    {print(`{"x":"1","y":""}`, "x", "y"), print(`{"x":"1"}`, "x", "y")},
		"named fields only":   {print(`{"x":"1","user":"a"}`, "x"), print(`{"x":"1","user":"b"}`, "x")},
		"row without times":   {print(`{"msg":"m","_time":"1","firstTime":"1","_raw":"1"}`), print(`{"msg":"m","_time":"2","firstTime":"2","_raw":"2","punct":"."}`)},
	}
	for name, f := range same {
		if f[0] != f[1] {
			t.Errorf("%s: fingerprints differ", name)
		}
	}
	other := map[string][2]string{
		"user":                {print(`{"user":"a"}`), print(`{"user":"b"}`)},
		"kind":                {print(`{"user":"a"}`), print(`{"src_host":"a"}`)},
		"one more":            {print(`{"user":"a"}`), print(`{"user":["a","b"]}`)},
		"url letter case":     {print(`{"url":"http://x/A"}`), print(`{"url":"http://x/a"}`)},
		"named field":         {print(`{"x":"1"}`, "x"), print(`{"x":"2"}`, "x")},
		"values split":        {print(`{"x":["1","y","2"]}`, "x", "y"), print(`{"x":"1","y":"2"}`, "x", "y")},
		"nothing to look up":  {print(`{"msg":"m1"}`), print(`{"msg":"m2"}`)},
		"only internal":       {print(`{"_raw":"m1"}`), print(`{"_raw":"m2"}`)},
		"beyond the event's":  {print(many(maxObservables + 1)), print(many(maxObservables + 2))},
		"another search":      {print(`{"user":"a"}`), searchPrint(t, "W3", "splunk-soc")},
		"another source":      {print(`{"user":"a"}`), searchPrint(t, "W2", "splunk-emea")},
		"search into source":  {searchPrint(t, "W2", "splunk-x"), searchPrint(t, "xW2", "splunk-")},
		"fields, observables": {print(`{"user":"a"}`), print(`{"user":"a"}`, "user")},
	}
	for name, f := range other {
		if f[0] == f[1] {
			t.Errorf("%s: fingerprints are equal", name)
		}
	}
}

func searchPrint(t *testing.T, search, source string) string {
	req := request(strings.Replace(alert(`{"user":"a"}`), `"W2"`, `"`+search+`"`, 1))
	req.Source = source
	_, e := decode(t, req)
	return e.Fingerprint
}

func many(n int) string {
	var users []string
	for i := range n {
		users = append(users, fmt.Sprintf(`"u%d"`, i))
	}
	return `{"user":[` + strings.Join(users, ",") + `]}`
}

func TestObservablesBounded(t *testing.T) {
	t.Parallel()
	if _, e := decode(t, request(alert(many(5000)))); len(e.Observables.Observables) != maxObservables {
		t.Errorf("an event has %d observables, want %d", len(e.Observables.Observables), maxObservables)
	}
}
