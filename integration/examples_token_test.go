package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// parseToken parses "<name> user|service|id|rfc9068 <subject> …".
func parseToken(args []string) (func(*example) error, error) {
	name, kind, subject := args[0], args[1], args[2]
	var issuer string
	var options []oktatest.Option
	for i := 3; i < len(args); i++ {
		claim, value, isClaim := strings.Cut(args[i], "=")
		switch {
		case args[i] == "of" && i+1 < len(args):
			i++
			issuer = args[i]
		case args[i] == "expired":
			options = append(options, oktatest.IssuedAgo(2*time.Hour))
		case args[i] == "forged":
			options = append(options, oktatest.Forged())
		case !isClaim:
			return nil, fmt.Errorf("unknown word %q", args[i])
		case claim == "scopes":
			options = append(options, oktatest.Scopes(strings.Split(value, ",")...))
		case claim == "groups":
			options = append(options, oktatest.Groups(strings.Split(value, ",")...))
		default:
			options = append(options, oktatest.With(claim, claimValue(value)))
		}
	}
	return func(e *example) error {
		name, subject := name, subject
		issuer, err := e.issuer(issuer)
		if err != nil {
			return err
		}
		switch s := e.issuers[issuer]; kind {
		case "user":
			e.tokens[name] = s.UserToken(subject, options...)
		case "service":
			e.tokens[name] = s.ServiceToken(subject, options...)
		case "id":
			e.tokens[name] = s.IDToken(subject, options...)
		case "rfc9068":
			e.tokens[name] = s.RFC9068Token(subject, options...)
		}
		return nil
	}, knownKind(kind)
}

func knownKind(kind string) error {
	if !slices.Contains([]string{"user", "service", "id", "rfc9068"}, kind) {
		return fmt.Errorf("unknown kind of token %q", kind)
	}
	return nil
}

// claimValue reads a time that is counted from now, JSON, or a text.
func claimValue(text string) any {
	if ago, err := time.ParseDuration(text); err == nil && strings.HasPrefix(text, "-") {
		return time.Now().Add(ago).Unix()
	}
	var value any
	if json.Unmarshal([]byte(text), &value) == nil {
		return value
	}
	return text
}
