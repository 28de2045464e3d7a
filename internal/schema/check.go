package schema

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Check reads raw once and refuses what is not plain, unambiguous JSON within the limits: bad UTF-8, lone surrogates, keys that
// repeat within an object (after decoding escapes, and also if they differ in case only), anything after the document, an empty
// body, and whatever exceeds a limit. The error is a *SyntaxError.
//
// The character U+0000, written as an escape, is allowed: JSON allows it, and only the code behind knows whether it can bear it.
//
// A usual alert is checked with one allocation of about 4 KB; only unusual depth and width take more.
func Check(raw []byte, lim Limits) error {
	if err := check(raw, lim, nil); err != nil {
		return err
	}
	return nil
}

func check(raw []byte, lim Limits, want *plan) *SyntaxError {
	lim = lim.withDefaults()
	if len(raw) > lim.Bytes {
		return newError(raw, TooLarge, lim.Bytes, "", fmt.Sprintf("the body is larger than %d bytes", lim.Bytes))
	}
	room := new(struct {
		frames [16]frame
		keys   [wide]foldedKey
		arena  [1024]byte
	})
	c := checker{raw: raw, lim: lim, frames: room.frames[:0], next: want}
	c.keys = keySet{seed: maphash.MakeSeed(), keys: room.keys[:0], arena: room.arena[:0]}
	return c.run()
}

// frame is an object or array that is open.
type frame struct {
	object           bool
	index            int // array: number of the current element
	keyStart, keyEnd int // object: where the inside of the current key's literal is; 0, 0 before the first
	start            int // offset of its opening bracket
	serial           int // its number in the document
	firstKey         int // object: where its keys start in the key set
	plan             *plan
}

type checker struct {
	raw     []byte
	pos     int
	lim     Limits
	nodes   int
	objects int
	frames  []frame
	keys    keySet
	next    *plan // what the next value should be; nil if anything will do

	seek  int  // if > 0: stop at the scalar that ends at this offset or later
	probe bool // try each value that has a decoder of its own, and stop at the first that fails
}

func (c *checker) fail(kind Kind, offset int, what string) *SyntaxError {
	return newError(c.raw, kind, offset, c.path(), what)
}

// path returns the JSON pointer of the value or key that is being read.
func (c *checker) path() string {
	var b strings.Builder
	for _, f := range c.frames {
		switch {
		case !f.object:
			b.WriteByte('/')
			b.WriteString(strconv.Itoa(f.index))
		case f.keyStart > 0:
			appendKey(&b, unquoteKey(c.raw[f.keyStart:f.keyEnd]))
		}
	}
	return clipPath(b.String())
}

func (c *checker) space() {
	for c.pos < len(c.raw) {
		switch c.raw[c.pos] {
		case ' ', '\t', '\r', '\n':
			c.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end (a NUL byte is not JSON either).
func (c *checker) peek() byte {
	c.space()
	if c.pos == len(c.raw) {
		return 0
	}
	return c.raw[c.pos]
}

// expected is the error for a byte that does not belong where it is.
func (c *checker) expected(what string) *SyntaxError {
	if c.pos >= len(c.raw) {
		return c.fail(Malformed, c.pos, "the body ends where "+what+" is expected")
	}
	return c.fail(Malformed, c.pos, what+" is expected here")
}

func (c *checker) run() *SyntaxError {
	if bytes.HasPrefix(c.raw, []byte("\xef\xbb\xbf")) {
		return c.fail(Malformed, 0, "the body starts with a byte order mark; send UTF-8 without one")
	}
	if c.peek() == 0 && c.pos == len(c.raw) {
		return c.fail(Malformed, 0, "the body is empty; a JSON document is expected")
	}
	for {
		open, err := c.value()
		if err != nil {
			return err
		}
		if open {
			continue
		}
		if more, err := c.after(); err != nil || !more {
			return err
		}
	}
}

// value reads a scalar, or the opening of an object or array up to its first value; then open is true.
func (c *checker) value() (open bool, err *SyntaxError) {
	b := c.peek()
	if c.nodes++; c.nodes > c.lim.Nodes {
		return false, c.fail(TooDeep, c.pos, fmt.Sprintf("the document has more than %d values", c.lim.Nodes))
	}
	want := c.next
	if want != nil {
		if err := c.fits(want, b); err != nil {
			return false, err
		}
	}
	start := c.pos
	switch {
	case b == '{' || b == '[':
		return c.open(b == '{', want)
	case b == '"':
		_, _, _, err = c.str()
	case b == '-' || '0' <= b && b <= '9':
		err = c.number()
	case b == 't':
		err = c.literal("true")
	case b == 'f':
		err = c.literal("false")
	case b == 'n':
		err = c.literal("null")
	default:
		err = c.expected("a value")
	}
	if err != nil {
		return false, err
	}
	return false, c.done(want, start)
}

func (c *checker) open(object bool, want *plan) (bool, *SyntaxError) {
	if len(c.frames) >= c.lim.Depth {
		return false, c.fail(TooDeep, c.pos, fmt.Sprintf("objects and arrays are nested deeper than %d", c.lim.Depth))
	}
	c.objects++
	c.frames = append(c.frames, frame{object: object, start: c.pos, serial: c.objects, firstKey: len(c.keys.keys), plan: want})
	start := c.pos
	c.pos++
	if object {
		if c.peek() != '}' {
			return true, c.key()
		}
	} else if c.peek() != ']' {
		c.next = want.element()
		return true, nil
	}
	c.pos++
	c.frames = c.frames[:len(c.frames)-1]
	return false, c.done(want, start)
}

// after reads what follows a value, closing objects and arrays, up to the next value; more is false at the end of the document.
func (c *checker) after() (more bool, err *SyntaxError) {
	for len(c.frames) > 0 {
		top := &c.frames[len(c.frames)-1]
		b := c.peek()
		switch {
		case b == ',':
			c.pos++
			if top.object {
				return true, c.key()
			}
			top.index++
			c.next = top.plan.element()
			return true, nil
		case b == '}' && top.object:
			c.keys.leave(top.firstKey)
		case b == ']' && !top.object:
		case top.object:
			return false, c.expected(`"," or "}"`)
		default:
			return false, c.expected(`"," or "]"`)
		}
		c.pos++
		closed := c.frames[len(c.frames)-1]
		c.frames = c.frames[:len(c.frames)-1]
		if err := c.done(closed.plan, closed.start); err != nil {
			return false, err
		}
	}
	if c.space(); c.pos < len(c.raw) {
		return false, c.fail(Malformed, c.pos, "the document has ended, but more follows")
	}
	return false, nil
}

// key reads a key and its colon, and sets what the value should be.
func (c *checker) key() *SyntaxError {
	top := &c.frames[len(c.frames)-1]
	top.keyStart, top.keyEnd = 0, 0
	if c.peek() != '"' {
		return c.expected("a key in double quotes")
	}
	at := c.pos
	start, end, escaped, err := c.str()
	if err != nil {
		return err
	}
	top.keyStart, top.keyEnd = start, end
	free := c.lim.FreeKeys && len(c.frames) > 1 && top.plan == nil
	if !c.keys.add(c.raw[start:end], escaped, !free, top.serial, top.firstKey) {
		return c.fail(Malformed, at, "the object has this key already (keys that differ only in case count as one)")
	}
	c.next = nil
	if top.plan != nil {
		next, err := c.field(top.plan, at, c.raw[start:end], escaped)
		if err != nil {
			return err
		}
		c.next = next
	}
	if c.peek() != ':' {
		return c.expected(`":"`)
	}
	c.pos++
	return nil
}

func (c *checker) literal(word string) *SyntaxError {
	if !bytes.HasPrefix(c.raw[c.pos:], []byte(word)) {
		return c.expected("a value")
	}
	c.pos += len(word)
	return nil
}

// number reads a number literal by the grammar of RFC 8259.
func (c *checker) number() *SyntaxError {
	start := c.pos
	i := start
	if c.raw[i] == '-' {
		i++
	}
	digits := func() bool {
		from := i
		for i < len(c.raw) && '0' <= c.raw[i] && c.raw[i] <= '9' {
			i++
		}
		return i > from
	}
	ok := true
	if i < len(c.raw) && c.raw[i] == '0' {
		i++
		if i < len(c.raw) && '0' <= c.raw[i] && c.raw[i] <= '9' {
			return c.fail(Malformed, start, "a number must not start with 0")
		}
	} else {
		ok = digits()
	}
	if ok && i < len(c.raw) && c.raw[i] == '.' {
		i++
		ok = digits()
	}
	if ok && i < len(c.raw) && (c.raw[i] == 'e' || c.raw[i] == 'E') {
		i++
		if i < len(c.raw) && (c.raw[i] == '+' || c.raw[i] == '-') {
			i++
		}
		ok = digits()
	}
	if i-start > c.lim.NumberLen {
		return c.fail(TooDeep, start, fmt.Sprintf("the number has more than %d characters", c.lim.NumberLen))
	}
	if !ok {
		c.pos = i
		return c.expected("a digit")
	}
	c.pos = i
	return nil
}

// str reads a string literal and returns where its inside starts and ends.
func (c *checker) str() (start, end int, escaped bool, err *SyntaxError) {
	raw, open := c.raw, c.pos
	i := open + 1
	for i < len(raw) {
		i += plain(raw[i:])
		if i == len(raw) {
			break
		}
		b := raw[i]
		switch {
		case b == '"':
			c.pos = i + 1
			return open + 1, i, escaped, nil
		case b == '\\':
			escaped = true
			n, what := escape(raw[i:])
			if what != "" {
				return 0, 0, false, c.fail(Malformed, i, what)
			}
			i += n
		case b < ' ':
			return 0, 0, false, c.fail(Malformed, i, "a string holds a raw control character; write it as an escape")
		default:
			r, n := utf8.DecodeRune(raw[i:])
			if r == utf8.RuneError && n <= 1 {
				return 0, 0, false, c.fail(Malformed, i, "a string is not valid UTF-8")
			}
			i += n
		}
	}
	return 0, 0, false, c.fail(Malformed, open, "a string is not closed")
}

// plain counts the leading bytes of s that need no look in a string: printable ASCII but quote and backslash. It takes eight at a
// time; in each byte of a word the top bit is set if that byte is below 0x20, a quote, a backslash, or not ASCII.
func plain(s []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; n+8 <= len(s); n += 8 {
		w := binary.LittleEndian.Uint64(s[n:])
		control := w - ones*0x20
		quote := (w ^ ones*'"') - ones
		backslash := (w ^ ones*'\\') - ones
		if stop := (control | quote | backslash | w) & tops; stop != 0 {
			// A borrow can only disturb bytes above a true stop, so the lowest is right.
			return n + bits.TrailingZeros64(stop)/8
		}
	}
	for n < len(s) && s[n] >= ' ' && s[n] < utf8.RuneSelf && s[n] != '"' && s[n] != '\\' {
		n++
	}
	return n
}

// escape returns the length of the escape at the start of s (of the pair, for a surrogate), or what is wrong with it.
func escape(s []byte) (int, string) {
	if len(s) < 2 {
		return 0, "a string is not closed"
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, ""
	case 'u':
	default:
		return 0, "a string holds an unknown escape"
	}
	r, ok := hex4(s)
	if !ok {
		return 0, "a string holds a \\u escape without four hex digits"
	}
	if r < 0xd800 || r > 0xdfff {
		return 6, ""
	}
	if low, ok := hex4(s[6:]); r <= 0xdbff && ok && 0xdc00 <= low && low <= 0xdfff {
		return 12, ""
	}
	return 0, "a string holds half of a surrogate pair"
}

// hex4 reads "\uXXXX".
func hex4(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, b := range s[2:6] {
		switch {
		case '0' <= b && b <= '9':
			b -= '0'
		case 'a' <= b && b <= 'f':
			b -= 'a' - 10
		case 'A' <= b && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}
