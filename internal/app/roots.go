package app

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"

	"github.com/funnelsec/funnel/internal/upstream"
)

// maxCAFile bounds a file with authorities in bytes. The list of all public ones
// has about 250 KB.
const maxCAFile = 1 << 20

// rootCAs returns the system's authorities and those in the file; nil, which
// stands for the system's alone, if there is no file. Certificates are always
// verified: there is no way to turn that off.
func rootCAs(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path) // first: opening a pipe would wait for its other end
	if err != nil {
		return nil, fmt.Errorf("reading the authorities: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading the authorities: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities: %w", err)
	}
	defer func() { _ = f.Close() }()
	pem, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the authorities: %w", err)
	case len(pem) > maxCAFile:
		return nil, fmt.Errorf("reading the authorities: %s is larger than %d MiB", path, maxCAFile>>20)
	}
	return upstream.Roots(pem)
}
