package jirafake

import (
	"crypto/subtle"
	"maps"
	"sync"
)

// tokens are the API tokens that the site takes.
type tokens struct {
	mu    sync.Mutex
	valid []string
	uses  map[string]int
}

// SetTokens replaces the tokens that the site takes, as when one is rotated: for a
// time both are good. It begins with Options.Token alone.
func (s *Site) SetTokens(list ...string) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	s.tokens.valid = list
}

// TokenUses returns how many requests came with each token that was good.
func (s *Site) TokenUses() map[string]int {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	return maps.Clone(s.tokens.uses)
}

// takes reports whether the token is good, and counts its use.
func (k *tokens) takes(token string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.valid {
		if subtle.ConstantTimeCompare([]byte(t), []byte(token)) == 1 {
			k.uses[t]++
			return true
		}
	}
	return false
}
