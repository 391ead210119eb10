package oktaauth

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/lease"
)

// Guard answers 429 to client addresses that keep sending invalid tokens, so that they stop, and so that one line of
// the log tells what many 401 hide. Valid tokens from such an address still pass. An address is the one that Caddy
// derives (see trusted_proxies); IPv6 addresses count by their /64.
type Guard struct {
	// Failures is how many invalid tokens within the window start a ban. Default: 50.
	Failures int `json:"failures,omitempty"`

	// Window is how long failures are counted together, from the first one. Default: 1m.
	Window caddy.Duration `json:"window,omitempty"`

	// Ban is how long invalid tokens are then answered 429. Default: 5m.
	Ban caddy.Duration `json:"ban,omitempty"`

	lease     lease.Lease[*offenders]
	offenders *offenders
	burst     func(address string, failures int)
}

// Defaults of the guard.
const (
	DefaultGuardFailures = 50
	DefaultGuardWindow   = time.Minute
	DefaultGuardBan      = 5 * time.Minute
)

// guardedAddresses bounds the memory of the guard. When there are more, those whose window or ban ends first are
// forgotten first.
const guardedAddresses = 65536

// offenders remember failures by address, over reloads.
type offenders = cache.Cache[*offender]

var offenderPool = lease.NewPool[struct{}, *offenders]()

// offender counts the failures of one address.
type offender struct {
	mu       sync.Mutex
	failures int
	until    time.Time // the end of the window, or of the ban
	banned   bool
}

// provision checks the guard. burst is called once for each ban, and must not block.
func (g *Guard) provision(burst func(address string, failures int)) (err error) {
	if g.Failures < 0 || g.Window < 0 || g.Ban < 0 {
		return errors.New("guard: failures, window and ban must not be negative: 0 stands for the default")
	}
	if g.Failures == 0 {
		g.Failures = DefaultGuardFailures
	}
	if g.Window == 0 {
		g.Window = caddy.Duration(DefaultGuardWindow)
	}
	if g.Ban == 0 {
		g.Ban = caddy.Duration(DefaultGuardBan)
	}
	g.burst = burst
	g.lease, err = offenderPool.Take(struct{}{}, func() (*offenders, error) { return cache.New[*offender](guardedAddresses), nil })
	g.offenders = g.lease.Value
	return err
}

// judge counts the refusal of an invalid token, and returns what the client is told instead, or the refusal itself.
func (g *Guard) judge(r *http.Request, refusal *deny.Refusal, now time.Time) *deny.Refusal {
	if g == nil || refusal == nil || !refusal.Reason.IsInvalidToken() {
		return refusal
	}
	address, ok := guardedAddress(r)
	if !ok {
		return refusal
	}
	digest := g.offenders.Digest(address)
	o, ok := g.offenders.Get(digest, now)
	if !ok {
		o = new(offender)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.banned && now.Before(o.until) {
		banned := deny.TooManyFailures.Because("the address sent too many invalid tokens")
		banned.RetryAfter = o.until.Sub(now)
		return banned
	}
	if o.banned || !now.Before(o.until) {
		o.failures, o.banned, o.until = 0, false, now.Add(time.Duration(g.Window))
	}
	if o.failures++; o.failures >= g.Failures {
		o.banned, o.until = true, now.Add(time.Duration(g.Ban))
		g.burst(address, o.failures)
	}
	// Rounded up: the cache counts whole seconds, and must not forget a ban before its end.
	g.offenders.Put(digest, o, o.until.Add(time.Second))
	return refusal
}

// guardedAddress returns the client's address: IPv4 as it is, IPv6 as its /64, since that is what one client can choose
// from.
func guardedAddress(r *http.Request) (string, bool) {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	address, err := netip.ParseAddr(client)
	if err != nil {
		return "", false
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String(), true
	}
	prefix, err := address.Prefix(64)
	return prefix.String(), err == nil
}
