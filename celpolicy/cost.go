package celpolicy

import (
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// The sizes that the cost of an expression is estimated with. They follow from what limits the inputs: a token, and by
// default all headers of a request, have 16 KiB.
const (
	textSize    = 16 << 10 // a text on its own, in characters
	itemSize    = 256      // a text in a list: all of them share the 16 KiB
	listSize    = 400      // a list or map of the token, which its issuer fills: a fifth of what a token can hold
	requestSize = 8192     // a list or map of the request, which anybody fills: "x&x&x&…" is the densest
)

// sizes tells the estimator how large inputs can be.
type sizes struct {
	local map[int64]bool // identifiers whose size the estimator knows better
}

func newSizes(checked *ast.AST) *sizes {
	s := &sizes{local: make(map[int64]bool)}
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.ComprehensionKind {
			return
		}
		loop := e.AsComprehension()
		known := []string{loop.AccuVar()} // what cel.bind names, or the result of a loop so far
		if kind := loop.IterRange().Kind(); kind == ast.ListKind || kind == ast.MapKind {
			known = append(known, loop.IterVar(), loop.IterVar2()) // the items of a literal
		}
		for _, part := range []ast.Expr{loop.LoopCondition(), loop.LoopStep(), loop.Result()} {
			s.mark(part, known)
		}
	}))
	return s
}

func (s *sizes) mark(within ast.Expr, names []string) {
	ast.PostOrderVisit(within, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.IdentKind {
			return
		}
		for _, name := range names {
			if e.AsIdent() == name {
				s.local[e.ID()] = true
			}
		}
	}))
}

// EstimateSize implements checker.CostEstimator. Nothing is left unknown but what the estimator knows itself: one
// unknown size would make the cost infinite.
func (s *sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	if e := node.Expr(); e != nil && s.local[e.ID()] { // the items of a list that is sorted are in no expression
		return nil
	}
	path := node.Path()
	item := len(path) > 0 && path[len(path)-1] == "@items"
	list := uint64(listSize)
	if len(path) > 0 && path[0] == "request" {
		list = requestSize
	}
	switch node.Type().Kind() {
	case types.StringKind, types.BytesKind:
		if item {
			return atMost(itemSize)
		}
		return atMost(textSize)
	case types.ListKind, types.MapKind:
		return atMost(list)
	case types.BoolKind, types.IntKind, types.UintKind, types.DoubleKind, types.TimestampKind, types.DurationKind:
		return nil
	}
	if item {
		return atMost(itemSize)
	}
	return atMost(list) // dyn and its kin: a list is the expensive thing that it can be
}

func atMost(size uint64) *checker.SizeEstimate { return &checker.SizeEstimate{Max: size} }

// EstimateCallCost implements checker.CostEstimator. The libraries bring their own estimates.
func (*sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// encodeCost takes the place of the library's estimate for json.encode, which is that it could cost anything. Its input
// is a part of the token or of the request.
func encodeCost(checker.CostEstimator, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return &checker.CallEstimate{CostEstimate: checker.CostEstimate{Min: 1, Max: textSize}, ResultSize: atMost(textSize)}
}
