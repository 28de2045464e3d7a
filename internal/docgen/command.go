package docgen

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/funnelsec/funnel"
)

// FlagName is the flag of a field on the command line; a name that a flag of the
// command itself has gets a prefix.
func FlagName(f Field) string {
	name := strings.ReplaceAll(f.Name, "_", "-")
	switch name {
	case "input", "connection", "wait", "idempotency-key", "server", "json", "help":
		return "field-" + name
	}
	return name
}

// CommandLine is the command that performs the action's example, "" if it has
// none.
func CommandLine(s *funnel.ActionSpec) string {
	raw, ok := s.ExampleInput()
	in := map[string]json.RawMessage{}
	if !ok || json.Unmarshal(raw, &in) != nil {
		return ""
	}
	line := "funnel run " + s.ID
	for _, f := range Fields(s.Input) {
		v, given := in[f.Name]
		if !given {
			continue
		}
		values := []json.RawMessage{v}
		if strings.HasPrefix(f.Type, "list of ") && json.Unmarshal(v, &values) != nil {
			return ""
		}
		for _, v := range values {
			var text string
			if json.Unmarshal(v, &text) != nil {
				text = string(v)
			}
			if f.Type == "boolean" {
				line += " --" + FlagName(f) + "=" + text
				continue
			}
			line += " --" + FlagName(f) + " " + shellQuote(text)
		}
	}
	return line
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+-]+$`)

// shellQuote quotes a word for a POSIX shell, if it needs it.
func shellQuote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
