package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The language of examples/*/check.txt. A line is a step; lines that are indented belong to the request above them.
// Words are separated by spaces; one that holds a space stands in quotes, as in Go. # begins a comment line. The
// gateway starts with the first line that needs it.
//
// Tokens. A claim's value is JSON, or a text; scopes, groups and clients are lists with commas; a time such as -1h is
// counted from now. The issuer is the only one of the configuration, unless said otherwise.
//
//	token <name> <kind> <subject> [of <issuer>] [expired] [forged] [bound key|certificate <name>] [<claim>=<value>]…
//	token <name> service <client> at <url> scopes=<scope>,…    the client finds the issuer by the challenge of that URL
//	revoke <token>
//
//	kinds: user · service · id · rfc9068 · org · opaque · refresh
//
// The world. Issuers are called as in the configuration, or, when declared in place, by the first label of their host.
//
//	issuer <issuer> down|up|rotate
//	pin <issuer> <file>                         writes the issuer's public keys
//	backend <address> speaks websocket|grpc     instead of echoing what it saw
//	backend <address> runs <folder>             the program of a folder of the example, likewise
//	restart | reload                            stops and starts Caddy | loads the configuration again
//
// Requests, and what comes of them. A reason is one of the README's table and is read from the audit lines. Unless the
// status is below 400, the backend must not be reached.
//
//	<METHOD> <path> [as <token>] [<option>]… -> <status> [<reason>]
//	GRPC <method> [as <token>] [<option>]… -> <code of gRPC>
//	WEBSOCKET <path> [as <token>] [<option>]… -> <status> [<reason>]
//	admin <METHOD> <path> [send <file>] -> <status>
//	caddy <command> <argument>… -> <exit code>              its output is the body
//
//	options: host <name> · port <port> · from <client address> · with "<Header>: <value>" · cookie <name> <token> ·
//	         send <file> · json <text> · times <number> · certificate <name> · proof <key> [nonce|again]
//
// A proof is one of DPoP, made for this request, and the token then comes by that scheme; with the last nonce that the
// gateway gave out, or again the last proof of that key.
//
// A status may depend on the time of day: "200 weekdays 8-18 Europe/Berlin else 403".
//
// Below a request:
//
//	backend <Header>: <value>      what the backend saw, or: backend no <Header>
//	answer <Header>: <value>       a header of the answer, or: answer no <Header>
//	challenge <text>               a part of WWW-Authenticate, or: challenge none
//	body <text>                    a part of the answer's body
//	audit <field>=<value> …        one audit line of this request has these fields
type script struct {
	steps    []scriptStep
	requests int
}

type scriptStep struct {
	line int
	text string
	play func(*example) error
}

// parseScript reads a script. Any word that is not known is an error.
func parseScript(text string) (*script, error) {
	s := new(script)
	var last *scriptRequest
	number := 0
	for line := range strings.Lines(text) {
		number++
		words, err := splitWords(line)
		if err == nil && (len(words) == 0 || strings.HasPrefix(words[0], "#")) {
			continue
		}
		switch {
		case err != nil:
		case line[0] == ' ' || line[0] == '\t':
			err = last.parseExpectation(words, strings.TrimSpace(line))
		default:
			step := scriptStep{line: number, text: strings.TrimSpace(line)}
			step.play, last, err = parseStep(words)
			if last != nil {
				s.requests++
			}
			s.steps = append(s.steps, step)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %s", number, err, strings.TrimSpace(line))
		}
	}
	if s.requests == 0 {
		return nil, errors.New("the script makes no request")
	}
	return s, nil
}

func splitWords(line string) (words []string, err error) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '"' || line[0] == '`' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, errors.New("a quote that does not end")
			}
			word, _ := strconv.Unquote(quoted)
			words, line = append(words, word), line[len(quoted):]
			continue
		}
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		words, line = append(words, line[:end]), line[end:]
	}
	return words, nil
}

func parseStep(words []string) (play func(*example) error, request *scriptRequest, err error) {
	verb, args := words[0], words[1:]
	switch {
	case verb == "token" && len(args) >= 3:
		play, err = parseToken(args)
	case verb == "revoke" && len(args) == 1:
		play = func(e *example) error { return e.revoke(args[0]) }
	case verb == "issuer" && len(args) == 2 && slices.Contains([]string{"down", "up", "rotate"}, args[1]):
		play = func(e *example) error { return e.moveIssuer(args[0], args[1]) }
	case verb == "pin" && len(args) == 2:
		play = func(e *example) error { return e.pin(args[0], args[1]) }
	case verb == "backend" && len(args) == 3 && args[1] == "speaks" && (args[2] == "websocket" || args[2] == "grpc"):
		play = func(e *example) error { return e.speak(args[0], args[2]) }
	case verb == "backend" && len(args) == 3 && args[1] == "runs":
		play = func(e *example) error { return e.runProgram(args[0], args[2]) }
	case verb == "restart" && len(args) == 0:
		play = func(e *example) error {
			e.stop()
			e.load()
			return nil
		}
	case verb == "reload" && len(args) == 0:
		play = func(e *example) error {
			e.load()
			return nil
		}
	case verb == "admin" && len(args) >= 2 && isMethod(args[0]):
		request = &scriptRequest{admin: true}
		err = request.parse(args)
	case verb == "caddy" && len(args) >= 3:
		request = new(scriptRequest)
		err = request.parseCommand(args)
	case isMethod(verb) && len(args) >= 1:
		request = new(scriptRequest)
		err = request.parse(words)
	default:
		err = fmt.Errorf("unknown step %q, or not what belongs to it", verb)
	}
	if request != nil {
		play = request.play
	}
	return play, request, err
}

// isMethod tells a request: its first word is in capitals.
func isMethod(word string) bool {
	return slices.Contains([]string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "GRPC", "WEBSOCKET",
	}, word)
}

func (e *example) issuer(name string) (string, error) {
	if name == "" && len(e.issuers) == 1 {
		for name := range e.issuers {
			return name, nil
		}
	}
	if e.issuers[name] == nil {
		return "", fmt.Errorf("no issuer %q in the configuration", name)
	}
	return name, nil
}

func (e *example) moveIssuer(name, to string) error {
	name, err := e.issuer(name)
	if err != nil {
		return err
	}
	switch to {
	case "down":
		e.issuers[name].Down()
	case "up":
		return e.issuers[name].Up()
	case "rotate":
		e.issuers[name].Rotate()
	}
	return nil
}

// pin writes the keys that an issuer publishes, as a user does with curl.
func (e *example) pin(name, file string) error {
	name, err := e.issuer(name)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"keys": published(e.issuers[name])})
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// check plays the script of the example, and fails the test with its lines.
func (e *example) check() {
	e.t.Helper()
	s, err := parseScript(readText(e.t, filepath.Join(e.dir, "check.txt")))
	if err != nil {
		e.t.Fatal(err)
	}
	for _, step := range s.steps {
		if err := step.play(e); err != nil {
			e.t.Errorf("%s/check.txt:%d: %s\n\t%v", e.name, step.line, step.text, err)
		}
	}
}
