package splunk

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/funnelsec/funnel"
)

const (
	maxObservable  = 1024 // bytes; a longer value is not one that can be looked up
	maxObservables = 100  // of one event; the fingerprint counts all
)

// defaultFields returns the fields of Splunk's Common Information Model that
// hold observables of a kind, the most telling first. "host" is not among them:
// it is the machine that logged, often a collector.
func defaultFields(kind funnel.Kind) []string {
	switch kind {
	case funnel.User:
		return []string{"user", "src_user", "dest_user"}
	case funnel.Host:
		return []string{"src_host", "dest_host", "dest", "src"}
	case funnel.IP:
		return []string{"src_ip", "src", "dest_ip", "dest"}
	case funnel.Domain:
		return []string{"domain", "url_domain", "dest_domain"}
	case funnel.URL:
		return []string{"url"}
	case funnel.Email:
		return []string{"email", "sender", "recipient", "src_user_email"}
	case funnel.MD5, funnel.SHA1, funnel.SHA256:
		return []string{"file_hash", "process_hash", string(kind), "file_" + string(kind)}
	}
	return nil
}

// observables returns what can be looked up in a row, each once, by kind. The
// fields of a kind are those of the source's mapping if it names the kind (an
// empty list switches the kind off), else those of defaultFields. ids are their
// identities.
func observables(row Row, mapping map[funnel.Kind][]string) (found []funnel.Observable, ids []string) {
	found, ids = make([]funnel.Observable, 0, 16), make([]string, 0, 16)
	seen := make(map[string]bool, 16)
	var room [8]string // for what one value holds
	for _, kind := range funnel.Kinds() {
		fields, mapped := mapping[kind]
		if !mapped {
			fields = defaultFields(kind)
		}
		for _, field := range fields {
			for _, value := range row.Values(field) {
				for _, value := range candidates(room[:0], kind, value) {
					if !fits(kind, value) {
						continue
					}
					o := funnel.Observable{Kind: kind, Value: value, Field: field}
					if id := o.Identity(); !seen[id] {
						seen[id] = true
						ids = append(ids, id)
						found = append(found, o)
					}
				}
			}
		}
	}
	return found, ids
}

// candidates appends the value, or of a field with hashes each of them: Sysmon
// writes "SHA1=…,MD5=…,SHA256=…".
func candidates(list []string, kind funnel.Kind, value string) []string {
	if len(value) > maxObservable {
		return list
	}
	switch kind {
	case funnel.MD5, funnel.SHA1, funnel.SHA256:
		for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
			if _, hash, ok := strings.Cut(part, "="); ok {
				part = hash
			}
			list = append(list, part)
		}
		return list
	}
	return append(list, strings.TrimSpace(value))
}

// fits reports whether a value can be an observable of the kind.
func fits(kind funnel.Kind, value string) bool {
	if len(value) <= len("unknown") {
		switch strings.ToLower(value) {
		case "", "-", "unknown", "n/a":
			return false
		}
	}
	switch kind {
	case funnel.IP:
		addr, err := netip.ParseAddr(value)
		return err == nil && addr.Zone() == "" // a zone is free text
	case funnel.Host:
		return !isAddr(value)
	case funnel.Domain:
		return strings.Contains(value, ".") && !strings.ContainsAny(value, " /:@") && !isAddr(value)
	case funnel.Email:
		return strings.Count(value, "@") == 1 && !strings.ContainsAny(value, " ,;<>")
	case funnel.URL:
		return !strings.ContainsAny(value, " \t\r\n")
	case funnel.MD5, funnel.SHA1, funnel.SHA256:
		is, ok := funnel.HashKind(value)
		return ok && is == kind
	}
	return true
}

// isAddr reports whether the value is an IP address, with or without a zone.
func isAddr(value string) bool {
	if last := len(value) - 1; !strings.Contains(value, ":") && (last < 0 || value[last] < '0' || value[last] > '9') {
		return false // cheaper than an error; what has a colon or a zone is left to the parser
	}
	_, err := netip.ParseAddr(value)
	return err == nil
}

// defaultText returns the fields whose text is searched for further observables.
func defaultText() []string {
	return []string{"message", "msg", "description", "signature", "title", "reason"}
}

// freeText returns the text of the fields, a value per line. Without a choice of
// the source it is that of defaultText, and the raw event is read only where no
// mapped field holds an observable: it tells much that the alert is not about.
func freeText(row Row, fields []string, mapped bool) string {
	if fields == nil {
		fields = defaultText()
		if !mapped {
			fields = append(fields, "_raw")
		}
	}
	var values []string
	for _, field := range fields {
		values = append(values, row.Values(field)...)
	}
	return strings.Join(values, "\n")
}

// fingerprint returns what makes two alerts the same: the source and the search
// with the values of the fields that the source names, else with all observables
// of mapped fields. An alert that has neither is told apart by what its row says
// to people, without times; if that is nothing, by its whole row. So two unlike
// alerts of one search do not share a ticket only because nothing in them can
// be looked up. What is found in free text has no part in it: it is not what the
// alert says it is about.
func fingerprint(req funnel.Request, search string, row Row, ids []string) string {
	parts := []string{req.Source, search}
	switch {
	case len(req.Fingerprint) > 0:
		parts = append(parts, "fields")
		for _, name := range slices.Compact(slices.Sorted(slices.Values(req.Fingerprint))) {
			values := slices.Sorted(slices.Values(row.Values(name)))
			if len(values) == 0 { // a field that is missing counts as an empty one
				values = []string{""}
			}
			parts = append(parts, name, strconv.Itoa(len(values)))
			parts = append(parts, values...)
		}
	case len(ids) > 0:
		parts = append(parts, "observables")
		parts = append(parts, slices.Sorted(slices.Values(ids))...)
	default:
		telling := slices.DeleteFunc(row.Public(), func(f Field) bool { return tellsTime(f.Name) })
		if len(telling) == 0 {
			telling = row
		}
		parts = append(parts, "row", telling.hash())
	}
	return funnel.Fingerprint(parts...)
}

// tellsTime reports whether a field of the name holds a time, such as
// firstTime, info_max_time, timestamp and last_seen.
func tellsTime(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "time") || strings.HasSuffix(name, "timestamp") || strings.HasSuffix(name, "_seen") || name == "date"
}
