package jwks

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// site answers by path, and 404 for every path it does not have.
func site(pages map[string]responder) responder {
	return func(r *http.Request) (*http.Response, error) {
		if page, ok := pages[r.URL.String()]; ok {
			return page(r)
		}
		return answers(404, "not found")(r)
	}
}

func TestDiscovery(t *testing.T) {
	const (
		issuerURL = "https://a.test/oauth2/default"
		openID    = "https://a.test/oauth2/default/.well-known/openid-configuration"
		inserted  = "https://a.test/.well-known/oauth-authorization-server/oauth2/default"
		appended  = "https://a.test/oauth2/default/.well-known/oauth-authorization-server"
		good      = `{"issuer":"https://a.test/oauth2/default","jwks_uri":"https://a.test/keys"}`
		bad       = `{"issuer":"https://evil.test","jwks_uri":"https://a.test/keys"}`
	)
	doc := func(at, document string) map[string]responder {
		return map[string]responder{at: answers(200, document)}
	}
	named := func(issuer string) map[string]responder {
		return doc(openID, `{"issuer":`+issuer+`,"jwks_uri":"https://a.test/keys"}`)
	}
	linked := func(uri string) map[string]responder {
		return doc(openID, `{"issuer":"https://a.test/oauth2/default","jwks_uri":`+uri+`}`)
	}
	tests := []struct {
		name  string
		pages map[string]responder
		want  string // in the error; "" for none
	}{
		{"at the place of OpenID Connect", doc(openID, good), ""},
		{"at the place of RFC 8414", doc(inserted, good), ""},
		{"at the third place", doc(appended, good), ""},
		{"the first place wins", map[string]responder{openID: answers(200, good), inserted: answers(200, bad)}, ""},
		{"a place that answers 500 is passed by", map[string]responder{openID: answers(500, bad), inserted: answers(200, good)}, ""},
		{"a place with a foreign document is not", map[string]responder{openID: answers(200, bad), inserted: answers(200, good)}, `names the issuer "https://evil.test", expected "https://a.test/oauth2/default"`},
		{"a place that cannot be reached is not", map[string]responder{openID: fails, inserted: answers(200, good)}, "unexpected EOF"},
		{"unknown members", doc(openID, `{"x":[{}],"jwks_uri":"https://a.test/keys","issuer":"https://a.test/oauth2/default","Issuer":7}`), ""},
		{"an escaped issuer is the same text", named(`"https:\/\/a.test\/oauth2\/\u0064efault"`), ""},
		{"nowhere", nil, inserted + " answered 404"},

		{"a slash more", named(`"https://a.test/oauth2/default/"`), "names the issuer"},
		{"another case", named(`"https://A.test/oauth2/default"`), "names the issuer"},
		{"a port", named(`"https://a.test:443/oauth2/default"`), "names the issuer"},
		{"http", named(`"http://a.test/oauth2/default"`), "names the issuer"},
		{"an issuer that is a list", named(`["https://a.test/oauth2/default"]`), `"issuer" is not a text`},
		{"an issuer that fills the log", named(`"` + strings.Repeat("x", 100_000) + `"`), "names the issuer"},
		{"no issuer", doc(openID, `{"jwks_uri":"https://a.test/keys"}`), `names the issuer "", expected`},
		{"an issuer in another case", doc(openID, `{"ISSUER":"https://a.test/oauth2/default","jwks_uri":"https://a.test/keys"}`), `names the issuer ""`},
		{"no jwks_uri", doc(openID, `{"issuer":"https://a.test/oauth2/default"}`), `no "jwks_uri": configure keys_url`},
		{"a jwks_uri in another case", doc(openID, `{"issuer":"https://a.test/oauth2/default","JWKS_URI":"https://a.test/keys"}`), `no "jwks_uri"`},
		{"a jwks_uri that is http", linked(`"http://a.test/keys"`), `the jwks_uri "http://a.test/keys": http:// is only`},
		{"a jwks_uri that is a path", linked(`"/keys"`), "not an https:// URL"},
		{"a jwks_uri that is a file", linked(`"file:///keys"`), "not an https:// URL"},
		{"a jwks_uri with a password", linked(`"https://u:p@a.test/keys"`), "not allowed"},
		{"a jwks_uri that is a number", linked(`7`), `"jwks_uri" is not a text`},
		{"a page", doc(openID, "<html>"), openID + ": not a JSON object"},
		{"a list", doc(openID, "[]"), "not a JSON object"},
		{"too large", doc(openID, strings.Repeat(" ", maxBody)+good), "larger than"},
		{"a redirect to another host", map[string]responder{openID: answers(302, "", "Location", "https://evil.test/")}, "redirected to another place"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.pages == nil {
				tt.pages = map[string]responder{}
			}
			tt.pages["https://a.test/keys"] = answers(200, document(publish("k1", p256Key())))
			s := open(t, Config{Issuer: issuerURL}, &issuer{respond: site(tt.pages)})
			err := s.Refresh(t.Context())
			if tt.want == "" {
				if err != nil {
					t.Errorf("Refresh() = %v", err)
				}
				one(t, s, "k1")
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Refresh() = %v, want an error with %q", err, tt.want)
			} else if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// An issuer may move its keys at any time: each refresh asks the metadata again.
func TestDiscoveryFollowsAChangedURI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pages := func(keysURL string) responder {
			return site(map[string]responder{
				"https://a.test/.well-known/openid-configuration": answers(200, `{"issuer":"https://a.test","jwks_uri":"`+keysURL+`"}`),
				"https://a.test/keys":                             answers(200, document(publish("old", p256Key()))),
				"https://b.test/keys":                             answers(200, document(publish("new", p256Next()))),
			})
		}
		i := &issuer{respond: pages("https://a.test/keys")}
		s := warm(t, Config{Issuer: "https://a.test"}, i)
		k := one(t, s, "old")
		i.does(pages("https://b.test/keys"))
		time.Sleep(67 * time.Minute)
		one(t, s, "new")
		if s.Has(k.Number) || s.Status().KeysURL != "https://b.test/keys" {
			t.Errorf("Has = %t, Status() = %+v", s.Has(k.Number), s.Status())
		}
	})
}
