// Package introspect asks an issuer whether a token is active, and who holds it (RFC 7662).
//
// A [Client] is made from a [Config] without any I/O. [Client.Introspect] first looks at what it remembers: active
// answers for a while and never past their exp, inactive ones for a shorter while, in caches of their own, so that a
// flood of invented tokens displaces nothing that is good. Else it calls the issuer, at the introspection_endpoint of
// its metadata (RFC 8414 §2), and all who ask about the same token meanwhile share that one call. What an answer says
// about time and audience is for the caller to check, on each request.
//
// An issuer in trouble is left alone: where it asked for that, for as long as it asked, else for a short while that
// grows. Until then tokens that are not remembered are answered at once with [*Unavailable], and afterwards one call
// goes ahead of the others.
//
// A Client outlives reloads: it holds no logger, and no goroutine but the calls under way, which end with
// [Client.Destruct].
package introspect
