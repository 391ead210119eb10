package oktatest_test

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// credentials are put into a request.
type credentials func(r *http.Request)

func basic(id, secret string) credentials {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

func nobody(*http.Request) {}

// post sends a form and returns status, header and JSON body.
func post(t *testing.T, srv *oktatest.Server, e oktatest.Endpoint, who credentials, form string, proofs ...string) (int, http.Header, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.EndpointURL(e), strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	who(req)
	for _, proof := range proofs {
		req.Header.Add("DPoP", proof)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, object(t, body)
}

// gateway registers a client that introspects.
func gateway(srv *oktatest.Server) *oktatest.Server {
	srv.RegisterClient(oktatest.Client{ID: "gateway", Secret: "secret"})
	return srv
}

func introspect(t *testing.T, srv *oktatest.Server, token string) map[string]any {
	t.Helper()
	status, header, answer := post(t, srv, oktatest.Introspect, basic("gateway", "secret"), url.Values{"token": {token}}.Encode())
	if status != 200 || header.Get("Cache-Control") != "no-store" {
		t.Fatalf("introspection answers %d %v, Cache-Control %q", status, answer, header.Get("Cache-Control"))
	}
	return answer
}

func TestIntrospectionHasItsAddress(t *testing.T) {
	for id, path := range map[string]string{"default": "/oauth2/default/v1/introspect", "": "/oauth2/v1/introspect"} {
		srv := start(t, oktatest.Config{ID: id})
		doc := getJSON(t, srv, srv.EndpointURL(oktatest.OAuthMetadata))
		if want := srv.URL() + path; doc["introspection_endpoint"] != want || srv.EndpointURL(oktatest.Introspect) != want {
			t.Errorf("introspection_endpoint = %v, want %s", doc["introspection_endpoint"], want)
		}
		if status, header, _ := get(t, srv, srv.EndpointURL(oktatest.Introspect)); status != 405 || header.Get("Allow") != "POST" {
			t.Errorf("GET: %d, Allow %q", status, header.Get("Allow"))
		}
		if got := srv.Hits(oktatest.Introspect); got != 1 {
			t.Errorf("Hits(Introspect) = %d, want 1", got)
		}
	}
}

func TestIntrospectionAnswersInOktasShape(t *testing.T) {
	srv, org := gateway(custom(t)), gateway(start(t, oktatest.Config{}))
	const login = "ada@example.com"
	user := map[string]any{
		"active": true, "token_type": "Bearer", "scope": "openid profile", "client_id": oktatest.UserClient, "username": login,
		"sub": login, "uid": oktatest.UserID(login), "aud": "api://default", "iss": srv.Issuer(),
	}
	const access = "active aud auth_time client_id exp iat iss jti scope sub token_type uid username"
	with := func(names string) string { return strings.Replace(access, "client_id", names, 1) }
	tests := []struct {
		name, token string
		srv         *oktatest.Server
		members     string
		want        map[string]any
	}{
		{"access token", srv.UserToken(login), srv, access, user},
		{"opaque token", srv.OpaqueToken(login), srv, access, user},
		{"custom claims", srv.OpaqueToken(login, oktatest.Groups("ops"), oktatest.With("big", 9007199254740993)), srv,
			"active aud auth_time big client_id exp groups iat iss jti scope sub token_type uid username", user},
		{"claims named like members", srv.UserToken(login, oktatest.WithClaims(map[string]any{
			"active": false, "token_type": "x", "scope": "x", "client_id": "x", "username": "x",
		})), srv, access, user},
		{"bound token", srv.OpaqueToken(login, oktatest.BoundTo("k")), srv, with("client_id cnf"), user},
		{"service", srv.ServiceToken("0oaservice", oktatest.Scopes("a", "b")), srv,
			"active aud client_id exp iat iss jti scope sub token_type username",
			map[string]any{"active": true, "client_id": "0oaservice", "sub": "0oaservice", "username": "0oaservice", "scope": "a b"}},
		{"service without scopes", srv.ServiceToken("0oaservice"), srv,
			"active aud client_id exp iat iss jti sub token_type username", nil},
		{"RFC 9068", srv.RFC9068Token(login), srv,
			"active aud auth_time client_id exp iat iss jti scope sub token_type username",
			map[string]any{"active": true, "scope": "openid profile", "client_id": oktatest.UserClient}},
		{"odd types", srv.OpaqueToken(login, oktatest.With("scp", 7), oktatest.With("cid", 8), oktatest.With("sub", 9)), srv, access,
			map[string]any{"active": true, "scope": 7.0, "client_id": 8.0, "username": 9.0}},
		{"odd scopes", srv.OpaqueToken(login, oktatest.With("scp", []any{"a", 7}), oktatest.Without("exp")), srv,
			"active aud auth_time client_id iat iss jti scope sub token_type uid username", nil},
		{"refresh token", srv.RefreshToken(login), srv,
			"active client_id device_id exp scope sub token_type username",
			map[string]any{"active": true, "token_type": "Bearer", "scope": "openid profile offline_access", "client_id": oktatest.UserClient, "username": login, "sub": login}},
		{"ID token", srv.IDToken(login), srv,
			"active amr at_hash aud auth_time client_id email exp iat idp iss jti name nonce preferred_username sub token_type username",
			map[string]any{"active": true, "client_id": oktatest.UserClient, "aud": oktatest.UserClient, "username": login, "sub": oktatest.UserID(login)}},
		{"org token", org.UserToken(login), org, access,
			map[string]any{"active": true, "aud": org.URL(), "iss": org.URL(), "username": login}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := introspect(t, tt.srv, tt.token)
			if got := members(answer); got != tt.members {
				t.Errorf("members = %s, want %s", got, tt.members)
			}
			for name, want := range tt.want {
				if answer[name] != want {
					t.Errorf("%s = %v, want %v", name, answer[name], want)
				}
			}
		})
	}
	_, _, claims := post(t, srv, oktatest.Introspect, basic("gateway", "secret"), "token="+srv.OpaqueToken(login, oktatest.BoundTo("k")))
	if cnf, _ := claims["cnf"].(map[string]any); cnf["jkt"] != "k" {
		t.Errorf("cnf = %v, want jkt k", claims["cnf"])
	}
	if token := srv.OpaqueToken(login); token == srv.OpaqueToken(login) || strings.Contains(token, ".") {
		t.Errorf("OpaqueToken = %q: not unique, or with dots", token)
	}
}

func TestIntrospectionKnowsOnlyItsOwnLivingTokens(t *testing.T) {
	key := oktatest.NewKey("RS256")
	srv := gateway(start(t, oktatest.Config{ID: "default", Keys: []*oktatest.Key{key}}))
	twin := gateway(start(t, oktatest.Config{ID: "default", Keys: []*oktatest.Key{key}}))
	const login = "ada@example.com"
	revoked := []string{srv.UserToken(login), srv.OpaqueToken(login), srv.RefreshToken(login), srv.IDToken(login)}
	for _, token := range revoked {
		if introspect(t, srv, token)["active"] != true {
			t.Fatal("a token is inactive before it is revoked")
		}
		srv.Revoke(token)
	}
	unpublished := srv.UserToken(login, oktatest.SignedBy(srv.NextKey()))
	srv.Unpublish(srv.NextKey().ID)
	for name, token := range map[string]string{
		"unknown":                "nothing",
		"revoked JWT":            revoked[0],
		"revoked opaque token":   revoked[1],
		"revoked refresh token":  revoked[2],
		"revoked ID token":       revoked[3],
		"expired JWT":            srv.UserToken(login, oktatest.IssuedAgo(2*time.Hour)),
		"expired ID token":       srv.IDToken(login, oktatest.IssuedAgo(2*time.Hour)),
		"expired opaque token":   srv.OpaqueToken(login, oktatest.IssuedAgo(2*time.Hour)),
		"expired refresh token":  srv.RefreshToken(login, oktatest.With("exp", 1)),
		"forged JWT":             srv.UserToken(login, oktatest.Forged()),
		"JSON form of a JWT":     jsonForm(srv.UserToken(login)),
		"unsigned JWT":           srv.UserToken(login, oktatest.Alg("none")),
		"key that is gone":       unpublished,
		"other server's opaque":  twin.OpaqueToken(login),
		"other server's refresh": twin.RefreshToken(login),
		"same keys, other iss":   twin.UserToken(login),
		"org token":              srv.OrgToken(login),
		"no token of Okta":       srv.Sign(map[string]any{"iss": srv.Issuer(), "aud": "x", "jti": "1"}),
		"no claims":              srv.SignPayload([]byte(`"text"`)),
	} {
		if answer := introspect(t, srv, token); members(answer) != "active" || answer["active"] != false {
			t.Errorf("%s: %v, want inactive and nothing else", name, answer)
		}
	}
	before := srv.UserToken(login)
	srv.Rotate()
	if introspect(t, srv, before)["active"] != true {
		t.Error("a token is inactive after the keys rotated")
	}
}

func TestTokensExpireAtTheirSecond(t *testing.T) {
	now := time.Now()
	srv := gateway(start(t, oktatest.Config{ID: "default", Now: func() time.Time { return now }}))
	token := srv.OpaqueToken("ada", oktatest.Lifetime(time.Minute))
	for after, want := range map[time.Duration]bool{59 * time.Second: true, time.Minute: false} {
		began := now
		now = now.Add(after)
		if got := introspect(t, srv, token)["active"]; got != want {
			t.Errorf("after %s: active = %v, want %v", after, got, want)
		}
		now = began
	}
}

func TestIntrospectionChecksItsRequests(t *testing.T) {
	srv := gateway(custom(t))
	srv.RegisterClient(oktatest.Client{ID: "public"})
	token := srv.UserToken("ada")
	for name, tt := range map[string]struct {
		who    credentials
		form   url.Values
		status int
		want   string
	}{
		"basic":           {basic("gateway", "secret"), url.Values{"token": {token}, "token_type_hint": {"access_token"}}, 200, ""},
		"post":            {nobody, url.Values{"token": {token}, "client_id": {"gateway"}, "client_secret": {"secret"}}, 200, ""},
		"no token":        {basic("gateway", "secret"), url.Values{}, 400, "invalid_request"},
		"empty token":     {basic("gateway", "secret"), url.Values{"token": {""}}, 400, "invalid_request"},
		"two tokens":      {basic("gateway", "secret"), url.Values{"token": {token, token}}, 400, "invalid_request"},
		"wrong secret":    {basic("gateway", "wrong"), url.Values{"token": {token}}, 401, "invalid_client"},
		"unknown client":  {basic("nobody", "secret"), url.Values{"token": {token}}, 401, "invalid_client"},
		"no credentials":  {nobody, url.Values{"token": {token}}, 401, "invalid_client"},
		"public client":   {nobody, url.Values{"token": {token}, "client_id": {"public"}}, 401, "invalid_client"},
		"basic and post":  {basic("gateway", "secret"), url.Values{"token": {token}, "client_secret": {"secret"}}, 400, "invalid_request"},
		"basic and JWT":   {basic("gateway", "secret"), url.Values{"token": {token}, "client_assertion": {"x"}, "client_assertion_type": {assertionType}}, 400, "invalid_request"},
		"post and JWT":    {nobody, url.Values{"token": {token}, "client_secret": {"secret"}, "client_assertion": {"x"}, "client_assertion_type": {assertionType}}, 400, "invalid_request"},
		"wrong JWT type":  {nobody, url.Values{"token": {token}, "client_assertion": {"x"}}, 400, "invalid_request"},
		"token too large": {basic("gateway", "secret"), url.Values{"token": {strings.Repeat("x", 70000)}}, 400, "invalid_request"},
	} {
		status, _, answer := post(t, srv, oktatest.Introspect, tt.who, tt.form.Encode())
		if got, _ := answer["error"].(string); status != tt.status || got != tt.want {
			t.Errorf("%s: %d %v, want %d %s", name, status, answer, tt.status, tt.want)
		}
	}
	if status, _, _ := post(t, srv, oktatest.Introspect, func(r *http.Request) {
		basic("gateway", "secret")(r)
		r.URL.RawQuery = "token=" + token
	}, ""); status != 400 {
		t.Errorf("token in the query: %d, want 400", status)
	}
}

func TestIntrospectionIsLimitedUntilReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := oktatest.New(oktatest.Config{ID: "default"})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		gateway(srv)
		ask := func(status int, limit, remaining string, reset time.Time) {
			t.Helper()
			got, header, answer := post(t, srv, oktatest.Introspect, basic("gateway", "secret"), "token=x")
			if got != status {
				t.Errorf("answered %d %v, want %d", got, answer, status)
			}
			var until string
			if !reset.IsZero() {
				until = strconv.FormatInt(reset.Unix(), 10)
			}
			for name, want := range map[string]string{"Limit": limit, "Remaining": remaining, "Reset": until} {
				if got := header.Get("X-Rate-Limit-" + name); got != want {
					t.Errorf("X-Rate-Limit-%s = %q, want %q", name, got, want)
				}
			}
			if status == 429 && (answer["errorCode"] != "E0000047" || members(answer) != "errorCauses errorCode errorId errorLink errorSummary") {
				t.Errorf("the error is %v", answer)
			}
		}
		reset := time.Now().Add(time.Minute)
		ask(200, "", "", time.Time{})
		srv.LimitIntrospection(2, reset)
		ask(200, "2", "1", reset)
		ask(200, "2", "0", reset)
		ask(429, "2", "0", reset)
		time.Sleep(time.Minute - time.Nanosecond)
		ask(429, "2", "0", reset)
		time.Sleep(time.Nanosecond)
		ask(200, "", "", time.Time{})
		srv.LimitIntrospection(0, reset.Add(time.Hour))
		ask(429, "0", "0", reset.Add(time.Hour))
		srv.LimitIntrospection(0, time.Time{})
		ask(200, "", "", time.Time{})
	})
}

func TestIntrospectionMisbehavesWhenTold(t *testing.T) {
	srv := gateway(custom(t))
	token := srv.OpaqueToken("ada")
	srv.OverrideNext(oktatest.Introspect, 1, oktatest.Answer(500, `{}`))
	if status, _, _ := post(t, srv, oktatest.Introspect, basic("gateway", "secret"), "token="+token); status != 500 {
		t.Errorf("overridden: %d, want 500", status)
	}
	release := srv.Hang(oktatest.Introspect)
	answered := make(chan map[string]any)
	go func() { answered <- introspect(t, srv, token) }()
	if err := srv.WaitHits(t.Context(), 2, oktatest.Introspect); err != nil {
		t.Fatal(err)
	}
	release()
	if answer := <-answered; answer["active"] != true {
		t.Errorf("after the release: %v, want active", answer)
	}
}
