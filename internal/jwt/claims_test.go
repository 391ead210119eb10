package jwt

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// wrongTypes are JSON values by what they are, for claims that want something else.
var wrongTypes = map[string]string{
	"null": `null`, "true": `true`, "false": `false`, "number": `7`, "fraction": `1.5`, "text": `"a"`, "empty_text": `""`,
	"list": `["a"]`, "empty_list": `[]`, "mixed_list": `["a",1]`, "list_with_null": `[null]`, "nested_list": `[["a"]]`,
	"object": `{"a":"b"}`, "empty_object": `{}`,
}

func TestParseClaimsTakesOneTypePerClaim(t *testing.T) {
	texts := []string{"text", "empty_text"}
	lists := []string{"list", "empty_list"}
	both := append(texts, lists...)
	dates := []string{"number", "fraction"}
	for claim, accepted := range map[string][]string{
		"iss": texts, "sub": texts, "cid": texts, "client_id": texts, "uid": texts, "jti": texts, "acr": texts,
		"aud": both, "groups": both, "scope": both, "scp": lists, "amr": lists,
		"exp": dates, "nbf": dates, "iat": dates, "auth_time": dates,
		"cnf": {"object", "empty_object"},
	} {
		for kind, value := range wrongTypes {
			t.Run(claim+" as "+kind, func(t *testing.T) {
				text := fmt.Sprintf(`{%q:%s}`, claim, value)
				c, err := ParseClaims(mustDecode(t, text))
				if want := strings.Contains(" "+strings.Join(accepted, " ")+" ", " "+kind+" "); want != (err == nil) {
					t.Fatalf("ParseClaims(%s) = %v, accepted should be %t", text, err, want)
				}
				if err != nil && (c != nil || !strings.Contains(err.Error(), `"`+claim+`"`)) {
					t.Errorf("ParseClaims(%s) = %v, %v, want nil and an error that names the claim", text, c, err)
				}
			})
		}
	}
}

func TestParseClaimsReads(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	for _, test := range []struct {
		name, text string
		want       Claims
	}{
		{"nothing from no claims", `{}`, Claims{}},
		{"every claim into its place",
			`{"iss":"i","sub":"s","cid":"c","uid":"u","jti":"j","acr":"a","amr":["pwd","mfa"],"aud":"x","groups":["g"],"scp":["p"],"exp":4,"nbf":3,"iat":2,"auth_time":1,"cnf":{"jkt":"t"}}`,
			Claims{Issuer: "i", Subject: "s", ClientID: "c", UserID: "u", ID: "j", ACR: "a", AMR: []string{"pwd", "mfa"}, Audience: []string{"x"},
				Groups: []string{"g"}, Scopes: []string{"p"}, ExpiresAt: at(4), NotBefore: at(3), IssuedAt: at(2), AuthenticatedAt: at(1),
				Confirmation: map[string]any{"jkt": "t"}}},
		{"aud as a list", `{"aud":["a","b"]}`, Claims{Audience: []string{"a", "b"}}},
		{"aud as an empty list, which is not no aud", `{"aud":[]}`, Claims{Audience: []string{}}},
		{"aud as an empty text", `{"aud":""}`, Claims{Audience: []string{""}}},
		{"aud with spaces as one value", `{"aud":"a b"}`, Claims{Audience: []string{"a b"}}},
		{"groups as a text as one group", `{"groups":"a, b"}`, Claims{Groups: []string{"a, b"}}},
		{"scp", `{"scp":["a","b"]}`, Claims{Scopes: []string{"a", "b"}}},
		{"scp before scope", `{"scp":["a"],"scope":"b"}`, Claims{Scopes: []string{"a"}}},
		{"an empty scp before scope", `{"scp":[],"scope":"b"}`, Claims{Scopes: []string{}}},
		{"scp before a scope of a wrong type, which nobody reads", `{"scp":["a"],"scope":7}`, Claims{Scopes: []string{"a"}}},
		{"scope as a text, split at spaces", `{"scope":" a  b\tc "}`, Claims{Scopes: []string{"a", "b\tc"}}},
		{"scope as an empty text as no scopes", `{"scope":""}`, Claims{Scopes: []string{}}},
		{"scope as a list, not split", `{"scope":["a b"]}`, Claims{Scopes: []string{"a b"}}},
		{"client_id when there is no cid", `{"client_id":"c"}`, Claims{ClientID: "c"}},
		{"cid and client_id that agree", `{"cid":"c","client_id":"c"}`, Claims{ClientID: "c"}},
		{"claims by their exact names only", `{"Sub":"a","SUB":"b","sub ":"c","ＳＵＢ":"d"}`, Claims{}},
		{"unknown claims of any type", `{"x":null,"y":[{"z":1}]}`, Claims{}},
		{"a nonce as foreign", `{"nonce":"n"}`, Claims{Foreign: "nonce"}},
		{"at_hash as foreign", `{"at_hash":"h"}`, Claims{Foreign: "at_hash"}},
		{"events as foreign", `{"events":{}}`, Claims{Foreign: "events"}},
		{"the first of several as foreign", `{"events":{},"at_hash":"h","nonce":"n"}`, Claims{Foreign: "nonce"}},
		{"a foreign claim of any value", `{"nonce":null}`, Claims{Foreign: "nonce"}},
		{"no foreign claim by another case", `{"Nonce":"n"}`, Claims{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			raw := mustDecode(t, test.text)
			got, err := ParseClaims(raw)
			if err != nil {
				t.Fatalf("ParseClaims(%s) = %v", test.text, err)
			}
			if err := sameClaims(got, raw); err != nil {
				t.Errorf("ParseClaims(%s): %v", test.text, err)
			}
			if got.typed, got.others = 0, ""; !reflect.DeepEqual(*got, test.want) {
				t.Errorf("ParseClaims(%s) = %+v, want %+v", test.text, got, test.want)
			}
		})
	}
}

// sameClaims compares what the claims say, one by one and all together, with what they were parsed from, and so what
// comes out of a cache.
func sameClaims(c *Claims, raw Object) error {
	seal, unpacked := Seal{"at+jwt", "RS256", math.MaxUint64}, new(Claims)
	if got := Unpack(c.Pack(seal), unpacked); !reflect.DeepEqual(unpacked, c) || got != seal {
		return fmt.Errorf("packed and unpacked they are %+v with %+v, want %+v with %+v", unpacked, got, c, seal)
	}
	for _, list := range [][]string{unpacked.Scopes, unpacked.Groups, unpacked.Audience, unpacked.AMR} {
		if len(list) != cap(list) {
			return fmt.Errorf("the list %q could grow into the next one", list)
		}
	}
	if again, err := ParseClaims(raw); err != nil || again.Pack(seal) != c.Pack(seal) {
		return fmt.Errorf("parsed again they are %+v, %v, want %+v", again, err, c)
	}
	if all, want := c.All(), raw.Map(); !reflect.DeepEqual(all, want) {
		return fmt.Errorf("All = %v, want %v", all, want)
	}
	for name, want := range raw.Map() {
		if got, ok := c.Get(name); !ok || !reflect.DeepEqual(got, want) {
			return fmt.Errorf("Get(%q) = %#v, %t, want %#v", name, got, ok, want)
		}
	}
	names := []string{"", "absent", "scope"}
	for _, f := range fields {
		names = append(names, f.name)
	}
	for _, name := range names {
		present := raw.Has(name)
		if got, ok := c.Get(name); ok != present || !present && got != nil || c.Has(name) != present {
			return fmt.Errorf("Get(%q) = %#v, %t, want %t", name, got, ok, present)
		}
	}
	return nil
}

// What a field says is kept once, and what it does not say exactly is kept beside it.
func TestClaimsAreKeptOnce(t *testing.T) {
	for text, others := range map[string]string{
		`{}`: `{}`,
		`{"iss":"i","sub":"s","cid":"c","client_id":"c","uid":"u","jti":"j","acr":"a","amr":["p"],"aud":["x"],"groups":[],"scp":["p"],"exp":4,"nbf":0,"iat":-2,"auth_time":1}`: `{}`,
		`{"iss":"","sub":"","client_id":"c","uid":"","jti":"","acr":""}`:                                                                                                        `{"iss":"","sub":"","uid":"","jti":"","acr":""}`,
		`{"aud":"x","groups":"g","scope":"a b","exp":1.5,"iat":1e1,"nbf":2.0}`:                                                                                                  `{"aud":"x","groups":"g","scope":"a b","exp":1.5,"iat":1e1,"nbf":2.0}`,
		`{"scp":["a"],"scope":"b","email":"e","ver":1,"level":["x"],"cnf":{"jkt":"t"},"nonce":null,"org":{"id":"o","n":[1]}}`:                                                   `{"scope":"b","email":"e","ver":1,"level":["x"],"cnf":{"jkt":"t"},"nonce":null,"org":{"id":"o","n":[1]}}`,
		`{"t":true,"f":false,"n":null,"float":1.5,"big":18446744073709551615,"int":-9223372036854775808,"o":{"x":[]},"l":[],"texts":["","é"],"mixed":["x",1,null,["y"]],"":""}`: `{"t":true,"f":false,"n":null,"float":1.5,"big":18446744073709551615,"int":-9223372036854775808,"o":{"x":[]},"l":[],"texts":["","é"],"mixed":["x",1,null,["y"]],"":""}`,
	} {
		c, err := ParseClaims(mustDecode(t, text))
		if err != nil {
			t.Fatalf("ParseClaims(%s) = %v", text, err)
		}
		beside := c.All()
		for i, f := range fields {
			if c.typed&(1<<i) != 0 {
				delete(beside, f.name)
			}
		}
		if want := mustDecode(t, others).Map(); !reflect.DeepEqual(beside, want) || (len(want) == 0) != (c.others == "") {
			t.Errorf("beside the fields of %s are %v, want %v", text, beside, want)
		}
		if err := sameClaims(c, mustDecode(t, text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseClaimsReadsDates(t *testing.T) {
	for _, test := range []struct{ name, number, want string }{
		{"whole seconds", `1767225600`, "2026-01-01T00:00:00Z"},
		{"zero", `0`, "1970-01-01T00:00:00Z"},
		{"minus zero", `-0`, "1970-01-01T00:00:00Z"},
		{"a time before 1970", `-1`, "1969-12-31T23:59:59Z"},
		{"a half second", `1767225600.5`, "2026-01-01T00:00:00.5Z"},
		{"almost the next second", `1767225600.999999`, "2026-01-01T00:00:00.999999"},
		{"a half second before 1970", `-0.5`, "1969-12-31T23:59:59.5Z"},
		{"an exponent", `1.7672256e9`, "2026-01-01T00:00:00Z"},
		{"a negative exponent", `17672256000e-1`, "2026-01-01T00:00:00Z"},
		{"a number too small for a float", `1e-999`, "1970-01-01T00:00:00Z"},
		{"the last second of the year 9999", `253402300799`, "9999-12-31T23:59:59Z"},
		{"the same as a float", `253402300799.0`, "9999-12-31T23:59:59Z"},
		{"as far before 1970", `-253402300799`, "-6060-01-02T00:00:01Z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := ParseClaims(mustDecode(t, `{"exp":`+test.number+`}`))
			if err != nil {
				t.Fatalf("exp %s: %v, want %s", test.number, err, test.want)
			}
			if got := c.ExpiresAt.UTC().Format(time.RFC3339Nano); !strings.HasPrefix(got, test.want) {
				t.Errorf("exp %s = %s, want %s", test.number, got, test.want)
			}
		})
	}
	for _, number := range []string{`253402300800`, `253402300799.5`, `-253402300800`, `-253402300799.5`, `9223372036854775807`, `-9223372036854775808`, `9223372036854775808`, `1e300`, `-1e300`} {
		if c, err := ParseClaims(mustDecode(t, `{"exp":`+number+`}`)); err == nil {
			t.Errorf("exp %s = %s, want an error", number, c.ExpiresAt)
		}
	}
}

// ParseClaims also gets claims that other code built, and numbers that DecodeObject lets nobody have.
func TestParseClaimsRefusesNumbersThatAreNone(t *testing.T) {
	for _, value := range []any{json.Number("soon"), json.Number("NaN"), json.Number("1e999"), float64(1), 1} {
		if c, err := ParseClaims(Object{{"exp", value}}); err == nil {
			t.Errorf("exp %#v = %s, want an error", value, c.ExpiresAt)
		}
	}
}

func TestParseClaimsRefusesTwoClients(t *testing.T) {
	for _, text := range []string{`{"cid":"a","client_id":"b"}`, `{"cid":"a","client_id":"A"}`, `{"cid":"a","client_id":"a "}`, `{"cid":"","client_id":"c"}`, `{"cid":"c","client_id":""}`} {
		if c, err := ParseClaims(mustDecode(t, text)); err == nil {
			t.Errorf("ParseClaims(%s) = %+v, want an error", text, c)
		}
	}
}

func TestParseClaimsTellsTheFirstError(t *testing.T) {
	_, err := ParseClaims(mustDecode(t, `{"iss":1,"exp":"x","cnf":2}`))
	if err == nil || err.Error() != `the claim "iss" is not a text` {
		t.Errorf("ParseClaims = %v, want the error about iss", err)
	}
}

func TestKind(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a client that is its own subject is a service", `{"sub":"0oa","cid":"0oa"}`, KindService},
		{"also with client_id", `{"sub":"0oa","client_id":"0oa"}`, KindService},
		{"a user id makes a user", `{"sub":"ada","cid":"0oa","uid":"00u"}`, KindUser},
		{"a user named like the client is a user", `{"sub":"0oa","cid":"0oa","uid":"00u"}`, KindUser},
		{"a subject of another name is a user", `{"sub":"ada","cid":"0oa"}`, KindUser},
		{"a subject in another case is a user", `{"sub":"0OA","cid":"0oa"}`, KindUser},
		{"a user without a client is a user", `{"sub":"ada"}`, KindUser},
		{"an empty user id is none", `{"sub":"0oa","cid":"0oa","uid":""}`, KindService},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := ParseClaims(mustDecode(t, test.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Kind(); got != test.want || c.IsService() != (test.want == KindService) {
				t.Errorf("%s: Kind() = %s, IsService() = %t, want %s", test.text, got, c.IsService(), test.want)
			}
		})
	}
}

func TestMeetsStepUp(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	const skew = 30 * time.Second
	ago := func(d time.Duration) Claims {
		return Claims{UserID: "00u", Subject: "ada", ACR: "phr", AuthenticatedAt: now.Add(-d)}
	}
	service := ago(time.Minute)
	service.UserID, service.Subject, service.ClientID = "", "0oa", "0oa"
	never := ago(0)
	never.AuthenticatedAt = time.Time{}
	withoutACR := ago(time.Minute)
	withoutACR.ACR = ""
	for _, test := range []struct {
		name   string
		claims Claims
		acr    []string
		maxAge time.Duration
		want   bool
	}{
		{"nothing is demanded", never, nil, 0, true},
		{"nothing is demanded of a service", service, nil, 0, true},
		{"the acr is the only one", ago(0), []string{"phr"}, 0, true},
		{"the acr is the last one", ago(0), []string{"a", "b", "phr"}, 0, true},
		{"the acr is another", ago(0), []string{"phrh"}, 0, false},
		{"the acr has another case", ago(0), []string{"PHR"}, 0, false},
		{"the acr is absent", withoutACR, []string{"phr"}, 0, false},
		{"the acr of a service counts", service, []string{"phr"}, 0, true},
		{"just now", ago(0), nil, time.Minute, true},
		{"exactly as long ago as allowed", ago(time.Minute), nil, time.Minute, true},
		{"longer ago, but within the skew", ago(time.Minute + skew), nil, time.Minute, true},
		{"one nanosecond longer", ago(time.Minute + skew + 1), nil, time.Minute, false},
		{"one second longer", ago(time.Minute + skew + time.Second), nil, time.Minute, false},
		{"in the future, but within the skew", ago(-skew), nil, time.Minute, true},
		{"one nanosecond further in the future", ago(-skew - 1), nil, time.Minute, false},
		{"centuries in the future", ago(-centuries), nil, time.Minute, false},
		{"centuries ago", ago(centuries), nil, time.Minute, false},
		{"never", never, nil, time.Minute, false},
		{"never, and any age is allowed", never, nil, 1<<63 - 1 - skew, false},
		{"a service", service, nil, time.Minute, false},
		{"the right acr, but too long ago", ago(time.Hour), []string{"phr"}, time.Minute, false},
		{"recently, but the wrong acr", ago(0), []string{"other"}, time.Minute, false},
		{"both", ago(time.Second), []string{"phr"}, time.Minute, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.claims.MeetsStepUp(test.acr, test.maxAge, skew, now); got != test.want {
				t.Errorf("MeetsStepUp(%v, %s) of acr %q and auth_time %s = %t, want %t",
					test.acr, test.maxAge, test.claims.ACR, test.claims.AuthenticatedAt, got, test.want)
			}
		})
	}
}

// centuries is almost as long as a time.Duration can be.
const centuries = 292 * 365 * 24 * time.Hour
