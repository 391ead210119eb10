package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// scriptRequest is one request, and what is expected of it.
type scriptRequest struct {
	admin                      bool
	command                    []string // of caddy, instead of a request
	method, path               string
	token, cookie, cookieToken string
	host, port, from           string
	file, json                 string // bodies
	certificate                string // of the client
	peer                       string // where the connection comes from
	key, proof                 string // of the DPoP proof, and how it is made: "", "nonce" or "again"
	headers                    [][2]string
	times                      int
	status, otherwise, hours   string // hours: "8-18 Europe/Berlin"
	expected                   []func(*scriptAnswer) error
}

// scriptAnswer is what came of a request.
type scriptAnswer struct {
	status string
	header http.Header
	body   string
	seen   *seen // what the backend saw; nil when it was not reached
	audit  []map[string]any
}

// parse reads "<METHOD> <path> <option>… -> <status> …".
func (q *scriptRequest) parse(words []string) error {
	q.method, q.path, q.times = words[0], words[1], 1
	words = words[2:]
	for len(words) > 0 && words[0] != "->" {
		if len(words) < 2 {
			return fmt.Errorf("%q needs a value", words[0])
		}
		option, value := words[0], words[1]
		words = words[2:]
		switch option {
		case "as":
			q.token = value
		case "host":
			q.host = value
		case "port":
			q.port = value
		case "from":
			q.from = value
		case "send":
			q.file = value
		case "json":
			q.json = value
		case "certificate":
			q.certificate = value
		case "peer":
			q.peer = value
		case "proof":
			q.key = value
			if len(words) > 0 && (words[0] == "nonce" || words[0] == "again") {
				q.proof, words = words[0], words[1:]
			}
		case "with":
			name, text, ok := strings.Cut(value, ": ")
			if !ok {
				return fmt.Errorf("write with \"<Header>: <value>\", not %q", value)
			}
			q.headers = append(q.headers, [2]string{name, text})
		case "cookie":
			if len(words) == 0 {
				return errors.New("write cookie <name> <token>")
			}
			q.cookie, q.cookieToken, words = value, words[0], words[1:]
		case "times":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is not a number of times", value)
			}
			q.times = n
		default:
			return fmt.Errorf("unknown option %q", option)
		}
	}
	if q.key != "" && q.token == "" {
		return errors.New("a proof is for a token: write as <token>")
	}
	if (q.key != "" || q.certificate != "" || q.peer != "") && (q.method == "GRPC" || q.method == "WEBSOCKET") {
		return fmt.Errorf("proof, certificate and peer are not for %s", q.method)
	}
	return q.parseResult(words)
}

// parseCommand reads "<command> <argument>… -> <exit code>".
func (q *scriptRequest) parseCommand(words []string) error {
	end := slices.Index(words, "->")
	if end < 1 {
		return errors.New("write a command, -> and its exit code")
	}
	q.command, q.times = words[:end], 1
	return q.parseResult(words[end:])
}

func (q *scriptRequest) parseResult(words []string) error {
	switch {
	case len(words) == 2 || len(words) == 3:
		q.status = words[1]
		if len(words) == 3 {
			q.expected = append(q.expected, func(a *scriptAnswer) error { return a.hasAudit([]string{"reason=" + words[2]}) })
		}
	case len(words) == 7 && words[2] == "weekdays" && words[5] == "else":
		q.status, q.hours, q.otherwise = words[1], words[3]+" "+words[4], words[6]
	default:
		return errors.New("write -> and the status that is expected")
	}
	if _, err := strconv.Atoi(q.status); err != nil && q.method != "GRPC" {
		return fmt.Errorf("%q is not a status", q.status)
	}
	return nil
}

// play makes the request as often as it says, and compares.
func (q *scriptRequest) play(e *example) error {
	e.t.Helper()
	if !e.running && q.command == nil {
		e.load()
	}
	for range q.times {
		_, before := e.audited(0)
		want := q.wanted(time.Now())
		a, err := q.send(e)
		for tries := 0; isReset(err) && tries < 5; tries++ { // as in gateway.send
			a, err = q.send(e)
		}
		if err != nil {
			return err
		}
		a.audit, _ = e.audited(before)
		if a.status != want && a.status != q.wanted(time.Now()) { // an office may just have closed
			return fmt.Errorf("status %s, want %s (%s; body %s; audit %v)", a.status, want, a.header.Get("WWW-Authenticate"), a.body, a.audit)
		}
		if status, _ := strconv.Atoi(a.status); status >= 400 && a.seen != nil {
			return errors.New("the backend was reached")
		}
		for _, check := range q.expected {
			if err := check(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted returns the status that is expected at a time.
func (q *scriptRequest) wanted(now time.Time) string {
	var from, to int
	var zone string
	if _, err := fmt.Sscanf(q.hours, "%d-%d %s", &from, &to, &zone); err != nil {
		return q.status
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return err.Error()
	}
	now = now.In(location)
	if day := now.Weekday(); day == time.Saturday || day == time.Sunday || now.Hour() < from || now.Hour() >= to {
		return q.otherwise
	}
	return q.status
}

// dialer reaches every host name on loopback, by its port.
type dialer struct{ *example }

func (e *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	to, ok := e.ports[port]
	if !ok {
		if address != e.admin {
			return nil, fmt.Errorf("the example does not listen on port %s", port)
		}
		to = address
	}
	var d net.Dialer
	if peer, ok := ctx.Value(peerKey{}).(string); ok {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(peer)}
	}
	return d.DialContext(ctx, network, to)
}

// peerKey is the key of the address that a connection comes from, in the context of its request.
type peerKey struct{}

// url returns where the request goes.
func (q *scriptRequest) url(e *example) (scheme, host string) {
	if q.admin {
		return "http", e.admin
	}
	port := q.port
	if port == "" {
		port = e.defaultPort()
	}
	host = q.host
	if host == "" {
		host = "api.example.com"
	}
	if port == "443" {
		return "https", host
	}
	return "http", host + ":" + port
}

func (q *scriptRequest) send(e *example) (*scriptAnswer, error) {
	if q.command != nil {
		return q.runCommand(e)
	}
	header := make(http.Header)
	for _, h := range q.headers {
		header.Add(h[0], h[1])
	}
	if q.from != "" {
		header.Set("X-Forwarded-For", q.from)
	}
	scheme := "Bearer "
	if q.key != "" {
		scheme = "DPoP "
	}
	for _, credential := range []struct{ token, name, prefix string }{
		{q.token, "Authorization", scheme}, {q.cookieToken, "Cookie", q.cookie + "="},
	} {
		if credential.token == "" {
			continue
		}
		token, ok := e.tokens[credential.token]
		if !ok {
			return nil, fmt.Errorf("no token %q", credential.token)
		}
		header.Set(credential.name, credential.prefix+token)
	}
	if q.key != "" {
		header.Set("DPoP", q.prove(e))
	}
	switch q.method {
	case "GRPC":
		return q.sendGRPC(e, header)
	case "WEBSOCKET":
		return q.sendWebSocket(e, header)
	}
	return q.sendHTTP(e, header)
}

// prove returns the proof of the request (RFC 9449 §4.2).
func (q *scriptRequest) prove(e *example) string {
	if q.proof != "again" {
		scheme, host := q.url(e)
		options := []oktatest.Option{oktatest.ForToken(e.tokens[q.token])}
		if q.proof == "nonce" {
			options = append(options, oktatest.Nonce(e.clients.nonce))
		}
		e.clients.proofs[q.key] = oktatest.Proof(e.clients.key(q.key), q.method, scheme+"://"+host+q.path, options...)
	}
	return e.clients.proofs[q.key]
}

// runCommand runs a command of caddy, without a process of its own.
func (q *scriptRequest) runCommand(e *example) (*scriptAnswer, error) {
	registered, ok := caddycmd.Commands()[q.command[0]]
	if !ok || registered.CobraFunc == nil {
		return nil, fmt.Errorf("no command %q of this project", q.command[0])
	}
	var out bytes.Buffer
	cmd := &cobra.Command{Use: q.command[0], SilenceUsage: true, SilenceErrors: true}
	registered.CobraFunc(cmd)
	args := slices.Clone(q.command[1:])
	if n := slices.Index(args, "Caddyfile"); n >= 0 {
		args[n] = filepath.Join(e.dir, "Caddyfile") // Caddy remembers the folder in which the process began
	}
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	a := &scriptAnswer{status: "0"}
	if err := cmd.ExecuteContext(e.t.Context()); err != nil {
		a.status = "1"
		fmt.Fprintln(&out, err)
	}
	a.body = out.String()
	return a, nil
}

func (q *scriptRequest) sendHTTP(e *example, header http.Header) (*scriptAnswer, error) {
	var body io.Reader
	if q.json != "" {
		body = strings.NewReader(q.json)
		header.Set("Content-Type", "application/json")
	}
	if q.file != "" {
		file, err := os.Open(q.file)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		body = file
		if header.Get("Content-Type") == "" && strings.HasSuffix(q.file, ".json") {
			header.Set("Content-Type", "application/json")
		}
	}
	scheme, host := q.url(e)
	ctx := e.t.Context()
	if q.peer != "" {
		ctx = context.WithValue(ctx, peerKey{}, q.peer)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, scheme+"://"+host+q.path, body)
	if err != nil {
		return nil, err
	}
	r.Header = header
	client := e.client
	if q.certificate != "" {
		client = e.newClient(e.certificate(q.certificate))
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if nonce := resp.Header.Get("DPoP-Nonce"); nonce != "" {
		e.clients.nonce = nonce
	}
	text, err := io.ReadAll(resp.Body)
	a := &scriptAnswer{status: strconv.Itoa(resp.StatusCode), header: resp.Header, body: string(text)}
	if err == nil && resp.Header.Get("X-Backend") != "" && q.method != http.MethodHead {
		a.seen = new(seen)
		err = json.Unmarshal(text, a.seen)
	}
	return a, err
}
