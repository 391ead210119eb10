// Package celpolicy decides whether a caller may do what the request asks for. Its handler, http.handlers.cel_policy,
// reads who is calling from what okta_auth found out; without okta_auth everybody is anonymous.
//
// # Rules
//
// A policy is a list of named rules. A rule applies to a request when its methods and its path match (GET covers HEAD)
// and its expression is true. The order of the rules means nothing:
//
//  1. a deny rule that applies, or whose expression fails, denies;
//  2. else some allow rule must apply; one whose expression fails does not;
//  3. then every step_up rule that applies, or whose expression fails, must be satisfied: acr is one of acr_values, and
//     auth_time is at most max_age (and the issuer's clock_skew) ago.
//
// No rule: denied. Nothing here answers 500.
//
// # Paths
//
//	/orders             this place
//	/users/{id}/orders  {id} is exactly one non-empty segment; expressions read it, decoded, as params.id
//	/admin/*            /admin, /admin/ and everything below
//
// Patterns are compared with the decoded path. Those of deny and step_up rules ignore case, one trailing slash, and dots and
// spaces at the end of a segment, because a backend might. A request whose path or method could be read in more than one
// way is answered 400 before any rule, and headers that override either are removed.
//
// The path that is judged is the path that the backend gets: the one that stands when the handler runs. In a Caddyfile,
// rewrite, uri, try_files and handle_path run before cel_policy, so rules name the places of the backend, and not what clients
// call them; what a rewrite makes ambiguous is refused like everything else. Only what is changed later is not seen: by
// directives after the policy in a route, or by the rewrite option of reverse_proxy. There, rules name what clients ask for.
//
// # Expressions
//
// Expressions are CEL, of type bool, and checked when the configuration loads.
//
//	principal  authenticated bool · subject user_id client_id issuer token_id acr string · kind "user", "service" or
//	           "anonymous" · scopes groups audience amr list(string) · issued_at expires_at authenticated_at timestamp
//	claims     map(string, dyn): the verified claims; empty when anonymous. Integers are int
//	request    method scheme host path ip string · query headers map(string, list(string)), header names in lower case ·
//	           size int, of the body as announced · tls bool
//	params     map(string, string): the parameters of the rule's path
//	now        timestamp
//
// Reading an absent text or time of principal is an error, as is a missing claim and the size of a body that was not
// announced: ask with has(principal.acr), or write claims.?dept.orValue(""). Absent lists are empty. Credentials cannot be
// read: not from headers, the query or placeholders.
//
// Functions: CEL's standard library with optionals, and the extensions strings, lists, sets, math, encoders, regex,
// network, bindings and two-variable comprehensions.
//
//	"Admin" in principal.groups
//	cidr("10.0.0.0/8").containsIP(request.ip)
//	now.getHours("Europe/Berlin") >= 8
//	placeholder("http.vars.country") == "DE"    any placeholder of Caddy that carries no credential
//
// Values never become patterns: the patterns of matches and regex.* are literals. What an expression can cost is
// bounded when it is compiled (see env.go); nothing is metered when it runs.
//
// # Policy files
//
// Rules can stand in files (file.go), which are read strictly (parse.go, decode.go) into the same [Rule]. Their tests
// (suite.go) and explanations (explain.go, trace.go) make up a request (scenario.go) and decide about it with the handler's
// own code: "caddy cel-policy" (command.go) and the admin API (admin.go) only ask. policy.schema.json is for editors.
//
// What no request can make true is an error as well: a header name in upper case, principal.kind == "users", methods or a
// path that contradict the expression. A constant is not, since {$SWITCH} == "on" switches a rule.
//
// # Facts that others know
//
// Only client addresses of Caddy's trusted proxies are believed, so request.ip is what Caddy's client_ip is. Everything else
// that somebody in front of Caddy says is a header that a client could send too. Either the rule asks who says it,
//
//	placeholder("http.vars.trusted_proxy") == "true" && request.headers[?"x-device-managed"].orValue([]) == ["true"]
//
// or a route removes it from everybody else; in a route, because request_header runs after cel_policy otherwise:
//
//	route {
//		@strangers not remote_ip 192.0.2.0/24
//		request_header @strangers -X-Device-Managed
//		okta_auth main
//		cel_policy ...
//	}
//
// map and vars run before cel_policy anywhere: placeholder("country"), placeholder("http.vars.country"). Client certificates
// are placeholder("http.request.tls.client.subject") and its kin, "" without one; compare subjects as a whole.
//
// # Matcher
//
// http.matchers.cel_policy takes the same expressions for routing ([Matcher]): "@admins cel_policy <expression>". What it
// cannot tell is an error and not a mismatch, and principal and claims are only there behind okta_auth.
//
// # One request
//
// ServeHTTP refuses what is ambiguous (request.go), then [Compiled.Decide] evaluates the rules (decide.go) over variables
// that are resolved when they are read (input.go, subject.go). Claims and parameters stay where they are, and no map or
// list is made for a rule that names what it wants of them (table.go, texts.go). Nothing in this package outlives a reload
// except the typed environment (env.go), and the list of running policies that the admin API shows, in which handlers
// stand from Provision to Cleanup.
//
// Placeholders: {http.policy.name}, {http.policy.rule}, {http.policy.decision}.
package celpolicy
