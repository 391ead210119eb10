package celpolicy

import (
	"fmt"
	"testing"
)

// What a server lets through can be tested, also where the policy refuses it.
func TestPossibleRequestsAreBuilt(t *testing.T) {
	for _, test := range []struct {
		request scenarioRequest
		want    string // method, host, path and query
	}{
		{scenarioRequest{}, "GET localhost / []"},
		{scenarioRequest{Method: "get"}, "get localhost / []"},
		{scenarioRequest{Method: "M-SEARCH", Host: "[::1]:8443"}, "M-SEARCH [::1]:8443 / []"},
		{scenarioRequest{Path: "/login?to=https://example.com/x"}, "GET localhost /login [to=https://example.com/x]"},
		{scenarioRequest{Path: "/a%20b/../é;x#y", Host: "Example.com."}, "GET Example.com. /a b/../é;x#y []"},
		{scenarioRequest{Path: "/a?b=1&%zz", Query: map[string]valueList{"c": {"d e", "f"}}}, "GET localhost /a [b=1&%zz&c=d+e&c=f]"},
	} {
		r, err := test.request.build()
		if err != nil {
			t.Errorf("%+v: %v", test.request, err)
			continue
		}
		if got := fmt.Sprintf("%s %s %s [%s]", r.Method, r.Host, r.URL.Path, r.URL.RawQuery); got != test.want {
			t.Errorf("%+v: %s, want %s", test.request, got, test.want)
		}
	}
	r, err := (&scenarioRequest{Headers: map[string]valueList{"x-device": {"a\tb", "é"}, "X-Empty": {}}}).build()
	if got := fmt.Sprint(r.Header); err != nil || got != "map[X-Device:[a\tb é]]" {
		t.Errorf("headers %s, %v", got, err)
	}
}
