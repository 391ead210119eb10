package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

const (
	bare         = `Bearer realm="okta"`
	invalidToken = `error="invalid_token"`
)

func TestNoTokenGetsABareChallenge(t *testing.T) {
	g := start(t, "okta_auth main")
	a := g.expect(http.StatusUnauthorized, "GET", "/")
	if got := a.Header.Get("WWW-Authenticate"); got != bare {
		t.Errorf("challenge %q, want %q", got, bare)
	}
	if g.backend.requests.Load() != 0 {
		t.Error("the backend was reached")
	}
}

func TestValidUserTokenBecomesIdentityHeaders(t *testing.T) {
	g := start(t, "okta_auth main")
	token := g.issuer.UserToken("alice@example.com",
		oktatest.Scopes("openid", "read:profile"), oktatest.Groups("Everyone", "Admin"), oktatest.With("email", "alice@example.com"))
	for _, round := range []string{"verified", "from the cache"} {
		a := g.expect(http.StatusOK, "GET", "/", bearer(token))
		want := map[string]string{
			"X-User-Id": "alice@example.com", "X-User-Scopes": "openid read:profile", "X-User-Groups": "Everyone,Admin",
			"X-User-Email": "alice@example.com", "X-Client-Id": oktatest.UserClient, "Authorization": "", "X-User-Issuer": "",
		}
		for name, value := range want {
			if got := strings.Join(a.seen.Header.Values(name), "|"); got != value {
				t.Errorf("%s: the backend saw %s %q, want %q", round, name, got, value)
			}
		}
	}
}

func TestBadTokensAreInvalid(t *testing.T) {
	g := start(t, "okta_auth main")
	other, err := oktatest.Start(oktatest.Config{ID: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for name, token := range map[string]string{
		"expired":                          g.issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour)),
		"for another audience":             g.issuer.UserToken("alice", oktatest.Audience("api://other")),
		"of another issuer":                other.UserToken("alice"),
		"of another issuer that names us":  other.UserToken("alice", oktatest.With("iss", g.issuer.Issuer())),
		"forged":                           tampered(g.issuer.UserToken("alice")),
		"of another key with the same kid": g.issuer.UserToken("alice", oktatest.Forged()),
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			g.expectChallenge(http.StatusUnauthorized, []string{bare, invalidToken}, "GET", "/", bearer(token))
			g.expectChallenge(http.StatusUnauthorized, []string{bare, invalidToken}, "GET", "/", bearer(token))
		})
	}
}

// tampered changes one letter in the middle of the signature.
func tampered(token string) string {
	i := len(token) - 100
	letter := "A"
	if token[i] == 'A' {
		letter = "B"
	}
	return token[:i] + letter + token[i+1:]
}

func TestAdminNeedsTheGroup(t *testing.T) {
	g := start(t, "okta_auth main\n cel_policy {\n allow admins /admin/* `\"Admin\" in principal.groups`\n }")
	admin := bearer(g.issuer.UserToken("carol", oktatest.Groups("Everyone", "Admin")))
	user := bearer(g.issuer.UserToken("alice", oktatest.Groups("Everyone", "Administrators")))
	nobody := bearer(g.issuer.UserToken("bob"))
	for _, path := range []string{"/admin", "/admin/", "/admin/users/7"} {
		g.expect(http.StatusOK, "GET", path, admin)
		g.expectChallenge(http.StatusForbidden, nil, "GET", path, user)
		g.expectChallenge(http.StatusForbidden, nil, "GET", path, nobody)
	}
	g.expect(http.StatusForbidden, "GET", "/administration", admin)
	g.expectChallenge(http.StatusUnauthorized, []string{bare}, "GET", "/admin")
}

func TestOwnResourceOnly(t *testing.T) {
	g := start(t, "okta_auth main\n cel_policy {\n allow own /data/user/{id} `params.id == principal.subject`\n }")
	subject := func(sub string) option { return bearer(g.issuer.UserToken(sub)) }
	for _, c := range []struct {
		target string
		sub    string
		status int
	}{
		{"/data/user/alice", "alice", 200},
		{"/data/user/alice%40example.com", "alice@example.com", 200},
		{"/data/user/bob", "alice", 403},
		{"/data/user/Alice", "alice", 403},
		{"/data/user/", "alice", 403},
		{"/data/user/alice/", "alice", 403},
		{"/data/user/alice/more", "alice", 403},
		{"/data/user/alice", "*", 403},
		{"/data/user/*", "*", 200},
		{"/data/user/alice", "..", 403},
		{"/data/user/..", "..", 400},
		{"/data/user/%2e%2e", "..", 400},
		{"/data/user/a", "a/b", 403},
		{"/data/user/a/b", "a/b", 403},
		{"/data/user/a%2Fb", "a/b", 400},
		{"/data/user/a%252Fb", "a/b", 400},
	} {
		t.Run(c.sub+" at "+c.target, func(t *testing.T) {
			g.t = t
			g.expect(c.status, "GET", "/", opaque(c.target), subject(c.sub))
		})
	}
}

func TestScopesOfARoute(t *testing.T) {
	g := start(t, "okta_auth /sensors/* main {\n scopes read:sensor_data read:all\n }")
	missing := []string{`error="insufficient_scope"`, `scope="read:sensor_data read:all"`}
	scopes := func(list ...string) option { return bearer(g.issuer.UserToken("alice", oktatest.Scopes(list...))) }
	g.expect(http.StatusOK, "GET", "/sensors/1", scopes("read:all", "openid", "read:sensor_data"))
	g.expectChallenge(http.StatusForbidden, missing, "GET", "/sensors/1", scopes("read:sensor_data"))
	g.expectChallenge(http.StatusForbidden, missing, "GET", "/sensors/1", scopes("read:sensor_data_x", "read:all"))
	g.expectChallenge(http.StatusForbidden, missing, "GET", "/sensors/1", scopes("READ:SENSOR_DATA", "read:all"))
	g.expectChallenge(http.StatusForbidden, missing, "GET", "/sensors/1", scopes())
	g.expect(http.StatusOK, "GET", "/elsewhere")
}

func TestCustomClaim(t *testing.T) {
	g := start(t, "okta_auth main\n cel_policy `claims.department == \"IT\"`")
	department := func(value any) option { return bearer(g.issuer.UserToken("alice", oktatest.With("department", value))) }
	g.expect(http.StatusOK, "GET", "/", department("IT"))
	for _, value := range []any{"Sales", "it", 7, true, nil, []string{"IT"}, map[string]any{"name": "IT"}} {
		g.expectChallenge(http.StatusForbidden, nil, "GET", "/", department(value))
	}
	g.expectChallenge(http.StatusForbidden, nil, "GET", "/", bearer(g.issuer.UserToken("alice")))
}

func TestAddressTimeAndDevice(t *testing.T) {
	hour := time.Now().In(berlin(t)).Hour()
	g := start(t, fmt.Sprintf("vars device {header.X-Device}\n okta_auth main\n"+`cel_policy {
		allow inside  /inside  `+"`cidr(\"127.0.0.0/8\").containsIP(request.ip)`"+`
		allow outside /outside `+"`cidr(\"192.0.2.0/24\").containsIP(request.ip)`"+`
		allow now     /now     `+"`now.getHours(\"Europe/Berlin\") in [%d, %d]`"+`
		allow later   /later   `+"`now.getHours(\"Europe/Berlin\") in [%d, %d]`"+`
		allow device  /device  `+"`placeholder(\"http.vars.device\") == \"managed\"`"+`
	}`, hour, (hour+1)%24, (hour+12)%24, (hour+13)%24))
	alice := bearer(g.issuer.UserToken("alice"))
	g.expect(http.StatusOK, "GET", "/inside", alice)
	g.expect(http.StatusForbidden, "GET", "/outside", alice)
	g.expect(http.StatusForbidden, "GET", "/outside", alice, header("X-Forwarded-For", "192.0.2.7")) // nobody trusts us
	g.expect(http.StatusOK, "GET", "/now", alice)
	g.expect(http.StatusForbidden, "GET", "/later", alice)
	g.expect(http.StatusOK, "GET", "/device", alice, header("X-Device", "managed"))
	g.expect(http.StatusForbidden, "GET", "/device", alice, header("X-Device", "rooted"))
	g.expect(http.StatusForbidden, "GET", "/device", alice)
}

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestPartnersAndServices(t *testing.T) {
	g := start(t, "okta_auth main\n"+`cel_policy {
		allow partners GET  /orders/*   `+"`\"partner:read\" in principal.scopes`"+`
		allow jobs     POST /internal/* `+"`principal.kind == \"service\"`"+`
	}`)
	partner := bearer(g.issuer.UserToken("partner-app", oktatest.Scopes("partner:read")))
	g.expect(http.StatusOK, "GET", "/orders/7", partner)
	g.expect(http.StatusForbidden, "POST", "/orders/7", partner)
	g.expect(http.StatusForbidden, "POST", "/internal/jobs", partner)

	g.issuer.RegisterClient(oktatest.Client{ID: "0oaJob", Secret: "secret", Scopes: []string{"jobs:run"}})
	for _, scope := range []string{"jobs:run", ""} { // without a requested scope the token has no scp at all
		service := bearer(clientCredentials(t, g.issuer, "0oaJob", "secret", scope))
		g.expect(http.StatusOK, "POST", "/internal/jobs", service)
		g.expect(http.StatusForbidden, "GET", "/orders/7", service)
	}
}

// clientCredentials gets a token as a service does.
func clientCredentials(t *testing.T, issuer *oktatest.Server, id, secret, scope string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	if scope != "" {
		form.Set("scope", scope)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", issuer.EndpointURL(oktatest.Token), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(id, secret)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := issuer.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	readJSON(t, resp, &answer)
	return answer.AccessToken
}

func TestPublicOptionalAndPreflight(t *testing.T) {
	g := start(t, `handle /public/* {
		reverse_proxy BACKEND
	}
	handle /optional/* {
		okta_auth main {
			optional
		}
		reverse_proxy BACKEND
	}
	handle {
		okta_auth main {
			cors_preflight pass
		}
		cel_policy `+"`principal.subject == \"alice\"`"+`
		reverse_proxy BACKEND
	}`)
	alice := bearer(g.issuer.UserToken("alice"))
	g.expect(http.StatusOK, "GET", "/public/page")
	if id := g.expect(http.StatusOK, "GET", "/optional/page").seen.Header.Get("X-User-Id"); id != "" {
		t.Errorf("an anonymous caller is %q", id)
	}
	if id := g.expect(http.StatusOK, "GET", "/optional/page", alice).seen.Header.Get("X-User-Id"); id != "alice" {
		t.Errorf("a known caller is %q, want alice", id)
	}
	g.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", "/optional/page", bearer(g.issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour))))

	origin, method := header("Origin", "https://app.example"), header("Access-Control-Request-Method", "GET")
	a := g.expect(http.StatusOK, "OPTIONS", "/private", origin, method, header("Cookie", "session=1"), header("X-User-ID", "root"))
	if got := a.seen.Header; got.Get("Cookie") != "" || got.Get("X-User-Id") != "" {
		t.Errorf("the preflight carries %v", got)
	}
	g.expect(http.StatusOK, "OPTIONS", "/private", origin, method, alice)
	g.expect(http.StatusUnauthorized, "OPTIONS", "/private", origin)
	g.expect(http.StatusUnauthorized, "OPTIONS", "/private", method)
	g.expect(http.StatusUnauthorized, "GET", "/private", origin, method)
	g.expect(http.StatusUnauthorized, "OPTIONS", "/private", origin, method, header("Authorization", "Basic YTpi"))
	g.expect(http.StatusUnauthorized, "OPTIONS", "/private", origin, method, withBody("x"))
}

func TestStepUp(t *testing.T) {
	auth := "okta_auth POST main {\n acr_values phr urn:okta:loa:2fa:any\n max_age 5m\n }"
	policy := "okta_auth main\n cel_policy {\n allow all `true`\n step_up strong POST /payments/* {\n acr_values phr urn:okta:loa:2fa:any\n max_age 5m\n }\n }"
	for name, directives := range map[string]string{
		"of okta_auth":  "@post method POST\n " + strings.Replace(auth, "POST main", "@post main", 1),
		"of cel_policy": policy,
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, directives)
			user := func(acr string, age time.Duration) option {
				return bearer(g.issuer.UserToken("alice", oktatest.With("acr", acr), oktatest.With("auth_time", time.Now().Add(-age).Unix())))
			}
			challenge := []string{bare, `error="insufficient_user_authentication"`, `acr_values="phr urn:okta:loa:2fa:any"`, `max_age="300"`}
			g.expect(http.StatusOK, "POST", "/payments", user("phr", time.Minute))
			g.expect(http.StatusOK, "POST", "/payments", user("urn:okta:loa:2fa:any", 5*time.Minute+20*time.Second)) // within the skew
			g.expectChallenge(http.StatusUnauthorized, challenge, "POST", "/payments", user("phr", time.Hour))
			g.expectChallenge(http.StatusUnauthorized, challenge, "POST", "/payments", user("phr", -time.Hour))
			g.expectChallenge(http.StatusUnauthorized, challenge, "POST", "/payments", user("urn:okta:loa:1fa:pwd", time.Minute))
			g.expectChallenge(http.StatusUnauthorized, challenge, "POST", "/payments", user("urn:okta:loa:2fa:any:ifpossible", time.Minute))
			g.expectChallenge(http.StatusUnauthorized, challenge, "POST", "/payments", bearer(g.issuer.UserToken("alice", oktatest.Without("auth_time"))))
			// Nobody could answer the challenge for a service.
			g.expectChallenge(http.StatusForbidden, nil, "POST", "/payments", bearer(g.issuer.ServiceToken("0oaJob", oktatest.With("acr", "phr"), oktatest.With("auth_time", time.Now().Unix()))))
			// An expired token is told so first.
			g.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "POST", "/payments", bearer(g.issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour))))
			g.expect(http.StatusOK, "GET", "/payments", user("urn:okta:loa:1fa:pwd", time.Hour))
		})
	}
}

func TestClientsOwnIdentityHeadersNeverGetThrough(t *testing.T) {
	g := start(t, "okta_auth main")
	alice := bearer(g.issuer.UserToken("alice"))
	for name, options := range map[string][]option{
		"once":             {header("X-User-ID", "root")},
		"in lower case":    {header("x-user-id", "root")},
		"twice":            {header("X-User-ID", "root"), header("X-User-ID", "root2")},
		"with underscores": {header("X_User_ID", "root")},
		"in Connection":    {header("Connection", "X-User-ID, x-user-groups, keep-alive"), header("X-User-ID", "root")},
		"a missing claim":  {header("X-User-Groups", "root"), header("X-User-Email", "root"), header("X-User-Issuer", "root")},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			a := g.expect(http.StatusOK, "GET", "/", append(options, alice)...)
			if got := a.seen.Header.Values("X-User-Id"); len(got) != 1 || got[0] != "alice" {
				t.Errorf("the backend saw X-User-ID %q, want alice", got)
			}
			for name, values := range a.seen.Header {
				if strings.Contains(strings.Join(values, " "), "root") {
					t.Errorf("the backend saw %s: %q", name, values)
				}
			}
		})
	}
}

func TestRotationAndOutage(t *testing.T) {
	g := start(t, "okta_auth main")
	g.expect(http.StatusOK, "GET", "/", bearer(g.issuer.UserToken("alice")))
	g.issuer.Rotate()
	g.expect(http.StatusOK, "GET", "/", bearer(g.issuer.UserToken("alice")))
	if hits := g.issuer.Hits(oktatest.Keys); hits != 1 {
		t.Errorf("%d fetches of keys, want 1: the next key was published before", hits)
	}
	g.issuer.Down()
	g.expect(http.StatusOK, "GET", "/", bearer(g.issuer.UserToken("bob")))
}

func TestIssuerDownAtStart(t *testing.T) {
	g := prepare(t)
	g.issuer.Down()
	g.load(fmt.Sprintf(site, "okta_auth main"))
	token := g.issuer.UserToken("alice")
	a := g.expect(http.StatusServiceUnavailable, "GET", "/", bearer(token))
	// 9110-14
	if a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("503 with %v", a.Header)
	}
	g.expectChallenge(http.StatusUnauthorized, []string{bare}, "GET", "/")
	if err := g.issuer.Up(); err != nil {
		t.Fatal(err)
	}
	g.eventually(http.StatusOK, "/", bearer(token))
}

// eventually waits until a request is answered with a status.
func (g *gateway) eventually(status int, path string, options ...option) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if a, err := g.trySend(ctx, "GET", path, options...); err == nil && a.StatusCode == status {
			return
		}
		select {
		case <-ctx.Done():
			g.t.Fatalf("%s was not answered %d in time", path, status)
		case <-tick.C:
		}
	}
}
