package push

import (
	"cmp"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// IsVersion reports whether an attribute is a version, so that it compares as CompareVersions says.
func IsVersion(attribute string) bool { return attribute == "app_version" || attribute == "os_version" }

// CompareVersions compares two versions part by part, where parts are divided by dots: numbers as numbers, so that 1.10 is
// above 1.9; other parts as text, above all numbers. Parts that are missing are 0. It returns -1, 0 or 1, and is a total
// preorder: 1.0 and 1 are equal.
func CompareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if c := compareParts(x, y); c != 0 {
			return c
		}
	}
	return 0
}

func compareParts(x, y string) int {
	nx, ny := digits(x), digits(y)
	switch {
	case nx && ny:
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := cmp.Compare(len(x), len(y)); c != 0 {
			return c
		}
	case nx:
		return -1
	case ny:
		return 1
	}
	return strings.Compare(x, y)
}

// digits reports whether s has nothing but digits; a part that is missing has.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// CompareNumbers compares two decimal numbers: -1, 0 or 1. Whole numbers are compared exactly, others as ParseNumber reads
// them. ok is false if one of them is no number.
func CompareNumbers(a, b string) (order int, ok bool) {
	x, xok := ParseNumber(a)
	y, yok := ParseNumber(b)
	if !xok || !yok {
		return 0, false
	}
	if order = cmp.Compare(x, y); order != 0 {
		return order, true
	}
	na, aok := wholeNumber(a)
	nb, bok := wholeNumber(b)
	if !aok || !bok {
		return 0, true
	}
	return na.Cmp(nb), true
}

// wholeNumber returns the number that s is, if it is written with digits alone.
func wholeNumber(s string) (*big.Int, bool) {
	if !digits(strings.TrimLeft(s, "+-")) {
		return nil, false
	}
	return new(big.Int).SetString(s, 10)
}

// ParseNumber returns the number that s is, if it is a decimal one.
func ParseNumber(s string) (float64, bool) {
	if s == "" || strings.ContainsAny(s, "xX_pPnN") { // hexadecimal, NaN and Inf are no numbers here
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}
