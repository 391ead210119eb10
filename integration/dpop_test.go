package integration

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// dpop sends a token with the scheme DPoP, and as many proofs as there are.
func dpop(token string, proofs ...string) option {
	return func(r *http.Request) {
		authorization("DPoP " + token)(r)
		for _, proof := range proofs {
			header("DPoP", proof)(r)
		}
	}
}

// url is what a client of the site writes into htu.
func (g *gateway) url(path string) string { return "http://" + g.address + path }

// holder has a key, and a token that is bound to it.
type holder struct {
	key   *oktatest.Key
	token string
}

func (g *gateway) holder(options ...oktatest.Option) holder {
	key := oktatest.NewKey("ES256")
	return holder{key, g.issuer.UserToken("alice", append(options, oktatest.BoundTo(key.Thumbprint()))...)}
}

// proof makes a proof for a request with the token.
func (h holder) proof(method, url string, options ...oktatest.Option) string {
	return oktatest.Proof(h.key, method, url, append([]oktatest.Option{oktatest.ForToken(h.token)}, options...)...)
}

// proving is a request as the holder sends it, with a proof that is for it unless the options change that.
func (h holder) proving(method, url string, options ...oktatest.Option) option {
	return dpop(h.token, h.proof(method, url, options...))
}

// expectUnder is expectReason, and wants the error under a scheme.
func (g *gateway) expectUnder(scheme, reason, method, path string, options ...option) answer {
	g.t.Helper()
	a := g.expectReason(reason, method, path, options...)
	if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, scheme+" ") {
		g.t.Errorf("%s %s: challenge %s, want one of %s", method, path, got, scheme)
	}
	return a
}

// proofCase is a proof with something changed.
type proofCase struct {
	name, reason string
	options      []oktatest.Option
}

// expectProofs sends each proof of a table.
func (g *gateway) expectProofs(t *testing.T, h holder, cases []proofCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			option := h.proving("GET", g.url("/orders/7"), c.options...)
			if c.reason == "ok" {
				g.expectReason("ok", "GET", "/orders/7", option).expectHeader(t, "X-User-Id", "alice")
				return
			}
			a := g.expectUnder("DPoP", c.reason, "GET", "/orders/7", option) // 9449-37: the backend is not reached
			if algs := parseChallenge(t, a.Header.Get("WWW-Authenticate"))["algs"]; !strings.HasPrefix(algs, "ES256 ") {
				t.Errorf("algs %q, want a list", algs) // 9449-39
			}
		})
	}
	g.t = t
}

func TestWhatAProofMustSay(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	h := g.holder()
	one := func(option oktatest.Option) []oktatest.Option { return []oktatest.Option{option} }
	head := func(name string, value any) []oktatest.Option {
		return one(oktatest.Header(map[string]any{name: value}))
	}
	claim := func(name string, value any) []oktatest.Option { return one(oktatest.With(name, value)) }
	site, now := g.url("/orders/7"), time.Now().Unix()
	other := oktatest.NewKey("ES256")
	g.expectProofs(t, h, []proofCase{
		{"all that it needs", "ok", nil}, // 9449-01
		{"what nobody asked for", "ok", one(oktatest.WithClaims(map[string]any{"sub": 7, "cnf": "x", "a": []int{1}}))}, // 9449-50
		{"unknown members in the header", "ok", head("x", map[string]any{"y": 1})},                                     // 9449-50

		{"no typ", "invalid_proof", head("typ", nil)},                   // 9449-05
		{"no alg", "invalid_proof", head("alg", nil)},                   // 9449-05
		{"no jwk", "invalid_proof", head("jwk", nil)},                   // 9449-05
		{"no jti", "invalid_proof", one(oktatest.Without("jti"))},       // 9449-05
		{"no htm", "invalid_proof", one(oktatest.Without("htm"))},       // 9449-05
		{"no htu", "invalid_proof", one(oktatest.Without("htu"))},       // 9449-05
		{"no iat", "invalid_proof", one(oktatest.Without("iat"))},       // 9449-05
		{"no ath", "invalid_proof", one(oktatest.Without("ath"))},       // 9449-05
		{"typ of a token", "invalid_proof", head("typ", "at+jwt")},      // 9449-06
		{"typ JWT", "invalid_proof", head("typ", "JWT")},                // 9449-06
		{"typ in upper case", "invalid_proof", head("typ", "DPOP+JWT")}, // 9449-06

		{"alg none", "invalid_proof", one(oktatest.Alg("none"))},                                                   // 9449-07
		{"HS256", "invalid_proof", one(oktatest.SignedBy(oktatest.NewSecret("HS256", h.key.PublicPEM())))},         // 9449-07
		{"HS512", "invalid_proof", one(oktatest.SignedBy(oktatest.NewSecret("HS512", []byte("a"))))},               // 9449-07
		{"signed with another key", "invalid_proof", one(oktatest.Forged())},                                       // 9449-08
		{"signed with another kind of key", "invalid_proof", one(oktatest.SignedBy(oktatest.NewKey("RS256")))},     // 9449-10
		{"a private key in jwk", "invalid_proof", head("jwk", h.key.PrivateJWK())},                                 // 9449-09
		{"a secret in jwk", "invalid_proof", head("jwk", map[string]any{"kty": "oct", "k": "YQ"})},                 // 9449-09
		{"alg of another curve", "invalid_proof", head("alg", "ES384")},                                            // 9449-10
		{"a point off the curve", "invalid_proof", head("jwk", bent(h.key))},                                       // 9449-10
		{"a short RSA key", "invalid_proof", withKey(oktatest.NewRSAKey("RS256", 1024))},                           // 9449-10
		{"another key than the token's", "proof_required", withKey(other)},                                         // 9449-18
		{"another key, and a wrong signature", "proof_required", append(withKey(other), oktatest.SignedBy(h.key))}, // 9449-18

		{"another method", "invalid_proof", claim("htm", "POST")},                             // 9449-11
		{"the method in lower case", "invalid_proof", claim("htm", "get")},                    // 9449-11
		{"another scheme", "invalid_proof", claim("htu", "https"+site[len("http"):])},         // 9449-12
		{"another host", "invalid_proof", claim("htu", "http://localhost/orders/7")},          // 9449-12
		{"another port", "invalid_proof", claim("htu", "http://127.0.0.1:1/orders/7")},        // 9449-12
		{"another path", "invalid_proof", claim("htu", g.url("/orders/8"))},                   // 9449-12
		{"a path with a slash more", "invalid_proof", claim("htu", site+"/")},                 // 9449-12
		{"a path in another case", "invalid_proof", claim("htu", g.url("/Orders/7"))},         // 9449-12
		{"no URL", "invalid_proof", claim("htu", "/orders/7")},                                // 9449-12
		{"a query", "ok", claim("htu", site+"?a=b")},                                          // 9449-13
		{"a fragment", "ok", claim("htu", site+"#a")},                                         // 9449-13
		{"the scheme in upper case", "ok", claim("htu", "HTTP"+site[len("http"):])},           // 9449-14
		{"letters that are encoded", "ok", claim("htu", g.url("/%6Frders/%37"))},              // 9449-14
		{"dot segments", "ok", claim("htu", g.url("/a/../orders/./7"))},                       // 9449-14
		{"a slash that is encoded", "invalid_proof", claim("htu", g.url("/orders%2F7"))},      // 9449-14
		{"a user in the URL", "invalid_proof", claim("htu", "http://a@"+site[len("http:"):])}, // 9449-12

		{"the hash of another token", "invalid_proof", one(oktatest.ForToken(h.token + "a"))}, // 9449-17
		{"a hash with padding", "invalid_proof", claim("ath", hashOf(h.token)+"=")},           // 9449-17
		{"the token as its hash", "invalid_proof", claim("ath", h.token)},                     // 9449-17

		{"as old as it may be", "ok", one(oktatest.IssuedAgo(50 * time.Second))},
		{"too old", "invalid_proof", one(oktatest.IssuedAgo(65 * time.Second))},              // 9449-19: no skew here
		{"from the near future", "ok", one(oktatest.IssuedAgo(-20 * time.Second))},           // 9449-20
		{"from the future", "invalid_proof", one(oktatest.IssuedAgo(-40 * time.Second))},     // 9449-20
		{"a text as iat", "invalid_proof", claim("iat", fmt.Sprint(now))},                    // 9449-21
		{"a negative iat", "invalid_proof", claim("iat", -now)},                              // 9449-21
		{"a huge iat", "invalid_proof", claim("iat", 1e300)},                                 // 9449-21
		{"a list as iat", "invalid_proof", claim("iat", []int64{now})},                       // 9449-21
		{"a long jti", "ok", claim("jti", strings.Repeat("j", 4000))},                        // 9449-24
		{"a jti beyond the limit", "invalid_proof", claim("jti", strings.Repeat("j", 9000))}, // 9449-24
		{"a critical extension", "invalid_proof", head("crit", []string{"x"})},
		{"a URL of keys", "invalid_proof", head("jku", "https://evil.example/keys")},
		{"expired by its own exp", "invalid_proof", claim("exp", now-60)},
		{"no JSON", "invalid_proof", one(oktatest.RawPayload("{"))},
		{"a member twice", "invalid_proof", one(oktatest.RawPayload(`{"jti":"a","jti":"b"}`))},
	})
}

// withKey makes a proof with another key, in its header as well.
func withKey(key *oktatest.Key) []oktatest.Option {
	public := key.JWK()
	return []oktatest.Option{oktatest.SignedBy(key), oktatest.Header(map[string]any{"jwk": public, "kid": nil})}
}

// bent is the public key with a coordinate that belongs to no point.
func bent(key *oktatest.Key) map[string]any {
	jwk := key.JWK()
	jwk["y"] = jwk["x"]
	return jwk
}

// hashOf is the ath for a token.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// 9449-01: every algorithm that the challenge lists, and no other kind of key.
func TestEveryAlgorithmThatIsOfferedWorks(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	offer := g.expectReason("no_credential", "GET", "/").Header.Values("WWW-Authenticate")[1]
	algs := strings.Fields(parseChallenge(t, offer)["algs"])
	if len(algs) < 5 {
		t.Fatalf("algs are %q", algs)
	}
	for _, alg := range algs {
		key := oktatest.NewKey(alg)
		h := holder{key, g.issuer.UserToken("alice", oktatest.BoundTo(key.Thumbprint()))}
		g.expectReason("ok", "GET", "/", h.proving("GET", g.url("/")))
	}
}

func TestTheFormOfTheDPoPHeader(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	h := g.holder()
	fresh := func() string { return h.proof("GET", g.url("/")) }
	spelled := func(name string) []option { return []option{dpop(h.token), header(name, fresh())} }
	parts := strings.Split(fresh(), ".")
	g.expectReasons(t, "/", []reasonCase{
		{"no header", "invalid_proof", []option{dpop(h.token)}},                                                                   // 9449-02
		{"two headers", "invalid_proof", []option{dpop(h.token, fresh(), fresh())}},                                               // 9449-03
		{"one header twice", "invalid_proof", []option{dpop(h.token, fresh()), header("dpop", fresh())}},                          // 9449-03
		{"two proofs with a comma", "invalid_proof", []option{dpop(h.token, fresh()+", "+fresh())}},                               // 9449-04
		{"nothing in it", "invalid_proof", []option{dpop(h.token, "")}},                                                           // 9449-04
		{"garbage", "invalid_proof", []option{dpop(h.token, "garbage")}},                                                          // 9449-04
		{"the token itself", "invalid_proof", []option{dpop(h.token, h.token)}},                                                   // 9449-04
		{"two parts", "invalid_proof", []option{dpop(h.token, parts[0]+"."+parts[1])}},                                            // 9449-04
		{"four parts", "invalid_proof", []option{dpop(h.token, fresh()+".a")}},                                                    // 9449-04
		{"no signature", "invalid_proof", []option{dpop(h.token, parts[0]+"."+parts[1]+".")}},                                     // 9449-04
		{"padding", "invalid_proof", []option{dpop(h.token, fresh()+"==")}},                                                       // 9449-04
		{"a scheme before it", "invalid_proof", []option{dpop(h.token, "DPoP "+fresh())}},                                         // 9449-04
		{"another signature", "invalid_proof", []option{dpop(h.token, parts[0]+"."+parts[1]+"."+strings.Split(fresh(), ".")[2])}}, // 9449-08
		{"its name in lower case", "ok", spelled("dpop")},                                                                         // 9449-43
		{"its name in upper case", "ok", spelled("DPOP")},                                                                         // 9449-43
		{"its name with an underscore", "invalid_proof", spelled("D_PoP")},
		{"the scheme in lower case", "ok", []option{authorization("dpop " + h.token), header("DPoP", fresh())}}, // 9449-43
		{"two spaces", "ok", []option{authorization("DPoP  " + h.token), header("DPoP", fresh())}},
		{"the proof in lower case", "invalid_proof", []option{dpop(h.token, strings.ToLower(fresh()))}}, // 9449-43
	})
}

// Which scheme a token must come with depends on what it is bound to.
func TestATokenMustComeWithItsScheme(t *testing.T) {
	g := startTelling(t, `okta_auth /accept/* main
	okta_auth /require/* main {
		dpop require
	}
	okta_auth /off/* main {
		dpop off
	}`)
	h := g.holder()
	free := holder{h.key, g.issuer.UserToken("alice")}
	bound := func(cnf any) holder { return holder{h.key, g.issuer.UserToken("alice", oktatest.With("cnf", cnf))} }
	for name, c := range map[string]struct {
		send                    func(url string) []option
		accept, require, off    string
		acceptScheme, offScheme string
	}{
		"nothing": {
			func(string) []option { return nil }, "no_credential", "no_credential", "no_credential", "Bearer", "Bearer", // 9449-40
		},
		"a bound token with its proof": { // 9449-01
			func(url string) []option { return []option{h.proving("GET", url)} }, "ok", "ok", "no_credential", "", "Bearer",
		},
		"a bound token as a bearer": { // 9449-32
			func(string) []option { return []option{bearer(h.token)} }, "proof_required", "proof_required", "proof_required", "Bearer", "Bearer",
		},
		"a bound token as a bearer, with its proof": { // 9449-32
			func(url string) []option { return []option{bearer(h.token), header("DPoP", h.proof("GET", url))} },
			"proof_required", "proof_required", "proof_required", "Bearer", "Bearer",
		},
		"a free token as a bearer": { // 9449-35
			func(string) []option { return []option{bearer(free.token)} }, "ok", "proof_required", "ok", "", "",
		},
		"a free token as a bearer, with a stray proof": { // 9449-34
			func(url string) []option { return []option{bearer(free.token), header("DPoP", free.proof("GET", url))} }, "ok", "proof_required", "ok", "", "",
		},
		"a free token as a bearer, with stray garbage": { // 9449-34
			func(string) []option { return []option{bearer(free.token), header("DPoP", "x")} }, "ok", "proof_required", "ok", "", "",
		},
		"a free token with the scheme DPoP": { // 9449-33
			func(url string) []option { return []option{free.proving("GET", url)} }, "wrong_type", "wrong_type", "no_credential", "DPoP", "Bearer",
		},
		"both schemes": { // 9449-42
			func(url string) []option { return []option{h.proving("GET", url), bearer(free.token)} },
			"malformed_request", "malformed_request", "malformed_request", "Bearer", "Bearer",
		},
		"the scheme DPoP without a token": { // 9449-41
			func(string) []option { return []option{authorization("DPoP")} }, "malformed_request", "malformed_request", "no_credential", "DPoP", "Bearer",
		},
		"both schemes in one header": { // 9449-42
			func(string) []option { return []option{authorization("DPoP " + h.token + ", Bearer " + free.token)} },
			"malformed_request", "malformed_request", "malformed_request", "DPoP", "Bearer",
		},
		"a number as jkt": { // 9449-44
			func(url string) []option { return []option{bound(map[string]any{"jkt": 7}).proving("GET", url)} },
			"proof_required", "proof_required", "no_credential", "DPoP", "Bearer",
		},
		"an empty jkt": { // 9449-44
			func(url string) []option { return []option{bound(map[string]any{"jkt": ""}).proving("GET", url)} },
			"proof_required", "proof_required", "no_credential", "DPoP", "Bearer",
		},
		"an unknown binding": { // 9449-44
			func(url string) []option { return []option{bound(map[string]any{"kid": "a"}).proving("GET", url)} },
			"proof_required", "proof_required", "no_credential", "DPoP", "Bearer",
		},
		"an unknown binding beside the known one": { // 9449-44
			func(url string) []option {
				return []option{bound(map[string]any{"jkt": h.key.Thumbprint(), "kid": "a"}).proving("GET", url)}
			}, "proof_required", "proof_required", "no_credential", "DPoP", "Bearer",
		},
		"an empty cnf": { // 9449-44
			func(string) []option { return []option{bearer(bound(map[string]any{}).token)} }, "proof_required", "proof_required", "proof_required", "Bearer", "Bearer",
		},
		"an expired bound token": { // 9449-38
			func(url string) []option {
				old := h
				old.token = g.issuer.UserToken("alice", oktatest.BoundTo(h.key.Thumbprint()), oktatest.IssuedAgo(2*time.Hour))
				return []option{old.proving("GET", url)}
			}, "expired", "expired", "no_credential", "DPoP", "Bearer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			for path, want := range map[string][2]string{"/accept/": {c.accept, c.acceptScheme}, "/require/": {c.require, "DPoP"}, "/off/": {c.off, c.offScheme}} {
				a := g.expectReason(want[0], "GET", path, c.send(g.url(path))...)
				challenge := a.Header.Get("WWW-Authenticate")
				if want[0] != "ok" && !strings.HasPrefix(challenge, want[1]+" ") {
					t.Errorf("%s: challenge %s, want one of %s first", path, challenge, want[1])
				}
			}
		})
	}
	g.t = t
	for path, want := range map[string]string{"/accept/": "Bearer,DPoP", "/require/": "DPoP", "/off/": "Bearer"} { // 9449-40, 9449-35
		var schemes []string
		for _, line := range g.expectReason("no_credential", "GET", path).Header.Values("WWW-Authenticate") {
			schemes = append(schemes, strings.Fields(line)[0])
		}
		if got := strings.Join(schemes, ","); got != want {
			t.Errorf("%s: schemes %s, want %s", path, got, want)
		}
	}
}

// 9449-46: the proof is used up; what the backend gets of the token is as with any other, and never turned into a bearer.
func TestTheProofNeverReachesTheBackend(t *testing.T) {
	g := startTelling(t, `okta_auth /removed/* main
	okta_auth /kept/* main {
		keep_token
	}
	okta_auth /optional/* main {
		optional
	}`)
	h := g.holder()
	free := g.issuer.UserToken("alice")
	for name, c := range map[string]struct {
		path, kept string
		options    []option
	}{
		"a bound token":                {"/removed/", "", []option{h.proving("GET", g.url("/removed/"))}},
		"a bound token that is kept":   {"/kept/", "DPoP " + h.token, []option{h.proving("GET", g.url("/kept/"))}},
		"a stray proof":                {"/removed/", "", []option{bearer(free), header("DPoP", "x")}},
		"a stray proof, token kept":    {"/kept/", "Bearer " + free, []option{bearer(free), header("DPoP", "x"), header("DPoP", "y")}},
		"a proof of an anonymous user": {"/optional/", "", []option{header("DPoP", "x")}},
		"a proof beside Basic":         {"/optional/", "Basic YTpi", []option{authorization("Basic YTpi"), header("DPoP", "x")}},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			a := g.expectReason("ok", "GET", c.path, c.options...)
			a.expectHeader(t, "Dpop", "")
			a.expectHeader(t, "Authorization", c.kept)
		})
	}
}

func TestAProofWorksOnce(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	h := g.holder()
	first := h.proving("GET", g.url("/a"), oktatest.With("jti", "one"))
	g.expectReason("ok", "GET", "/a", first)
	g.expectUnder("DPoP", "invalid_proof", "GET", "/a", first)                                                      // 9449-22
	g.expectUnder("DPoP", "invalid_proof", "GET", "/a", h.proving("GET", g.url("/a"), oktatest.With("jti", "one"))) // 9449-22
	g.expectReason("ok", "GET", "/b", h.proving("GET", g.url("/b"), oktatest.With("jti", "one")))                   // 9449-23
	g.expectReason("ok", "GET", "/a", g.holder().proving("GET", g.url("/a"), oktatest.With("jti", "one")))          // 9449-23
	g.expectReason("ok", "GET", "/a", h.proving("GET", g.url("/a"), oktatest.With("jti", "ONE")))                   // 9449-43

	// A proof that was refused for something else is not used up.
	early := h.proving("GET", g.url("/c"))
	g.expectReason("invalid_proof", "POST", "/c", early)
	g.expectReason("ok", "GET", "/c", early)
}

// 9449-22: however many bring it at once.
func TestOneOfManyRequestsWithOneProofPasses(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	h := g.holder()
	g.expectReason("ok", "GET", "/", h.proving("GET", g.url("/"))) // the keys are there
	g.client.Transport = &http.Transport{DisableKeepAlives: true}
	const crowd = 50
	proof := h.proving("GET", g.url("/"))
	var passed, refused atomic.Int64
	var ready, done sync.WaitGroup
	ready.Add(crowd)
	for range crowd {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			a, err := g.trySend(t.Context(), "GET", "/", proof)
			switch {
			case err != nil:
				t.Error(err)
			case a.StatusCode == http.StatusOK:
				passed.Add(1)
			case a.StatusCode == http.StatusUnauthorized && strings.HasPrefix(a.body, "invalid_proof|"):
				refused.Add(1)
			}
		})
	}
	done.Wait()
	if passed.Load() != 1 || refused.Load() != crowd-1 {
		t.Errorf("%d passed and %d were refused, want 1 and %d", passed.Load(), refused.Load(), crowd-1)
	}
}
