package secret

import (
	"errors"
	"strings"
)

// The kinds of Ref.
const (
	Env        = "env"        // environment variable
	File       = "file"       // file; a relative path starts at the configuration's directory
	Credential = "credential" // systemd credential (LoadCredential=, systemd.exec(5))
)

// Ref names where a secret is: "${env:JIRA_TOKEN}", "${file:/etc/funnel/jira.token}", "${credential:jira-token}".
type Ref struct {
	Kind string
	Name string
}

// String returns the reference as it is written, which tells no secret.
func (r Ref) String() string { return "${" + r.Kind + ":" + r.Name + "}" }

const howTo = "write a reference: ${env:NAME}, ${file:PATH} or ${credential:NAME}"

// ErrLiteral is the error for a value that is no reference: probably the secret itself, so it is not repeated.
var ErrLiteral = errors.New("a secret must not stand here in plain text; " + howTo)

// IsRef reports whether s is meant as a reference, well formed or not. "${{" opens a playbook expression, which is none.
func IsRef(s string) bool {
	return strings.HasPrefix(s, "${") && !strings.HasPrefix(s, "${{")
}

// Parse reads a reference. Its errors never hold the text: it may be a secret that was written in the wrong place.
func Parse(ref string) (Ref, error) {
	if !IsRef(ref) {
		if strings.Contains(ref, "${") && !strings.Contains(ref, "${{") {
			return Ref{}, errors.New("a reference must be the whole value, without text around it; " + howTo)
		}
		return Ref{}, ErrLiteral
	}
	inside, closed := strings.CutSuffix(ref[2:], "}")
	if !closed || strings.ContainsAny(inside, "{}") {
		return Ref{}, errors.New(`a reference starts with "${" and ends with one "}", which ends the value too; ` + howTo)
	}
	kind, name, ok := strings.Cut(inside, ":")
	if !ok {
		return Ref{}, errors.New("a reference needs its kind; " + howTo)
	}
	switch kind {
	case Env:
		if !envName(name) {
			return Ref{}, errors.New("the name of an environment variable has letters, digits and _ only, and starts with no digit: ${env:NAME}")
		}
	case File:
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return Ref{}, errors.New("a reference to a file needs the file's path: ${file:PATH}")
		}
	case Credential:
		if !credentialName(name) {
			return Ref{}, errors.New("the name of a credential has letters, digits, . _ and - only: ${credential:NAME}")
		}
	default:
		return Ref{}, errors.New("unknown kind of reference; " + howTo)
	}
	return Ref{Kind: kind, Name: name}, nil
}

func envName(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

func credentialName(s string) bool {
	for _, r := range s {
		if !(r == '.' || r == '_' || r == '-' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}
