package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/caddyserver/caddy/v2"
)

func reportMachine(out io.Writer, s settings) {
	version, _ := caddy.Version()
	fmt.Fprintf(out, "Machine: %s/%s, %d cores, GOMAXPROCS %d, %s, Caddy %s. ",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.GOMAXPROCS(0), runtime.Version(), version)
	fmt.Fprintf(out, "Method: %d rounds of at most %v for each gateway, alternating, %d connections; values are medians. "+
		"Driver and backend share the cores, so only the processor time is the gateway's alone.\n\n", s.rounds, s.roundTime, s.connections)
}

const loadHeader = `| tokens | gateway | requests/s | CPU µs/request | p50 ms | p99 ms | allocations/request | KB/request | cache hits | GC cycles/1000 requests | MB held |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

// reportLoad writes the rows of one set, as soon as it was measured.
func reportLoad(out io.Writer, r result) {
	for _, k := range kinds {
		of := func(f field) float64 { return median(collect(r.rounds[k], f)) }
		found := "–"
		if k == ours {
			found = fmt.Sprintf("%.1f %%", of(hits))
		}
		fmt.Fprintf(out, "| %s | %s | %.0f | %.1f | %.2f | %.2f | %.0f | %.1f | %s | %.2f | %.0f |\n",
			r.set.name, k, of(rate), of(cpu), of(p50), of(p99), of(allocs), of(kb), found, of(cycles), of(held))
	}
}

// reportRatios writes what the measurements are for.
func reportRatios(out io.Writer, results []result) {
	for _, pair := range []struct{ k, floor kind }{{ours, bare}, {headers, bare}, {ours, headers}} {
		fmt.Fprintf(out, "\n%s/%s, by neighbouring rounds: median (middle half)\n\n", pair.k, pair.floor)
		fmt.Fprintln(out, "| tokens | CPU/request | CPU µs added | requests/s | p50 | p99 |")
		fmt.Fprintln(out, "|---|--:|--:|--:|--:|--:|")
		for _, r := range results {
			values := func(f field) (with, floor []float64) {
				return collect(r.rounds[pair.k], f), collect(r.rounds[pair.floor], f)
			}
			of := func(f field) string { with, floor := values(f); return spread("%.2f", ratios(floor, with)) }
			added, floor := values(cpu)
			for i := range added {
				added[i] -= floor[i]
			}
			fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", r.set.name, of(cpu), spread("%.1f", added), of(rate), of(p50), of(p99))
		}
	}
	fmt.Fprintln(out)
	for _, r := range results {
		use := "shared by all rounds, each sent once before"
		if r.set.perRound > 0 {
			use = fmt.Sprintf("%d for each round, which ends with them", r.set.perRound)
		}
		fmt.Fprintf(out, "Tokens %s: %s, %d bytes, %s.\n", r.set.name, r.set.algorithm, r.set.size(), use)
	}
}

func reportCold(out io.Writer, starts, reloads durations) {
	fmt.Fprint(out, "\n| ms: median (middle half) | bare | ours | ours/bare |\n|---|--:|--:|--:|\n")
	line := func(name string, d durations) {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n",
			name, spread("%.0f", d.bare), spread("%.0f", d.ours), spread("%.2f", ratios(d.bare, d.ours)))
	}
	line("process start to first 200", starts)
	line(fmt.Sprintf("reload of %d routes, for ours with %d rules", routes, 10*routes), reloads)
}

// field is one number of a round.
type field func(round) float64

func rate(r round) float64   { return r.rate }
func cpu(r round) float64    { return r.cpu }
func p50(r round) float64    { return r.p50 }
func p99(r round) float64    { return r.p99 }
func allocs(r round) float64 { return r.allocs }
func kb(r round) float64     { return r.kb }
func hits(r round) float64   { return r.hits }
func cycles(r round) float64 { return r.cycles }
func held(r round) float64   { return r.held }

func collect(rounds []round, f field) (values []float64) {
	for _, r := range rounds {
		values = append(values, f(r))
	}
	return values
}

func ratios(floor, with []float64) (values []float64) {
	for i := range floor {
		values = append(values, with[i]/floor[i])
	}
	return values
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread writes the median of the values, and between what the half of them in the middle is.
func spread(format string, values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	quarter := len(sorted) / 4
	return fmt.Sprintf(format+" ("+format+"–"+format+")", median(values), sorted[quarter], sorted[len(sorted)-1-quarter])
}
