package telemetry

import (
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

// The collectors live as long as the process, so that counts survive reloads.
var (
	authTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_okta_auth_total",
		Help: "Requests that okta_auth judged, by the issuer that was chosen and the reason.",
	}, []string{"issuer", "reason"})
	authDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_okta_auth_duration_seconds",
		Help:    "Time that okta_auth took, by what the cache of verified signatures said: hit, miss, or none where it was not asked.",
		Buckets: prometheus.ExponentialBuckets(1e-6, 4, 11), // 1 µs to 1 s
	}, []string{"cache"})
	cacheTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_okta_token_cache_total",
		Help: "Look-ups in the cache of verified signatures, by result.",
	}, []string{"result"})
	decisionsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_cel_policy_decisions_total",
		Help: "Decisions of cel_policy, by policy and by the rule that decided.",
	}, []string{"policy", "rule", "decision"})
	policyDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_cel_policy_duration_seconds",
		Help:    "Time that a decision took, by policy.",
		Buckets: prometheus.ExponentialBuckets(1e-6, 4, 8), // 1 µs to 16 ms
	}, []string{"policy"})
)

// Register adds the collectors to the registry of a configuration.
func Register(registry *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{authTotal, authDuration, cacheTotal, decisionsTotal, policyDuration} {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return err
		}
	}
	return nil
}

// Cache is what the cache of verified signatures said about a request.
type Cache int

// None is a request that did not ask the cache.
const (
	None Cache = iota
	Hit
	Miss
)

var (
	cacheDuration [3]prometheus.Observer
	cacheResult   [3]prometheus.Counter
)

func init() {
	for c, label := range []string{None: "none", Hit: "hit", Miss: "miss"} {
		cacheDuration[c] = authDuration.WithLabelValues(label)
		if Cache(c) != None {
			cacheResult[c] = cacheTotal.WithLabelValues(label)
		}
	}
}

// AuthCounters count the judgements of okta_auth for one issuer, one counter per reason.
type AuthCounters []prometheus.Counter

// NewAuthCounters returns the counters for an issuer, by its URL; the empty one is for requests that were judged before
// an issuer was chosen.
func NewAuthCounters(issuer string) AuthCounters {
	counters := make(AuthCounters, len(deny.All()))
	for _, reason := range deny.All() {
		counters[reason] = authTotal.WithLabelValues(issuer, reason.String())
	}
	return counters
}

// Observe counts one judgement.
func (counters AuthCounters) Observe(reason deny.Reason, cache Cache, took time.Duration) {
	counters[reason].Inc()
	cacheDuration[cache].Observe(took.Seconds())
	if cache != None {
		cacheResult[cache].Inc()
	}
}

// PolicyCounters count the decisions of one policy.
type PolicyCounters struct {
	policy   string
	duration prometheus.Observer
	decided  atomic.Pointer[map[outcome]prometheus.Counter] // those that were needed so far; replaced, never changed
}

// outcome is what a decision is counted by.
type outcome struct{ rule, decision string }

// NewPolicyCounters returns the counters for a policy, by its name.
func NewPolicyCounters(policy string) *PolicyCounters {
	counters := &PolicyCounters{policy: policy, duration: policyDuration.WithLabelValues(policy)}
	counters.decided.Store(new(map[outcome]prometheus.Counter))
	return counters
}

// Observe counts one decision.
func (counters *PolicyCounters) Observe(rule, decision string, took time.Duration) {
	counters.counter(outcome{rule, decision}).Inc()
	counters.duration.Observe(took.Seconds())
}

func (counters *PolicyCounters) counter(o outcome) prometheus.Counter {
	known := counters.decided.Load()
	if counter := (*known)[o]; counter != nil {
		return counter
	}
	// Two requests may do this at once: the one that is lost does it again, and finds the same counter.
	counter := decisionsTotal.WithLabelValues(counters.policy, o.rule, o.decision)
	more := maps.Clone(*known)
	if more == nil {
		more = make(map[outcome]prometheus.Counter)
	}
	more[o] = counter
	counters.decided.CompareAndSwap(known, &more)
	return counter
}
