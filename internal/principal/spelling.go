package principal

// IsSpelled reports whether a backend could read the name of a header as one of names, which are in lower case: CGI and
// its descendants see "_" for "-", and some of them for every character that is neither a letter nor a digit.
func IsSpelled(name string, names []string) bool {
	for _, n := range names {
		if len(n) == len(name) && readsAs(name, n) {
			return true
		}
	}
	return false
}

func readsAs(name, lower string) bool {
	for i := range len(name) {
		if hyphenated[name[i]] != lower[i] {
			return false
		}
	}
	return true
}

// hyphenated maps letters to lower case, and what is no letter or digit to a hyphen. A table, since it is asked about
// every header of every request.
var hyphenated = func() (table [256]byte) {
	for c := range table {
		switch b := byte(c); {
		case 'a' <= b && b <= 'z' || '0' <= b && b <= '9':
			table[c] = b
		case 'A' <= b && b <= 'Z':
			table[c] = b + 'a' - 'A'
		default:
			table[c] = '-'
		}
	}
	return table
}()
