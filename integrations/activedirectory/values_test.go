package activedirectory

import (
	"encoding/hex"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		// devblogs.microsoft.com/oldnewthing/20040315-00/?p=40253
		"010500000000000515000000a065cf7e784b9b5fe77c8770091c0100": "S-1-5-21-2127521184-1604012920-1887927527-72713",
		"01020000000000052000000020020000":                         "S-1-5-32-544",         // BUILTIN\Administrators, MS-DTYP 2.4.2.4
		"010100000000000100000000":                                 "S-1-1-0",              // Everyone
		"0101206c277c666601000000":                                 "S-1-0x206C277C6666-1", // authority of more than 32 bits
		"":                                                         "",
		"0105000000000005":                                         "", // cut
		"02010000000000050000000000":                               "", // other revision
		"01ff000000000005":                                         "", // more sub-authorities than there can be
	} {
		if got := sid(unhex(t, in)); got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
}

func TestGUID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"bb85433e437ceb4f8ea297c65cc06abf": "3e4385bb-7c43-4feb-8ea2-97c65cc06abf", // PowerShell's [guid] of the same bytes
		"000102030405060708090a0b0c0d0e0f": "03020100-0504-0706-0809-0a0b0c0d0e0f",
		"0001":                             "",
	} {
		if got := guid(unhex(t, in)); got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
}

func TestFileTime(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"128271382742968750":   "2007-06-24T05:57:54.296875Z", // w32tm /ntte, Microsoft TechNet wiki 12814
		"116444736000000000":   "1970-01-01T00:00:00Z",
		"1":                    "1601-01-01T00:00:00.0000001Z",
		"2650467743999999999":  "9999-12-31T23:59:59.9999999Z", // the last that JSON can hold
		"2650467744000000000":  "",
		"0":                    "",
		"9223372036854775807":  "",
		"9223372036854775806":  "",
		"-1":                   "",
		"":                     "",
		"soon":                 "",
		"99999999999999999999": "",
	} {
		got := ""
		if v := fileTime(in); v != nil {
			got = v.Format(time.RFC3339Nano)
			if _, err := v.MarshalJSON(); err != nil {
				t.Errorf("%s: %v", in, err)
			}
		}
		if got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
}

func TestGeneralizedTime(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"19941216103200Z":     "1994-12-16T10:32:00Z", // RFC 4517 section 3.3.13 has the same instant without seconds
		"20260301090000.0Z":   "2026-03-01T09:00:00Z",
		"20260301090000.5Z":   "2026-03-01T09:00:00.5Z",
		"20260301090000+0200": "2026-03-01T07:00:00Z",
		"20261301090000.0Z":   "",
		"":                    "",
	} {
		got := ""
		if v := generalizedTime(in); v != nil {
			got = v.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
}

// Whatever the bytes, decoding ends without a panic, and times survive the fake's
// encoding.
func TestDecodersTakeAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "bytes")
		sid(b)
		guid(b)
		fileTime(string(b))
		generalizedTime(string(b))
		at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "seconds"), 0).UTC()
		if got := generalizedTime(directoryfake.GeneralizedTime(at)); got == nil || !got.Equal(at) {
			t.Fatalf("%v became %v", at, got)
		}
	})
}
