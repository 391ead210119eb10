package main

import (
	"fmt"
	"net"
	"net/http"
	"path"
	"sync/atomic"
	"time"
)

// backend is the service behind both gateways. It answers everything, and counts what it saw.
type backend struct {
	requests, tokens, identified, strange atomic.Int64
}

// sightings is what the backend saw, since it started or in a round.
type sightings struct {
	Requests   int64 `json:"requests"`
	Tokens     int64 `json:"tokens"`     // with an Authorization header
	Identified int64 `json:"identified"` // with all identity headers, for the user that the path names
	Strange    int64 `json:"strange"`    // with some of them, or for another user
}

func (s sightings) since(before sightings) sightings {
	return sightings{
		s.Requests - before.Requests, s.Tokens - before.Tokens, s.Identified - before.Identified, s.Strange - before.Strange,
	}
}

func (b *backend) obey(o order) (any, error) {
	switch o.Do {
	case "listen":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		server := &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second}
		go server.Serve(listener) //nolint:errcheck // it ends with the process
		return listener.Addr().String(), nil
	case "count":
		return sightings{b.requests.Load(), b.tokens.Load(), b.identified.Load(), b.strange.Load()}, nil
	}
	return nil, fmt.Errorf("unknown order %q", o.Do)
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.requests.Add(1)
	if r.Header.Get("Authorization") != "" {
		b.tokens.Add(1)
	}
	present := 0
	identity := []string{"X-User-Id", "X-User-Scopes", "X-User-Groups", "X-User-Email", "X-Client-Id"}
	for _, name := range identity {
		if r.Header.Get(name) != "" {
			present++
		}
	}
	switch {
	case present == len(identity) && r.Header.Get("X-User-Id") == path.Base(r.URL.Path):
		b.identified.Add(1)
	case present > 0:
		b.strange.Add(1)
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, `{"orders":[{"id":7,"state":"shipped"},{"id":8,"state":"paid"}]}`)
}
