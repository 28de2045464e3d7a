package funnel

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func everyBlock(text string) Document {
	return NewDocument(
		Heading(2, Data(text)),
		Paragraph(Text("a "), Strong(Data(text)), Emphasis(Data(text)), Fixed(Data(text)), Link("there", "https://example.com/", text)),
		List(Item(Data(text)), Item(Text("two"))), OrderedList(Item(Data(text))),
		Table(Row(Item(Text("Field")), Item(Text("Value"))), Row(Item(Data(text)), Item(Data(text)))),
		Preformatted(text), Paragraph(LinkWithin("search", "https://splunk.example.com", text)),
	)
}

func FuzzDocument(f *testing.F) {
	for _, s := range []string{"", "plain", "*)(uid=*", "[~admin] {html}", "http://evil.example.test/x", "\x00\u202e\xff", "https://splunk.example.com/a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		doc := everyBlock(text)
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		var back Document
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("a document does not read back: %v\n%s", err, b)
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(b) {
			t.Fatalf("the second encoding differs:\n%s\n%s", b, again)
		}
		for _, block := range doc.Blocks {
			block.spans(func(i Inline) {
				if i.URL != "" && !strings.HasPrefix(i.URL, "https://example.com/") && !strings.HasPrefix(i.URL, "https://splunk.example.com") {
					t.Errorf("data %q became a link to %q", text, i.URL)
				}
				if strings.ContainsAny(i.Text, "\x00\n\u202e") {
					t.Errorf("control characters of %q survive in %q", text, i.Text)
				}
			})
		}
	})
}

func TestDocumentRefuses(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"version":2,"blocks":[]}`,
		`{"version":1,"blocks":[{"type":"macro"}]}`,
		`{"version":1,"blocks":[{"type":"heading","level":9}]}`,
		`{"version":1,"blocks":[{"type":"paragraph","text":[{"text":"x","url":"javascript:alert(1)"}]}]}`,
		`{"version":1,"blocks":[{"type":"table","rows":[[[{"text":"x","url":"ftp://example.com/"}]]]}]}`,
		`{"version":1,"blocks":[],"extra":1}`,
	} {
		var d Document
		if json.Unmarshal([]byte(body), &d) == nil {
			t.Errorf("%s was read as a document", body)
		}
	}
}

func TestLinkWithin(t *testing.T) {
	t.Parallel()
	const origin = "https://splunk.example.com:8000"
	for address, link := range map[string]bool{
		"https://splunk.example.com:8000/app/search/@go?sid=1": true,
		"https://splunk.example.com/app":                       false,
		"http://splunk.example.com:8000/app":                   false,
		"https://splunk.example.com:8000@evil.example.test/":   false,
		"https://user@splunk.example.com:8000/":                false,
		"https://evil.example.test/":                           false,
		"javascript:alert(1)":                                  false,
		"https://splunk.example.com:8000/a b":                  false,
		`https://splunk.example.com:8000\@evil.example.test/`:  false,
		"": false,
	} {
		if got := LinkWithin("search", origin, address).URL != ""; got != link {
			t.Errorf("LinkWithin(%q) is a link: %v, want %v", address, got, link)
		}
	}
	if LinkWithin("x", "", "https://example.com/").URL != "" {
		t.Error("without an origin, data became a link")
	}
}

func TestDefang(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"see http://evil.example.test/a.b?c": "see hxxp://evil[.]example[.]test/a.b?c",
		"HTTPS://a.example.test":             "HXXPS://a[.]example[.]test",
		"no link at 10.0.0.1":                "no link at 10.0.0.1",
		"two http://a.b ftp://c.d/e.f":       "two hxxp://a[.]b fxp://c[.]d/e.f",
	} {
		got := Defang(text)
		if got != want {
			t.Errorf("Defang(%q) = %q, want %q", text, got, want)
		}
		if again := Defang(got); again != got {
			t.Errorf("defanging %q twice gives %q", text, again)
		}
	}
}

func TestRegistryPanicsOnFaults(t *testing.T) {
	t.Parallel()
	trigger := NewTrigger("a.happened", "", func(Request) ([]Arrival[int], error) { return nil, nil })
	book := NewPlaybook("p", "", trigger, func(*Run, int) error { return nil })
	for name, fault := range map[string]func(){
		"integration twice":  func() { NewRegistry().Add(Integration{Name: "a"}, Integration{Name: "a"}) },
		"trigger of another": func() { NewRegistry().Add(Integration{Name: "b", Triggers: []AnyTrigger{trigger}}) },
		"playbook twice": func() {
			NewRegistry().Add(Integration{Name: "a", Triggers: []AnyTrigger{trigger}}).AddPlaybooks(book, book)
		},
		"trigger not known":     func() { NewRegistry().AddPlaybooks(book) },
		"action ID":             func() { NewAction("Nope", "", Reads, (*Registry).never) },
		"find of another type":  func() { NewAction("a.do_it", "", Writes, (*Registry).never, Find((*Registry).wrongFind)) },
		"playbook without name": func() { NewPlaybook("Bad Name", "", trigger, func(*Run, int) error { return nil }) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			fault()
		}()
	}
	if got := reflect.TypeFor[int](); NewRegistry().Add(Integration{Name: "a", Triggers: []AnyTrigger{trigger}}).Triggers()[0].Event != got {
		t.Error("the registry lost the trigger's type")
	}
}

func (*Registry) never(context.Context, int) (int, error) { return 0, nil }

func (*Registry) wrongFind(context.Context, EffectKey, string) (int, bool, error) {
	return 0, false, nil
}
