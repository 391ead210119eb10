package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// nonceAlphabet is NQCHAR (RFC 9449 §8.1).
var nonceAlphabet = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{16,}$`)

func TestNonces(t *testing.T) {
	g := startTelling(t, `okta_auth /nonce/* main {
		dpop accept {
			nonce
		}
	}
	okta_auth /require/* main {
		dpop require {
			nonce
		}
	}
	okta_auth /free/* main`)
	h := g.holder()
	prove := func(path string, options ...oktatest.Option) option { return h.proving("GET", g.url(path), options...) }
	a := g.expectUnder("DPoP", "nonce_required", "GET", "/nonce/", prove("/nonce/")) // 9449-26
	nonce := a.Header.Get("DPoP-Nonce")
	if !nonceAlphabet.MatchString(nonce) || len(a.Header.Values("DPoP-Nonce")) != 1 { // 9449-30
		t.Fatalf("DPoP-Nonce is %q", a.Header.Values("DPoP-Nonce"))
	}
	with := oktatest.Nonce(nonce)
	for range 2 { // it is the server's, and no client's
		g.expectReason("ok", "GET", "/nonce/", prove("/nonce/", with))
		g.expectReason("ok", "GET", "/require/", g.holder().proving("GET", g.url("/require/"), with))
	}
	g.expectUnder("DPoP", "nonce_required", "GET", "/nonce/", prove("/nonce/")) // 9449-28
	for name, value := range map[string]any{                                    // 9449-27
		"that nobody gave out":               "eyJ7S_zG.eyJH0-Z.HX4w-7v",
		"of the authorization server":        g.issuer.DPoPNonce(), // 9449-31
		"that is empty":                      "",
		"that is the right one and more":     nonce + "A",
		"that is the right one in lowercase": strings.ToLower(nonce),
	} {
		a := g.expectUnder("DPoP", "nonce_required", "GET", "/nonce/", prove("/nonce/", oktatest.With("nonce", value)))
		if got := a.Header.Get("DPoP-Nonce"); got != nonce {
			t.Errorf("after a nonce %s, DPoP-Nonce is %q, want the current one", name, got)
		}
	}
	g.expectUnder("DPoP", "invalid_proof", "GET", "/nonce/", prove("/nonce/", oktatest.With("nonce", 7)))
	g.expectUnder("DPoP", "invalid_proof", "GET", "/nonce/", prove("/other/")) // what is wrong besides is told first
	g.expectUnder("DPoP", "invalid_proof", "GET", "/nonce/", prove("/nonce/", with, oktatest.Forged()))
	g.expectUnder("DPoP", "invalid_proof", "GET", "/nonce/", prove("/nonce/", with, oktatest.IssuedAgo(65*time.Second)))
	g.expectReason("ok", "GET", "/free/", prove("/free/"))
	g.expectReason("ok", "GET", "/free/", prove("/free/", oktatest.Nonce("whatever")))

	// A nonce is for proofs: bearers never see one.
	for path, reason := range map[string]string{"/nonce/": "ok", "/require/": "proof_required"} {
		if a := g.expectReason(reason, "GET", path, bearer(g.issuer.UserToken("alice"))); a.Header.Get("DPoP-Nonce") != "" {
			t.Errorf("%s: a bearer got the nonce %q", path, a.Header.Get("DPoP-Nonce"))
		}
	}
}

// A client of Okta that has "Require DPoP" set, from its first request to the backend: both servers want nonces of their own.
func TestAClientThatRequiresDPoP(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n dpop require {\n nonce\n }\n scopes orders:read\n }")
	key := oktatest.NewKey("ES256")
	g.issuer.RegisterClient(oktatest.Client{ID: "0oaJob", Secret: "s3cr3t", DPoP: true, Scopes: []string{"orders:read"}})
	endpoint := g.issuer.EndpointURL(oktatest.Token)
	ask := func(proof string) (answer map[string]any, nonce string) {
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}
		r, err := http.NewRequestWithContext(t.Context(), "POST", endpoint, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("0oaJob", "s3cr3t")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("DPoP", proof)
		resp, err := g.issuer.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		readJSON(t, resp, &answer)
		return answer, resp.Header.Get("DPoP-Nonce")
	}
	_, nonce := ask(oktatest.Proof(key, "POST", endpoint))
	granted, _ := ask(oktatest.Proof(key, "POST", endpoint, oktatest.Nonce(nonce)))
	if granted["token_type"] != "DPoP" {
		t.Fatalf("the token endpoint answered %v", granted["error"])
	}
	h := holder{key, fmt.Sprint(granted["access_token"])}
	refused := g.expectUnder("DPoP", "nonce_required", "GET", "/orders", h.proving("GET", g.url("/orders"), oktatest.Nonce(nonce)))
	a := g.expectReason("ok", "GET", "/orders", h.proving("GET", g.url("/orders"), oktatest.Nonce(refused.Header.Get("DPoP-Nonce"))))
	a.expectHeader(t, "X-Client-Id", "0oaJob")
	g.expectReason("proof_required", "GET", "/orders", bearer(h.token))
}

// 9449-22: what was used stays used, and what was given out stays good.
func TestProofsAndNoncesOutliveReloads(t *testing.T) {
	config := fmt.Sprintf(site, "okta_auth /free main\n okta_auth /nonce main {\n dpop accept {\n nonce\n }\n }"+telling)
	g := startWith(t, config)
	h := g.holder()
	used, kept := h.proving("GET", g.url("/free")), h.proving("GET", g.url("/free"))
	g.expectReason("ok", "GET", "/free", used)
	nonce := oktatest.Nonce(g.expectReason("nonce_required", "GET", "/nonce", h.proving("GET", g.url("/nonce"))).Header.Get("DPoP-Nonce"))
	for _, realm := range []string{"one", "two"} {
		g.client.CloseIdleConnections()
		if status, text := g.post(strings.ReplaceAll(config, "okta_auth /free main", "okta_auth /free main {\n realm "+realm+"\n }")); status != http.StatusOK {
			t.Fatalf("reload = %d: %s", status, text)
		}
		g.expectReason("invalid_proof", "GET", "/free", used)
		g.expectReason("ok", "GET", "/nonce", h.proving("GET", g.url("/nonce"), nonce))
	}
	if status, _ := g.post(strings.Replace(config, "issuer main", "issuer main main", 1)); status == http.StatusOK {
		t.Fatal("a configuration with a mistake was loaded")
	}
	g.expectReason("invalid_proof", "GET", "/free", used)
	g.expectReason("ok", "GET", "/free", kept)
}

// A proof that was used stays used, also where a longer max_age judges it later.
func TestAUsedProofMeetsALongerAge(t *testing.T) {
	config := func(age string) string {
		return fmt.Sprintf(site, "okta_auth main {\n dpop accept {\n max_age "+age+"\n }\n }"+telling)
	}
	g := startWith(t, config("1s"))
	h := g.holder()
	used := h.proving("GET", g.url("/"))
	g.expectReason("ok", "GET", "/", used)
	later := time.NewTimer(2500 * time.Millisecond)
	defer later.Stop()
	<-later.C
	g.expectReason("ok", "GET", "/", h.proving("GET", g.url("/")))
	g.client.CloseIdleConnections()
	if status, text := g.post(config("10m")); status != http.StatusOK {
		t.Fatalf("reload = %d: %s", status, text)
	}
	g.expectReason("invalid_proof", "GET", "/", used)
}

// One request has one proof, however many handlers judge it.
func TestSeveralHandlersJudgeOneProof(t *testing.T) {
	g := startTelling(t, `okta_auth main
	okta_auth /orders/* main {
		realm second
		scopes orders:read
		dpop require
	}
	okta_auth /fresh/* main {
		dpop accept {
			max_age 5s
		}
	}
	okta_auth /nonce/* main {
		dpop accept {
			nonce
		}
	}
	okta_auth /off/* main {
		dpop off
	}`)
	h := g.holder(oktatest.Scopes("orders:read"))
	free := g.issuer.UserToken("alice", oktatest.Scopes("orders:read"))
	prove := func(path string, options ...oktatest.Option) option { return h.proving("GET", g.url(path), options...) }
	proof := prove("/orders/7")
	a := g.expectReason("ok", "GET", "/orders/7", proof)
	a.expectHeader(t, "Authorization", "")
	a.expectHeader(t, "Dpop", "")
	a.expectHeader(t, "X-User-Id", "alice")
	g.expectUnder("DPoP", "invalid_proof", "GET", "/orders/7", proof)
	g.expectReason("invalid_proof", "GET", "/orders/7", prove("/orders/8"))
	g.expectUnder("DPoP", "proof_required", "GET", "/orders/7", bearer(free)) // in the words of the second
	poor := g.holder(oktatest.Scopes("other"))
	challenge := g.expectUnder("DPoP", "insufficient_scope", "GET", "/orders/7", poor.proving("GET", g.url("/orders/7"))).Header.Get("WWW-Authenticate")
	if params := parseChallenge(t, challenge); params["realm"] != "second" || params["scope"] != "orders:read" {
		t.Errorf("challenge %s, want that of the second handler", challenge)
	}

	// Each applies its own rules to the proof.
	g.expectReason("ok", "GET", "/fresh/", prove("/fresh/"))
	g.expectReason("ok", "GET", "/", prove("/", oktatest.IssuedAgo(45*time.Second)))
	g.expectUnder("DPoP", "invalid_proof", "GET", "/fresh/", prove("/fresh/", oktatest.IssuedAgo(45*time.Second)))
	nonce := g.expectUnder("DPoP", "nonce_required", "GET", "/nonce/", prove("/nonce/")).Header.Get("DPoP-Nonce")
	g.expectReason("ok", "GET", "/nonce/", prove("/nonce/", oktatest.Nonce(nonce)))

	// Where bound tokens do not pass, it does not help that they passed before.
	g.expectUnder("Bearer", "proof_required", "GET", "/off/", prove("/off/"))
	g.expectReason("ok", "GET", "/off/", bearer(free))
}

// 9470-09: whoever tried DPoP is answered in its words, by both handlers.
func TestStepUpUnderDPoP(t *testing.T) {
	g := startTelling(t, `okta_auth /auth/* main {
		acr_values phr
		max_age 5m
	}
	okta_auth main {
		optional
		realm "the api"
	}
	cel_policy {
		allow known `+"`principal.authenticated`"+`
		step_up strong /policy/* {
			acr_values phr urn:okta:loa:2fa:any
			max_age 5m
		}
	}`)
	acr := func(value string) oktatest.Option { return oktatest.With("acr", value) }
	for path, want := range map[string]string{"/auth/": "phr", "/policy/": "phr urn:okta:loa:2fa:any"} {
		weak, strong := g.holder(acr("pwd")), g.holder(acr("phr"))
		challenges := g.expectUnder("DPoP", "step_up_required", "GET", path, weak.proving("GET", g.url(path))).Header.Values("WWW-Authenticate")
		params := parseChallenge(t, challenges[0])
		if len(challenges) != 1 || params["acr_values"] != want || params["max_age"] != "300" || !strings.HasPrefix(params["algs"], "ES256 ") {
			t.Errorf("%s: challenges %q, want one with acr_values %q, max_age and algs", path, challenges, want)
		}
		g.expectReason("ok", "GET", path, strong.proving("GET", g.url(path)))
		g.expectUnder("Bearer", "step_up_required", "GET", path, bearer(g.issuer.UserToken("alice", acr("pwd"))))
	}
	lines := g.expectReason("no_credential", "GET", "/policy/").Header.Values("WWW-Authenticate")
	if len(lines) != 2 || parseChallenge(t, lines[0])["realm"] != "the api" || parseChallenge(t, lines[1])["realm"] != "the api" { // 9449-40
		t.Errorf("the policy asks an anonymous caller with %q", lines)
	}
}

// Who sends tokens that are not theirs is banned, with a wrong proof or none; asking for a nonce is no offence, and valid
// proofs pass all the same.
func TestGuardCountsTokensWithoutTheirProof(t *testing.T) {
	g := startWith(t, strings.Replace(guarded, "okta_auth main", "okta_auth main {\n dpop accept {\n nonce\n }\n }", 1))
	from := header("X-Forwarded-For", "192.0.2.77")
	h := g.holder()
	nonce := ""
	for range 10 {
		nonce = g.expect(http.StatusUnauthorized, "GET", "/", h.proving("GET", g.url("/")), from).Header.Get("DPoP-Nonce")
	}
	g.expect(http.StatusUnauthorized, "GET", "/", bearer(h.token), from)
	g.expect(http.StatusUnauthorized, "GET", "/", dpop(h.token, "garbage"), from)
	g.expect(http.StatusUnauthorized, "GET", "/", h.proving("GET", g.url("/other")), from)
	g.expect(http.StatusTooManyRequests, "GET", "/", dpop(h.token, "garbage"), from)
	g.expect(http.StatusTooManyRequests, "GET", "/", bearer(h.token), from)
	g.expect(http.StatusOK, "GET", "/", h.proving("GET", g.url("/"), oktatest.Nonce(nonce)), from)
	g.expect(http.StatusUnauthorized, "GET", "/", h.proving("GET", g.url("/")), from)
	g.expect(http.StatusUnauthorized, "GET", "/", bearer(h.token), header("X-Forwarded-For", "192.0.2.78"))
}

// A flood of proofs that are no good leaves room for those that are.
func TestInvalidProofsUseUpNothing(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	h := g.holder()
	g.expectReason("ok", "GET", "/", h.proving("GET", g.url("/")))
	forged := h.proof("GET", g.url("/"), oktatest.With("jti", "guessed"), oktatest.Forged())
	old := h.proof("GET", g.url("/"), oktatest.IssuedAgo(time.Hour))
	for range 300 {
		g.expect(http.StatusUnauthorized, "GET", "/", dpop(h.token, forged))
		g.expect(http.StatusUnauthorized, "GET", "/", dpop(h.token, old))
		g.expect(http.StatusUnauthorized, "GET", "/", dpop(h.token, "garbage"))
	}
	// The jti of a forged proof is not used up.
	g.expectReason("ok", "GET", "/", h.proving("GET", g.url("/"), oktatest.With("jti", "guessed")))
	g.expectReason("ok", "GET", "/", h.proving("GET", g.url("/")))
}
