package activedirectory

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// fileTimeEpoch is 1970-01-01 in FILETIME: 100-nanosecond steps since
// 1601-01-01 UTC (MS-DTYP 2.3.3).
const fileTimeEpoch = 116444736000000000

// fileTime decodes a time such as pwdLastSet. It returns nil for "never", which
// AD writes as 0 or as the greatest integer, and for what is no time.
func fileTime(s string) *time.Time {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v <= 0 || v == math.MaxInt64 {
		return nil
	}
	v -= fileTimeEpoch
	seconds, steps := v/1e7, v%1e7
	t := time.Unix(seconds, steps*100).UTC()
	if t.Year() > 9999 { // has no form in JSON (RFC 3339), and means never
		return nil
	}
	return &t
}

// generalizedTime decodes a time such as whenCreated, "20260301090000.0Z" (RFC
// 4517 section 3.3.13), nil for what is none.
func generalizedTime(s string) *time.Time {
	t, err := time.Parse("20060102150405Z0700", s)
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}

// sid writes a security identifier, S-1-5-21-..., from its bytes (MS-DTYP
// 2.4.2.1 and 2.4.2.2); "" for what is none.
func sid(b []byte) string {
	if len(b) < 8 || b[0] != 1 || b[1] > 15 || len(b) != 8+4*int(b[1]) {
		return ""
	}
	authority := uint64(binary.BigEndian.Uint16(b[2:]))<<32 | uint64(binary.BigEndian.Uint32(b[4:]))
	var s strings.Builder
	if authority < 1<<32 {
		fmt.Fprintf(&s, "S-1-%d", authority)
	} else {
		fmt.Fprintf(&s, "S-1-0x%012X", authority)
	}
	for b = b[8:]; len(b) > 0; b = b[4:] {
		fmt.Fprintf(&s, "-%d", binary.LittleEndian.Uint32(b))
	}
	return s.String()
}

// guid writes an objectGUID; its first three fields are little-endian (MS-DTYP
// 2.3.4.2). It returns "" for what is none.
func guid(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x",
		binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:])
}
