package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Export returns the hashes of the tokens of a data directory, for the other
// nodes of a shared database.
func Export(dir string) ([]byte, error) {
	t, err := peek(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.root.Close() }()
	return json.Marshal(content{Version: 1, Tokens: t.kept})
}

// peek reads the tokens as they are.
func peek(dir string) (*Tokens, error) {
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	t := &Tokens{root: root, now: time.Now}
	if _, err := t.load(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return t, nil
}

// Import makes exported tokens those of the data directory, unless it has newer
// ones and anyway is false.
func Import(dir string, exported []byte, anyway bool) error {
	var c content
	if err := json.Unmarshal(exported, &c); err != nil || c.Version != 1 || len(c.Tokens) == 0 {
		return errors.New("reading the tokens of the other nodes: they are damaged or of a newer version")
	}
	t, err := peek(dir)
	if err != nil {
		return err
	}
	defer func() { _ = t.root.Close() }()
	if !anyway && len(t.kept) > 0 && !latest(c.Tokens).After(latest(t.kept)) {
		return nil
	}
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := t.save(c.Tokens); err != nil {
		return fmt.Errorf("taking over the tokens of the other nodes: %w", err)
	}
	if err := t.root.Remove(FirstRunFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Newer reports whether the exported tokens were made later than the others.
func Newer(exported, than []byte) bool {
	var a, b content
	if json.Unmarshal(exported, &a) != nil || json.Unmarshal(than, &b) != nil {
		return false
	}
	return latest(a.Tokens).After(latest(b.Tokens))
}

func latest(list []entry) (at time.Time) {
	for _, e := range list {
		if e.CreatedAt.After(at) {
			at = e.CreatedAt
		}
	}
	return at
}
