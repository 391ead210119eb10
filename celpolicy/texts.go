package celpolicy

import (
	"reflect"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// textList is a list of texts in CEL's form, which is the one that it has already: "in" compares texts, and makes no
// values of them. What rules seldom do is left to CEL's own list.
type textList []string

var (
	_ traits.Lister = (*textList)(nil)
	_ traits.Zeroer = (*textList)(nil)
)

func (l *textList) list() traits.Lister { return types.NewStringList(types.DefaultTypeAdapter, *l) }

// Contains implements traits.Container.
func (l *textList) Contains(item ref.Val) ref.Val {
	text, ok := item.(types.String)
	return types.Bool(ok && slices.Contains(*l, string(text)))
}

// Size implements traits.Sizer.
func (l *textList) Size() ref.Val { return types.Int(len(*l)) }

// IsZeroValue implements traits.Zeroer.
func (l *textList) IsZeroValue() bool { return len(*l) == 0 }

// Add implements traits.Adder.
func (l *textList) Add(other ref.Val) ref.Val { return l.list().Add(other) }

// Get implements traits.Indexer.
func (l *textList) Get(index ref.Val) ref.Val { return l.list().Get(index) }

// Iterator implements traits.Iterable.
func (l *textList) Iterator() traits.Iterator { return l.list().Iterator() }

// ConvertToNative implements ref.Val.
func (l *textList) ConvertToNative(to reflect.Type) (any, error) { return l.list().ConvertToNative(to) }

// ConvertToType implements ref.Val.
func (l *textList) ConvertToType(to ref.Type) ref.Val { return l.list().ConvertToType(to) }

// Equal implements ref.Val.
func (l *textList) Equal(other ref.Val) ref.Val { return l.list().Equal(other) }

// Type implements ref.Val.
func (*textList) Type() ref.Type { return types.ListType }

// Value implements ref.Val.
func (l *textList) Value() any { return []string(*l) }
