package jira

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Jira is written in Java and counts characters in UTF-16 units; so do we.

// units returns the length of the text in UTF-16 units.
func units(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// fitting returns the longest beginning of the text, in whole characters, that
// has at most the given UTF-16 units.
func fitting(s string, most int) string {
	n := 0
	for i, r := range s {
		if n += utf16.RuneLen(r); n > most {
			return s[:i]
		}
	}
	return s
}

// shorten cuts the text to at most the given UTF-16 units; "…" shows that.
func shorten(s string, most int) string {
	if units(s) <= most {
		return s
	}
	return fitting(s, most-1) + "…"
}

// visible drops what could hide or reorder what is shown, line breaks and tabs
// excepted, and makes the text valid UTF-8.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// oneLine is visible text with every run of white space as one space.
func oneLine(s string) string {
	return visible(strings.Join(strings.Fields(strings.ToValidUTF8(s, string(utf8.RuneError))), " "))
}

// isIssueKey reports whether s is the key of an issue, such as SIRT-42.
func isIssueKey(s string) bool {
	project, number, found := strings.Cut(s, "-")
	return found && isProject(project) && isID(number) && number[0] != '0'
}

// isProject reports whether s is the key of a project.
func isProject(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('A' <= c && c <= 'Z') && (i == 0 || !('0' <= c && c <= '9') && c != '_') {
			return false
		}
	}
	return len(s) >= 2 && len(s) <= 255
}

// isID reports whether s is one of Jira's numeric IDs.
func isID(s string) bool {
	return s != "" && len(s) <= 19 && strings.Trim(s, "0123456789") == ""
}

// isIssue reports whether s is the key or the ID of an issue.
func isIssue(s string) bool { return isIssueKey(s) || isID(s) }
