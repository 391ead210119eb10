package principal

import "sync"

// Memo computes one value once, whoever asks first.
type Memo struct {
	once  sync.Once
	value any
}

// Get returns the value of compute, which runs at most once.
func (m *Memo) Get(compute func() any) any {
	m.once.Do(func() { m.value = compute() })
	return m.value
}
