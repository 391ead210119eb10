// Package oktaauth validates access tokens at the edge.
//
// Modules: the app "okta" ([App]) with named issuers and the state they share, the handler "http.handlers.okta_auth"
// ([Handler]), the handler "http.handlers.okta_resource_metadata" ([ResourceMetadata]), the provider
// "http.authentication.providers.okta" ([Provider]), and the endpoints "admin.api.okta" ([Admin]).
//
// A request passes through Handler.ServeHTTP in handler.go:
//
//  1. headers.go removes every identity header that the client sent.
//  2. credential.go finds the one credential of the request, which handler.go removes after the judgement.
//  3. authenticate.go finds the verified token in the cache, or parses it, chooses the issuer by its exact iss claim,
//     and verifies the signature with one of that issuer's keys. About opaque tokens introspect.go asks the issuer.
//  4. checks.go judges, on every request, what depends on time and on the route: kind, audience, times.
//  5. binding.go holds tokens that are bound to their sender against the client's certificate, and, with dpop.go,
//     against the proof of the request.
//  6. checks.go judges what the route demands: client, scopes, step-up.
//  7. headers.go sets the identity headers; the caller is attached to the request for cel_policy and placeholders.
//
// A step that refuses returns a [deny.Refusal]; the route's challenge words the answer.
//
// Placeholders: {http.auth.user.id}, {http.auth.user.<claim path>}, {http.auth.okta.issuer}, …client_id, …scopes,
// …groups, …reason and …error_description. They are resolved when used.
//
// Kept across reloads: the keys of each issuer (by URL, key source and transport settings), the cache of verified
// signatures, the answers of introspection, the guard's memory, and the used DPoP proofs with the key of our nonces. All
// are leased by the app and hold no logger or context of a configuration. The cache remembers signatures, never
// decisions.
package oktaauth
