package oktatest_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func TestClientsAuthenticateByPrivateKey(t *testing.T) {
	now := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	srv := start(t, oktatest.Config{ID: "default", Now: func() time.Time { return now }})
	rs, es, second := oktatest.NewKey("RS256"), oktatest.NewKey("ES256"), oktatest.NewKey("ES384")
	srv.RegisterClient(oktatest.Client{ID: "one", Keys: []*oktatest.Key{rs}})
	srv.RegisterClient(oktatest.Client{ID: "two", Keys: []*oktatest.Key{es, second}})
	aud := srv.EndpointURL(oktatest.Introspect)
	assertion := func(id string, options ...oktatest.Option) string {
		return srv.Sign(map[string]any{
			"iss": id, "sub": id, "aud": aud, "exp": now.Add(time.Hour).Unix(),
		}, options...)
	}
	ask := func(e oktatest.Endpoint, assertion string, more url.Values) (int, map[string]any) {
		form := url.Values{
			"client_assertion_type": {assertionType}, "client_assertion": {assertion}, "token": {srv.UserToken("ada")},
			"grant_type": {"client_credentials"},
		}
		for name, values := range more {
			form[name] = values
		}
		status, _, answer := post(t, srv, e, nobody, form.Encode())
		return status, answer
	}
	noKID := oktatest.Header(map[string]any{"kid": nil})
	tests := map[string]struct {
		assertion string
		more      url.Values
		status    int
	}{
		"RS256":             {assertion("one", oktatest.SignedBy(rs)), nil, 200},
		"RS512":             {assertion("one", oktatest.SignedBy(rs), oktatest.Alg("RS512")), nil, 200},
		"ES256":             {assertion("two", oktatest.SignedBy(es)), nil, 200},
		"ES384":             {assertion("two", oktatest.SignedBy(second)), nil, 200},
		"client_id":         {assertion("one", oktatest.SignedBy(rs)), url.Values{"client_id": {"one"}}, 200},
		"no kid, one key":   {assertion("one", oktatest.SignedBy(rs), noKID), nil, 200},
		"list of audiences": {assertion("one", oktatest.SignedBy(rs), oktatest.Audience("x", aud)), nil, 200},

		"no kid, two keys":  {assertion("two", oktatest.SignedBy(es), noKID), nil, 401},
		"other kid":         {assertion("one", oktatest.SignedBy(rs), oktatest.KID("x")), nil, 401},
		"other client_id":   {assertion("one", oktatest.SignedBy(rs)), url.Values{"client_id": {"two"}}, 401},
		"unknown client":    {assertion("none", oktatest.SignedBy(rs)), nil, 401},
		"other's key":       {assertion("one", oktatest.SignedBy(es)), nil, 401},
		"forged":            {assertion("one", oktatest.SignedBy(rs), oktatest.Forged()), nil, 401},
		"PS256":             {assertion("one", oktatest.SignedBy(rs), oktatest.Alg("PS256")), nil, 401},
		"none":              {assertion("one", oktatest.SignedBy(rs), oktatest.Alg("none")), nil, 401},
		"garbage":           {"x", nil, 401},
		"JSON form of JWS":  {jsonForm(assertion("one", oktatest.SignedBy(rs))), nil, 401},
		"no claims":         {srv.SignPayload([]byte("[]"), oktatest.SignedBy(rs)), nil, 401},
		"other iss":         {assertion("one", oktatest.SignedBy(rs), oktatest.With("iss", "two")), nil, 401},
		"other aud":         {assertion("one", oktatest.SignedBy(rs), oktatest.Audience(srv.Issuer())), nil, 401},
		"no aud":            {assertion("one", oktatest.SignedBy(rs), oktatest.Without("aud")), nil, 401},
		"no exp":            {assertion("one", oktatest.SignedBy(rs), oktatest.Without("exp")), nil, 401},
		"expired":           {assertion("one", oktatest.SignedBy(rs), oktatest.With("exp", now.Unix()-1)), nil, 401},
		"lives too long":    {assertion("one", oktatest.SignedBy(rs), oktatest.With("exp", now.Unix()+3602)), nil, 401},
		"of the future":     {assertion("one", oktatest.SignedBy(rs), oktatest.With("iat", now.Unix()+60)), nil, 401},
		"not valid yet":     {assertion("one", oktatest.SignedBy(rs), oktatest.With("nbf", now.Unix()+60)), nil, 401},
		"other type of JWT": {assertion("one", oktatest.SignedBy(rs)), url.Values{"client_assertion_type": {"x"}}, 400},
	}
	for name, tt := range tests {
		status, answer := ask(oktatest.Introspect, tt.assertion, tt.more)
		if status != tt.status || status == 200 && answer["active"] != true || status == 401 && answer["error"] != "invalid_client" {
			t.Errorf("%s: %d %v, want %d", name, status, answer, tt.status)
		}
	}

	// The audience is the endpoint, so that one endpoint's assertion is of no use at another.
	if status, answer := ask(oktatest.Token, assertion("one", oktatest.SignedBy(rs)), nil); status != 401 {
		t.Errorf("at the token endpoint: %d %v, want 401", status, answer)
	}
	forTokens := oktatest.Audience(srv.EndpointURL(oktatest.Token))
	if status, answer := ask(oktatest.Token, assertion("one", oktatest.SignedBy(rs), forTokens), nil); status != 200 {
		t.Errorf("at the token endpoint: %d %v, want 200", status, answer)
	}
}

// jsonForm writes a JWS in the other of its two forms (RFC 7515 §7.2.2).
func jsonForm(token string) string {
	part := strings.Split(token, ".")
	return `{"protected":"` + part[0] + `","payload":"` + part[1] + `","signature":"` + part[2] + `"}`
}

func TestAssertionsWithJTIWorkOnce(t *testing.T) {
	now := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	srv := start(t, oktatest.Config{ID: "default", Now: func() time.Time { return now }})
	key := oktatest.NewKey("ES256")
	status := func(id, jti string) int {
		t.Helper()
		srv.RegisterClient(oktatest.Client{ID: id, Keys: []*oktatest.Key{key}})
		claims := map[string]any{"iss": id, "sub": id, "aud": srv.EndpointURL(oktatest.Introspect), "exp": now.Add(time.Minute).Unix()}
		if jti != "" {
			claims["jti"] = jti
		}
		status, _, _ := post(t, srv, oktatest.Introspect, nobody, url.Values{
			"client_assertion_type": {assertionType},
			"client_assertion":      {srv.Sign(claims, oktatest.SignedBy(key))}, "token": {"x"},
		}.Encode())
		return status
	}
	for i, step := range []struct {
		id, jti string
		after   time.Duration
		want    int
	}{
		{"a", "1", 0, 200},
		{"a", "1", 0, 401},
		{"b", "1", 0, 200}, // another client's
		{"a", "2", 0, 200},
		{"a", "", 0, 200},
		{"a", "", 0, 200},
		{"a", "3", time.Hour, 200},
		{"a", "3", time.Second, 401}, // in the next generation
		{"a", "1", 0, 401},
		{"a", "4", time.Hour + time.Second, 200},
		{"a", "1", 0, 200}, // long after it expired, and forgotten
		{"a", "4", 0, 401},
	} {
		now = now.Add(step.after)
		if got := status(step.id, step.jti); got != step.want {
			t.Errorf("step %d: %+v answered %d", i, step, got)
		}
	}
}

func TestPrivateKeysCanBeWrittenToAFile(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256"} {
		key := oktatest.NewKey(alg)
		block, rest := pem.Decode(key.PrivatePEM())
		if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
			t.Fatalf("%s: no PEM block of PKCS #8", alg)
		}
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		signed := oktatest.Proof(key, "GET", "https://api.example.com/")
		if err := check(t, alg, private.(crypto.Signer).Public(), signed); err != nil {
			t.Errorf("%s: the written key is another: %v", alg, err)
		}
	}
}
