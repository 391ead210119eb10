package integration

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// parseExpectation reads an indented line. q is nil when no request stands above.
func (q *scriptRequest) parseExpectation(words []string, line string) error {
	if q == nil || len(words) < 2 {
		return errors.New("an indented line says what is expected of the request above it")
	}
	rest := strings.TrimSpace(strings.TrimPrefix(line, words[0]))
	var check func(*scriptAnswer) error
	switch words[0] {
	case "backend":
		check = func(a *scriptAnswer) error {
			if a.seen == nil {
				return errors.New("the backend was not reached")
			}
			return compareHeader("the backend saw", a.seen.Header, rest)
		}
	case "answer":
		check = func(a *scriptAnswer) error { return compareHeader("the answer has", a.header, rest) }
	case "challenge":
		check = func(a *scriptAnswer) error {
			got := strings.Join(a.header.Values("WWW-Authenticate"), "\n")
			if rest == "none" && got != "" || rest != "none" && !strings.Contains(got, rest) {
				return fmt.Errorf("the challenge is %q, want %s", got, rest)
			}
			return nil
		}
	case "body":
		check = func(a *scriptAnswer) error {
			if !strings.Contains(a.body, rest) {
				return fmt.Errorf("the body lacks %s: %s", rest, a.body)
			}
			return nil
		}
	case "audit":
		check = func(a *scriptAnswer) error { return a.hasAudit(words[1:]) }
	default:
		return fmt.Errorf("unknown expectation %q", words[0])
	}
	q.expected = append(q.expected, check)
	return nil
}

// compareHeader compares "no <Header>" or "<Header>: <value>".
func compareHeader(where string, header http.Header, want string) error {
	if name, ok := strings.CutPrefix(want, "no "); ok {
		if values := header.Values(name); len(values) > 0 {
			return fmt.Errorf("%s %s: %q, want none", where, name, values)
		}
		return nil
	}
	name, value, _ := strings.Cut(want, ": ")
	if got := strings.Join(header.Values(name), "\n"); got != value {
		return fmt.Errorf("%s %s: %q, want %q", where, name, got, value)
	}
	return nil
}

// hasAudit finds a line with all of "<field>=<value>…".
func (a *scriptAnswer) hasAudit(fields []string) error {
	for _, line := range a.audit {
		fits := true
		for _, field := range fields {
			name, value, _ := strings.Cut(field, "=")
			fits = fits && fmt.Sprint(line[name]) == value
		}
		if fits {
			return nil
		}
	}
	return fmt.Errorf("no audit line has %v: %v", fields, a.audit)
}
