// Package secret holds what the server does about values that must not leave the process: the references by which a configuration
// names them, and the redactor that takes them out of logs. The type that cannot print itself is funnel.Secret.
package secret

import "github.com/funnelsec/funnel"

// Mask stands wherever a secret would have been shown.
const Mask = "[secret]"

// Secret is funnel.Secret.
type Secret = funnel.Secret

// New wraps a value. An empty value gives a Secret that is unset.
func New(plain string) Secret { return funnel.NewSecret(plain) }
