package signing

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// nfkdTable gives the decomposition of each code point that has one.
var nfkdTable = sync.OnceValue(func() map[rune]string {
	table := map[rune]string{}
	for record := range strings.SplitSeq(nfkdRecords, "\x00") {
		if r, n := utf8.DecodeRuneInString(record); n > 0 {
			table[r] = record[n:]
		}
	}
	return table
})

// Hangul syllables are decomposed by arithmetic (The Unicode Standard, section 3.12).
const (
	hangulFirst, hangulLast = 0xac00, 0xd7a3
	jamoL, jamoV, jamoT     = 0x1100, 0x1161, 0x11a7
	countV, countT          = 21, 28
)

// nfkd writes text in Unicode's normalisation form KD: "\u00e9" becomes "e\u0301". It is an error, and not a guess, where
// the text has a character that the tables do not hold.
func nfkd(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("is not UTF-8")
	}
	var out []rune
	for _, r := range text {
		if !slices.ContainsFunc(nfkdCovered, func(c [2]rune) bool { return c[0] <= r && r <= c[1] }) {
			return "", errors.New("has a character of a script that is not supported (only Latin, Greek, Cyrillic, kana, CJK, Hangul and symbols are); " +
				"have the provider take another secret")
		}
		switch d, ok := nfkdTable()[r]; {
		case r >= hangulFirst && r <= hangulLast:
			s := r - hangulFirst
			out = append(out, jamoL+s/(countV*countT), jamoV+s%(countV*countT)/countT)
			if t := s % countT; t > 0 {
				out = append(out, jamoT+t)
			}
		case ok:
			out = append(out, []rune(d)...)
		default:
			out = append(out, r)
		}
	}
	// Marks behind one base character stand in the order of their classes.
	for i := 0; i < len(out); {
		j := i
		for j < len(out) && combiningClass(out[j]) > 0 {
			j++
		}
		slices.SortStableFunc(out[i:j], func(a, b rune) int { return int(combiningClass(a) - combiningClass(b)) })
		i = j + 1
	}
	return string(out), nil
}

func combiningClass(r rune) rune {
	for _, c := range nfkdClasses {
		if c[0] <= r && r <= c[1] {
			return c[2]
		}
	}
	return 0
}
