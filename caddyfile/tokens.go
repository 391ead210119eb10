package caddyfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// block reads the options of a block: one function per word. A word that is unknown, or comes twice, is an error.
func block(d *caddyfile.Dispenser, options map[string]func() error) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		option, ok := options[word]
		if !ok {
			words := make([]string, 0, len(options))
			for known := range options {
				words = append(words, known)
			}
			slices.Sort(words)
			return d.Errf("unknown option %q: write one of %s", word, strings.Join(words, ", "))
		}
		if seen[word] {
			return d.Errf("%s is already set: write it once, with all its values on one line", word)
		}
		seen[word] = true
		if err := option(); err != nil {
			return err
		}
		if d.NextArg() {
			return d.Errf("unexpected %q: one option per line", d.Val())
		}
	}
	return nil
}

// text returns an option that takes exactly one value.
func text(d *caddyfile.Dispenser, into *string) func() error {
	return func() error {
		word := d.Val()
		if !d.NextArg() || d.Val() == "" {
			return d.Errf("%s needs a value", word)
		}
		*into = d.Val()
		return nil
	}
}

// list returns an option that takes one value or more.
func list(d *caddyfile.Dispenser, into *[]string) func() error {
	return func() error {
		word := d.Val()
		values := d.RemainingArgs()
		if len(values) == 0 || slices.Contains(values, "") {
			return d.Errf("%s needs a value", word)
		}
		*into = values
		return nil
	}
}

// number returns an option that takes a whole number above zero.
func number(d *caddyfile.Dispenser, into *int) func() error {
	return func() (err error) {
		word := d.Val()
		if !d.NextArg() {
			return d.Errf("%s needs a number", word)
		}
		if *into, err = strconv.Atoi(d.Val()); err != nil || *into < 1 {
			return d.Errf("%s: %q is not a number above zero", word, d.Val())
		}
		return nil
	}
}

// flag returns an option that takes no value.
func flag(into *bool) func() error {
	return func() error {
		*into = true
		return nil
	}
}

// duration returns an option that takes a duration above zero.
func duration(d *caddyfile.Dispenser, into *caddy.Duration) func() error {
	return func() error {
		word := d.Val()
		value, err := parseDuration(d)
		if err == nil && value == 0 {
			return d.Errf("%s must not be zero", word)
		}
		*into = caddy.Duration(value)
		return err
	}
}

func parseDuration(d *caddyfile.Dispenser) (time.Duration, error) {
	word := d.Val()
	if !d.NextArg() {
		return 0, d.Errf("%s needs a duration such as 30s or 1h", word)
	}
	value, err := caddy.ParseDuration(d.Val())
	if err != nil || value < 0 {
		return 0, d.Errf("%s: %q is not a duration such as 30s or 1h", word, d.Val())
	}
	return value, nil
}

// noBlock refuses a block where none belongs.
func noBlock(d *caddyfile.Dispenser, directive string) error {
	if nesting := d.Nesting(); d.NextBlock(nesting) {
		return d.Err(fmt.Sprintf("%s takes no block here", directive))
	}
	return nil
}
