package directoryfake

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Bits of userAccountControl (MS-ADTS 2.2.16). Locked and password-expired are
// reliable only in msDS-User-Account-Control-Computed.
const (
	uacDisabled         = 0x2
	uacLocked           = 0x10
	uacNormal           = 0x200
	uacWorkstation      = 0x1000
	uacDomainController = 0x2000
	uacNeverExpires     = 0x10000 // the password
	uacPasswordExpired  = 0x800000
)

// never is the FILETIME that AD writes for an account without an end.
const never = math.MaxInt64

// FileTime returns a time as AD stores it: 100-nanosecond steps since
// 1601-01-01 UTC (MS-DTYP 2.3.3).
func FileTime(t time.Time) int64 {
	return t.Unix()*1e7 + int64(t.Nanosecond())/100 + 116444736000000000
}

// GeneralizedTime returns a time as whenCreated holds it, in whole seconds.
func GeneralizedTime(t time.Time) string { return t.UTC().Format("20060102150405") + ".0Z" }

// SID returns the bytes of a security identifier S-1-5-21-x-y-z-rid of the
// simulated domain (MS-DTYP 2.4.2.2).
func SID(rid uint32) string {
	b := []byte{1, 5, 0, 0, 0, 0, 0, 5}
	for _, sub := range []uint32{21, 1004336348, 1177238915, 682003330, rid} {
		b = binary.LittleEndian.AppendUint32(b, sub)
	}
	return string(b)
}

// BuiltinSID returns the bytes of S-1-5-32-rid, the SID of a group such as
// Administrators (544) that every domain has (MS-DTYP 2.4.2.4).
func BuiltinSID(rid uint32) string {
	b := binary.LittleEndian.AppendUint32([]byte{1, 2, 0, 0, 0, 0, 0, 5}, 32)
	return string(binary.LittleEndian.AppendUint32(b, rid))
}

// GUID returns 16 bytes for an objectGUID, always the same for the same name.
func GUID(dn string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(dn)))
	sum[7] = sum[7]&0x0f | 0x40 // version 4; the third field is little-endian
	sum[8] = sum[8]&0x3f | 0x80
	return string(sum[:16])
}
