// Package dpop checks DPoP proofs on the side of the resource server (RFC 9449).
//
// A request that uses a bound token carries a proof in its DPoP header: a JWS that brings a public key, and is signed
// with it, over the method, the URL, a hash of the token and the time. [Parse] reads one, [Proof.Check] compares it
// with the request, [Proof.Verify] checks its signature. Then the caller compares [Proof.Thumbprint] with the cnf.jkt
// of the token, which must be good by itself, and last of all asks [Replays.Use] whether the proof is used for the
// first time. The order matters: what comes earlier costs less, and only proofs of those who hold a good token
// may take room in the memory of used ones.
//
// [Nonces] are what the server may demand in proofs besides, so that nobody can make them in advance (RFC 9449 §9).
//
// Nothing here knows HTTP or configuration. A Replays and a Nonces are made to outlive reloads: forgetting used proofs
// would let each of them work once more, forgetting the nonces would refuse every client once.
package dpop
