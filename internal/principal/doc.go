// Package principal is the vocabulary that both halves share: who is calling, as okta_auth found it out and as
// cel_policy, the access log and placeholders read it.
//
// okta_auth puts one [Caller] on a request with [Attach]; everything later reads it with [Of].
package principal
