package celpolicy

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// Whatever can be done with a map that an expression wrote can be done with the parameters of the path.
func TestParametersAreAMap(t *testing.T) {
	r := newRequest(t, "GET", "/users/alice/7")
	for expression, want := range map[string]Result{
		`params.id == "alice" && params["n"] == "7" && params.?id.orValue("") == "alice" && params[?"n"].hasValue()`: Allow,
		`has(params.id) && "n" in params && !(params.id in params) && !(dyn(1) in dyn(params))`:                      Allow,
		`params == {"n": "7", "id": "alice"} && {"n": "7", "id": "alice"} == params`:                                 Allow,
		`params == {} || params == {"id": "alice"} || params == {"id": "alice", "n": "8"} || dyn(params) == "alice"`: Deny,
		`params.size() == 2 && params.exists(k, params[k] == "7") && params.all(k, v, k != v)`:                       Allow,
		`sets.equivalent(params.map(k, k), ["n", "id"])`:                                                             Allow,
		`dyn(optional.ofNonZeroValue(params)).hasValue()`:                                                            Allow,
		`type(params) == map && [params][0] == params && {"p": params}.p.id == "alice"`:                              Allow,
		`"%s".format([params]) == "{id: alice, n: 7}"`:                                                               Allow,
		`params[params.id] == ""`:       Error,
		`params[?params.id].hasValue()`: Deny,
		`string(dyn(params)) == ""`:     Error,
		`dyn(params)[1] == ""`:          Error,
	} {
		c, err := Compile(&Policy{Rules: []Rule{{Allow: "it", Path: "/users/{id}/{n}", When: expression}}})
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if d := c.Decide(r, user(t), noon); d.Result != want {
			t.Errorf("%s is %s (%v), want %s", expression, d.Result, d.Err, want)
		}
	}
	for _, rule := range []Rule{{Allow: "none", When: `!optional.ofNonZeroValue(params).hasValue()`}, {Allow: "exact", Path: "/users/alice/7", When: `params.size() == 0`}} {
		if d := compile(t, rule).Decide(r, user(t), noon); d.Result != Allow {
			t.Errorf("%s is %s (%v), want allow", rule.When, d.Result, d.Err)
		}
	}
}

func TestTablesAreGoMapsToGo(t *testing.T) {
	pattern, err := compilePattern("/users/{id}/{n}", false)
	if err != nil {
		t.Fatal(err)
	}
	params, want := &table{paramEntries{pattern, "/users/alice/7"}}, map[string]any{"id": "alice", "n": "7"}
	if got := params.Value(); !reflect.DeepEqual(got, want) {
		t.Errorf("Value = %v, want %v", got, want)
	}
	if got, err := params.ConvertToNative(reflect.TypeFor[map[string]string]()); err != nil || !reflect.DeepEqual(got, map[string]string{"id": "alice", "n": "7"}) {
		t.Errorf("ConvertToNative = %v, %v, want %v", got, err, want)
	}
}

// Whatever can be done with a map that an expression wrote can be done with the claims.
func TestClaimsAreAMap(t *testing.T) {
	caller := &principal.Caller{Judged: true, Identity: identity(t, map[string]any{
		"sub": "alice", "cid": "0oa1", "scp": []string{"a"}, "iat": 7, "aud": "x", "org": map[string]any{"id": "o", "n": json.Number("2.0")}, "null": nil,
	})}
	const literal = `{"sub": "alice", "cid": "0oa1", "scp": ["a"], "iat": 7, "aud": "x", "org": {"id": "o", "n": 2}, "null": null}`
	for expression, want := range map[string]Result{
		`claims == ` + literal + ` && ` + literal + ` == claims && claims.size() == 7`:                                Allow,
		`claims == {} || claims == {"sub": "alice"} || dyn(claims) == 1`:                                              Deny,
		`claims.sub == "alice" && claims["iat"] + 1 == 8 && claims.org.id == "o" && claims.org.n + 1 == 3`:            Allow,
		`has(claims.sub) && has(claims.org.id) && has(claims.aud) && !has(claims.exp) && !has(claims.org.x)`:          Allow,
		`claims.?sub.orValue("") == "alice" && claims.?exp.orValue(1) == 1 && claims.?org.?x.orValue("-") == "-"`:     Allow,
		`"sub" in claims && "aud" in claims && !("exp" in claims) && !("client_id" in claims) && !(dyn(1) in claims)`: Allow,
		`claims.exists(k, k == "iat") && claims.all(k, k in claims) && claims.exists(k, v, k == "scp" && v == ["a"])`: Allow,
		`claims.filter(k, claims[k] == "x") == ["aud"] && sets.contains(claims.map(k, k), ["sub", "iat", "null"])`:    Allow,
		`claims["null"] == null && claims[?"null"].hasValue() && dyn(optional.ofNonZeroValue(claims)).hasValue()`:     Allow,
		`type(claims) == map && {"c": claims}.c.sub == "alice" && "a" in claims.scp && claims.scp[0] == "a"`:          Allow,
		`claims.exp == 1`:                                    Error,
		`claims.client_id == "0oa1"`:                         Error,
		`claims.sub.x == "0oa1"`:                             Error,
		`dyn(claims)[1] == ""`:                               Error,
		`string(dyn(claims)) == ""`:                          Error,
		`claims[claims.sub] == ""`:                           Error,
		`claims[?claims.sub].hasValue()`:                     Deny,
		`claims[claims.filter(k, k == "sub")[0]] == "alice"`: Allow,
	} {
		if d := evaluate(t, expression, newRequest(t, "GET", "/"), caller); d.Result != want {
			t.Errorf("%s is %s (%v), want %s", expression, d.Result, d.Err, want)
		}
	}
}
