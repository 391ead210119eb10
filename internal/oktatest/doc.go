// Package oktatest is an authorization server that looks like Okta from outside: for tests, and for the quickstart
// program, which needs an issuer that nobody has to sign up for.
//
// [Start] opens a real listener on the loopback interface; [New] makes a server without one, reached through
// [Server.Transport], for tests inside a synctest bubble. Either publishes metadata and keys at Okta's paths, issues
// client-credentials tokens, and mints everything else on demand: [Server.UserToken], [Server.ServiceToken],
// [Server.IDToken], [Server.OrgToken], [Server.RFC9068Token], and with [Server.Sign] any set of claims under any header,
// key and algorithm, honest or forged.
//
// What is modelled is what a resource server can see. Tokens are RS256 with a header of alg and kid and nothing else;
// scp is a list, aud a text, cid the client, uid the user and sub the login name; a service has no uid and its own
// client id as sub. Two RSA keys are published, the active and the next one; [Server.Rotate] activates the next, keeps
// the previous and publishes another. A server with an ID is a custom authorization server at /oauth2/{id}; one without
// is the organization's own server, whose issuer has no path and whose access tokens carry a typ.
//
// Introspection answers in Okta's shape, to any client that [Server.RegisterClient] made known, and knows the server's own
// tokens only: JWTs by a published key, [Server.OpaqueToken] and [Server.RefreshToken], until they expire or
// [Server.Revoke] ends them. [Server.LimitIntrospection] is Okta's rate limit.
//
// Clients have keys as well: [Proof] makes the DPoP proofs of one, right or wrong by the same options as tokens,
// [Key.PrivatePEM] is for programs that sign assertions, [NewClientCertificate] for mutual TLS. [BoundTo] and
// [BoundToCertificate] bind a token; the token endpoint binds those that it issues for a proof, and wants a nonce first.
//
// It misbehaves when told to: [Server.Override] and [Server.OverrideNext] answer an endpoint in any other way,
// [Server.Hang] keeps it waiting, [Server.SetMetadata] and [Server.SetCacheControl] change what is said, [Server.Down]
// refuses connections until [Server.Up]. [Server.Hits] counts requests, and [Server.WaitHits] waits for them, so that no
// test has to sleep.
//
// Nothing here takes a *testing.T. A mistake in the calling program (an unknown algorithm, claims without a JSON form)
// panics. All methods are safe for concurrent use. The server is no model of security: it shares primes between the keys
// of one process to save time, and it gives a token to whoever asks nicely.
package oktatest
