package celpolicy

import (
	"maps"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// params is the variable params: what the path of the request has where the pattern of the rule has parameters. A rule
// that names one finds it in the path; for all else there is CEL's own map.
type params struct {
	pattern *pattern
	path    string
}

var (
	_ traits.Mapper = (*params)(nil)
	_ traits.Zeroer = (*params)(nil)
)

func (p *params) mapper() traits.Mapper {
	return types.NewStringStringMap(types.DefaultTypeAdapter, maps.Collect(p.pattern.values(p.path)))
}

// Find implements traits.Mapper.
func (p *params) Find(key ref.Val) (ref.Val, bool) {
	wanted, ok := key.(types.String)
	for name, value := range p.pattern.values(p.path) {
		if ok && name == string(wanted) {
			return types.String(value), true
		}
	}
	return p.mapper().Find(key)
}

// IsZeroValue implements traits.Zeroer.
func (p *params) IsZeroValue() bool { return len(p.pattern.params()) == 0 }

// Get implements traits.Indexer.
func (p *params) Get(key ref.Val) ref.Val { return p.mapper().Get(key) }

// Contains implements traits.Container.
func (p *params) Contains(key ref.Val) ref.Val { return p.mapper().Contains(key) }

// Iterator implements traits.Iterable.
func (p *params) Iterator() traits.Iterator { return p.mapper().Iterator() }

// Size implements traits.Sizer.
func (p *params) Size() ref.Val { return p.mapper().Size() }

// ConvertToNative implements ref.Val.
func (p *params) ConvertToNative(to reflect.Type) (any, error) { return p.mapper().ConvertToNative(to) }

// ConvertToType implements ref.Val.
func (p *params) ConvertToType(to ref.Type) ref.Val { return p.mapper().ConvertToType(to) }

// Equal implements ref.Val.
func (p *params) Equal(other ref.Val) ref.Val { return p.mapper().Equal(other) }

// Type implements ref.Val.
func (*params) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (p *params) Value() any { return p.mapper().Value() }
