package introspect

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// 7662-03, 7662-14: the members of an active answer become claims.
func TestAnActiveAnswerIsAnIdentity(t *testing.T) {
	i := &issuer{respond: answers(200, active[:len(active)-1]+`,"cnf":{"jkt":"x"},"level":3,"act":{"sub":"bot"}}`)}
	a := good(t, listen(t, i, nil), "token")
	id := a.Identity
	if a.TokenType != "Bearer" || id.Subject != "ada@example.com" || id.ClientID != "0oaClient" || id.UserID != "00uAda" ||
		id.Issuer != "https://a.test/oauth2/default" || id.ID != "AT.1" || id.Kind() != jwt.KindUser ||
		!reflect.DeepEqual(id.Scopes, []string{"orders:read", "orders:write"}) || !reflect.DeepEqual(id.Audience, []string{"api://default"}) ||
		!id.ExpiresAt.Equal(time.Unix(4102444800, 0)) || !id.IssuedAt.Equal(time.Unix(946684800, 0)) || id.Confirmation["jkt"] != "x" {
		t.Errorf("the answer is %+v, %+v", a, id)
	}
	want := map[string]any{"level": int64(3), "username": "ada@example.com", "token_type": "Bearer"}
	for name, value := range want {
		if got, _ := id.Get(name); got != value {
			t.Errorf("Get(%s) = %v, want %v", name, got, value)
		}
	}
	if id.Has("active") {
		t.Error("active is among the claims")
	}
}

func TestAnswers(t *testing.T) {
	const outage, plain = true, false
	wrong := func(member string) string { return strings.Replace(active, `{`, `{`+member+`,`, 1) }
	claim := func(member string) string { return `{"active":true,` + member + `}` }
	large := `{"active":true,"x":"` + strings.Repeat("x", maxBody-22) + `"}`
	var inactiveKind, malformedKind = ErrInactive, &Malformed{}
	for _, tt := range []struct {
		name   string
		status int
		kind   string // Content-Type; "" for application/json
		body   string
		err    error  // ErrInactive, a *Malformed or nil
		want   string // in the error; "" for none
		pauses bool   // other calls
	}{
		{"7662-03 active", 200, "", active, nil, "", plain},
		{"7662-03 nothing but active", 200, "", `{"active":true}`, nil, "", plain},
		{"7662-03 with parameters of the type", 200, `Application/JSON; charset="utf-8"`, active, nil, "", plain},
		{"7662-03 another JSON type", 200, "application/vnd.acme+json", active, nil, "", plain},
		{"7662-03 of 64 KiB", 200, "", large, nil, "", plain},

		{"7662-04 inactive", 200, "", inactive, inactiveKind, "not active", plain},
		{"7662-04 inactive and more", 200, "", `{"active":false,"sub":7}`, inactiveKind, "not active", plain},

		{"7662-05 active missing", 200, "", `{"sub":"ada"}`, nil, "neither true nor false", plain},
		{"7662-05 active in another case", 200, "", `{"Active":true}`, nil, "neither true nor false", plain},
		{"7662-05 active as a text", 200, "", `{"active":"true"}`, nil, "neither true nor false", plain},
		{"7662-05 active as a number", 200, "", `{"active":1}`, nil, "neither true nor false", plain},
		{"7662-05 active as null", 200, "", `{"active":null}`, nil, "neither true nor false", plain},
		{"7662-05 active as a list", 200, "", `{"active":[true]}`, nil, "neither true nor false", plain},
		{"7662-05 active twice", 200, "", `{"active":false,"active":true}`, nil, "occurs twice", plain},
		{"7662-05 active twice by escape", 200, "", `{"active":false,"\u0061ctive":true}`, nil, "occurs twice", plain},
		{"7662-05 active in depth", 200, "", `{"x":{"active":true}}`, nil, "neither true nor false", plain},

		{"7662-06 400", 400, "", `{"error":"invalid_request"}`, nil, "it answered 400, it refused the gateway's own credentials: check client_id", plain},
		{"7662-06 401", 401, "", `{"error":"invalid_client"}`, nil, "it answered 401, it refused the gateway's own credentials", plain},
		{"7662-06 403", 403, "", active, nil, "it answered 403, it refused the gateway's own credentials", plain},

		{"7662-07 429", 429, "", active, nil, "it answered 429", outage},
		{"7662-07 500", 500, "", active, nil, "it answered 500", plain},
		{"7662-07 503", 503, "", active, nil, "it answered 503", plain},
		{"7662-07 404", 404, "", active, nil, "it answered 404", plain},
		{"7662-07 201", 201, "", active, nil, "it answered 201", plain},
		{"7662-07 203", 203, "", active, nil, "it answered 203", plain},
		{"7662-07 a page", 200, "text/html", active, nil, "not of type application/json", plain},
		{"7662-07 a signed answer", 200, "application/token-introspection+jwt", active, nil, "not of type application/json", plain},
		{"7662-07 no type", 200, " ", active, nil, "not of type application/json", plain},
		{"7662-07 a type that is no type", 200, "application/json; =", active, nil, "not of type application/json", plain},
		{"7662-07 of 64 KiB and a byte", 200, "", large + " ", nil, "larger than 65536 bytes", plain},
		{"7662-07 not JSON", 200, "", `{"active":true`, nil, "not JSON", plain},
		{"7662-07 two objects", 200, "", active + active, nil, "not JSON", plain},
		{"7662-07 a list", 200, "", `[` + active + `]`, nil, "not a JSON object", plain},
		{"7662-07 nothing", 200, "", "", nil, "not JSON", plain},
		{"7662-07 a member twice", 200, "", wrong(`"sub":"eve"`), nil, "occurs twice", plain},

		{"7662-14 scope as a number", 200, "", claim(`"scope":7`), malformedKind, `"scope" is not a list of texts`, plain},
		{"7662-14 client_id as a number", 200, "", claim(`"client_id":7`), malformedKind, `"client_id" is not a text`, plain},
		{"7662-14 username as an object", 200, "", claim(`"username":{}`), malformedKind, `"username" is not a text`, plain},
		{"7662-14 token_type as null", 200, "", claim(`"token_type":null`), malformedKind, `"token_type" is not a text`, plain},
		{"7662-14 sub as a list", 200, "", claim(`"sub":["ada"]`), malformedKind, `"sub" is not a text`, plain},
		{"7662-14 exp as a text", 200, "", claim(`"exp":"4102444800"`), malformedKind, `"exp" is not a time`, plain},
		{"7662-14 cnf as a text", 200, "", claim(`"cnf":"x"`), malformedKind, `"cnf" is not an object`, plain},
		{"7662-14 cid and client_id differ", 200, "", claim(`"cid":"a","client_id":"b"`), malformedKind, "differ", plain},

		{"7662-18 a redirect", 302, "", active, nil, "it answered 302, and a token is not taken", plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kind := "application/json"
			if tt.kind != "" {
				kind = strings.TrimSpace(tt.kind)
			}
			i := &issuer{respond: answers(tt.status, tt.body, "Content-Type", kind)}
			c := listen(t, i, nil)
			switch {
			case tt.want == "":
				good(t, c, "secret-token")
			case tt.err == nil:
				missing(t, c, "secret-token", tt.want)
			default:
				err := refused(t, c, "secret-token")
				if reflect.TypeOf(err) != reflect.TypeOf(tt.err) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Introspect = %v, want %T with %q", err, tt.err, tt.want)
				}
			}
			before := len(i.calls())
			_, _ = c.Introspect(t.Context(), "another")
			if paused := len(i.calls()) == before; paused != tt.pauses {
				t.Errorf("another call is paused: %t, want %t", paused, tt.pauses)
			}
		})
	}
}

// FuzzAnswer holds whatever an endpoint may answer against the rule: an identity comes of a true active alone.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{active, inactive, `{"active":"true"}`, `{"active":true,"active":false}`, `{"active":true,"exp":"x"}`, `[]`, "", `{"active":true,"scope":"a  b"}`} {
		f.Add(200, "application/json", "", "", []byte(body))
		f.Add(401, "application/json", "7", "4102444800", []byte(body))
		f.Add(200, "text/html", "-1", "99999999999999999999", []byte(body))
		f.Add(429, "application/x+json", "Fri, 01 Jan 2100 00:00:00 GMT", "-9223372036854775808", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, kind, retryAfter, reset string, body []byte) {
		header := http.Header{"Content-Type": {kind}, "Retry-After": {retryAfter}, "X-Rate-Limit-Reset": {reset}}
		a, err := read(&http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))})
		if (a == nil) != (err != nil) {
			t.Fatalf("read = %v, %v", a, err)
		}
		if o, ok := errors.AsType[*outage](err); ok && (o.asked < 0 || o.asked > time.Minute) {
			t.Fatalf("calls are paused for %s", o.asked)
		}
		answered := status == 200 && strings.Contains(strings.ToLower(kind), "json")
		if !answered && (a != nil || isAnswer(err)) {
			t.Fatalf("status %d of type %q is taken: %v, %v", status, kind, a, err)
		}
		raw, decodeErr := jwt.DecodeObject(body)
		active, _ := raw.Get("active")
		if a != nil && (decodeErr != nil || active != true || a.Identity == nil) {
			t.Fatalf("an identity comes of %q", body)
		}
		if err == ErrInactive && active != false {
			t.Fatalf("%q is taken for inactive", body)
		}
		if _, ok := errors.AsType[*Malformed](err); ok && active != true {
			t.Fatalf("%q is taken for active", body)
		}
	})
}

// What is remembered is what the answer says, not how long it was.
func TestAnAnswerKeepsNothingOfItsText(t *testing.T) {
	const answers, budget = 500, 2000
	body := []byte(`{"active":true,"iss":"https://a.test","sub":"ada","groups":["a","b"],"token_type":"Bearer",` + strings.Repeat(" ", 8000) + `"exp":1}`)
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	kept := make([]*Answer, answers)
	before := heap()
	for i := range kept {
		var err error
		if kept[i], err = parse(body); err != nil {
			t.Fatal(err)
		}
	}
	if got := (heap() - before) / answers; got > budget {
		t.Errorf("an answer of %d bytes takes %d, want at most %d", len(body), got, budget)
	}
	if a := kept[0]; a.TokenType != "Bearer" || a.Identity.Subject != "ada" || len(a.Identity.Groups) != 2 || a.Identity.Has("active") {
		t.Errorf("the answer says %+v", a.Identity)
	}
}
