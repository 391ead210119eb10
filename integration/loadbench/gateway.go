package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-okta/caddy-okta"
)

// gateway is the process that is measured: Caddy.
type gateway struct {
	cpu *os.File // where the running profile goes
}

// usage is what the process has used since it started.
type usage struct {
	CPU    time.Duration `json:"cpu"`
	Allocs uint64        `json:"allocs"`
	Bytes  uint64        `json:"bytes"`  // allocated, in total
	Cycles uint32        `json:"cycles"` // of the garbage collector
	Held   uint64        `json:"held"`   // bytes of memory at present
}

// lookups are those of the token cache since the process started, by result.
type lookups struct {
	Hits   float64 `json:"hits"`
	Misses float64 `json:"misses"`
}

func (g *gateway) obey(o order) (any, error) {
	switch o.Do {
	case "load":
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(o.Text), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			return nil, err
		}
		return nil, caddy.Load(config, true)
	case "usage":
		return readUsage()
	case "lookups":
		return readLookups()
	case "profile":
		return nil, g.profile(o.Text)
	case "profiled":
		return nil, g.profiled(o.Text)
	}
	return nil, fmt.Errorf("unknown order %q", o.Do)
}

func readUsage() (u usage, err error) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	u.Allocs, u.Bytes, u.Cycles = memory.Mallocs, memory.TotalAlloc, memory.NumGC
	u.Held = memory.Sys - memory.HeapReleased
	u.CPU, err = processorTime()
	return u, err
}

func readLookups() (l lookups, err error) {
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		return l, err
	}
	for _, family := range families {
		if family.GetName() != "caddy_okta_token_cache_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			switch value := metric.GetCounter().GetValue(); metric.GetLabel()[0].GetValue() {
			case "hit":
				l.Hits = value
			case "miss":
				l.Misses = value
			}
		}
	}
	return l, nil
}

// profile begins to record where the time goes, and where goroutines wait for each other.
func (g *gateway) profile(path string) (err error) {
	if g.cpu, err = os.Create(path + ".cpu"); err != nil {
		return err
	}
	runtime.SetMutexProfileFraction(1)
	return pprof.StartCPUProfile(g.cpu)
}

// profiled writes the profiles. Allocations are those since the process started.
func (g *gateway) profiled(path string) error {
	pprof.StopCPUProfile()
	if err := g.cpu.Close(); err != nil {
		return err
	}
	for _, name := range []string{"allocs", "mutex"} {
		file, err := os.Create(path + "." + name)
		if err != nil {
			return err
		}
		if err := pprof.Lookup(name).WriteTo(file, 0); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}
