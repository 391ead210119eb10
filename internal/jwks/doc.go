// Package jwks holds the signing keys of one issuer.
//
// A [Source] is made from a [Config] without any I/O. [Source.Start] fetches the key set (RFC 7517) in the background,
// found by discovery (OpenID Connect Discovery 1.0, RFC 8414) or at a configured URL, and repeats that for ever: after
// an hour or so when it went well, after a short and growing while when it did not. A Source with pinned keys never
// touches the network.
//
// A request asks [Source.Lookup] for the keys of a kid. Known keys are read from an immutable set without a lock,
// whatever the issuer does meanwhile. An unknown kid makes all who ask share one fetch, at most one in ten seconds,
// and nobody waits for longer than two. No URL, no file and no query is ever made from what a token says.
//
// A verified token that is kept in a cache keeps the number of the [Key] that verified it: [Source.Has] tells whether the
// issuer has withdrawn the key since, or changed what its kid stands for, [Source.Usable] that the whole set may not be
// used any more. A fetch that finds a key again keeps its *Key, so that cached tokens stay valid.
//
// The last good set is kept in the [Storage] that the latest user brought to [Source.Join], and serves after a restart
// until a fetch brings a newer one or it is too old. The storage is only touched in the background; one that is slow,
// broken or full of lies costs nothing but that.
//
// A Source outlives reloads: it holds no logger and nothing else of the configuration that made it, and its fetches
// and timers end with [Source.Destruct].
package jwks
