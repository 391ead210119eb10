package caddyfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/spf13/cobra"
)

// block reads the options of a block: one function per word. A word that is unknown, or comes twice, is an error.
func block(d *caddyfile.Dispenser, options map[string]func() error) error {
	return checked(d, options, func() error { return nil })
}

// checked reads a block, and then has check judge what it says. A mistake is reported on the line of the option that its
// message begins with, and else on the line on which the block begins.
func checked(d *caddyfile.Dispenser, options map[string]func() error, check func() error) error {
	begin, at := *d, make(map[string]caddyfile.Dispenser)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		option, ok := options[word]
		if !ok {
			return d.Errf("unknown option %q: %s", word, instead(word, slices.Collect(maps.Keys(options))))
		}
		if _, ok := at[word]; ok {
			return d.Errf("%s is already set: write it once, with all its values on one line", word)
		}
		at[word] = *d
		if err := option(); err != nil {
			return err
		}
		if d.NextArg() {
			return d.Errf("unexpected %q: one option per line", d.Val())
		}
	}
	err := check()
	if err == nil {
		return nil
	}
	word, _, _ := strings.Cut(err.Error(), " ")
	if option, ok := at[strings.TrimSuffix(word, ":")]; ok {
		return option.WrapErr(err)
	}
	return begin.WrapErr(err)
}

// instead says what to write for a word that is none of those known: the one that was meant, or else any of them.
func instead(word string, known []string) string {
	slices.Sort(known)
	commands := cobra.Command{SuggestionsMinimumDistance: min(2, len(word)/2)}
	for _, name := range known {
		commands.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	if meant := commands.SuggestionsFor(word); len(meant) > 0 {
		return fmt.Sprintf("did you mean %s?", strings.Join(meant, " or "))
	}
	return "write one of " + strings.Join(known, ", ")
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

// durationOrZero returns an option that takes a duration. Zero differs from not being set.
func durationOrZero(d *caddyfile.Dispenser, into **caddy.Duration) func() error {
	return func() error {
		parsed, err := parseDuration(d)
		value := caddy.Duration(parsed)
		*into = &value
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
