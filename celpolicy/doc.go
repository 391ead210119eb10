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
//     auth_time is at most max_age (and 30s of clock skew) ago.
//
// No rule: denied. Nothing here answers 500.
//
// # Paths
//
//	/orders             this place
//	/users/{id}/orders  {id} is exactly one non-empty segment; expressions read it, decoded, as params.id
//	/admin/*            /admin, /admin/ and everything below
//
// Patterns are compared with the decoded path, as it stands when the handler runs. Those of deny and step_up rules ignore
// case and one trailing slash, because a backend might. A request whose path or method could be read in more than one
// way is answered 400 before any rule, and headers that override either are removed.
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
// announced: ask with has(principal.acr), or write claims.?dept.orValue(""). Absent lists are empty. Credentials cannot be read: not from headers, the query or
// placeholders.
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
// # One request
//
// ServeHTTP refuses what is ambiguous (request.go), then [Compiled.Decide] evaluates the rules (decide.go) over variables
// that are resolved when they are read (input.go). What derives from the token alone is derived once per token
// (subject.go). Nothing in this package outlives a reload except the typed environment (env.go).
//
// Placeholders: {http.policy.name}, {http.policy.rule}, {http.policy.decision}.
package celpolicy
