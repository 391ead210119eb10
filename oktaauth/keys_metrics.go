package oktaauth

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	keysAge = prometheus.NewDesc("caddy_okta_keys_age_seconds",
		"Time since the keys of an issuer were fetched; absent before the first time, and for pinned keys.",
		[]string{"issuer"}, nil)
	keysFetches = prometheus.NewDesc("caddy_okta_keys_fetch_total",
		"Fetches of the keys of an issuer, by result.",
		[]string{"issuer", "result"}, nil)
)

// keysCollector reports on the keys of one configuration's issuers. The numbers are those of the sources, so they
// survive reloads as the sources do.
type keysCollector struct {
	// sources are those of each issuer URL. Two issuers of one URL mostly share a source; with different settings of
	// TLS they do not. Either way there is one series, since a registry refuses a page with two of one name.
	sources atomic.Pointer[map[string][]*keyState]
}

// watch says what to report on.
func (c *keysCollector) watch(issuers []*Issuer) {
	type use struct {
		url  string
		keys *keyState
	}
	met := make(map[use]bool)
	sources := make(map[string][]*keyState)
	for _, i := range issuers {
		if u := (use{i.URL, i.keys}); !met[u] && i.keys != nil && i.KeysFile == "" {
			met[u] = true
			sources[i.URL] = append(sources[i.URL], i.keys)
		}
	}
	c.sources.Store(&sources)
}

// Describe sends what Collect may report.
func (c *keysCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- keysAge
	descs <- keysFetches
}

// Collect reports the oldest keys and all fetches of each issuer.
func (c *keysCollector) Collect(metrics chan<- prometheus.Metric) {
	sources := c.sources.Load()
	if sources == nil {
		return
	}
	for url, all := range *sources {
		var oldest time.Time
		var good, failed uint64
		for _, keys := range all {
			status := keys.Status()
			good += status.FetchesOK
			failed += status.FetchesFailed
			if at := status.FetchedAt; !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
				oldest = at
			}
		}
		if !oldest.IsZero() {
			metrics <- prometheus.MustNewConstMetric(keysAge, prometheus.GaugeValue, time.Since(oldest).Seconds(), url)
		}
		metrics <- prometheus.MustNewConstMetric(keysFetches, prometheus.CounterValue, float64(good), url, "ok")
		metrics <- prometheus.MustNewConstMetric(keysFetches, prometheus.CounterValue, float64(failed), url, "error")
	}
}

// Interface guard
var _ prometheus.Collector = (*keysCollector)(nil)
