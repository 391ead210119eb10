// Package oktaauth validates access tokens at the edge.
//
// Modules: the app "okta" ([App]) with named issuers and the state they share, and the handler
// "http.handlers.okta_auth" ([Handler]).
//
// A request passes through Handler.ServeHTTP in handler.go:
//
//  1. headers.go removes every identity header that the client sent.
//  2. credential.go takes the one credential of the request, and removes it.
//  3. authenticate.go finds the verified token in the cache, or parses it, chooses the issuer by its exact iss claim,
//     and verifies the signature with one of that issuer's keys.
//  4. checks.go judges, on every request, what depends on time and on the route: audience, times, kind, client,
//     scopes, step-up.
//  5. headers.go sets the identity headers; the caller is attached to the request for cel_policy and placeholders.
//
// A step that refuses returns a [deny.Refusal]; the route's challenge words the answer.
//
// Placeholders: {http.auth.user.id}, {http.auth.user.<claim path>}, {http.auth.okta.issuer}, …client_id, …scopes,
// …groups, …reason and …error_description. They are resolved when used.
//
// Kept across reloads: the keys of each issuer (by URL, key source and transport settings) and the cache of verified
// signatures. Both are leased by the app and hold no logger or context of a configuration. The cache remembers
// signatures, never decisions.
package oktaauth
