package schema

import (
	"bytes"
	"hash/maphash"
	"unicode"
	"unicode/utf8"
)

// wide is the number of keys from which an object's keys are looked up in a map; below, comparing hashes in a row is faster.
const wide = 64

// keySet holds the folded keys of all objects that are open, the innermost last. Leaving an object takes its keys off the end.
type keySet struct {
	seed  maphash.Seed
	keys  []foldedKey
	arena []byte // the folded keys' bytes, one after another
	index map[wideKey]int32
}

type foldedKey struct {
	hash     uint64
	off, end uint32 // in arena
}

// wideKey finds a key of a wide object; object numbers are never used twice, so nothing has to be removed.
type wideKey struct {
	object int
	hash   uint64
}

// add takes a key (the inside of a well-formed literal), folded if letter case does not count, and reports whether the object, whose keys start at first, is free of it.
// The folded key is in last() afterwards.
func (k *keySet) add(inside []byte, escaped, fold bool, object, first int) bool {
	off := len(k.arena)
	if fold {
		k.arena = appendFolded(k.arena, inside, escaped)
	} else if escaped {
		k.arena = append(k.arena, unquoteKey(inside)...)
	} else {
		k.arena = append(k.arena, inside...)
	}
	folded := k.arena[off:]
	hash := maphash.Bytes(k.seed, folded)
	fresh := true
	if n := len(k.keys) - first; n < wide {
		fresh = !k.scan(first, hash, folded)
	} else {
		if n == wide {
			k.enter(object, first)
		}
		if at, ok := k.index[wideKey{object, hash}]; ok {
			// Two different keys of one hash are improbable, but must not be taken for the same.
			fresh = !bytes.Equal(k.bytes(at), folded) && !k.scan(first, hash, folded)
		} else {
			k.index[wideKey{object, hash}] = int32(len(k.keys))
		}
	}
	k.keys = append(k.keys, foldedKey{hash: hash, off: uint32(off), end: uint32(len(k.arena))})
	return fresh
}

func (k *keySet) scan(first int, hash uint64, folded []byte) bool {
	for i := first; i < len(k.keys); i++ {
		if k.keys[i].hash == hash && bytes.Equal(k.bytes(int32(i)), folded) {
			return true
		}
	}
	return false
}

// enter puts the keys of an object that became wide into the map.
func (k *keySet) enter(object, first int) {
	if k.index == nil {
		k.index = make(map[wideKey]int32, 4*wide)
	}
	for i := first; i < len(k.keys); i++ {
		k.index[wideKey{object, k.keys[i].hash}] = int32(i)
	}
}

func (k *keySet) bytes(i int32) []byte { return k.arena[k.keys[i].off:k.keys[i].end] }

func (k *keySet) last() []byte { return k.bytes(int32(len(k.keys) - 1)) }

// leave drops the keys of the innermost object.
func (k *keySet) leave(first int) {
	if first < len(k.keys) {
		k.arena = k.arena[:k.keys[first].off]
		k.keys = k.keys[:first]
	}
}

// appendFolded appends a key, decoded and folded as encoding/json folds names when it looks for a field.
func appendFolded(dst, inside []byte, escaped bool) []byte {
	if escaped {
		inside = []byte(unquoteKey(inside))
	}
	for i := 0; i < len(inside); {
		c := inside[i]
		if c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(inside[i:])
		dst = utf8.AppendRune(dst, foldRune(r))
		i += n
	}
	return dst
}

// foldRune returns the smallest of the runes that differ from r in case only (the Kelvin sign and k are K).
func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
