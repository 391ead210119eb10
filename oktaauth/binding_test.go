package oktaauth

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwks"
	"github.com/caddy-okta/caddy-okta/internal/oktatest"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

func TestReadConfirmation(t *testing.T) {
	for name, c := range map[string]struct {
		cnf  map[string]any
		want confirmation
		ok   bool
	}{
		"none":                         {nil, confirmation{}, true},
		"a key":                        {map[string]any{"jkt": "a"}, confirmation{thumbprint: "a"}, true},
		"a certificate":                {map[string]any{"x5t#S256": "b"}, confirmation{certificate: "b"}, true},
		"both":                         {map[string]any{"jkt": "a", "x5t#S256": "b"}, confirmation{"a", "b"}, true}, // 8705-09
		"an empty one":                 {map[string]any{}, confirmation{}, false},                                   // 9449-44
		"an unknown binding":           {map[string]any{"kid": "a"}, confirmation{}, false},
		"an unknown binding, not text": {map[string]any{"jwk": map[string]any{}}, confirmation{}, false},
		"an unknown binding beside":    {map[string]any{"jkt": "a", "kid": "c"}, confirmation{}, false},
		"an empty text":                {map[string]any{"jkt": ""}, confirmation{}, false},
		"a number":                     {map[string]any{"x5t#S256": 7}, confirmation{}, false},
		"null":                         {map[string]any{"jkt": nil}, confirmation{}, false},
		"a key and null":               {map[string]any{"jkt": "a", "x5t#S256": nil}, confirmation{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := readConfirmation(c.cnf)
			if ok != c.ok || ok && got != c.want {
				t.Errorf("readConfirmation(%v) = %+v, %t, want %+v, %t", c.cnf, got, ok, c.want, c.ok)
			}
		})
	}
}

// 8705-09: what a token demands and what its issuer demands are demanded together.
func TestConfirmationsAddUp(t *testing.T) {
	key, certificate := confirmation{thumbprint: "a"}, confirmation{certificate: "b"}
	for name, c := range map[string]struct {
		one, other, want confirmation
		ok               bool
	}{
		"nothing and nothing":     {confirmation{}, confirmation{}, confirmation{}, true},
		"a key and nothing":       {key, confirmation{}, key, true},
		"a key, twice":            {key, key, key, true},
		"a key and a certificate": {key, certificate, confirmation{"a", "b"}, true},
		"a certificate, twice":    {certificate, certificate, certificate, true},
		"two keys":                {key, confirmation{thumbprint: "c"}, confirmation{}, false},
		"two certificates":        {certificate, confirmation{certificate: "c"}, confirmation{}, false},
		"one of two is another":   {confirmation{"a", "b"}, confirmation{"a", "c"}, confirmation{}, false},
	} {
		for _, order := range [][2]confirmation{{c.one, c.other}, {c.other, c.one}} {
			if got, ok := order[0].and(order[1]); ok != c.ok || ok && got != c.want {
				t.Errorf("%s: %+v, %t, want %+v, %t", name, got, ok, c.want, c.ok)
			}
		}
	}
}

// 8705-12: Caddy resumes no session where it asks for certificates. Where another server in front of the same handler does,
// the certificate of the session is the one that counts.
func TestAResumedSessionHasTheCertificateOfTheFirst(t *testing.T) {
	right, wrong := oktatest.NewClientCertificate("right"), oktatest.NewClientCertificate("wrong")
	sum := sha256.Sum256(right.Leaf.Raw)
	h := newHandler(t, newIssuer(t), nil)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refusal := h.checkCertificate(r, base64.RawURLEncoding.EncodeToString(sum[:])); refusal != nil {
			w.WriteHeader(refusal.Reason.Status())
		}
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		status       int
	}{
		"the right certificate": {[]tls.Certificate{*right}, http.StatusOK},
		"another certificate":   {[]tls.Certificate{*wrong}, http.StatusUnauthorized},
		"no certificate":        {nil, http.StatusUnauthorized},
	} {
		sessions := tls.NewLRUClientSessionCache(1)
		for _, resumed := range []bool{false, true} {
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: c.certificates, ClientSessionCache: sessions}}
			resp, err := (&http.Client{Transport: transport}).Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			transport.CloseIdleConnections()
			if resp.StatusCode != c.status || resp.TLS.DidResume != resumed {
				t.Errorf("%s = %d, resumed %t, want %d, resumed %t", name, resp.StatusCode, resp.TLS.DidResume, c.status, resumed)
			}
		}
	}
}

// Two issuers of one URL may have keys of their own. What was verified with the keys of one says nothing to the other.
func TestATokenIsRememberedForItsKeysAlone(t *testing.T) {
	issuer := newIssuer(t)
	first := newHandler(t, issuer, nil)
	token := issuer.UserToken("alice")
	issuer.Unpublish(issuer.ActiveKey().ID)
	second := newHandler(t, issuer, func(h *Handler) { h.tokens = first.tokens })
	if refusal := first.find(t.Context(), token, &attempt{started: time.Now()}); refusal != nil {
		t.Fatal(refusal)
	}
	if refusal := second.find(t.Context(), token, &attempt{started: time.Now()}); refusal == nil || refusal.Reason != deny.UnknownKey {
		t.Errorf("with other keys: %v, want unknown_key", refusal)
	}
}

// A route that verifies nothing itself, as that of Okta's org server, takes nothing out of the cache.
func TestARememberedTokenIsNothingToARouteWithoutKeys(t *testing.T) {
	issuer := newIssuer(t)
	h := newHandler(t, issuer, nil)
	token := issuer.UserToken("alice")
	if refusal := h.find(t.Context(), token, &attempt{started: time.Now()}); refusal != nil {
		t.Fatal(refusal)
	}
	other := &Handler{tokens: h.tokens, routes: []*route{{Issuer: &Issuer{URL: issuer.Issuer()}}}}
	at := attempt{started: time.Now()}
	if refusal := other.recall(h.tokens.Digest(token), &at); refusal != nil || at.verified != nil {
		t.Errorf("recall = %v, %v, want nothing", refusal, at.verified)
	}
}

// What is wrong with a token is told of the token, whether it was verified before or not.
func TestTokensOfAnotherTypeOrAlgorithmAreRefusedEachTime(t *testing.T) {
	issuer := newIssuer(t)
	knowing := newHandler(t, issuer, nil)
	with := func(change func(*Issuer)) *Handler { // the same keys
		i := *knowing.routes[0].Issuer
		change(&i)
		h := &Handler{tokens: knowing.tokens}
		h.routes = []*route{{Issuer: &i, handler: h}}
		return h
	}
	typed := with(func(i *Issuer) { i.Profile = ProfileRFC9068 })
	narrow := with(func(i *Issuer) { i.Algorithms = []string{"ES256"} })
	token := issuer.UserToken("alice")
	for _, known := range []bool{false, true} {
		for want, h := range map[deny.Reason]*Handler{deny.WrongType: typed, deny.Algorithm: narrow} {
			at := attempt{started: time.Now()}
			if refusal := h.find(t.Context(), token, &at); refusal == nil || refusal.Reason != want || (at.cache == telemetry.Hit) != known {
				t.Errorf("known %t: %v of cache %d, want %s", known, refusal, at.cache, want)
			}
		}
		if refusal := knowing.find(t.Context(), token, &attempt{started: time.Now()}); refusal != nil {
			t.Fatal(refusal)
		}
	}
	odd := issuer.UserToken("alice", oktatest.With("iss", 1))
	if refusal := knowing.find(t.Context(), odd, &attempt{started: time.Now()}); refusal == nil || refusal.Reason != deny.MalformedToken {
		t.Errorf("an iss that is a number: %v, want malformed_token", refusal)
	}
}

// A signature that was good is no reason to go on once its keys are too old.
func TestARememberedTokenNeedsKeysThatServe(t *testing.T) {
	issuer, err := oktatest.Start(oktatest.Config{ID: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer issuer.Close()
	i := &Issuer{URL: issuer.Issuer(), Audience: []string{"api://default"}}
	if err := i.provision(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.lease.Release() }()
	h := &Handler{tokens: cache.NewTexts(10)}
	if err := h.prepare([]*Issuer{i}); err != nil {
		t.Fatal(err)
	}
	defer i.keys.Join(jwks.Terms{MaxStale: time.Second})()
	token := issuer.UserToken("alice")
	if refusal := h.find(t.Context(), token, &attempt{started: time.Now()}); refusal != nil {
		t.Fatal(refusal)
	}
	issuer.Down()
	tick, timeout := time.NewTicker(20*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for i.keys.Usable() == nil {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("the keys serve for ever")
		}
	}
	refusal := h.find(t.Context(), token, &attempt{started: time.Now()})
	if refusal == nil || refusal.Reason != deny.KeysUnavailable || refusal.RetryAfter < time.Second {
		t.Errorf("with keys that are too old: %v, want keys_unavailable", refusal)
	}
}

func TestTargetOfARequestThatCaddyDidNotPrepare(t *testing.T) {
	h := newHandler(t, newIssuer(t), nil)
	if method, url := h.target(newRequest()); method != http.MethodGet || url != "http://api.example.com/orders/7" {
		t.Errorf("target = %s %s", method, url)
	}
}

// What a configuration says about proofs and introspection is checked by itself, and says what to write instead.
func TestMistakesAboutProofsAndIntrospection(t *testing.T) {
	const url = "https://acme.okta.com/oauth2/default"
	secret := &Introspection{ClientID: "0oa1", ClientSecret: "s"}
	minus := new(Issuer) // for the address of a negative duration
	minus.MaxLifetime = -1
	issuers := map[string]*Issuer{
		"main":       {URL: url, Audience: []string{"a"}},
		"asked":      {URL: url, Audience: []string{"a"}, Introspection: secret},
		"asked2":     {URL: url + "2", Audience: []string{"a"}, Introspection: secret},
		"org":        {URL: "https://acme.okta.com", Audience: []string{"a"}, Introspection: secret},
		"nameless":   {URL: url, Audience: []string{"a"}, Introspection: &Introspection{ClientSecret: "s"}},
		"nothing":    {URL: url, Audience: []string{"a"}, Introspection: &Introspection{ClientID: "0oa1"}},
		"everything": {URL: url, Audience: []string{"a"}, Introspection: &Introspection{ClientID: "0oa1", ClientSecret: "s", PrivateKey: "k.pem"}},
		"kid":        {URL: url, Audience: []string{"a"}, Introspection: &Introspection{ClientID: "0oa1", ClientSecret: "s", PrivateKeyID: "k"}},
		"cache":      {URL: url, Audience: []string{"a"}, Introspection: &Introspection{ClientID: "0oa1", ClientSecret: "s", CacheTTL: &minus.MaxLifetime}},
		"negative":   {URL: url, Audience: []string{"a"}, Introspection: &Introspection{ClientID: "0oa1", ClientSecret: "s", NegativeTTL: &minus.MaxLifetime}},
		"timeout":    {URL: url, Audience: []string{"a"}, Introspection: &Introspection{ClientID: "0oa1", ClientSecret: "s", Timeout: -1}},
	}
	on := func(names ...string) Handler { return Handler{Issuers: names} }
	for name, c := range map[string]struct {
		handler Handler
		want    string // part of the message; empty for none
	}{
		"the defaults":              {Handler{Issuers: []string{"main"}}, ""},
		"modes":                     {Handler{Issuers: []string{"main"}, DPoP: &DPoP{Mode: "off"}, MTLSBound: "require"}, ""},
		"an unknown mode of dpop":   {Handler{Issuers: []string{"main"}, DPoP: &DPoP{Mode: "Require"}}, "write accept, require or off"},
		"an unknown mode of mtls":   {Handler{Issuers: []string{"main"}, MTLSBound: "on"}, "write accept, require or off"},
		"the shortest max_age":      {Handler{Issuers: []string{"main"}, DPoP: &DPoP{MaxAge: 1e9}}, ""},
		"a shorter max_age":         {Handler{Issuers: []string{"main"}, DPoP: &DPoP{MaxAge: 1e9 - 1}}, "write 1s to 10m0s"},
		"the longest max_age":       {Handler{Issuers: []string{"main"}, DPoP: &DPoP{MaxAge: 600e9}}, ""},
		"a longer max_age":          {Handler{Issuers: []string{"main"}, DPoP: &DPoP{MaxAge: 600e9 + 1}}, "write 1s to 10m0s"},
		"a negative max_age":        {Handler{Issuers: []string{"main"}, DPoP: &DPoP{MaxAge: -1e9}}, "write 1s to 10m0s"},
		"off with max_age":          {Handler{Issuers: []string{"main"}, DPoP: &DPoP{Mode: "off", MaxAge: 1e9}}, "remove them"},
		"off with a nonce":          {Handler{Issuers: []string{"main"}, DPoP: &DPoP{Mode: "off", Nonce: true}}, "remove them"},
		"dpop and a cookie":         {Handler{Issuers: []string{"main"}, DPoP: &DPoP{Mode: "require"}, Token: &TokenSource{Cookie: "a"}}, "remove token"},
		"dpop and another header":   {Handler{Issuers: []string{"main"}, DPoP: &DPoP{}, Token: &TokenSource{Header: "X-Token", Scheme: "Bearer"}}, "remove token"},
		"dpop and another scheme":   {Handler{Issuers: []string{"main"}, DPoP: &DPoP{}, Token: &TokenSource{Header: "Authorization", Scheme: "Okta"}}, "remove token"},
		"dpop off and a cookie":     {Handler{Issuers: []string{"main"}, DPoP: &DPoP{Mode: "off"}, Token: &TokenSource{Cookie: "a"}}, ""},
		"the default and a cookie":  {Handler{Issuers: []string{"main"}, Token: &TokenSource{Cookie: "a"}}, ""},
		"dpop and what is default":  {Handler{Issuers: []string{"main"}, DPoP: &DPoP{Mode: "require"}, Token: &TokenSource{Header: "authorization", Scheme: "bearer"}}, ""},
		"an external URL":           {Handler{Issuers: []string{"main"}, ExternalURL: "https://api.example.com:8443/base"}, ""},
		"an external http URL":      {Handler{Issuers: []string{"main"}, ExternalURL: "http://intranet"}, ""},
		"a host alone":              {Handler{Issuers: []string{"main"}, ExternalURL: "api.example.com"}, "such as https://api.example.com"},
		"another scheme":            {Handler{Issuers: []string{"main"}, ExternalURL: "ftp://api.example.com"}, "such as https://api.example.com"},
		"a slash at the end":        {Handler{Issuers: []string{"main"}, ExternalURL: "https://api.example.com/"}, "such as https://api.example.com"},
		"a query":                   {Handler{Issuers: []string{"main"}, ExternalURL: "https://api.example.com?a"}, "such as https://api.example.com"},
		"a fragment":                {Handler{Issuers: []string{"main"}, ExternalURL: "https://api.example.com#a"}, "such as https://api.example.com"},
		"a user":                    {Handler{Issuers: []string{"main"}, ExternalURL: "https://a@api.example.com"}, "such as https://api.example.com"},
		"no host":                   {Handler{Issuers: []string{"main"}, ExternalURL: "https:///a"}, "such as https://api.example.com"},
		"no URL":                    {Handler{Issuers: []string{"main"}, ExternalURL: "https://%"}, "such as https://api.example.com"},
		"an unknown introspect":     {Handler{Issuers: []string{"asked"}, Introspect: "on"}, "write opaque, always or off"},
		"opaque without it":         {Handler{Issuers: []string{"main"}, Introspect: "opaque"}, "none of the route's issuers has introspection"},
		"always without it":         {Handler{Issuers: []string{"main"}, Introspect: "always"}, "each issuer of the route needs introspection"},
		"always with half of it":    {Handler{Issuers: []string{"asked2", "main"}, Introspect: "always"}, "each issuer of the route needs introspection"},
		"always with all of it":     {Handler{Issuers: []string{"asked2", "asked"}, Introspect: "always"}, ""},
		"two that could be asked":   {on("asked", "asked2"), "use one of them for each route"},
		"two, and nobody is asked":  {Handler{Issuers: []string{"asked", "asked2"}, Introspect: "off"}, ""},
		"one of two":                {on("asked2", "main"), ""},
		"the org server":            {on("org"), ""},
		"the org server, not asked": {Handler{Issuers: []string{"org"}, Introspect: "off"}, "can only be introspected"},
		"no client":                 {on("nameless"), "client_id is required"},
		"no credentials":            {on("nothing"), "client_secret or private_key is required"},
		"two credentials":           {on("everything"), "only one of them"},
		"a key id without a key":    {on("kid"), "private_key, which is not set"},
		"a negative cache_ttl":      {on("cache"), "must not be negative"},
		"a negative negative_ttl":   {on("negative"), "must not be negative"},
		"a negative timeout":        {on("timeout"), "must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.handler.Check(issuers)
			for _, named := range c.handler.Issuers {
				if err == nil {
					err = issuers[named].Check()
				}
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want an error that says %q", err, c.want)
			}
		})
	}
	if err := issuers["nameless"].provision(); err == nil || !strings.Contains(err.Error(), "introspection: client_id is required") {
		t.Errorf("provision = %v, want the mistake", err)
	}
}
