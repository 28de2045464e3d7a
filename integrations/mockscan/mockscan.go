// Package mockscan makes up the detections of an endpoint scanner, as Splunk
// would hold them: the alert source of the demo and of tests. The scanner
// "MockScan" exists nowhere else.
//
// It is not an integration to register: there is no system to connect to, so it
// has neither actions nor a trigger of its own. Its rows arrive through the
// trigger splunk.alert like any other.
package mockscan

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind says what a detection is there to show.
type Kind string

// The kinds.
const (
	Plain       Kind = "plain"
	Repeat      Kind = "repeat"       // the same finding as an earlier detection, seen again
	UnknownUser Kind = "unknown_user" // its user is in no directory
	UnknownFile Kind = "unknown_file" // no scanner knows its hash
	NoHash      Kind = "no_hash"      // it has no hash at all
	Hostile     Kind = "hostile"      // its fields try to be markup, mentions, links and LDAP
)

// File is a file that can be detected.
type File struct{ Name, MD5, SHA256 string }

// Link is where on the network a detection leads.
type Link struct{ URL, Domain, IP string }

// Options are the world in which detections happen.
type Options struct {
	Users []string  // accounts; without any, detections name no user
	Files []File    // in the order of the rules; without any, detections name no file
	Links []Link    // taken in turn by what came from or calls the network; without any, nothing does
	Start time.Time // of the first detection; zero: 2026-01-05 08:00 UTC
}

// Detection is one finding of the scanner.
type Detection struct {
	ID        string // unique, such as MS-2026-000142
	Kind      Kind
	Of        string // Repeat: ID of the detection that it repeats
	Rule      string // name of the rule, and of the search in Splunk
	Severity  string // critical, high, medium, low or informational
	Signature string
	Category  string
	Action    string // what the scanner did: blocked, quarantined or allowed
	Host      string
	User      string
	SrcIP     string
	File      File
	Link      Link
	Time      time.Time
}

type rule struct{ name, severity, signature, category, folder string }

func rules() []rule {
	return []rule{
		{"MockScan: Credential dumping tool", "critical", "HackTool.Win64.CredDump", "credential-access", `C:\Users\Public\`},
		{"MockScan: Suspicious macro document", "high", "Trojan.Doc.MacroDrop", "initial-access", `C:\Users\%s\Downloads\`},
		{"MockScan: Ransom note written", "critical", "Ransom.Win32.NoteDrop", "impact", `C:\Users\%s\Documents\`},
		{"MockScan: Remote access tool", "medium", "RiskTool.Win64.RemoteAdmin", "command-and-control", `C:\ProgramData\`},
		{"MockScan: Unwanted installer", "low", "PUA.Win32.Bundler", "execution", `C:\Users\%s\AppData\Local\Temp\`},
		{"MockScan: Antivirus test file", "informational", "Test.File.EICAR", "test", `C:\Users\%s\Desktop\`},
	}
}

// opening is what the first detections show, so that a handful has all kinds.
func opening() []Kind {
	return []Kind{Plain, Plain, Repeat, UnknownUser, UnknownFile, NoHash, Hostile}
}

// Alerts returns n detections, the same ones for the same seed and options, and
// more of them for a larger n. The first seven have one of each kind (two are
// plain); after them, one in five repeats an earlier one.
func Alerts(seed uint64, n int, o Options) []Detection {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	}
	chance := rand.New(rand.NewPCG(seed, 0x6d6f636b7363616e))
	at := o.Start
	found := make([]Detection, 0, n)
	for i := range n {
		kind := Plain
		if first := opening(); i < len(first) {
			kind = first[i]
		} else if chance.IntN(5) == 0 {
			kind = Repeat
		}
		var d Detection
		if kind == Repeat {
			d = found[0]
			if i >= len(opening()) {
				d = found[chance.IntN(len(found))]
			}
			if d.Kind != Repeat {
				d.Of = d.ID
			}
		} else {
			d = detection(chance, o, i)
			d.disturb(kind, chance)
		}
		at = at.Add(time.Duration(20_000+chance.IntN(160_000)) * time.Millisecond)
		d.ID, d.Kind, d.Time = fmt.Sprintf("MS-%d-%06d", at.Year(), 140+i), kind, at
		found = append(found, d)
	}
	return found
}

// detection returns a plain finding. Rules and files are taken in turn, so that
// six files, one for each rule, stay with their rules.
func detection(chance *rand.Rand, o Options, i int) Detection {
	all := rules()
	r := all[i%len(all)]
	d := Detection{
		Rule: r.name, Severity: r.severity, Signature: r.signature, Category: r.category,
		Action: []string{"blocked", "quarantined", "allowed"}[chance.IntN(3)],
		Host:   fmt.Sprintf("WS-%04d", 100+chance.IntN(400)),
		SrcIP:  fmt.Sprintf("10.20.%d.%d", 1+chance.IntN(8), 10+chance.IntN(240)),
	}
	if len(o.Users) > 0 {
		d.User = o.Users[chance.IntN(len(o.Users))]
	}
	if len(o.Files) > 0 {
		d.File = o.Files[i%len(o.Files)]
	}
	if len(o.Links) > 0 && (r.category == "initial-access" || r.category == "command-and-control") {
		d.Link = o.Links[i/2%len(o.Links)]
	}
	return d
}

func (d *Detection) disturb(kind Kind, chance *rand.Rand) {
	switch kind {
	case UnknownUser:
		d.User = "x.nobody"
	case UnknownFile:
		d.File = File{
			"svch0st.exe", fmt.Sprintf("%016x%016x", chance.Uint64(), chance.Uint64()),
			fmt.Sprintf("%016x%016x%016x%016x", chance.Uint64(), chance.Uint64(), chance.Uint64(), chance.Uint64()),
		}
	case NoHash:
		d.File = File{Name: d.File.Name}
	case Hostile:
		d.User = "*)(uid=*"
		d.File.Name = "{html}<script>alert(1)</script>.exe"
		d.Signature = "[~admin] @here see http://evil.example.test/x"
	}
}
