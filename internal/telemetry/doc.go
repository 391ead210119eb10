// Package telemetry is how operators see decisions: Prometheus metrics, audit lines, and fields of Caddy's access log.
//
// A handler fills one [Record] per request and hands it over once, when the decision is made. Labels come from closed
// sets only: reasons, configured issuers, configured policies and rules.
package telemetry
