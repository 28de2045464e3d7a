package config

import (
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

func (r *reader) server(n *node, s *Server) {
	o := r.object(n, "server")
	listen := o.text("listen", "127.0.0.1:8080", &s.Listen)
	o.flag("behind_proxy", &s.BehindProxy)
	if listen != nil {
		host, port, err := net.SplitHostPort(s.Listen)
		_, portErr := strconv.ParseUint(port, 10, 16)
		_, ipErr := netip.ParseAddr(host)
		switch {
		case err != nil || portErr != nil:
			r.fail(listen, "server.listen must be an address and a port", "write listen: 127.0.0.1:8080")
		case ipErr != nil && host != "" && host != "localhost":
			r.fail(listen, "server.listen must be an IP address and a port, not a name", "write listen: 127.0.0.1:8080")
		case !s.BehindProxy && !loopback(s.Listen):
			r.fail(listen, "server.listen is not a loopback address, so secrets would travel over the network unencrypted",
				"put a proxy that terminates TLS in front and set server.behind_proxy: true; or write listen: 127.0.0.1:"+port)
		}
	}
	s.PublicURL = "http://" + s.Listen
	if n := o.text("public_url", "https://funnel.example.com", &s.PublicURL); n != nil {
		if what, hint := checkURL(s.PublicURL, true); what != "" {
			r.fail(n, "server.public_url "+what, hint)
		}
		s.PublicURL = strings.TrimRight(s.PublicURL, "/")
	}
	o.duration("drain_delay", 5*time.Minute, &s.DrainDelay)
	o.duration("drain_limit", 10*time.Minute, &s.DrainLimit)
	o.done()
}

// loopback reports whether an address can be reached from this machine only.
func loopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	return loopbackHost(host)
}

func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// checkURL says what is wrong with a URL and what to do, "" if nothing. For a link that people open, http will do.
func checkURL(s string, link bool) (what, hint string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return "must be a URL", "write it with scheme and host: https://funnel.example.com"
	case u.User != nil:
		return "must not hold a user name or password", "remove what stands before the @"
	case u.Fragment != "" || link && u.RawQuery != "":
		return "must end with the path", "remove what follows the path"
	case u.Scheme == "http" && !link && !loopbackHost(u.Hostname()):
		return "must use https, unless the host is this machine", "write https://" + u.Host
	}
	return "", ""
}

// readUpTo fills buf from f and returns how much there was.
func readUpTo(f *os.File, buf []byte) (int, error) {
	n, err := io.ReadFull(f, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return n, err
}
