// Command loadbench measures what the gateway adds to each request: bare Caddy, and Caddy with okta_auth, the default
// identity headers and a cel_policy of ten rules, in front of the same backend, under the same requests. A third gateway
// only takes the credential away and writes the same headers, which it makes up: what that costs Caddy, any gateway that
// tells the backend who calls makes it pay.
//
//	go run ./integration/loadbench
//	go run ./integration/loadbench -tokens 1 -rounds 100 -profile one
//	go run ./integration/loadbench -tokens "" -cold
//	GOMAXPROCS=1 go run ./integration/loadbench
//
// Nothing has to be installed and no network is needed. The program starts itself again as backend and as gateways, each
// a process of its own, and drives requests over real sockets, on connections that stay open. All gateways get the same
// tokens on the same paths; rounds alternate between them, so that what else the machine does hits all. The processor
// time is what the operating system accounts to the gateway's process, whatever time driver and backend take. A round
// counts only if every answer was 200 and the backend saw what it should: identity headers that fit the path and no
// token, or from bare Caddy the token and no identity. What is reported is the median of the rounds and, in parentheses, the
// half of them in the middle: on a machine with neighbours, a few rounds are far off.
//
// Each set of tokens has fresh processes, whose first round is not counted. Shared sets are sent through the cache once
// before that. Tokens are RS256, as Okta's are; sets of more than 10,000 are ES256, since RS256 takes a millisecond of
// minting for each.
//
// Flags:
//
//	-tokens      sets to measure, separated by commas: a number of tokens that all rounds share, or "distinct", where
//	             no token is sent twice. Default: 1,1000,100000,distinct
//	-rounds      measured rounds for each set and gateway. Default: 40
//	-round-time  length of a round. Default: 250ms
//	-distinct    tokens that a distinct round takes; it ends when they are used up. Default: 500
//	-connections connections to the gateway, each with one request at a time. Default: 16
//	-cold        measure cold starts too (process start to the first accepted request, keys not yet known), and reloads
//	             of 100 routes with ten rules each through the admin API
//	-profile     path without extension: after its rounds, each set is repeated for as long, to profile all gateways
//	             into <path>.<set>.bare.cpu, <path>.<set>.headers.cpu, <path>.<set>.ours.cpu, and the same for
//	             allocs and mutex
//	-limit       the whole run is given up after this time. Default: 10m; without -cold a default run takes three minutes
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if role := os.Getenv(roleVariable); role != "" {
		err = play(role, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadbench:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	sets        []int // numbers of tokens; 0 is the distinct set
	rounds      int
	roundTime   time.Duration
	distinct    int
	connections int
	cold        bool
	profile     string
	limit       time.Duration
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("loadbench", flag.ContinueOnError)
	tokens := flags.String("tokens", "1,1000,100000,distinct", "sets of tokens to measure")
	flags.IntVar(&s.rounds, "rounds", 40, "measured rounds for each set and gateway")
	flags.DurationVar(&s.roundTime, "round-time", 250*time.Millisecond, "length of a round")
	flags.IntVar(&s.distinct, "distinct", 500, "tokens that a distinct round takes")
	flags.IntVar(&s.connections, "connections", 16, "connections to the gateway")
	flags.BoolVar(&s.cold, "cold", false, "measure cold starts and reloads too")
	flags.StringVar(&s.profile, "profile", "", "path without extension for profiles of all gateways")
	flags.DurationVar(&s.limit, "limit", 10*time.Minute, "the whole run is given up after this time")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.rounds < 1 || s.roundTime <= 0 || s.distinct < 1 || s.connections < 1 {
		return s, errors.New("-rounds, -round-time, -distinct and -connections must be positive")
	}
	for word := range strings.FieldsFuncSeq(*tokens, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(word)
		switch {
		case word == "distinct":
			n = 0
		case err != nil || n < 1:
			return s, fmt.Errorf(`-tokens: %q is no set: write a number of tokens, or "distinct"`, word)
		}
		s.sets = append(s.sets, n)
	}
	return s, nil
}

var errLimit = errors.New("not done within -limit: measure less, or allow more time")

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, errLimit)
	defer cancel()
	err = benchmark(ctx, s, out)
	if cause := context.Cause(ctx); cause != nil {
		return cause // what failed then failed because of it
	}
	return err
}
