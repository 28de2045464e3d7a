package funnel_test

import (
	"context"
	"fmt"

	"github.com/funnelsec/funnel"
)

// inventory is the client of a made-up system that knows who owns a host.
type inventory struct{ owners map[string]string }

type ownerInput struct {
	Host string `json:"host" doc:"Name of the host" example:"WS-0142"`
}

type owner struct {
	Found bool   `json:"found" doc:"Whether the host is known"`
	Name  string `json:"name,omitempty" doc:"Who owns it"`
}

func (c *inventory) Owner(_ context.Context, in ownerInput) (owner, error) {
	name, ok := c.owners[in.Host]
	return owner{Found: ok, Name: name}, nil // not found is an answer, not an error
}

// A client's method becomes an action; its ID is "integration.verb_noun".
func ExampleNewAction() {
	getOwner := funnel.NewAction("inventory.get_owner", "Find out who owns a host.", funnel.Reads, (*inventory).Owner)

	client := &inventory{owners: map[string]string{"WS-0142": "Finance"}}
	out, err := getOwner.Spec().Invoke(context.Background(), client, []byte(`{"host": "WS-0142"}`))
	fmt.Println(string(out), err)
	// Output: {"found":true,"name":"Finance"} <nil>
}

// A registry is made by the program that uses it, and says at once what is wrong
// with what is added.
func ExampleRegistry_Add() {
	restart := funnel.NewAction("inventory.restart_host", "Restart a host.", funnel.Contains,
		func(*inventory, context.Context, ownerInput) (owner, error) { return owner{}, nil })
	defer func() { fmt.Println(recover()) }()
	funnel.NewRegistry().Add(funnel.Integration{
		Name:    "inventory",
		Connect: funnel.Connect(func(context.Context, funnel.Env, struct{}) (*inventory, error) { return &inventory{}, nil }),
		Actions: []funnel.AnyAction{restart},
	})
	// Output: funnel: action inventory.restart_host contains, but does not say how an unsure outcome is settled: add funnel.Find, funnel.Upsert or funnel.NoEvidence
}

// Text from outside is data: its links are defanged, and it cannot become markup.
func ExampleData() {
	doc := funnel.NewDocument(
		funnel.Heading(3, funnel.Text("File")),
		funnel.Paragraph(funnel.Text("Downloaded from "), funnel.Data("http://evil.example.test/x [~admin]")),
		funnel.Paragraph(funnel.Link("The report", "https://scanner.example.com/file/", "../admin")),
	)
	fmt.Println(doc)
	// Output:
	// File
	//
	// Downloaded from hxxp://evil[.]example[.]test/x [~admin]
	//
	// The report <https://scanner.example.com/file/..%2Fadmin>
}

// Alerts about the same thing have the same fingerprint, whatever else differs.
func ExampleFingerprint() {
	fmt.Println(funnel.Fingerprint("splunk", "Password spraying", "jdoe"))
	fmt.Println(funnel.Fingerprint("ab", "c") == funnel.Fingerprint("a", "bc"))
	// Output:
	// 2dmeawh4svwsa732y4pptbh4n4
	// false
}

// An unknown verdict says why it is unknown; it is never clean.
func ExampleVerdict() {
	fmt.Println(funnel.Verdict{Rating: funnel.Malicious, Score: 58, Total: 71})
	fmt.Println(funnel.Verdict{Rating: funnel.Unknown, Why: funnel.NotFoundThere})
	// Output:
	// malicious (58 of 71)
	// unknown (not found)
}

// A secret shows itself nowhere.
func ExampleSecret() {
	config := struct {
		User     string
		Password funnel.Secret
	}{"funnel", funnel.NewSecret("hunter2")}
	fmt.Printf("%v %+v %#v\n", config.Password, config, config.Password)
	// Output: [secret] {User:funnel Password:[secret]} [secret]
}
