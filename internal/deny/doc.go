// Package deny holds the one vocabulary of refusal.
//
// Every answer that okta_auth and cel_policy can give is one [Reason]: a row of the closed table in reason.go, whose columns
// are the HTTP status, the OAuth error, the description that clients see, and the code that metrics, audit lines and
// placeholders carry. A [Refusal] is a reason plus what this one request needs said. [Challenge.Respond] is the only
// place that turns one into headers and a Caddy error.
package deny
