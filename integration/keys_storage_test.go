package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// restartInOutage returns a gateway that was stopped with its keys stored, while its issuer is down.
func restartInOutage(t *testing.T) *keysGateway {
	t.Helper()
	k := prepareKeys(t, 1)
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
	k.wait("the keys are stored", func() bool { return len(k.files()) == 1 })
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	k.issuer.Down()
	return k
}

func TestRestartDuringAnOutage(t *testing.T) {
	k := restartInOutage(t)
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
	k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0), k.user(0, oktatest.Forged()))
	k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0), k.user(0, oktatest.SignedBy(oktatest.NewKey("RS256"))))
	if status, text := k.post(k.caddyfile()); status != http.StatusOK {
		t.Fatalf("POST /load = %d: %s", status, text)
	}
	k.eventually(http.StatusOK, k.path(0), k.user(0))
}

// What was removed while the gateway was down is not believed once the issuer answers (7517-07); a moved jwks_uri is
// followed (8414-13).
func TestRestartAfterARotation(t *testing.T) {
	k := restartInOutage(t)
	removed := k.issuer.ActiveKey()
	fresh := oktatest.NewKey("RS256")
	k.issuer.SetMetadata(map[string]any{"jwks_uri": k.issuer.URL() + "/moved/keys"})
	k.issuer.Override(oktatest.Unknown, jwks(fresh.JWK()))
	if err := k.issuer.Up(); err != nil {
		t.Fatal(err)
	}
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0, oktatest.SignedBy(fresh)))
	k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0), k.user(0, oktatest.SignedBy(removed)))
	k.wait("the fresh key is stored", func() bool {
		text, err := os.ReadFile(k.files()[0])
		return err == nil && strings.Contains(string(text), fresh.ID) && !strings.Contains(string(text), removed.ID)
	})
}

// OKTA-10: the next key is published, then it signs, then the old one goes: no step is noticed, except by tokens of
// the key that is gone.
func TestRotationOverRestarts(t *testing.T) {
	k := prepareKeys(t, 1)
	first := k.issuer.ActiveKey()
	for range 3 {
		k.run()
		k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
		k.issuer.Rotate()
		k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
		k.expect(http.StatusOK, "GET", k.path(0), k.user(0, oktatest.SignedBy(k.issuer.PreviousKey())))
	}
	k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0), k.user(0, oktatest.SignedBy(first)))
}

func TestStoredKeysThatCannotBeUsed(t *testing.T) {
	var foreign string
	rows := []struct {
		name string
		edit func(text string) string
	}{
		{"garbage", func(string) string { return "\x00 garbage" }},
		{"nothing", func(string) string { return "" }},
		{"half of it", func(text string) string { return text[:len(text)/2] }},
		{"a huge file", func(text string) string { return text + strings.Repeat(" ", 10<<20) }},
		{"from another issuer", func(string) string { return foreign }},
		{"from tomorrow", func(text string) string { return dated(text, time.Now().Add(24*time.Hour)) }},
		{"two days old", func(text string) string { return dated(text, time.Now().Add(-48*time.Hour)) }},
		{"without a usable key", func(text string) string { return strings.ReplaceAll(text, `"RSA"`, `"oct"`) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			k := restartInOutage(t)
			file := k.files()[0]
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if foreign == "" {
				foreign = strings.ReplaceAll(string(text), k.issuer.Issuer(), "https://acme.okta.com/oauth2/default")
			}
			if err := os.WriteFile(file, []byte(row.edit(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			k.run()
			k.expectUnavailable(0)
			if err := k.issuer.Up(); err != nil {
				t.Fatal(err)
			}
			k.eventually(http.StatusOK, k.path(0), k.user(0))
			k.wait("good keys are stored again", func() bool {
				fresh, err := os.ReadFile(file)
				return err == nil && strings.Contains(string(fresh), k.issuer.ActiveKey().ID) && len(fresh) < 1<<20 && string(fresh) != string(text)
			})
		})
	}
}

// dated changes when stored keys were fetched.
func dated(text string, at time.Time) string {
	before, rest, _ := strings.Cut(text, `"fetched_at":"`)
	_, rest, _ = strings.Cut(rest, `"`)
	return before + `"fetched_at":"` + at.UTC().Format(time.RFC3339Nano) + `"` + rest
}

func TestBrokenStorageHarmsNothing(t *testing.T) {
	k := prepareKeys(t, 1)
	if err := os.WriteFile(filepath.Join(k.storage, "okta"), []byte("a file where a folder should be"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
	if status, text := k.post(k.caddyfile()); status != http.StatusOK {
		t.Fatalf("POST /load = %d: %s", status, text)
	}
	k.eventually(http.StatusOK, k.path(0), k.user(0))
}

// A configuration that is only looked at, or refused, leaves no trace in the storage and asks no issuer.
func TestValidateTouchesNoStorage(t *testing.T) {
	k := prepareKeys(t, 1)
	config, err := adapt(k.expand(k.caddyfile()))
	if err != nil {
		t.Fatal(err)
	}
	parsed := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(config, parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(parsed); err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(config), `"handler":"okta_auth"`, `"handler":"okta_auth","cors_preflight":"perhaps"`, 1)
	if err := caddy.Load([]byte(bad), true); err == nil || !strings.Contains(err.Error(), "cors_preflight") {
		t.Errorf("a bad handler was loaded: %v", err)
	}
	if entries, err := os.ReadDir(k.storage); err != nil || len(k.files()) > 0 || k.issuer.Hits() > 0 {
		t.Errorf("the storage holds %v (%v), the issuer was asked %d times", entries, err, k.issuer.Hits())
	}
}

func TestPinnedKeysNeedNoNetwork(t *testing.T) {
	k := prepareKeys(t, 1)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, k.issuer.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	k.options[0] = "keys_file " + file
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
	k.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", k.path(0), k.user(0, oktatest.SignedBy(oktatest.NewKey("RS256"))))
	k.issuer.Down()
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
	if k.issuer.Hits() > 0 || len(k.files()) > 0 || k.fetches(0, "ok") >= 0 {
		t.Errorf("%d requests, stored %q, %d fetches", k.issuer.Hits(), k.files(), k.fetches(0, "ok"))
	}
}

// 8414-10: an issuer's certificate must chain to the configured roots, and else there are no keys.
func TestCertificateOfTheIssuer(t *testing.T) {
	k := prepareKeys(t, 3)
	right, wrong := filepath.Join(t.TempDir(), "right.pem"), filepath.Join(t.TempDir(), "wrong.pem")
	secure, other := startIssuer(t, oktatest.Config{ID: "default", TLS: true}), startIssuer(t, oktatest.Config{ID: "default", TLS: true})
	for file, issuer := range map[string]*oktatest.Server{right: secure, wrong: other} {
		if err := os.WriteFile(file, issuer.CertPEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k.issuers = []*oktatest.Server{secure, secure, secure}
	k.options = []string{"tls_ca " + right, "", "tls_ca " + wrong}
	for range 2 {
		k.run()
		k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
		k.wait("the keys are stored", func() bool { return len(k.files()) == 1 })
		// Keys that were fetched under other roots are not for these.
		k.expectUnavailable(1)
		k.expectUnavailable(2)
	}
	// One issuer, three sources: one series each, or the page would be refused.
	k.wait("both have failed", func() bool { return k.fetches(0, "error") >= 2 })
	if k.fetches(0, "ok") != 1 {
		t.Errorf("%d good fetches, want 1", k.fetches(0, "ok"))
	}
}

// 8414-07, 8414-08: what would let others choose the keys does not load.
func TestURLsThatDoNotLoad(t *testing.T) {
	for _, row := range []struct{ url, option, want string }{
		{"http://acme.okta.test/oauth2/default", "", "insecure_http"},
		{"http://10.0.0.1/oauth2/default", "", "insecure_http"},
		{"http://127.0.0.1.acme.test/oauth2/default", "", "insecure_http"},
		{"https://acme.okta.test/oauth2/default", "keys_url http://acme.okta.test/keys", "insecure_http"},
		{"https://acme.okta.test/oauth2/default?x=y", "", "no query"},
		{"https://acme.okta.test/oauth2/default#x", "", "fragment"},
		{"ftp://acme.okta.test/oauth2/default", "", "https://"},
		{"https://acme.okta.test/oauth2/default", "tls_ca no-such-file.pem", "no-such-file.pem"},
		{"https://acme.okta.test/oauth2/default", "keys_file no-such-file.json", "no-such-file.json"},
	} {
		t.Run(row.url+" "+row.option, func(t *testing.T) {
			k := prepareKeys(t, 1)
			k.options[0] = row.option
			config, err := adapt(k.expand(strings.ReplaceAll(k.caddyfile(), k.issuer.Issuer(), fmt.Sprintf("%q", row.url))))
			if err == nil {
				err = caddy.Load(config, true)
			}
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("Load = %v, want an error with %q", err, row.want)
			}
		})
	}
}

// Two names for one issuer, with other times: one source, one fetch, one series.
func TestIssuersThatShareKeys(t *testing.T) {
	k := prepareKeys(t, 2)
	k.issuers[1] = k.issuers[0]
	k.options = []string{"keys_refresh 2h", "keys_refresh 3h\nkeys_max_stale 5h"}
	k.run()
	for range 2 {
		k.eventually(http.StatusOK, k.path(0), k.user(0)) // a reload resets a connection now and then
		k.expect(http.StatusOK, "GET", k.path(1), k.user(1))
		if hits := k.issuer.Hits(oktatest.Keys); hits != 1 || k.fetches(0, "ok") != 1 || k.fetches(0, "error") != 0 {
			t.Errorf("%d fetches, the metrics say %d good and %d bad ones", hits, k.fetches(0, "ok"), k.fetches(0, "error"))
		}
		age := k.metric(fmt.Sprintf("caddy_okta_keys_age_seconds{issuer=%q}", k.issuer.Issuer()))
		if seconds, err := time.ParseDuration(age + "s"); err != nil || seconds <= 0 || seconds > time.Minute {
			t.Errorf("the age is %q", age)
		}
		k.options[0] = "keys_refresh 1h\nkeys_max_stale 2h" // a reload that changes the times keeps the keys
		k.load(k.caddyfile())
	}
	k.wait("the keys are stored", func() bool { return len(k.files()) == 1 })
}
