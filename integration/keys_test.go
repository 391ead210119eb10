package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// TestMain keeps what the gateway stores out of the home directory.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "storage")
	if err != nil {
		panic(err)
	}
	caddy.DefaultStorage.Path = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// keysGateway is a gateway in front of several issuers, one at /0/*, the next at /1/* and so on, with a storage that
// outlives Caddy.
type keysGateway struct {
	*gateway
	issuers []*oktatest.Server
	options []string // further lines of each issuer
	storage string
}

func prepareKeys(t *testing.T, issuers int) *keysGateway {
	t.Helper()
	storage, err := os.MkdirTemp("", "keys")
	if err != nil {
		t.Fatal(err)
	}
	k := &keysGateway{options: make([]string, issuers), storage: storage}
	t.Cleanup(func() { // nobody waits for the storage, so something may still be written
		k.t = t
		k.wait("the storage is removed", func() bool { return os.RemoveAll(storage) == nil })
	})
	k.gateway = prepare(t)
	k.issuers = append(k.issuers, k.issuer)
	for len(k.issuers) < issuers {
		k.issuers = append(k.issuers, startIssuer(t, oktatest.Config{ID: "default"}))
	}
	return k
}

func startIssuer(t *testing.T, config oktatest.Config) *oktatest.Server {
	t.Helper()
	if config.Addr == "" {
		config.Addr = freeAddress(t)
	}
	issuer, err := oktatest.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	return issuer
}

// run starts Caddy, as after a restart of the process: nothing is left of what ran before but the storage. It listens
// at another address, for the listeners of before take a while to go.
func (k *keysGateway) run() {
	k.t.Helper()
	if err := caddy.Stop(); err != nil {
		k.t.Fatal(err)
	}
	k.client.CloseIdleConnections()
	k.address, k.admin = freeAddress(k.t), freeAddress(k.t)
	k.load(k.caddyfile())
}

func (k *keysGateway) caddyfile() string {
	var issuers, sites strings.Builder
	for n, issuer := range k.issuers {
		fmt.Fprintf(&issuers, "issuer i%d %s {\naudience api://default\n%s\n}\n", n, issuer.Issuer(), k.options[n])
		fmt.Fprintf(&sites, "okta_auth /%d/* i%d\n", n, n)
	}
	return fmt.Sprintf(`{
		admin ADMIN
		persist_config off
		storage file_system %q
		log {
			output file LOGS
		}
		okta {
			%s
		}
	}
	http://ADDRESS {
		bind 127.0.0.1
		%s
		reverse_proxy BACKEND
	}`, k.storage, issuers.String(), sites.String())
}

// path is a place that an issuer guards.
func (k *keysGateway) path(issuer int) string { return fmt.Sprintf("/%d/x", issuer) }

// user is a credential of an issuer. No two are the same, so none is remembered.
func (k *keysGateway) user(issuer int, options ...oktatest.Option) option {
	return bearer(k.issuers[issuer].UserToken("alice", options...))
}

// files returns what is stored of the keys.
func (k *keysGateway) files() []string {
	files, err := filepath.Glob(filepath.Join(k.storage, "okta", "keys", "*.json"))
	if err != nil {
		k.t.Fatal(err)
	}
	return files
}

// wait polls until a condition holds. What it waits for happens in the background and tells nobody.
func (k *keysGateway) wait(what string, done func() bool) {
	k.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			k.t.Fatalf("not in time: %s", what)
		}
	}
}

// metric returns the value of one series, or "".
func (k *keysGateway) metric(series string) string {
	k.t.Helper()
	status, text := k.adminCall(http.MethodGet, "/metrics", "", "")
	if status != http.StatusOK {
		k.t.Fatalf("GET /metrics = %d: %s", status, text)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	return ""
}

// fetches returns how many fetches of an issuer's keys there were, or -1 when there is no such series.
func (k *keysGateway) fetches(issuer int, result string) int {
	k.t.Helper()
	count, err := strconv.Atoi(k.metric(fmt.Sprintf("caddy_okta_keys_fetch_total{issuer=%q,result=%q}", k.issuers[issuer].Issuer(), result)))
	if err != nil {
		return -1
	}
	return count
}

// expectUnavailable makes a request with a good token while there are no keys.
func (k *keysGateway) expectUnavailable(issuer int) {
	k.t.Helper()
	a := k.expectChallenge(http.StatusServiceUnavailable, nil, "GET", k.path(issuer), k.user(issuer))
	if a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "no-store" {
		k.t.Errorf("%d: 503 with %v", issuer, a.Header)
	}
}

// jwks returns an answer with these JWKs.
func jwks(keys ...map[string]any) http.Handler {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return oktatest.Answer(http.StatusOK, string(text))
}

// edited returns the JWK of a key with one member changed.
func edited(key *oktatest.Key, member string, value any) map[string]any {
	jwk := key.JWK()
	jwk[member] = value
	return jwk
}

// published returns the JWKs that an issuer publishes.
func published(issuer *oktatest.Server) (jwks []map[string]any) {
	for _, key := range issuer.PublishedKeys() {
		jwks = append(jwks, key.JWK())
	}
	return jwks
}

// A bad answer at the start means 503 until the issuer recovers, which needs nobody's help. The same answer after a
// restart with stored keys changes nothing.
func TestBadAnswersOfTheIssuer(t *testing.T) {
	elsewhere := startIssuer(t, oktatest.Config{ID: "default"})
	keys := func(h func(*oktatest.Server) http.Handler) func(*oktatest.Server) {
		return func(s *oktatest.Server) { s.Override(oktatest.Keys, h(s)) }
	}
	answer := func(status int, body string) func(*oktatest.Server) {
		return keys(func(*oktatest.Server) http.Handler { return oktatest.Answer(status, body) })
	}
	discovery := func(status int, body string) func(*oktatest.Server) {
		return func(s *oktatest.Server) { s.Override(oktatest.Discovery, oktatest.Answer(status, body)) }
	}
	says := func(name string, value any) func(*oktatest.Server) {
		return func(s *oktatest.Server) { s.SetMetadata(map[string]any{name: value}) }
	}
	rows := []struct {
		name string // with the number of the case in the RFCs
		does func(*oktatest.Server)
	}{
		{"refuses connections (8414-12)", func(s *oktatest.Server) { s.Down() }},
		{"cuts connections", keys(func(*oktatest.Server) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		})},
		{"answers 500 with good keys (7517-06)", keys(func(s *oktatest.Server) http.Handler {
			return oktatest.Answer(http.StatusInternalServerError, string(s.JWKS()))
		})},
		{"is overloaded", answer(http.StatusServiceUnavailable, "")},
		{"knows no keys", answer(http.StatusNotFound, "{}")},
		{"sends a page (7517-06)", answer(http.StatusOK, "<html><body>Sign in</body></html>")},
		{"sends nothing", answer(http.StatusOK, "")},
		{"sends null", answer(http.StatusOK, "null")},
		{"sends an empty set (7517-06)", answer(http.StatusOK, `{"keys":[]}`)},
		{"sends half a set", keys(func(s *oktatest.Server) http.Handler {
			return oktatest.Answer(http.StatusOK, string(s.JWKS()[:len(s.JWKS())/2]))
		})},
		{"sends more than 1 MiB (7517-06)", keys(func(s *oktatest.Server) http.Handler {
			return oktatest.Answer(http.StatusOK, string(s.JWKS())+strings.Repeat(" ", 1<<20))
		})},
		{"sends 65 keys (7517-06)", keys(func(s *oktatest.Server) http.Handler {
			list := published(s)
			for n := len(list); n < 65; n++ {
				list = append(list, edited(s.ActiveKey(), "kid", fmt.Sprint("k", n)))
			}
			return jwks(list...)
		})},
		{"redirects to another host (7517-06)", keys(func(*oktatest.Server) http.Handler {
			return http.RedirectHandler(elsewhere.EndpointURL(oktatest.Keys), http.StatusFound)
		})},
		{"redirects without an end", keys(func(s *oktatest.Server) http.Handler {
			return http.RedirectHandler(s.EndpointURL(oktatest.Keys), http.StatusFound)
		})},
		{"has only secrets (7517-04)", keys(func(*oktatest.Server) http.Handler {
			return jwks(oktatest.NewSecret("HS256", []byte("a secret of thirty-two bytes....")).JWK())
		})},
		{"has only keys for encryption (7517-02)", keys(func(s *oktatest.Server) http.Handler {
			return jwks(edited(s.ActiveKey(), "use", "enc"))
		})},
		{"has only short keys", keys(func(*oktatest.Server) http.Handler {
			return jwks(oktatest.NewRSAKey("RS256", 1024).JWK())
		})},
		{"publishes its private key", keys(func(s *oktatest.Server) http.Handler {
			return jwks(edited(s.ActiveKey(), "d", "AAAA"))
		})},
		{"names another issuer (8414-05)", says("issuer", elsewhere.Issuer())},
		{"names itself with a slash (8414-05, 8414-14)", func(s *oktatest.Server) {
			s.SetMetadata(map[string]any{"issuer": s.Issuer() + "/"})
		}},
		{"names itself in capitals (8414-14)", func(s *oktatest.Server) {
			s.SetMetadata(map[string]any{"issuer": strings.ToUpper(s.Issuer())})
		}},
		{"names no issuer", says("issuer", nil)},
		{"names no jwks_uri (8414-11)", says("jwks_uri", nil)},
		{"has its keys at http:// somewhere (8414-07)", says("jwks_uri", "http://keys.okta.test/keys")},
		{"has its keys in a file", says("jwks_uri", "file:///etc/keys.json")},
		{"has no metadata (8414-06)", discovery(http.StatusNotFound, "")},
		{"has metadata that is a page (8414-06)", discovery(http.StatusOK, "<html>")},
		{"has metadata that is a list (8414-06)", discovery(http.StatusOK, "[]")},
	}
	k := prepareKeys(t, len(rows))
	each := func(do func(n int)) {
		for n, row := range rows {
			t.Run(row.name, func(t *testing.T) { k.t = t; do(n) })
		}
		k.t = t
	}
	for n, row := range rows {
		row.does(k.issuers[n])
	}
	k.run()
	each(k.expectUnavailable)
	if files := k.files(); len(files) > 0 {
		t.Errorf("stored is %q", files)
	}

	for _, issuer := range k.issuers {
		issuer.Override(oktatest.Keys, nil)
		issuer.Override(oktatest.Discovery, nil)
		issuer.SetMetadata(nil)
		if err := issuer.Up(); err != nil {
			t.Fatal(err)
		}
	}
	each(func(n int) { k.eventually(http.StatusOK, k.path(n), k.user(n)) })
	k.wait("all keys are stored", func() bool { return len(k.files()) == len(rows) })

	for n, row := range rows {
		row.does(k.issuers[n])
	}
	k.run()
	each(func(n int) {
		k.expect(http.StatusOK, "GET", k.path(n), k.user(n))
		k.wait("the bad answer has come", func() bool { return k.fetches(n, "error") > 0 })
		k.expect(http.StatusOK, "GET", k.path(n), k.user(n))
		k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(n), k.user(n, oktatest.Forged()))
	})
	if hits := elsewhere.Hits(); hits > 0 {
		t.Errorf("%d requests went to another host", hits)
	}
}

// What an issuer publishes beside its good keys does no harm, and is of no use.
func TestOddKeysBesideGoodOnes(t *testing.T) {
	secret := oktatest.NewSecret("HS256", []byte("a secret of thirty-two bytes...."))
	short := oktatest.NewRSAKey("RS256", 1024)
	other, elliptic := oktatest.NewKey("RS256"), oktatest.NewKey("ES256")
	rows := []struct {
		name   string
		beside func(s *oktatest.Server) map[string]any
		token  oktatest.Option // what signs
		status int
	}{
		{"a secret (7517-04)", func(*oktatest.Server) map[string]any { return secret.JWK() }, oktatest.SignedBy(secret), 401},
		{"a secret in disguise (7517-04)", func(*oktatest.Server) map[string]any { return edited(secret, "alg", "RS256") }, oktatest.SignedBy(secret), 401},
		{"a key for encryption (7517-02)", func(*oktatest.Server) map[string]any { return edited(other, "use", "enc") }, oktatest.SignedBy(other), 401},
		{"a key that only signs (7517-02)", func(*oktatest.Server) map[string]any { return edited(other, "key_ops", []string{"sign"}) }, oktatest.SignedBy(other), 401},
		{"a short key", func(*oktatest.Server) map[string]any { return short.JWK() }, oktatest.SignedBy(short), 401},
		{"a key for another algorithm (7517-03)", func(*oktatest.Server) map[string]any { return edited(other, "alg", "RS512") }, oktatest.SignedBy(other), 401},
		{"a key of another algorithm (7517-03)", func(*oktatest.Server) map[string]any { return elliptic.JWK() }, oktatest.SignedBy(elliptic), 401},
		{"a key without a name (7515-20)", func(*oktatest.Server) map[string]any { return edited(other, "kid", nil) }, oktatest.SignedBy(other), 401},
		{"a broken key (7517-01)", func(*oktatest.Server) map[string]any { return edited(other, "n", "***") }, oktatest.SignedBy(other), 401},
		{"a key of an unknown type (7517-01)", func(*oktatest.Server) map[string]any { return edited(other, "kty", "AKP") }, oktatest.SignedBy(other), 401},
		{"a key with unknown members (7517-01)", func(*oktatest.Server) map[string]any { return edited(other, "status", "ACTIVE") }, oktatest.SignedBy(other), 200},
		{"another key of the same name (7517-05)", func(s *oktatest.Server) map[string]any {
			return other.WithID(s.ActiveKey().ID).JWK()
		}, oktatest.SignedBy(other), 401}, // its own name is unknown
	}
	k := prepareKeys(t, len(rows))
	for n, row := range rows {
		issuer := k.issuers[n]
		issuer.Override(oktatest.Keys, jwks(append(published(issuer), row.beside(issuer))...))
	}
	k.run()
	for n, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			k.t = t
			k.expect(http.StatusOK, "GET", k.path(n), k.user(n))
			if row.status == http.StatusOK {
				k.expect(row.status, "GET", k.path(n), k.user(n, row.token))
			} else {
				k.expectChallenge(row.status, []string{invalidToken}, "GET", k.path(n), k.user(n, row.token))
			}
			k.expect(http.StatusOK, "GET", k.path(n), k.user(n))
		})
	}
}

// RFC 7517 §4.5 only wants names to differ: tokens of either key pass, those of a third one do not (7517-05).
func TestTwoKeysOfOneName(t *testing.T) {
	k := prepareKeys(t, 1)
	twin := oktatest.NewKey("RS256").WithID(k.issuer.ActiveKey().ID)
	k.issuer.Publish(twin)
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0, oktatest.SignedBy(twin)))
	k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0), k.user(0, oktatest.Forged()))
}

// Wherever an issuer has its metadata, it is found (8414-01 to 8414-04), and what else it says does not matter
// (8414-09, 8414-15).
func TestFormsOfMetadata(t *testing.T) {
	forms := []oktatest.Endpoint{oktatest.OpenIDConfiguration, oktatest.OAuthMetadata, oktatest.OAuthMetadataAppended}
	k := prepareKeys(t, len(forms)+1)
	for n, form := range forms {
		k.issuers[n].Override(oktatest.Discovery, http.NotFoundHandler())
		k.issuers[n].Override(form, k.issuers[n].Genuine(form))
		k.issuers[n].SetMetadata(map[string]any{"id_token_signing_alg_values_supported": []string{"none"}, "unknown": 7})
	}
	k.issuers[3] = startIssuer(t, oktatest.Config{Audience: "api://default"}) // without a path
	k.options[3] = "profile rfc9068"
	k.run()
	for n := range forms {
		k.expect(http.StatusOK, "GET", k.path(n), k.user(n))
		k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(n), k.user(n, oktatest.Alg("none")))
	}
	k.expect(http.StatusOK, "GET", k.path(3), bearer(k.issuers[3].RFC9068Token("alice")))
}

// A key id is compared, and nothing is ever made of it (7515-20, 7515-21); nor of the issuer in a token (8414-16).
func TestNothingIsFetchedForWhatATokenSays(t *testing.T) {
	k := prepareKeys(t, 1)
	stranger := startIssuer(t, oktatest.Config{ID: "default"})
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
	before := k.issuer.Hits()
	for _, kid := range []any{nil, "", "../../keys", "keys?x=", "'\"<>\x00\r\n", strings.Repeat("k", 4000), 7, k.issuer.ActiveKey().ID + " ", stranger.ActiveKey().ID} {
		k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0),
			k.user(0, oktatest.Header(map[string]any{"kid": kid, "jku": stranger.EndpointURL(oktatest.Keys)})))
		k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0),
			k.user(0, oktatest.Header(map[string]any{"kid": kid})))
	}
	k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0), bearer(stranger.UserToken("alice")))
	if hits := k.issuer.Hits() - before + stranger.Hits(); hits > 0 {
		t.Errorf("%d requests for what tokens said", hits)
	}
}
