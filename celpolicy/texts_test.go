package celpolicy

import (
	"reflect"
	"strings"
	"testing"
)

// Whatever can be done with a list that an expression wrote can be done with one of the token's, to the same end.
func TestListsOfTheTokenAreAsLiteralOnes(t *testing.T) {
	lists := []string{`["Everyone", "Admin"]`, `principal.groups`, `claims.groups`, `dyn(principal.groups)`, `dyn(claims).groups`, `request.headers["x-groups"]`}
	r := newRequest(t, "GET", "/")
	r.Header["X-Groups"] = []string{"Everyone", "Admin"}
	for expression, want := range map[string]Result{
		`"Admin" in LIST && !("admin" in LIST) && !("" in LIST)`:              Allow,
		`dyn(1) in LIST || dyn(null) in LIST || dyn(LIST) in LIST`:            Deny,
		`LIST == ["Everyone", "Admin"] && ["Everyone", "Admin"] == LIST`:      Allow,
		`LIST == ["Admin", "Everyone"] || LIST == [] || LIST == ["Everyone"]`: Deny,
		`dyn(LIST) == dyn("Everyone") || dyn(LIST) == dyn([1, 2])`:            Deny,
		`LIST + ["On Call"] == ["Everyone", "Admin", "On Call"]`:              Allow,
		`["On Call"] + LIST == ["On Call", "Everyone", "Admin"]`:              Allow,
		`LIST + LIST == ["Everyone", "Admin", "Everyone", "Admin"]`:           Allow,
		`LIST[0] == "Everyone" && LIST[1] == "Admin"`:                         Allow,
		`LIST[2] == "Admin"`:  Error,
		`LIST[-1] == "Admin"`: Error,
		`LIST[?1].orValue("") == "Admin" && !LIST[?2].hasValue()`:                          Allow,
		`LIST.size() == 2 && size(LIST) == 2`:                                              Allow,
		`LIST.exists(g, g.startsWith("Ad")) && LIST.all(g, g != "")`:                       Allow,
		`LIST.exists_one(g, g == "Admin") && LIST.filter(g, g != "Admin") == ["Everyone"]`: Allow,
		`LIST.map(g, g.upperAscii()) == ["EVERYONE", "ADMIN"]`:                             Allow,
		`LIST.exists(i, g, i == 1 && g == "Admin")`:                                        Allow,
		`LIST.transformMap(i, g, g) == {0: "Everyone", 1: "Admin"}`:                        Allow,
		`sets.contains(LIST, ["Admin"]) && sets.intersects(["Admin", "x"], LIST)`:          Allow,
		`sets.equivalent(LIST, ["Admin", "Everyone"])`:                                     Allow,
		`LIST.slice(1, 2) == ["Admin"] && LIST.reverse() == ["Admin", "Everyone"]`:         Allow,
		`dyn(optional.ofNonZeroValue(LIST)).hasValue()`:                                    Allow,
		`"%s".format([LIST]) == "[Everyone, Admin]"`:                                       Allow,
		`type(LIST) == list`: Allow,
		`{"a": LIST}.a == LIST && [LIST][0] == LIST && LIST in [LIST]`: Allow,
	} {
		for _, list := range lists {
			text := strings.ReplaceAll(expression, "LIST", list)
			caller := user(t)
			if d := evaluate(t, text, r, caller); d.Result != want {
				t.Errorf("%s is %s (%v), want %s", text, d.Result, d.Err, want)
			}
		}
	}
}

func TestListsOfTheTokenAreNoTexts(t *testing.T) {
	r := newRequest(t, "GET", "/")
	for _, expression := range []string{`string(dyn(principal.groups)) == ""`, `string(dyn(claims.groups)) == ""`} {
		if d := evaluate(t, expression, r, user(t)); d.Result != Error {
			t.Errorf("%s is %s, want an error", expression, d.Result)
		}
	}
}

func TestEmptyListsOfTheTokenAreEmpty(t *testing.T) {
	r := newRequest(t, "GET", "/")
	for _, expression := range []string{
		`principal.amr == [] && principal.amr.size() == 0 && !("pwd" in principal.amr)`,
		`!optional.ofNonZeroValue(principal.amr).hasValue()`,
		`claims.groups == [] && !optional.ofNonZeroValue(claims.groups).hasValue()`,
	} {
		caller := service(t)
		caller.Identity = identity(t, map[string]any{"sub": "0oa2", "cid": "0oa2", "groups": []string{}})
		if d := evaluate(t, expression, r, caller); d.Result != Allow {
			t.Errorf("%s is %s (%v), want allow", expression, d.Result, d.Err)
		}
	}
}

func TestListsOfTheTokenAreGoSlicesToGo(t *testing.T) {
	list := &textList{"Everyone", "Admin"}
	want := []string{"Everyone", "Admin"}
	if got := list.Value(); !reflect.DeepEqual(got, want) {
		t.Errorf("Value = %v, want %v", got, want)
	}
	if got, err := list.ConvertToNative(reflect.TypeFor[[]string]()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ConvertToNative = %v, %v, want %v", got, err, want)
	}
	if got, err := list.ConvertToNative(reflect.TypeFor[int]()); err == nil {
		t.Errorf("ConvertToNative(int) = %v, want an error", got)
	}
}
