package schema

import "testing"

func TestFreeKeys(t *testing.T) {
	t.Parallel()
	for body, ok := range map[string]bool{
		`{"sid":"1","result":{"user":"a","USER":"b"}}`:      true,
		`{"sid":"1","result":{"user":"a","user":"b"}}`:      false,
		`{"sid":"1","result":{"user":"a","\u0075ser":"b"}}`: false,
		`{"sid":"1","SID":"2","result":{}}`:                 false,
	} {
		if err := Check([]byte(body), Limits{FreeKeys: true}); (err == nil) != ok {
			t.Errorf("Check(%s) = %v, want accepted %v", body, err, ok)
		}
	}
	if Check([]byte(`{"result":{"user":"a","USER":"b"}}`), Limits{}) == nil {
		t.Error("without FreeKeys, keys that differ in case only were accepted")
	}
}
