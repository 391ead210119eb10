// Package jwt reads and verifies one access token.
//
// [Parse] splits the compact form and reads its two JSON objects, strictly; [Token.Verify] checks the signature with
// one key; [ParseClaims] gives the claims their types. Nothing here depends on time, on a route or on configuration,
// so a cache may remember the outcome, packed into one text ([Claims.Pack]): what does depend on them is checked per
// request, by the caller.
package jwt
