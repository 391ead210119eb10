package main

import (
	"net/http"
	"time"
)

// story is something the gateway does, told in requests.
type story struct {
	title string
	steps []step
}

// step is one request and what comes of it. Without a server of its own it goes to the gateway.
type step struct {
	says    string
	method  string // default GET
	path    string
	token   string   // the name of a token of the stage
	headers []string // "Name: value"
	post    string   // what is posted comes from this path of the stage
	server  serverName
	want    func() int // the status
	holds   []string   // texts that the answer, headers and body, must hold
	lacks   []string   // texts that it must not hold
	backend bool       // the backend must be reached; otherwise it must not
}

type serverName int

const (
	gateway serverName = iota
	stage
	admin
)

func status(code int) func() int { return func() int { return code } }

// admitted is a step that reaches the backend.
func admitted(says, method, path, token string, holds ...string) step {
	return step{says: says, method: method, path: path, token: token, want: status(http.StatusOK), holds: holds, backend: true}
}

// refused is a step that does not.
func refused(says, method, path, token string, code int, holds ...string) step {
	return step{says: says, method: method, path: path, token: token, want: status(code), holds: holds}
}

// scenery is a step that changes the world.
func scenery(says string, server serverName, path, post string, code int) step {
	return step{says: says, method: http.MethodPost, server: server, path: path, post: post, want: status(code)}
}

const invalidToken = `Www-Authenticate: Bearer realm="okta", error="invalid_token"`

func stories() []story {
	spoofed := admitted("alice claims to be root, in four ways", "GET", "/me", "alice", `"X-User-Id": [ "alice" ]`)
	spoofed.headers = []string{"X-User-ID: root", "x-user-id: root2", "X_User_ID: root3", "Connection: X-User-ID"}
	spoofed.lacks = []string{"root"}

	preflight := admitted("a browser asks before a cross-origin request", "OPTIONS", "/me", "")
	preflight.headers = []string{"Origin: https://app.example", "Access-Control-Request-Method: GET"}

	office := step{says: "08:00 to 18:00 in Berlin, Monday to Friday", path: "/office", token: "alice", want: officeStatus, backend: true}

	device := admitted("from a managed device", "GET", "/device", "alice")
	device.headers = []string{"X-Device-Posture: managed"}

	return []story{
		{"no token", []step{
			refused("a bare challenge, and the backend is not reached", "GET", "/me", "", 401, `Www-Authenticate: Bearer realm="okta"`),
		}},
		{"a valid user token", []step{
			admitted("identity headers instead of the token", "GET", "/me", "alice",
				`"X-User-Id": [ "alice" ]`, `"X-User-Scopes": [ "openid read:profile" ]`, `"X-User-Groups": [ "Everyone,Engineering" ]`).without(`"Authorization"`),
		}},
		{"tokens that are no good", []step{
			refused("expired", "GET", "/me", "expired", 401, invalidToken),
			refused("for another audience", "GET", "/me", "other-audience", 401, invalidToken),
			refused("of another issuer", "GET", "/me", "other-issuer", 401, invalidToken),
			refused("with a changed signature", "GET", "/me", "tampered", 401, invalidToken),
			refused("signed with another key of the same kid", "GET", "/me", "forged", 401, invalidToken),
		}},
		{"/admin/* needs the group Admin", []step{
			refused("without the group", "GET", "/admin/users", "alice", 403),
			admitted("with it", "GET", "/admin/users", "admin"),
		}},
		{"/data/user/{id} is the caller's own", []step{
			admitted("one's own", "GET", "/data/user/alice", "alice"),
			refused("somebody else's", "GET", "/data/user/bob", "alice", 403),
			refused("the subject * is no wildcard", "GET", "/data/user/alice", "star", 403),
			refused("the subject .. is no way up", "GET", "/data/user/alice", "dotdot", 403),
			refused("a path that servers read differently", "GET", "/data/user/..", "dotdot", 400),
			refused("the subject a/b is not a", "GET", "/data/user/a", "slash", 403),
		}},
		{"/sensors needs the scope read:sensor_data", []step{
			admitted("with the scope", "GET", "/sensors", "sensors"),
			refused("without", "GET", "/sensors", "alice", 403, `error="insufficient_scope"`, `scope="read:sensor_data"`),
			refused("read:sensor_data_x will not do", "GET", "/sensors", "sensors-x", 403, `error="insufficient_scope"`),
		}},
		{"/it/* needs department == \"IT\"", []step{
			admitted("the department is IT", "GET", "/it/tickets", "it"),
			refused("it is Sales", "GET", "/it/tickets", "sales", 403),
			refused("it is absent", "GET", "/it/tickets", "alice", 403),
			refused("it is a number", "GET", "/it/tickets", "department-7", 403),
		}},
		{"rules on address, time and device", []step{
			admitted("from 127.0.0.0/8", "GET", "/network", "alice"),
			refused("not from 10.0.0.0/8", "GET", "/elsewhere", "alice", 403),
			office,
			device,
			refused("from any other device", "GET", "/device", "alice", 403),
		}},
		{"partners and services", []step{
			admitted("a partner reads orders", "GET", "/orders/7", "partner"),
			refused("but writes none", "POST", "/orders/7", "partner", 403),
			admitted("a service runs a job, with a token of the client-credentials grant", "POST", "/internal/jobs", "service"),
			refused("a user does not", "POST", "/internal/jobs", "alice", 403),
		}},
		{"public and optional routes, CORS", []step{
			admitted("public", "GET", "/public/hello", ""),
			admitted("optional, anonymous", "GET", "/catalog", "").without("X-User-Id"),
			admitted("optional, known", "GET", "/catalog", "alice", `"X-User-Id": [ "alice" ]`),
			refused("a bad token is refused there too", "GET", "/catalog", "expired", 401, invalidToken),
			preflight,
		}},
		{"payments need a strong and fresh authentication", []step{
			refused("weak", "POST", "/payments", "weak", 401, `error="insufficient_user_authentication"`, `acr_values="phr urn:okta:loa:2fa:any"`),
			refused("strong, but an hour ago", "POST", "/payments", "old", 401, `error="insufficient_user_authentication"`, `max_age="300"`),
			admitted("strong and fresh", "POST", "/payments", "strong"),
		}},
		{"a client's own identity headers never get through", []step{spoofed}},
		{"the issuer rotates its key, and goes down", []step{
			scenery("the issuer signs with its next key", stage, "/issuer/rotate", "", 200),
			admitted("the first token of the new key", "GET", "/me", "alice"),
			scenery("the issuer goes down", stage, "/issuer/down", "", 200),
			admitted("known keys go on", "GET", "/me", "alice"),
			scenery("the issuer comes back", stage, "/issuer/up", "", 200),
		}},
		{"a reload through the admin API", []step{
			scenery("a policy that closes /me", admin, "/load", "/Caddyfile.locked", 200),
			refused("it takes effect", "GET", "/me", "alice", 403),
			scenery("a policy with a typing mistake is refused", admin, "/load", "/Caddyfile.broken", 400).holding("undefined field 'athenticated'"),
			refused("the old one goes on", "GET", "/me", "alice", 403),
			scenery("the first policy again", admin, "/load", "/Caddyfile", 200),
			admitted("/me is open again", "GET", "/me", "alice"),
		}},
	}
}

func (s step) without(texts ...string) step {
	s.lacks = append(s.lacks, texts...)
	return s
}

func (s step) holding(texts ...string) step {
	s.holds = append(s.holds, texts...)
	return s
}

// officeStatus is what the office rule says now.
func officeStatus() int {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return 0
	}
	now := time.Now().In(zone)
	if day := now.Weekday(); day == time.Sunday || day == time.Saturday || now.Hour() < 8 || now.Hour() >= 18 {
		return http.StatusForbidden
	}
	return http.StatusOK
}
