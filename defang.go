package funnel

import "strings"

// Defang makes URLs in the text inert: schemes become hxxp, hxxps, fxp or fxps
// in their own letter case, and the dots of the host after them become "[.]", so
// that no reader's program offers them as links. Defanging twice is the same as
// once; Refang takes it back.
func Defang(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	out := make([]byte, 0, len(text)+16)
	for {
		i := strings.Index(text, "://")
		if i < 0 {
			return string(append(out, text...))
		}
		out = append(out, text[:i+3]...)
		swapScheme(out, 't', 'x')
		text = text[i+3:]
		end := strings.IndexAny(text, "/?# \t\r\n\"'<>")
		if end < 0 {
			end = len(text)
		}
		if end > 0 && text[end-1] == ':' && strings.HasPrefix(text[end:], "//") {
			end-- // the host is another scheme: http://http://example.com
		}
		host := strings.ReplaceAll(text[:end], "[.]", ".")
		out = append(out, strings.ReplaceAll(host, ".", "[.]")...)
		text = text[end:]
	}
}

// Refang takes back what Defang and people do to make URLs, domains and
// addresses inert: hxxp, hxtp and fxp in any letter case before "://"; and in
// square, round or curly brackets a dot ("." or "dot"), an at ("@" or "at"), a
// colon and "://"; in square brackets also a slash. Text that has none of these
// stays as it is, and refanging twice is the same as once.
func Refang(text string) string {
	if !strings.ContainsAny(text, "])}") && !strings.Contains(text, "://") {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := range len(text) {
		switch c := text[i]; c {
		case ']', ')', '}':
			out = closeBracket(append(out, c))
		case '/':
			out = append(out, c)
		default:
			out = append(out, c)
			continue
		}
		swapScheme(out, 'x', 't')
	}
	return string(out)
}

// closeBracket replaces the bracket that text ends with by what it stands for.
// What it makes is taken back into account by the next bracket, so that nothing
// is left that could be replaced: "[[.]]" is a dot, too.
func closeBracket(text []byte) []byte {
	last := len(text) - 1
	open := map[byte]byte{']': '[', ')': '(', '}': '{'}[text[last]]
	for i := last - 2; i >= 0 && i >= last-4; i-- {
		if text[i] != open {
			continue
		}
		switch inner := string(text[i+1 : last]); {
		case inner == "." || strings.EqualFold(inner, "dot"):
			return append(text[:i], '.')
		case inner == "@" || strings.EqualFold(inner, "at"):
			return append(text[:i], '@')
		case inner == ":" || inner == "://" || inner == "/" && open == '[':
			return append(text[:i], inner...)
		}
		break
	}
	return text
}

// swapScheme writes one letter for another in the scheme that text ends with, if
// it ends with "://" and the scheme is one of http, https, ftp and ftps or what
// they are when they are inert.
func swapScheme(text []byte, from, to byte) {
	at, ok := strings.CutSuffix(string(text[max(0, len(text)-8):]), "://")
	if !ok {
		return
	}
	end := len(text) - 3
	if n := len(at); n > 0 && at[n-1]|0x20 == 's' {
		at, end = at[:n-1], end-1
	}
	isT := func(c byte) bool { return c|0x20 == 't' || c|0x20 == 'x' }
	n := len(at)
	switch {
	case n >= 4 && at[n-4]|0x20 == 'h' && isT(at[n-3]) && isT(at[n-2]) && at[n-1]|0x20 == 'p':
		n = 4
	case n >= 3 && at[n-3]|0x20 == 'f' && isT(at[n-2]) && at[n-1]|0x20 == 'p':
		n = 3
	default:
		return
	}
	for i := end - n; i < end; i++ {
		if text[i]|0x20 == from {
			text[i] = text[i]&0x20 | to&^0x20
		}
	}
}
