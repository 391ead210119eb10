package celpolicy

import (
	"maps"
	"reflect"
	"testing"
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

func TestParametersAreAGoMapToGo(t *testing.T) {
	pattern, err := compilePattern("/users/{id}/{n}", false)
	if err != nil {
		t.Fatal(err)
	}
	p, want := &params{pattern, "/users/alice/7"}, map[string]string{"id": "alice", "n": "7"}
	if got, ok := p.Value().(map[string]string); !ok || !maps.Equal(got, want) {
		t.Errorf("Value = %v, want %v", p.Value(), want)
	}
	if got, err := p.ConvertToNative(reflect.TypeFor[map[string]string]()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ConvertToNative = %v, %v, want %v", got, err, want)
	}
}
