package celpolicy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:      "cel-policy",
		Short:     "Tests and explains policies of cel_policy",
		Long:      "Tests and explains the policies of the handler cel_policy, with the code that decides about requests.",
		CobraFunc: addCommands,
	})
}

// addCommands adds the subcommands. Whatever is wrong is returned as an error: that makes Caddy exit with 1.
func addCommands(cmd *cobra.Command) {
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown command %q: write test, explain or schema", args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return errors.Join(cmd.Usage(), errors.New("write test, explain or schema"))
	}
	cmd.AddCommand(testCommand(), explainCommand(), schemaCommand())
}

func testCommand() *cobra.Command {
	var config configFlags
	var format string
	cmd := &cobra.Command{
		Use:   "test {<file|folder>… | --config <file>}",
		Short: "Runs the tests of policy files",
		Long: `Runs the tests of policy files, and says which rules no test reached.

Each file is a policy of its own; a folder stands for all .yaml, .yml and .json files in and below it. With --config the
policies are those of a Caddyfile or JSON config: the rules of each cel_policy with all its files, and the tests of these.
Whatever a test does not set is the same in each run: the time is ` + testTime.Format(time.RFC3339) + `, placeholders of the machine are unknown.

The exit code is 1 when a test fails, when there is none, and when a policy has a mistake.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := formats[format]
			if !ok {
				return fmt.Errorf("unknown format %q: write text, json or junit", format)
			}
			policies, err := config.load(args)
			if err != nil {
				return err
			}
			var r report
			for _, policy := range policies {
				r.add(policy.test())
			}
			if err := write(&r, cmd.OutOrStdout()); err != nil {
				return err
			}
			switch {
			case r.Tests == 0:
				return errors.New("there are no tests")
			case r.Failed > 0:
				return fmt.Errorf("%d of %s failed", r.Failed, count(r.Tests, "test"))
			}
			return nil
		},
	}
	config.add(cmd)
	cmd.Flags().StringVar(&format, "format", "text", "text, json or junit")
	return cmd
}

func explainCommand() *cobra.Command {
	var e explainFlags
	cmd := &cobra.Command{
		Use:   "explain {--file <file> | --config <file>} --request '<METHOD> <path>' [--claims <file>]",
		Short: "Shows how a policy decides about a request",
		Long: `Shows how a policy decides about a request: each rule, what each part of its expression gave, and the decision.

--claims names a JSON file with the claims of a token ("-" is standard input), never a token; without, the caller is
anonymous. Placeholders of the machine, such as env.HOME, are unknown unless they are given.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // not quoted: it can be a token
				return errors.New("explain takes flags only: put method and path in quotes behind --request")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	e.config.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVarP(&e.files, "file", "f", nil, "policy file, or a pattern; several make one policy")
	flags.StringVar(&e.policy, "policy", "", "name of the policy, where there are several (default: all)")
	flags.StringVarP(&e.request, "request", "r", "", "method and path, such as 'GET /orders/7?page=1'")
	flags.StringVar(&e.claims, "claims", "", `JSON file with the claims; "-" is standard input`)
	flags.StringArrayVarP(&e.headers, "header", "H", nil, "header of the request, such as 'X-Device: managed'")
	flags.StringArrayVar(&e.placeholders, "placeholder", nil, "value of a placeholder, such as http.vars.country=DE")
	flags.StringVar(&e.asked.IP, "ip", "", "address of the client (default 127.0.0.1)")
	flags.StringVar(&e.asked.Host, "host", "", "host (default localhost)")
	flags.StringVar(&e.asked.Scheme, "scheme", "", "https or http (default https)")
	flags.Int64Var(&e.asked.Size, "size", 0, "size of the body; -1 is one that was not announced")
	flags.StringVar(&e.now, "now", "", "time of the request, such as 2026-07-15T12:00:00Z (default: the present)")
	flags.StringVar(&e.format, "format", "text", "text or json")
	return cmd
}

// explainFlags are what explain was asked.
type explainFlags struct {
	config                               configFlags
	files, headers, placeholders         []string
	policy, request, claims, now, format string
	asked                                scenarioRequest
}

func (e *explainFlags) run(cmd *cobra.Command) error {
	s, err := e.scenario(cmd.InOrStdin())
	if err != nil {
		return err
	}
	handlers, err := e.handlers()
	if err != nil {
		return err
	}
	explanations := make([]*explanation, 0, len(handlers))
	for _, h := range handlers {
		x, err := h.explain(s, time.Now())
		if err != nil {
			return err
		}
		explanations = append(explanations, x)
	}
	switch e.format {
	case "json":
		return writeJSON(cmd.OutOrStdout(), explanations)
	case "text":
		for _, x := range explanations {
			if err := x.writeText(cmd.OutOrStdout()); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("unknown format %q: write text or json", e.format)
}

// handlers returns what is to be explained.
func (e *explainFlags) handlers() ([]*Handler, error) {
	handlers, err := e.load()
	if err != nil || e.policy == "" {
		return handlers, err
	}
	var named []*Handler
	var names []string
	for _, h := range handlers {
		if h.compiled.name == e.policy {
			named = append(named, h)
		}
		if !slices.Contains(names, h.compiled.name) {
			names = append(names, h.compiled.name)
		}
	}
	if len(named) == 0 {
		return nil, fmt.Errorf("no policy is named %q: write one of %s", e.policy, strings.Join(names, ", "))
	}
	return named, nil
}

func (e *explainFlags) load() (handlers []*Handler, err error) {
	switch {
	case len(e.files) > 0 && e.config.file != "":
		return nil, errors.New("write --file or --config")
	case len(e.files) > 0:
		h := &Handler{File: e.files}
		return []*Handler{h}, h.load()
	case e.config.file == "":
		return nil, errors.New("write --file with a policy file, or --config")
	}
	loaded, err := e.config.load(nil)
	if err != nil {
		return nil, err
	}
	for _, l := range loaded {
		handlers = append(handlers, &Handler{policy: &l.policy, compiled: l.compiled, ReportOnly: l.reportOnly})
	}
	return handlers, nil
}

// scenario makes the request.
func (e *explainFlags) scenario(stdin io.Reader) (*scenario, error) {
	method, path, ok := strings.Cut(e.request, " ")
	if !ok || method == "" || !strings.HasPrefix(path, "/") {
		return nil, errors.New("write --request with method and path, such as --request 'GET /orders/7'")
	}
	s := &scenario{Request: e.asked, Placeholders: make(map[string]string)}
	s.Request.Method, s.Request.Path = method, path
	s.Request.Headers = make(map[string]valueList)
	for _, header := range e.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok || name == "" {
			return nil, errors.New("write --header '<name>: <value>'")
		}
		key := http.CanonicalHeaderKey(name)
		s.Request.Headers[key] = append(s.Request.Headers[key], strings.TrimSpace(value))
	}
	for _, placeholder := range e.placeholders {
		name, value, ok := strings.Cut(placeholder, "=")
		if !ok || name == "" {
			return nil, errors.New("write --placeholder <name>=<value>")
		}
		s.Placeholders[name] = value
	}
	var err error
	if e.now != "" {
		if s.Now, err = time.Parse(time.RFC3339, e.now); err != nil {
			return nil, fmt.Errorf("now: %q is not %s", e.now, examples["time.Time"])
		}
	}
	if e.claims != "" {
		s.Claims.Claims, err = readClaims(e.claims, stdin)
	}
	return s, err
}

const tokenGiven = "this is a token, which is never taken from the command line, where others see it: write the name of a file"

// isToken tells a token that was given in place of a file's name.
func isToken(name string) bool {
	return strings.HasPrefix(name, "eyJ") && strings.Count(name, ".") == 2
}

// readClaims reads a file of claims. What is wrong with it is told without any of it: it could be a token by mistake.
func readClaims(name string, stdin io.Reader) (claims *jwt.Claims, err error) {
	from := stdin
	if isToken(name) {
		return nil, errors.New("claims: " + tokenGiven)
	}
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("claims: %w", err)
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxFileSize))
	if err == nil {
		claims, err = parseClaims(text)
	}
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	return claims, nil
}
