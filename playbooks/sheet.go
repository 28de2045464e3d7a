package playbooks

import (
	"encoding/csv"
	"strings"
	"unicode"
)

// sheet writes a table as CSV (RFC 4180). Spreadsheet programs take a cell that
// begins with one of a few signs for a formula, which data from outside must not
// be: such a cell gets an apostrophe in front, by which they take it for text.
func sheet(header []string, rows [][]string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	line := func(cells []string) {
		safe := make([]string, len(cells))
		for i, cell := range cells {
			safe[i] = inert(cell)
		}
		_ = w.Write(safe) // into memory: never fails
	}
	line(header)
	for _, row := range rows {
		line(row)
	}
	w.Flush()
	return b.String()
}

// inert makes a cell text. What cannot be seen in front of a sign does not hide it.
func inert(cell string) string {
	seen := strings.TrimLeftFunc(cell, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
	if seen != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(seen)[0]) || cell != "" && strings.ContainsRune("\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
