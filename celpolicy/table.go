package celpolicy

import (
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// table is a map from texts in CEL's form, of which no map has to be made for those who name what they want, whether it
// is there or not. All else is left to CEL's own map.
type table struct{ entries }

// entries are what a table holds: one of them, and all in a form that [nativeAdapter] knows.
type entries interface {
	get(name string) (value ref.Val, ok bool)
	all() map[string]any
}

var (
	_ traits.Mapper = (*table)(nil)
	_ traits.Zeroer = (*table)(nil)

	natives = nativeAdapter{types.DefaultTypeAdapter}
)

func (t *table) mapper() traits.Mapper { return types.NewStringInterfaceMap(natives, t.all()) }

// Find implements traits.Mapper.
func (t *table) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	return t.get(string(name))
}

// Get implements traits.Indexer.
func (t *table) Get(key ref.Val) ref.Val {
	value, ok := t.Find(key)
	if !ok {
		return types.NewErr("no such key: %v", key)
	}
	return value
}

// Contains implements traits.Container.
func (t *table) Contains(key ref.Val) ref.Val {
	_, ok := t.Find(key)
	return types.Bool(ok)
}

// IsZeroValue implements traits.Zeroer.
func (t *table) IsZeroValue() bool { return len(t.all()) == 0 }

// Iterator implements traits.Iterable.
func (t *table) Iterator() traits.Iterator { return t.mapper().Iterator() }

// Size implements traits.Sizer.
func (t *table) Size() ref.Val { return t.mapper().Size() }

// ConvertToNative implements ref.Val.
func (t *table) ConvertToNative(to reflect.Type) (any, error) { return t.mapper().ConvertToNative(to) }

// ConvertToType implements ref.Val.
func (t *table) ConvertToType(to ref.Type) ref.Val { return t.mapper().ConvertToType(to) }

// Equal implements ref.Val.
func (t *table) Equal(other ref.Val) ref.Val { return t.mapper().Equal(other) }

// Type implements ref.Val.
func (*table) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (t *table) Value() any { return t.all() }
