package app

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel/internal/httpapi"
)

// TestReserve: on a large disk a fixed space is kept, on a small one a twentieth.
func TestReserve(t *testing.T) {
	for size, want := range map[int64]int64{1 << 40: 128 << 20, 4 << 30: 128 << 20, 1 << 30: 1 << 30 / 20, 0: 0} {
		if got := reserve(size); got != want {
			t.Errorf("of %d bytes %d are kept, want %d", size, got, want)
		}
	}
}

// TestSpareLooks: the disk is looked at once in a second, however often it is asked,
// and a database elsewhere has no disk here.
func TestSpareLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *httpapi.Disk
		looks := 0
		s := &spare{disk: func() *httpapi.Disk { looks++; return d }}
		if s.only() {
			t.Error("no disk has only its reserve left")
		}
		d = &httpapi.Disk{Reserved: true}
		if s.only() || looks != 1 {
			t.Errorf("after %d looks within a second it knows more", looks)
		}
		time.Sleep(time.Second)
		if first := s.only(); !first || first != s.only() || looks != 2 {
			t.Errorf("after a second and %d looks it does not know that only the reserve is left", looks)
		}
		d = &httpapi.Disk{Low: true}
		time.Sleep(time.Second)
		if s.only() {
			t.Error("with little space left, it says that only the reserve is")
		}
	})
}
