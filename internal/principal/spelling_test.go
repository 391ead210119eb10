package principal_test

import (
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

func TestHeaderNamesAreReadAsBackendsDo(t *testing.T) {
	names := []string{"x-user-id", "x-http-method"}
	for _, name := range []string{"x-user-id", "X-User-ID", "X_User_Id", "x.user~id", "X-User\xffID", "x user id", "X_HTTP-Method"} {
		if !principal.IsSpelled(name, names) {
			t.Errorf("IsSpelled(%q) = false, want true", name)
		}
	}
	for _, name := range []string{"", "x-user-i", "x-user-idd", "xx-user-id", "x-user-1d", "xauser-id", "x--user-id", "[-USER-ID", "x-user-\x49D\x00"} {
		if principal.IsSpelled(name, names) {
			t.Errorf("IsSpelled(%q) = true, want false", name)
		}
	}
	if principal.IsSpelled("x", nil) {
		t.Error("a name is one of none")
	}
}
