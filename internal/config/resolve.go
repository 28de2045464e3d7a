package config

import (
	"fmt"

	"github.com/funnelsec/funnel/internal/secret"
)

// minAuthSecret is the least length in bytes of a secret that authenticates webhooks.
const minAuthSecret = 24

// Resolve reads the secret behind a reference. The error is an *Error at the reference; it holds no part of a secret.
func (c *Config) Resolve(ref SecretRef) (secret.Secret, error) {
	s, err := c.secrets.Resolve(ref.Ref)
	if err != nil {
		return secret.Secret{}, c.at(ref, err.Error(), "")
	}
	return s, nil
}

// ResolveText reads the secret behind a reference as it is written. It fits Options.JSON; where the secret ends up is then the
// business of who asked. seen, if not nil, is told each secret, so that it can be redacted.
func (c *Config) ResolveText(seen func(secret.Secret)) func(ref string) (string, error) {
	return func(text string) (string, error) {
		ref, err := secret.Parse(text)
		if err != nil {
			return "", err
		}
		s, err := c.secrets.Resolve(ref)
		if err != nil {
			return "", err
		}
		if seen != nil {
			seen(s)
		}
		return s.Reveal(), nil
	}
}

// ResolveAuth reads the secrets of a source and refuses those shorter than 24 bytes. The error is an Errors.
func (c *Config) ResolveAuth(a Auth) ([]secret.Secret, error) {
	var (
		out  []secret.Secret
		errs Errors
	)
	for _, ref := range a.Secrets {
		s, err := c.secrets.Resolve(ref.Ref)
		switch {
		case err != nil:
			errs = append(errs, c.at(ref, err.Error(), ""))
		case s.Len() < minAuthSecret:
			errs = append(errs, c.at(ref, fmt.Sprintf("%s: the secret behind %s has %d bytes, fewer than the %d that are needed", ref.label, ref.Ref, s.Len(), minAuthSecret),
				"make one with: openssl rand -hex 24"))
		default:
			out = append(out, s)
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return out, nil
}

func (c *Config) at(ref SecretRef, what, hint string) *Error {
	return c.doc.err(ref.line, ref.column, what, hint)
}

// ErrorAt makes an error about a place in the file, for what only others can judge: an unknown integration, trigger or playbook.
// pointer is a JSON pointer from the top, such as "/connections/jira/integration"; hint may be empty.
func (c *Config) ErrorAt(pointer, what, hint string) *Error {
	line, column := Options{doc: c.doc, node: c.doc.root}.Position(pointer)
	return c.doc.err(line, column, what, hint)
}
