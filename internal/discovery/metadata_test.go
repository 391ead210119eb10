package discovery

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestMetadataURLs(t *testing.T) {
	// 8414-01, 8414-02, 8414-03
	const openID, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	tests := []struct {
		name, issuer string
		want         []string
	}{
		{"without a path", "https://a.test", []string{"https://a.test" + openID, "https://a.test" + oauth}},
		{"with a slash at the end", "https://a.test/", []string{"https://a.test" + openID, "https://a.test" + oauth}},
		{"with a path", "https://a.test:8443/oauth2/default", []string{
			"https://a.test:8443/oauth2/default" + openID,
			"https://a.test:8443" + oauth + "/oauth2/default",
			"https://a.test:8443/oauth2/default" + oauth}},
		{"with a path and a slash at the end", "https://a.test/t%2F1/", []string{
			"https://a.test/t%2F1" + openID,
			"https://a.test" + oauth + "/t%2F1",
			"https://a.test/t%2F1" + oauth}},
		{"with two slashes at the end loses one", "https://a.test/x//", []string{
			"https://a.test/x/" + openID,
			"https://a.test" + oauth + "/x/",
			"https://a.test/x/" + oauth}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.issuer)
			if err != nil {
				t.Fatal(err)
			}
			if got := metadataURLs(u); !slices.Equal(got, tt.want) {
				t.Errorf("metadataURLs(%s) = %q, want %q", tt.issuer, got, tt.want)
			}
		})
	}
}

// pages is an issuer without a network: it answers by URL, and 404 for every URL it does not have.
type pages map[string]string

func (p pages) RoundTrip(r *http.Request) (*http.Response, error) {
	text, ok := p[r.URL.String()]
	if !ok {
		text = "HTTP/1.1 404 Not Found\r\n\r\n"
	} else if !strings.HasPrefix(text, "HTTP/") {
		text = "HTTP/1.1 200 OK\r\n\r\n" + text
	}
	return response(r, text)
}

func TestFind(t *testing.T) {
	const (
		issuer   = "https://a.test/oauth2/default"
		openID   = "https://a.test/oauth2/default/.well-known/openid-configuration"
		inserted = "https://a.test/.well-known/oauth-authorization-server/oauth2/default"
		appended = "https://a.test/oauth2/default/.well-known/oauth-authorization-server"
		good     = `{"issuer":"https://a.test/oauth2/default"}`
		foreign  = `{"issuer":"https://evil.test"}`
	)
	for _, tt := range []struct {
		name  string
		pages pages
		at    string // where it is found; "" for nowhere
		want  string // in the error
	}{
		{"at the place of OpenID Connect", pages{openID: good, inserted: foreign, appended: foreign}, openID, ""},
		{"at the place of RFC 8414", pages{inserted: good, appended: foreign}, inserted, ""},
		{"at the third place", pages{appended: good}, appended, ""},
		{"behind a place that answers 503", pages{openID: "HTTP/1.1 503 Busy\r\n\r\n", inserted: good}, inserted, ""},
		{"beside members that nobody asks for", pages{openID: `{"Issuer":7,"n":1e999,"jwks_uri":[{}],"issuer":"https:\/\/a.test/oauth2/\u0064efault"}`}, openID, ""},
		{"nowhere", pages{}, "", "no metadata of the issuer: " + openID + " answered 404; " + inserted + " answered 404; " + appended + " answered 404"},
		// 8414-05: what is found must be the issuer's own
		{"of another issuer", pages{openID: foreign, inserted: good}, "", `names the issuer "https://evil.test", expected "https://a.test/oauth2/default"`},
		{"of an issuer with a slash more", pages{openID: `{"issuer":"https://a.test/oauth2/default/"}`}, "", "names the issuer"},
		{"of an issuer in another case", pages{openID: `{"issuer":"https://A.test/oauth2/default"}`}, "", "names the issuer"},
		{"of nobody", pages{openID: `{}`}, "", `names the issuer ""`},
		{"of an issuer under another name", pages{openID: `{"ISSUER":"https://a.test/oauth2/default"}`}, "", `names the issuer ""`},
		{"of an issuer that is a list", pages{openID: `{"issuer":["https://a.test/oauth2/default"]}`}, "", `"issuer" is not a text`},
		{"of an issuer that fills the log", pages{openID: `{"issuer":"` + strings.Repeat("x", 100_000) + `"}`}, "", "…, expected"},
		{"as null", pages{openID: "null"}, "", openID + ": not a JSON object"},
		{"as a page", pages{openID: "<html>"}, "", openID + ": not a JSON object"},
		{"of 1 MiB and a byte", pages{openID: strings.Repeat(" ", MaxBody+1-len(good)) + good}, "", "larger than 1048576 bytes"},
		{"of 1 MiB", pages{openID: strings.Repeat(" ", MaxBody-len(good)) + good}, openID, ""},
		{"that breaks off", pages{openID: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + good, inserted: good}, "", "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := New(tt.pages, false).Find(t.Context(), issuer)
			switch {
			case tt.at != "" && (err != nil || m.URL != tt.at):
				t.Errorf("Find = %+v, %v, want it at %s", m, err, tt.at)
			case tt.at == "" && (m != nil || err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Find = %v, %v, want an error with %q", m, err, tt.want)
			case err != nil && len(err.Error()) > 1000:
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestFindNeverAsksAnIssuerThatIsNotSecure(t *testing.T) {
	const document = `{"issuer":"http://a.test"}`
	at := pages{"http://a.test/.well-known/openid-configuration": document}
	if m, err := New(at, false).Find(t.Context(), "http://a.test"); err == nil {
		t.Errorf("Find = %v, want an error", m)
	}
	if _, err := New(at, true).Find(t.Context(), "http://a.test"); err != nil {
		t.Errorf("Find with insecure_http = %v", err)
	}
}

func TestEndpoint(t *testing.T) {
	const at = "https://a.test/.well-known/openid-configuration"
	for _, tt := range []struct{ name, member, want, wantErr string }{
		{"a URL", `"jwks_uri":"https://b.test/keys?x=1"`, "https://b.test/keys?x=1", ""},
		{"http on loopback", `"jwks_uri":"http://127.0.0.1:8080/keys"`, "http://127.0.0.1:8080/keys", ""},
		{"nothing", `"x":0`, "", ""},
		{"null", `"jwks_uri":null`, "", ""},
		{"another case", `"JWKS_URI":"https://b.test/keys"`, "", ""},
		{"http", `"jwks_uri":"http://b.test/keys"`, "", at + `: the jwks_uri "http://b.test/keys": http:// is only`},
		{"a path", `"jwks_uri":"/keys"`, "", "not an https:// URL"},
		{"a number", `"jwks_uri":7`, "", at + `: its member "jwks_uri" is not a text`},
		{"other members that are wrong", `"introspection_endpoint":7,"jwks_uri":"https://b.test/keys"`, "https://b.test/keys", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pages{at: `{"issuer":"https://a.test",` + tt.member + `}`}
			m, err := New(p, false).Find(t.Context(), "https://a.test")
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Endpoint("jwks_uri")
			if got != tt.want || (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("Endpoint = %q, %v, want %q, an error with %q", got, err, tt.want, tt.wantErr)
			}
		})
	}
	p := pages{strings.Replace(at, "https", "http", 1): `{"issuer":"http://a.test","jwks_uri":"http://b.test/keys"}`}
	m, err := New(p, true).Find(t.Context(), "http://a.test")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Endpoint("jwks_uri"); got != "http://b.test/keys" || err != nil {
		t.Errorf("Endpoint with insecure_http = %q, %v", got, err)
	}
}
