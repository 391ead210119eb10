package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// driverVariable makes a process of the test binary the whole program.
const driverVariable = "LOADBENCH_TEST_DRIVER"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" || os.Getenv(driverVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRunReportsEverySetBothGatewaysAndTheirRatios(t *testing.T) {
	profiles := t.TempDir() + "/p"
	var out bytes.Buffer
	if err := run(t.Context(), []string{
		"-tokens", "1,20,distinct", "-rounds", "2", "-round-time", "50ms", "-distinct", "30", "-connections", "4", "-cold", "-profile", profiles,
	}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text := out.String()
	for _, want := range []string{"GOMAXPROCS ", " cores, ", "go1.", "Tokens distinct: RS256, 10", "30 for each round"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q", want)
		}
	}

	const number, spread = `[0-9.]+`, `-?[0-9.]+ \(-?[0-9.]+–-?[0-9.]+\)`
	const collected = ` [0-9]+\.[0-9]{2} \| [1-9][0-9]+ \|`
	for start, pattern := range map[string]string{
		"| 1 | bare |":                    strings.Repeat(` `+number+` \|`, 6) + ` – \|` + collected,
		"| 1 | headers |":                 strings.Repeat(` `+number+` \|`, 6) + ` – \|` + collected,
		"| 1 | ours |":                    strings.Repeat(` `+number+` \|`, 6) + ` 100\.0 % \|` + collected,
		"| 20 | bare |":                   strings.Repeat(` `+number+` \|`, 6) + ` – \|` + collected,
		"| 20 | ours |":                   strings.Repeat(` `+number+` \|`, 6) + ` 100\.0 % \|` + collected,
		"| distinct | bare |":             strings.Repeat(` `+number+` \|`, 6) + ` – \|` + collected,
		"| distinct | ours |":             strings.Repeat(` `+number+` \|`, 6) + ` 0\.0 % \|` + collected,
		"| 1 | ":                          spread + strings.Repeat(` \| `+spread, 4) + ` \|`,
		"| 20 | ":                         spread + strings.Repeat(` \| `+spread, 4) + ` \|`,
		"| distinct | ":                   spread + strings.Repeat(` \| `+spread, 4) + ` \|`,
		"| process start to first 200 | ": spread + strings.Repeat(` \| `+spread, 2) + ` \|`,
		"| reload of 100 routes, for ours with 1000 rules | ": spread + strings.Repeat(` \| `+spread, 2) + ` \|`,
	} {
		want := 1
		if strings.Count(pattern, spread) == 5 {
			want = 3 // tables of ratios
		}
		if n := len(regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(start)+pattern+`$`).FindAllString(text, -1)); n != want {
			t.Errorf("%d rows begin %q and go on as they should, want %d", n, start, want)
		}
	}
	for row := range strings.Lines(text) {
		cells := strings.Split(row, " | ")
		if len(cells) == 11 && slices.Contains(kinds, kind(cells[1])) {
			for _, cell := range cells[2:8] {
				if value, _ := strconv.ParseFloat(cell, 64); value <= 0 {
					t.Errorf("a number is %q in %s", cell, row)
				}
			}
		}
		for _, m := range regexp.MustCompile(`(-?[0-9.]+) \((-?[0-9.]+)–(-?[0-9.]+)\)`).FindAllStringSubmatch(row, -1) {
			middle, _ := strconv.ParseFloat(m[1], 64)
			least, _ := strconv.ParseFloat(m[2], 64)
			most, _ := strconv.ParseFloat(m[3], 64)
			if middle < least || middle > most {
				t.Errorf("%s is no median with its spread", m[0])
			}
		}
	}
	for _, set := range []string{".1", ".20", ".distinct"} {
		for _, name := range []string{".bare.cpu", ".bare.allocs", ".bare.mutex", ".headers.cpu", ".ours.cpu", ".ours.allocs", ".ours.mutex"} {
			if profile, err := os.ReadFile(profiles + set + name); err != nil || !bytes.HasPrefix(profile, []byte{0x1f, 0x8b}) {
				t.Errorf("%s is no profile: %v", set+name, err)
			}
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

var short = settings{rounds: 1, roundTime: 20 * time.Millisecond, distinct: 5, connections: 2, limit: time.Minute}

func newWorld(t *testing.T) *world {
	t.Helper()
	w, err := startWorld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.close() })
	return w
}

func TestLargeSetsAreMintedFasterAndKnownBeforeTheyAreMeasured(t *testing.T) {
	w := newWorld(t)
	large, err := mint(t.Context(), w.issuer, mostRSA+1, short)
	if err != nil {
		t.Fatal(err)
	}
	if large.algorithm != "ES256" {
		t.Errorf("algorithm = %s, want ES256", large.algorithm)
	}
	large.tokens = large.tokens[:1000] // more than two short rounds send, so that hits come from the warming
	r, err := w.measure(t.Context(), short, large)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if n := len(r.rounds[k]); n != 1 {
			t.Fatalf("%s: %d rounds count, want the measured one only", k, n)
		}
	}
	if hits := r.rounds[ours][0].hits; hits != 100 {
		t.Errorf("%.1f %% of the look-ups are hits, want all", hits)
	}
}

func TestDistinctTokensAreSentOnceAndToBothGateways(t *testing.T) {
	w := newWorld(t)
	profiled := short
	profiled.profile = "profiles"
	distinct, err := mint(t.Context(), w.issuer, 0, profiled)
	if err != nil {
		t.Fatal(err)
	}
	sent := map[token]int{}
	const rounds = 3 // the first, the measured one, and the profiled one
	for round := range rounds {
		for range kinds {
			next := distinct.draw(t.Context(), round)
			for range 2 * short.distinct {
				if token, ok := next(); ok {
					sent[token]++
				}
			}
		}
	}
	for token, n := range sent {
		if n != len(kinds) {
			t.Errorf("the token for %s is sent %d times, want once to each gateway", token.user, n)
		}
	}
	if want := short.distinct * rounds; len(sent) != want {
		t.Errorf("%d tokens are sent, want %d", len(sent), want)
	}
}

func TestRefusedRequestsAreNoMeasurement(t *testing.T) {
	w := newWorld(t)
	stranger, err := oktatest.Start(oktatest.Config{ID: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	tokens := &set{name: "foreign", tokens: []token{mintOne(stranger, 0, "RS256")}, rounds: 2}
	_, err = w.measure(t.Context(), short, tokens)
	if err == nil || !strings.Contains(err.Error(), "401 Unauthorized") {
		t.Errorf("measure(tokens of another issuer) = %v, want 401", err)
	}
}

func TestBackendHasToSeeTheCallerOrTheToken(t *testing.T) {
	w := newWorld(t)
	tokens := &set{name: "1", tokens: []token{mintOne(w.issuer, 0, "RS256")}, rounds: 2}
	gateways, err := w.start(t.Context(), kinds, oneRoute)
	if err != nil {
		t.Fatal(err)
	}
	defer gateways.stop()
	for _, g := range gateways {
		if err := g.connect(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if _, err := w.round(g, time.Second, tokens.from(t.Context(), 0, 3)); err != nil {
			t.Errorf("round(%s) = %v", g.kind, err)
		}
		if _, err := w.round(g, time.Second, tokens.from(t.Context(), 0, 0)); err == nil || !strings.Contains(err.Error(), "no tokens") {
			t.Errorf("round(%s, no token) = %v, want an error", g.kind, err)
		}
		other := bare
		if g.kind == bare {
			other = ours
		}
		g.kind = other
		if _, err := w.round(g, time.Second, tokens.from(t.Context(), 0, 3)); err == nil || !strings.Contains(err.Error(), "the backend saw") {
			t.Errorf("round(%s, taken for the other) = %v, want what the backend saw", g.kind, err)
		}
	}
}

func TestBackendTellsTheUserOfThePathFromOthers(t *testing.T) {
	all := map[string]string{
		"X-User-ID": "alice", "X-User-Scopes": "a b", "X-User-Groups": "Everyone", "X-User-Email": "a@example.com", "X-Client-ID": "0oa1",
	}
	for _, test := range []struct {
		name, path string
		headers    map[string]string
		want       sightings
	}{
		{"nobody", "/users/alice", nil, sightings{Requests: 1}},
		{"token", "/users/alice", map[string]string{"Authorization": "Bearer x"}, sightings{Requests: 1, Tokens: 1}},
		{"user of the path", "/users/alice", all, sightings{Requests: 1, Identified: 1}},
		{"another user", "/users/bob", all, sightings{Requests: 1, Strange: 1}},
		{"one header only", "/users/alice", map[string]string{"X-User-ID": "alice"}, sightings{Requests: 1, Strange: 1}},
	} {
		b := new(backend)
		r := httptest.NewRequest("GET", test.path, nil)
		for name, value := range test.headers {
			r.Header.Set(name, value)
		}
		b.ServeHTTP(httptest.NewRecorder(), r)
		if seen, err := b.obey(order{Do: "count"}); err != nil || seen != test.want {
			t.Errorf("%s: seen = %+v, %v, want %+v", test.name, seen, err, test.want)
		}
	}
}

func TestNoProcessOutlivesTheDriver(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
		t.Run(signal.String(), func(t *testing.T) {
			// All processes inherit the writing end: it is closed when the last of them has ended.
			ended, stderr, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer ended.Close()
			driver := exec.Command(os.Args[0], "-tokens", "1,1,1", "-rounds", "1", "-round-time", "300ms")
			driver.Env = append(os.Environ(), driverVariable+"=1", "TMPDIR="+t.TempDir())
			driver.Stderr = stderr
			stdout, err := driver.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := driver.Start(); err != nil {
				t.Fatal(err)
			}
			stderr.Close()
			for lines := bufio.NewScanner(stdout); lines.Scan() && !strings.HasPrefix(lines.Text(), "| 1 | ours"); {
			}
			if err := driver.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := ended.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(ended)
			if err != nil {
				t.Errorf("a process still runs: %v", err)
			}
			if signal == os.Interrupt && !strings.Contains(string(text), "interrupt") {
				t.Errorf("standard error is %q, want the interrupt", text)
			}
			if driver.Wait() == nil {
				t.Error("the driver reports success")
			}
		})
	}
}

func TestRunGivesUpAtTheLimit(t *testing.T) {
	err := run(t.Context(), []string{"-tokens", "1", "-round-time", "1h", "-limit", "2s"}, io.Discard)
	if !errors.Is(err, errLimit) {
		t.Errorf("run = %v, want %v", err, errLimit)
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-tokens", "1,many"}, {"-tokens", "0"}, {"-rounds", "0"}, {"-round-time", "0s"}, {"-distinct", "0"}, {"-connections", "0"}, {"now"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("parse(%q) = nil, want an error", args)
		}
	}
	if s, err := parse([]string{"-tokens", ""}); err != nil || len(s.sets) != 0 {
		t.Errorf(`parse(-tokens "") = %v, %v, want no sets`, s.sets, err)
	}
}

func TestSpreadIsTheMedianWithTheMiddleHalf(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   string
	}{
		{[]float64{3, 1, 2, 10}, "2.5 (2.0–3.0)"},
		{[]float64{8, 7, 6, 5, 4, 3, 2, 1}, "4.5 (3.0–6.0)"},
		{[]float64{7}, "7.0 (7.0–7.0)"},
		{[]float64{3, 1, 2}, "2.0 (1.0–3.0)"},
		{ratios([]float64{2, 4, 5}, []float64{3, 4, 10}), "1.5 (1.0–2.0)"},
	} {
		if got := spread("%.1f", test.values); got != test.want {
			t.Errorf("spread(%v) = %s, want %s", test.values, got, test.want)
		}
	}
}
