package celpolicy

import (
	"errors"
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// objectType is the type of principal or request: fields that the checker knows, so that a misspelt one is an error
// when the expression is compiled. It carries the name of its variable, which reads well in messages.
type objectType struct {
	name    string
	celType *cel.Type
	names   []string
	fields  map[string]*types.FieldType
}

// fieldReader returns the value of a field by its place in the type, or nil for an absent one.
type fieldReader interface {
	readField(index int) ref.Val
}

func newObjectType(name string) *objectType {
	return &objectType{
		name:    name,
		celType: cel.ObjectType(name, traits.FieldTesterType, traits.IndexerType),
		fields:  make(map[string]*types.FieldType),
	}
}

// add declares the next field.
func (t *objectType) add(name string, celType *cel.Type) {
	index := len(t.names)
	t.names = append(t.names, name)
	t.fields[name] = &types.FieldType{
		Type: celType,
		IsSet: func(target any) bool {
			o, ok := target.(*object)
			return ok && o.readField(index) != nil
		},
		GetFrom: func(target any) (any, error) {
			o, ok := target.(*object)
			if !ok {
				return nil, errors.New("no such field")
			}
			if value := o.readField(index); value != nil {
				return value, nil
			}
			return nil, fmt.Errorf("%s.%s is absent: ask with has(%s.%s)", t.name, name, t.name, name)
		},
	}
}

// object is a value of an objectType. Expressions that are typed read its fields through the type; the methods serve
// those that go through dyn().
type object struct {
	fieldReader
	kind *objectType
}

var (
	_ traits.FieldTester = (*object)(nil)
	_ traits.Indexer     = (*object)(nil)
)

// IsSet implements traits.FieldTester.
func (o *object) IsSet(field ref.Val) ref.Val {
	f, err := o.field(field)
	if err != nil {
		return err
	}
	return types.Bool(f.IsSet(o))
}

// Get implements traits.Indexer.
func (o *object) Get(index ref.Val) ref.Val {
	f, noField := o.field(index)
	if noField != nil {
		return noField
	}
	value, err := f.GetFrom(o)
	if err != nil {
		return types.WrapErr(err)
	}
	return value.(ref.Val)
}

func (o *object) field(name ref.Val) (*types.FieldType, ref.Val) {
	if text, ok := name.(types.String); ok {
		if f, ok := o.kind.fields[string(text)]; ok {
			return f, nil
		}
	}
	return nil, types.NewErr("%s has no such field", o.kind.name)
}

// ConvertToNative implements ref.Val.
func (o *object) ConvertToNative(reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot be converted", o.kind.name)
}

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(to ref.Type) ref.Val {
	if to == types.TypeType {
		return o.kind.celType
	}
	return types.NewErr("%s cannot be converted to %s", o.kind.name, to.TypeName())
}

// Equal implements ref.Val.
func (o *object) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(o)) }

// Type implements ref.Val.
func (o *object) Type() ref.Type { return o.kind.celType }

// Value implements ref.Val. It is what the fields of the type are read from.
func (o *object) Value() any { return o }

// typeProvider adds the object types to those of the libraries.
type typeProvider struct {
	types.Provider
}

func withObjectTypes(env *cel.Env) (*cel.Env, error) {
	return cel.CustomTypeProvider(typeProvider{env.CELTypeProvider()})(env)
}

func objectTypeOf(name string) *objectType {
	switch name {
	case principalType.name:
		return principalType
	case requestType.name:
		return requestType
	}
	return nil
}

// FindStructType implements types.Provider.
func (p typeProvider) FindStructType(name string) (*types.Type, bool) {
	if t := objectTypeOf(name); t != nil {
		return types.NewTypeTypeWithParam(t.celType), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p typeProvider) FindStructFieldNames(name string) ([]string, bool) {
	if t := objectTypeOf(name); t != nil {
		return t.names, true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p typeProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if t := objectTypeOf(name); t != nil {
		f, ok := t.fields[field]
		return f, ok
	}
	return p.Provider.FindStructFieldType(name, field)
}

// NewValue implements types.Provider. Nothing builds objects: checkExpression refuses it.
func (p typeProvider) NewValue(name string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("%s cannot be built", name)
}
