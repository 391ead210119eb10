package deny_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

// readChallenge reads the value of WWW-Authenticate as narrowly as RFC 9110 §11.6.1 and RFC 6750 §3 allow: the scheme,
// one space, and quoted-strings without escapes, each parameter once.
func readChallenge(scheme, text string) (map[string]string, error) {
	rest, ok := strings.CutPrefix(text, scheme+" ")
	if !ok {
		return nil, errors.New("the scheme is not " + scheme)
	}
	params := make(map[string]string)
	for {
		name, after, ok := strings.Cut(rest, `="`)
		if !ok || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return nil, fmt.Errorf("no parameter at %q", rest)
		}
		value, after, ok := strings.Cut(after, `"`)
		if !ok {
			return nil, fmt.Errorf("no closing quote after %s", name)
		}
		for i := range len(value) {
			if b := value[i]; b < ' ' || b > '~' || b == '\\' {
				return nil, fmt.Errorf("the byte %#x in %s", b, name)
			}
		}
		if _, twice := params[name]; twice {
			return nil, fmt.Errorf("%s occurs twice", name)
		}
		params[name] = value
		if after == "" {
			return params, nil
		}
		if rest, ok = strings.CutPrefix(after, ", "); !ok {
			return nil, fmt.Errorf("no comma at %q", after)
		}
	}
}

func TestReadChallengeIsStrict(t *testing.T) {
	for _, text := range []string{
		``, `Bearer`, `bearer realm="a"`, `Bearer realm=a`, `Bearer realm="a`, `Bearer realm="a",error="b"`, `Bearer realm="a", `,
		`Bearer realm="a", realm="b"`, `Bearer realm="\a"`, "Bearer realm=\"a\n\"", `Bearer Realm="a"`, `Bearer realm="a" error="b"`, `Bearer ="a"`,
	} {
		if params, err := readChallenge("Bearer", text); err == nil {
			t.Errorf("readChallenge(Bearer, %q) = %v, want an error", text, params)
		}
	}
}

// respond returns the header of the answer and the error for Caddy.
func respond(c *deny.Challenge, f *deny.Refusal) (http.Header, caddyhttp.HandlerError) {
	w := httptest.NewRecorder()
	err := c.Respond(w, f)
	var handlerError caddyhttp.HandlerError
	errors.As(err, &handlerError)
	return w.Header(), handlerError
}

func TestRespondSaysWhatTheTableSays(t *testing.T) {
	for reason, want := range answers {
		if want.status == 0 {
			continue // goes on, nothing to answer
		}
		t.Run(want.code, func(t *testing.T) {
			header, err := respond(deny.Default, reason.Because("some cause"))
			if err.StatusCode != want.status {
				t.Errorf("status %d, want %d", err.StatusCode, want.status)
			}
			if refusal := (*deny.Refusal)(nil); !errors.As(err.Err, &refusal) || refusal.Reason != reason {
				t.Errorf("the error is %v, want the refusal", err.Err)
			}
			if got := header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
				t.Errorf("Cache-Control is %q, want no-store", got)
			}
			if got := header.Values("Retry-After"); len(got) != 0 {
				t.Errorf("Retry-After is %q, want none", got)
			}
			challenges := header.Values("WWW-Authenticate")
			if !want.challenge {
				if len(challenges) != 0 || len(header) != 1 {
					t.Errorf("the header is %v, want Cache-Control alone", header)
				}
				return
			}
			if len(challenges) != 1 || len(header) != 2 {
				t.Fatalf("the header is %v, want one challenge beside Cache-Control", header)
			}
			params, parseErr := readChallenge("Bearer", challenges[0])
			if parseErr != nil {
				t.Fatalf("%s: %v", challenges[0], parseErr)
			}
			expected := map[string]string{"realm": "okta"}
			if want.oauth != "" {
				expected["error"], expected["error_description"] = want.oauth, reason.Description()
			}
			if !maps.Equal(params, expected) {
				t.Errorf("%s, want %v", challenges[0], expected)
			}
			if strings.Contains(challenges[0], "cause") {
				t.Errorf("%s tells the cause", challenges[0])
			}
		})
	}
}

func TestRespondWordsTheChallenge(t *testing.T) {
	orders := &deny.Challenge{Realm: "orders api"}
	for _, test := range []struct {
		name    string
		refusal deny.Refusal
		want    string
	}{
		{"no credential", deny.Refusal{}, `Bearer realm="orders api"`},
		{"scopes", deny.Refusal{Reason: deny.InsufficientScope, Scopes: []string{"a:read", "b"}},
			`Bearer realm="orders api", error="insufficient_scope", error_description="The access token lacks a required scope", scope="a:read b"`},
		{"step-up by acr", deny.Refusal{Reason: deny.StepUpRequired, ACRValues: []string{"phr", "urn:okta:loa:2fa:any"}},
			`Bearer realm="orders api", error="insufficient_user_authentication", error_description="A stronger or more recent authentication is required", acr_values="phr urn:okta:loa:2fa:any"`},
		{"step-up by age", deny.Refusal{Reason: deny.StepUpRequired, MaxAge: 15 * time.Minute},
			`Bearer realm="orders api", error="insufficient_user_authentication", error_description="A stronger or more recent authentication is required", max_age="900"`},
		{"step-up by both", deny.Refusal{Reason: deny.StepUpRequired, ACRValues: []string{"phr"}, MaxAge: time.Second},
			`Bearer realm="orders api", error="insufficient_user_authentication", error_description="A stronger or more recent authentication is required", acr_values="phr", max_age="1"`},
		{"step-up and scopes", deny.Refusal{Reason: deny.StepUpRequired, ACRValues: []string{"phr"}, Scopes: []string{"a"}},
			`Bearer realm="orders api", error="insufficient_user_authentication", error_description="A stronger or more recent authentication is required", scope="a", acr_values="phr"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			header, _ := respond(orders, &test.refusal)
			if got := header.Get("WWW-Authenticate"); got != test.want {
				t.Errorf("WWW-Authenticate: %s\nwant              %s", got, test.want)
			}
		})
	}
}

func TestRespondRoundsRetryAfterUp(t *testing.T) {
	for after, want := range map[time.Duration]string{
		1: "1", time.Millisecond: "1", time.Second: "1", time.Second + 1: "2", 1500 * time.Millisecond: "2", 5 * time.Minute: "300",
		-time.Second: "", 0: "",
	} {
		for _, reason := range []deny.Reason{deny.KeysUnavailable, deny.IntrospectionUnavailable, deny.TooManyFailures} {
			refusal := reason.Because("later")
			refusal.RetryAfter = after
			header, _ := respond(deny.Default, refusal)
			if got := header.Get("Retry-After"); got != want {
				t.Errorf("%s in %s: Retry-After is %q, want %q", reason, after, got, want)
			}
		}
	}
}

// A handler before us may have said how to cache the page; a refusal is not the page.
func TestRespondReplacesWhatIsThere(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("WWW-Authenticate", "Basic")
	_ = deny.Default.Respond(w, deny.Expired.Because("late"))
	if got := w.Header().Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
		t.Errorf("Cache-Control is %q, want no-store", got)
	}
	if got := w.Header().Values("WWW-Authenticate"); len(got) != 1 || !strings.HasPrefix(got[0], "Bearer ") {
		t.Errorf("WWW-Authenticate is %q, want one Bearer challenge", got)
	}
}

// caddyhttp.Error takes the status of an error that it finds in the chain. A cause must not choose the status.
func TestACauseNeverChoosesTheStatus(t *testing.T) {
	cause := caddyhttp.Error(http.StatusOK, errors.New("body too large"))
	_, err := respond(deny.Default, deny.PolicyError.Because("reading the request: %w", cause))
	if refusal := (*deny.Refusal)(nil); err.StatusCode != http.StatusForbidden || !errors.As(err.Err, &refusal) {
		t.Errorf("status %d and %v, want 403 and the refusal", err.StatusCode, err.Err)
	}
}

func TestCheckQuotable(t *testing.T) {
	for _, test := range []struct {
		name, value   string
		word, phrases bool
	}{
		{"nothing", "", false, false},
		{"a word", "orders:read", true, true},
		{"all that is allowed but space", "!#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~", true, true},
		{"two words", "a b", false, true},
		{"a space alone", " ", false, true},
		{"a quote", `a"b`, false, false},
		{"a backslash", `a\b`, false, false},
		{"a tab", "a\tb", false, false},
		{"a line break", "a\nb", false, false},
		{"a carriage return", "a\rb", false, false},
		{"a zero byte", "a\x00", false, false},
		{"a delete character", "a\x7f", false, false},
		{"the last control character", "a\x1f", false, false},
		{"a letter outside ASCII", "é", false, false},
		{"a byte outside UTF-8", "\xff", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := deny.CheckQuotable(test.value, false); (err == nil) != test.word {
				t.Errorf("CheckQuotable(%q, false) = %v, accepted should be %t", test.value, err, test.word)
			}
			if err := deny.CheckQuotable(test.value, true); (err == nil) != test.phrases {
				t.Errorf("CheckQuotable(%q, true) = %v, accepted should be %t", test.value, err, test.phrases)
			}
		})
	}
}

// What CheckQuotable lets into a configuration can be read back from the challenge, whatever it is.
func FuzzChallenge(f *testing.F) {
	f.Add(uint8(deny.InsufficientScope), "okta", "orders:read orders:write", "", int64(0))
	f.Add(uint8(deny.StepUpRequired), "the api", "a", "urn:okta:loa:2fa:any phr", int64(900))
	f.Add(uint8(deny.Expired), `a", error="ok`, "a\r\nSet-Cookie: b", `\`, int64(-1))
	f.Add(uint8(deny.NoCredential), "0", "0", "0", int64(1)<<40)
	f.Add(uint8(deny.InvalidProof), "okta", "a", "b", int64(60))
	f.Add(uint8(deny.NonceRequired), "okta", "a", "b", int64(60))
	f.Add(uint8(deny.NoCredential), "é", " ", "\x00", int64(1)<<40)
	f.Fuzz(func(t *testing.T, number uint8, realm, scopes, acrValues string, maxAge int64) {
		reason := deny.All()[int(number)%len(deny.All())]
		refusal := reason.Because("%s", realm)
		refusal.Scopes, refusal.ACRValues = strings.Split(scopes, " "), strings.Split(acrValues, " ")
		refusal.MaxAge = time.Duration(maxAge%(1<<33)) * time.Second
		ok := deny.CheckQuotable(realm, true) == nil
		for _, value := range slices.Concat(refusal.Scopes, refusal.ACRValues) {
			ok = ok && deny.CheckQuotable(value, false) == nil
		}
		if !ok {
			return
		}
		header, err := respond(&deny.Challenge{Realm: realm, DPoP: "ES256"}, refusal)
		if err.StatusCode != reason.Status() {
			t.Errorf("status %d, want %d", err.StatusCode, reason.Status())
		}
		challenge := header.Get("WWW-Authenticate")
		if !answers[reason].challenge {
			if challenge != "" {
				t.Errorf("%s: challenge %s, want none", reason, challenge)
			}
			return
		}
		want := map[string]string{"realm": realm}
		scheme := "Bearer"
		if reason == deny.InvalidProof || reason == deny.NonceRequired {
			scheme, want["algs"] = "DPoP", "ES256"
		}
		got, readErr := readChallenge(scheme, challenge)
		if readErr != nil {
			t.Fatalf("%s: %v", challenge, readErr)
		}
		if oauth := answers[reason].oauth; oauth != "" { // a bare challenge tells nothing of what the route needs
			want["error"], want["error_description"] = oauth, reason.Description()
			want["scope"], want["acr_values"] = scopes, acrValues
			if refusal.MaxAge > 0 {
				want["max_age"] = strconv.FormatInt(int64(refusal.MaxAge/time.Second), 10)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s, want %q", challenge, want)
		}
	})
}
