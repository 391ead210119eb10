package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// orders are what the tools are about.
type orders struct {
	mu     sync.Mutex
	states map[string]string // by id
}

func newOrders() *orders {
	return &orders{states: map[string]string{"7": "paid", "8": "shipped"}}
}

var (
	noArguments = json.RawMessage(`{"type":"object"}`)
	oneOrder    = json.RawMessage(`{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]}`)
)

// reading are the tools that change nothing.
func (o *orders) reading() []tool {
	return []tool{
		{"list_orders", "Lists the ids of all orders.", noArguments, o.list},
		{"get_order", "Tells the state of an order.", oneOrder, o.get},
	}
}

// changing are the tools for those who administer orders.
func (o *orders) changing() []tool {
	return []tool{{"cancel_order", "Cancels an order.", oneOrder, o.cancel}}
}

func (o *orders) list(string, string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(o.states)), ", "), nil
}

var errNoOrder = errors.New("there is no such order")

func (o *orders) get(_, id string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	state, ok := o.states[id]
	if !ok {
		return "", errNoOrder
	}
	return state, nil
}

func (o *orders) cancel(caller, id string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.states[id]; !ok {
		return "", errNoOrder
	}
	o.states[id] = "cancelled by " + caller
	return fmt.Sprintf("order %s is %s", id, o.states[id]), nil
}
