package integration

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// withIssuers is a telling site with other issuers than "main" alone.
func withIssuers(issuers, directives string) string {
	const one = "issuer main ISSUER {\n\t\t\taudience api://default\n\t\t}"
	text := strings.Replace(fmt.Sprintf(site, directives+telling), one, issuers, 1)
	if !strings.Contains(text, issuers) {
		panic("the site has no issuer to replace")
	}
	return text
}

// mainWith is the issuer "main" with more options.
func mainWith(options string) string {
	return "issuer main ISSUER {\n audience api://default\n " + options + "\n }"
}

// other starts one more authorization server.
func other(t *testing.T, config oktatest.Config) *oktatest.Server {
	t.Helper()
	server, err := oktatest.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// claimCase is a token with one claim changed; removed leaves it out.
type claimCase struct {
	name   string
	claim  string
	value  any
	reason string
}

type absent struct{}

var removed absent

// expectClaims sends user tokens that differ in one claim each, twice: what the cache remembers changes nothing.
func (g *gateway) expectClaims(t *testing.T, cases []claimCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			option := oktatest.With(c.claim, c.value)
			if c.value == removed {
				option = oktatest.Without(c.claim)
			}
			token := bearer(g.issuer.UserToken("alice", option))
			g.expectReason(c.reason, "GET", "/", token)
			g.expectReason(c.reason, "GET", "/", token)
		})
	}
	g.t = t
}

// Whatever the clock of the test does meanwhile, tokens only grow older: the boundaries are exact where that helps, and
// have some seconds to spare where it hurts.
func TestTimesWithTheDefaultSkew(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	now := time.Now().Unix()
	g.expectClaims(t, []claimCase{
		{"exp to come", "exp", now + 20, "ok"},                  // 7519-05
		{"exp within the skew", "exp", now - 10, "ok"},          // 7519-03
		{"exp as old as the skew", "exp", now - 30, "expired"},  // 7519-04, 9068-12
		{"exp older than the skew", "exp", now - 31, "expired"}, // 7519-03, 6750-20
		{"exp long ago", "exp", now - 100000, "expired"},        // 6750-20
		{"exp in 1970", "exp", 0, "expired"},                    // not taken for absent
		{"exp before 1970", "exp", -5, "expired"},
		{"exp far away", "exp", 253402300799, "ok"},
		{"exp beyond the year 9999", "exp", 253402300800, "malformed_token"},
		{"exp in milliseconds", "exp", now * 1000, "malformed_token"},          // that would be another age
		{"exp huge", "exp", math.MaxInt64, "malformed_token"},                  // 7519-22
		{"exp absent", "exp", removed, "malformed_token"},                      // 7519-08
		{"exp a text", "exp", fmt.Sprint(now + 60), "malformed_token"},         // 7519-06
		{"exp true", "exp", true, "malformed_token"},                           // 7519-06
		{"exp null", "exp", nil, "malformed_token"},                            // 7519-06
		{"exp an object", "exp", map[string]any{}, "malformed_token"},          // 7519-06
		{"exp a list", "exp", []int64{now + 60}, "malformed_token"},            // 7519-06
		{"exp with a fraction, to come", "exp", float64(now) + 20.5, "ok"},     // 7519-07
		{"exp with a fraction, passed", "exp", float64(now) - 30.5, "expired"}, // 7519-07
		{"exp with an exponent", "exp", json.RawMessage(`2e9`), "ok"},          // 7519-07
		{"nbf now", "nbf", now, "ok"},                                          // 7519-09
		{"nbf within the skew", "nbf", now + 25, "ok"},                         // 7519-09
		{"nbf beyond the skew", "nbf", now + 60, "not_yet_valid"},              // 7519-09
		{"nbf a text", "nbf", fmt.Sprint(now), "malformed_token"},              // 7519-10
		{"nbf null", "nbf", nil, "malformed_token"},                            // 7519-10
		{"nbf false", "nbf", false, "malformed_token"},                         // 7519-10
		{"iat within the skew", "iat", now + 25, "ok"},                         // 7519-11
		{"iat beyond the skew", "iat", now + 60, "not_yet_valid"},              // 7519-11
		{"iat absent", "iat", removed, "malformed_token"},                      // 9068-03
		{"iat a text", "iat", fmt.Sprint(now), "malformed_token"},              // 7519-10
		{"iat an object", "iat", map[string]any{"at": now}, "malformed_token"}, // 7519-10
	})
}

func TestTimesWithoutSkew(t *testing.T) {
	g := startWith(t, withIssuers(mainWith("clock_skew 0s"), "okta_auth main"))
	now := time.Now().Unix()
	g.expectClaims(t, []claimCase{
		{"exp now", "exp", now, "expired"},                              // 7519-04
		{"exp a second ago", "exp", now - 1, "expired"},                 // 7519-03
		{"exp to come", "exp", now + 15, "ok"},                          // 7519-05
		{"exp half a second ago", "exp", float64(now) - 0.5, "expired"}, // 7519-07: no rounding up
		{"nbf now", "nbf", now, "ok"},                                   // 7519-09
		{"nbf to come", "nbf", now + 15, "not_yet_valid"},               // 7519-09
		{"iat now", "iat", now, "ok"},                                   // 7519-11
		{"iat to come", "iat", now + 15, "not_yet_valid"},               // 7519-11
	})
}

// Numbers and members that a Go map cannot hold.
func TestClaimsThatOnlyTextCanHold(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	claims, err := json.Marshal(g.issuer.UserClaims("alice"))
	if err != nil {
		t.Fatal(err)
	}
	open := strings.TrimSuffix(string(claims), "}")
	for name, c := range map[string]struct{ payload, reason string }{
		"as it is":              {open + `}`, "ok"},
		"an unknown claim":      {open + `,"x":{"y":[1,null]}}`, "ok"},                                                             // 7519-19
		"an escaped name":       {open + `,"\u0067roups":["A"]}`, "ok"},                                                            // 7519-23
		"exp 1e999":             {strings.Replace(open, `"exp":`, `"exp":1e999,"x":`, 1) + `}`, "malformed_token"},                 // 7519-06
		"a number out of range": {open + `,"x":1e999}`, "malformed_token"},                                                         // 7519-22
		"sub twice":             {open + `,"sub":"root"}`, "malformed_token"},                                                      // 7519-02
		"sub twice, escaped":    {open + `,"s\u0075b":"root"}`, "malformed_token"},                                                 // 7519-02
		"a nested member twice": {open + `,"x":{"y":1,"y":2}}`, "malformed_token"},                                                 // 7519-02
		"a lone surrogate":      {open + `,"x":"\ud800"}`, "malformed_token"},                                                      // 7519-01
		"invalid UTF-8":         {open + ",\"x\":\"\xff\"}", "malformed_token"},                                                    // 7519-01
		"trailing text":         {open + `}x`, "malformed_token"},                                                                  // 7519-01
		"two objects":           {open + `}{}`, "malformed_token"},                                                                 // 7519-01
		"a byte order mark":     {"\ufeff" + open + `}`, "malformed_token"},                                                        // 7519-01
		"a list":                {`[` + open + `}]`, "malformed_token"},                                                            // 7519-01
		"a text":                {`"alice"`, "malformed_token"},                                                                    // 7519-01
		"null":                  {`null`, "malformed_token"},                                                                       // 7519-01
		"nothing":               {``, "malformed_token"},                                                                           // 7519-01
		"an empty object":       {`{}`, "malformed_token"},                                                                         // 9068-03
		"UTF-16":                {"\xff\xfe{\x00}\x00", "malformed_token"},                                                         // 8725-08
		"nested very deep":      {open + `,"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, "malformed_token"}, // 7519-22
		"Subject for sub":       {strings.Replace(open, `"sub"`, `"Sub"`, 1) + `}`, "malformed_token"},                             // 7519-23
		"EXP beside exp":        {open + `,"EXP":1}`, "ok"},                                                                        // 7519-23
		"ISS beside iss":        {open + `,"ISS":"https://evil.example"}`, "ok"},                                                   // 7519-23
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			g.expectReason(c.reason, "GET", "/", bearer(g.issuer.SignPayload([]byte(c.payload))))
		})
	}
}

func TestAudiences(t *testing.T) {
	g := startWith(t, withIssuers(mainWith("algorithms RS256"), "okta_auth main"))
	g.expectClaims(t, []claimCase{
		{"the text", "aud", "api://default", "ok"},                                             // 7519-13, OKTA-01
		{"a list of one", "aud", []string{"api://default"}, "ok"},                              // 7519-13, OKTA-08
		{"a list that holds it", "aud", []string{"api://other", "api://default"}, "ok"},        // 7519-13, OKTA-08
		{"another text", "aud", "api://other", "wrong_audience"},                               // 7519-14, 9068-09
		{"a list without it", "aud", []string{"api://other", "api://third"}, "wrong_audience"}, // 7519-14
		{"an empty text", "aud", "", "wrong_audience"},                                         // 7519-14
		{"an empty list", "aud", []string{}, "wrong_audience"},                                 // 7519-14
		{"none", "aud", removed, "malformed_token"},                                            // 7519-14
		{"null", "aud", nil, "malformed_token"},                                                // 7519-15
		{"a number", "aud", 7, "malformed_token"},                                              // 7519-15
		{"an object", "aud", map[string]any{"api://default": true}, "malformed_token"},         // 7519-15
		{"a list with a number", "aud", []any{"api://default", 7}, "malformed_token"},          // 7519-15
		{"a list with null", "aud", []any{"api://default", nil}, "malformed_token"},            // 7519-15
		{"a list of lists", "aud", []any{[]string{"api://default"}}, "malformed_token"},        // 7519-15
		{"another case", "aud", "API://default", "wrong_audience"},                             // 7519-16
		{"a slash more", "aud", "api://default/", "wrong_audience"},                            // 7519-16
		{"a prefix", "aud", "api://defaul", "wrong_audience"},                                  // 7519-16
		{"a longer one", "aud", "api://default2", "wrong_audience"},                            // 7519-16
		{"a space more", "aud", "api://default ", "wrong_audience"},                            // 7519-16
		{"joined by a space", "aud", "api://other api://default", "wrong_audience"},            // 7519-16
		{"joined by a comma", "aud", "api://other,api://default", "wrong_audience"},            // 7519-16
	})
}

// 8725-12
func TestARouteNarrowsTheAudiences(t *testing.T) {
	g := startWith(t, withIssuers("issuer main ISSUER {\n audience api://orders api://users\n }", `okta_auth /orders main {
		audience api://orders
	}
	okta_auth /any main`))
	for _, c := range []struct {
		path, reason string
		audience     []string
	}{
		{"/any", "ok", []string{"api://orders"}},
		{"/any", "ok", []string{"api://users"}},
		{"/any", "wrong_audience", []string{"api://default"}},
		{"/orders", "ok", []string{"api://orders"}},
		{"/orders", "ok", []string{"api://users", "api://orders"}},
		{"/orders", "wrong_audience", []string{"api://users"}},
		{"/orders", "wrong_audience", []string{"api://users", "api://default"}},
	} {
		token := bearer(g.issuer.UserToken("alice", oktatest.Audience(c.audience...)))
		g.expectReason(c.reason, "GET", c.path, token)
		g.expectReason("wrong_audience", "GET", "/any", bearer(g.issuer.UserToken("alice", oktatest.Audience("api://third"))))
		g.expectReason(c.reason, "GET", c.path, token)
	}
}

// The cache remembers signatures only: each route judges for itself.
func TestACachedTokenIsJudgedByEachRoute(t *testing.T) {
	g := startWith(t, withIssuers(mainWith("clock_skew 5m")+"\n issuer strict ISSUER {\n audience api://default\n clock_skew 0s\n max_lifetime 2h\n client_id 0oaOther\n }\n issuer small ISSUER {\n audience api://small\n profile rfc9068\n }",
		"okta_auth /lenient main\n okta_auth /strict strict\n okta_auth /small small\n okta_auth /scoped main {\n scopes orders:read\n }"))
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		path, reason string
		options      []oktatest.Option
	}{
		"expired":  {"/strict", "expired", []oktatest.Option{oktatest.With("exp", now-60)}},
		"early":    {"/strict", "not_yet_valid", []oktatest.Option{oktatest.With("nbf", now+60)}},
		"lasting":  {"/strict", "expired", []oktatest.Option{oktatest.With("exp", now+3*3600)}},
		"client":   {"/strict", "wrong_client", nil},
		"profile":  {"/small", "wrong_type", nil},
		"audience": {"/small", "wrong_audience", []oktatest.Option{oktatest.Header(map[string]any{"typ": "at+jwt"}), oktatest.With("client_id", oktatest.UserClient)}},
		"scope":    {"/scoped", "insufficient_scope", nil},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			token := bearer(g.issuer.UserToken("alice", c.options...))
			g.expectReason("ok", "GET", "/lenient", token)
			g.expectReason(c.reason, "GET", c.path, token)
			g.expectReason("ok", "GET", "/lenient", token)
		})
	}
}

func TestMaxLifetime(t *testing.T) {
	g := startWith(t, withIssuers(mainWith("max_lifetime 1h"), "okta_auth main"))
	now := time.Now().Unix()
	g.expectClaims(t, []claimCase{
		{"just as long", "exp", now + 3600, "ok"},
		{"much longer", "exp", now + 7200, "expired"},
		{"for ever", "exp", 253402300799, "expired"},
		{"iat in 1970", "iat", 0, "expired"},
	})
	// The claims are minted together, so that one second more is exact.
	claims := g.issuer.UserClaims("alice", oktatest.With("iat", now), oktatest.With("exp", now+3600))
	g.expectReason("ok", "GET", "/", bearer(g.issuer.Sign(claims)))
	claims["exp"] = now + 3601
	g.expectReason("expired", "GET", "/", bearer(g.issuer.Sign(claims)))
}

// Many callers at once, each token twice and more at the same time: everyone stays who they are.
func TestCallersAreNeverMixed(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	shared := make([]string, 40)
	for n := range shared {
		shared[n] = g.issuer.UserToken(fmt.Sprintf("user-%d", n))
	}
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for n, token := range shared { // the same one for half of the clients, at about the same time
				subject := fmt.Sprintf("user-%d", n)
				if c%2 == 1 {
					subject = fmt.Sprintf("user-%d-%d", c, n)
					token = g.issuer.UserToken(subject)
				}
				for range 2 {
					a, err := g.trySend(t.Context(), "GET", "/", bearer(token))
					if err != nil || a.StatusCode != 200 || a.seen.Header.Get("X-User-Id") != subject {
						t.Errorf("%s is %q: %v", subject, a.seen.Header.Get("X-User-Id"), err)
						return
					}
				}
			}
		})
	}
	clients.Wait()
}
