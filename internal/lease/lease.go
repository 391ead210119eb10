// Package lease shares long-lived values between configurations.
//
// Caddy provisions a new configuration before it cleans up the old one, so a value that both lease survives a reload,
// and is destroyed when the last lease is released. A leased value keeps nothing of the configuration that made it: no
// logger, no context.
package lease

import "github.com/caddyserver/caddy/v2"

// Pool holds values of one kind by key.
type Pool[K comparable, V caddy.Destructor] struct {
	pool *caddy.UsagePool
}

// NewPool returns an empty pool.
func NewPool[K comparable, V caddy.Destructor]() Pool[K, V] {
	return Pool[K, V]{caddy.NewUsagePool()}
}

// Take leases the value of key, and makes it first if nobody holds it.
func (p Pool[K, V]) Take(key K, create func() (V, error)) (Lease[V], error) {
	value, _, err := p.pool.LoadOrNew(key, func() (caddy.Destructor, error) { return create() })
	if err != nil {
		return Lease[V]{}, err
	}
	return Lease[V]{
		Value:   value.(V),
		release: func() error { _, err := p.pool.Delete(key); return err },
	}, nil
}

// Lease is a reference to a value of a pool. The zero Lease holds nothing, and releasing it does nothing: a
// configuration that fails half-way releases exactly what it took.
//
// Whatever runs at the same time as Release, such as a request that a stopping server still answers, must hold a copy
// of Value and not read it from the lease.
type Lease[V any] struct {
	Value   V
	release func() error
}

// Release gives the value back. The value must not be used afterwards. A second call does nothing.
func (l *Lease[V]) Release() error {
	release := l.release
	*l = Lease[V]{}
	if release == nil {
		return nil
	}
	return release()
}
