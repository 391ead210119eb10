package oktaauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "okta",
		Usage: "verify --issuer <url> --audience <value> [-]",
		Short: "Checks access tokens as okta_auth does",
		Long: `
caddy okta verify reads an access token from standard input and prints each
check that okta_auth would make of it. It fetches the keys of the issuer, and
exits 1 when a check fails. The token is never taken from the command line,
where other users of the machine could read it:

	caddy okta verify --issuer https://acme.okta.com/oauth2/default \
		--audience api://default < token.txt
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					return fmt.Errorf("unknown command %q: write verify", args[0])
				}
				return nil
			}
			cmd.RunE = func(cmd *cobra.Command, _ []string) error {
				return errors.Join(cmd.Usage(), errors.New("write verify"))
			}
			cmd.AddCommand(verifyCommand())
		},
	})
}

// verifyCommand returns "verify".
func verifyCommand() *cobra.Command {
	var issuer Issuer
	var lifetime, skew time.Duration
	cmd := &cobra.Command{
		Use:          "verify --issuer <url> --audience <value> [-]",
		Short:        "Reads a token from standard input and prints each check",
		SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "-" {
				return errors.New("the token comes from standard input, not from the command line")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			issuer.MaxLifetime = caddy.Duration(lifetime)
			issuer.ClockSkew = (*caddy.Duration)(&skew)
			return verifyToken(cmd.Context(), &issuer, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&issuer.URL, "issuer", "", "issuer URL, as in the configuration")
	flags.StringSliceVar(&issuer.Audience, "audience", nil, "accepted audience; may be repeated")
	flags.StringSliceVar(&issuer.ClientID, "client_id", nil, "accepted client; may be repeated")
	flags.StringVar(&issuer.Profile, "profile", "", "okta or rfc9068")
	flags.StringSliceVar(&issuer.Algorithms, "algorithms", nil, "accepted algorithms")
	flags.DurationVar(&lifetime, "max_lifetime", 0, "longest accepted exp - iat; 0 is any")
	flags.DurationVar(&skew, "clock_skew", DefaultClockSkew, "tolerance for times")
	flags.StringVar(&issuer.KeysURL, "keys_url", "", "JWKS of the issuer, instead of discovery")
	flags.StringVar(&issuer.KeysFile, "keys_file", "", "JWKS file; no network")
	flags.StringVar(&issuer.TLSCA, "tls_ca", "", "PEM roots for the issuer's certificate")
	flags.BoolVar(&issuer.InsecureHTTP, "insecure_http", false, "allow http:// beyond loopback")
	return cmd
}

// verifyToken plays the steps of [Handler.authenticate] one by one, and tells what came of each.
func verifyToken(ctx context.Context, issuer *Issuer, in io.Reader, out io.Writer) error {
	if err := issuer.provision(); err != nil {
		return err
	}
	defer issuer.lease.Release() //nolint:errcheck // the process ends
	// One byte more than is allowed, and a line break, so that a longer token is told apart.
	text, err := io.ReadAll(io.LimitReader(in, jwt.MaxSize+3))
	if err != nil {
		return err
	}
	h := new(Handler)
	if err := h.provisionRoutes([]*Issuer{issuer}); err != nil {
		return err
	}
	report := func(name string, refusal *deny.Refusal) error {
		if refusal == nil {
			fmt.Fprintf(out, "ok    %s\n", name)
			return nil
		}
		fmt.Fprintf(out, "FAIL  %s: %v\n", name, refusal)
		return fmt.Errorf("the token is refused: %s", refusal.Reason)
	}
	v, err := verifySteps(ctx, h.routes[0], strings.TrimSpace(string(text)), report)
	if err != nil {
		return err
	}
	judge := func(checks []check) error {
		for _, check := range checks {
			if err := report(check.name, check.judge(h.routes[0], v, time.Now())); err != nil {
				return err
			}
		}
		return nil
	}
	if err := judge(valid); err != nil {
		return err
	}
	if err := reportBinding(v, report); err != nil {
		return err
	}
	if err := judge(h.routes[0].allowed); err != nil {
		return err
	}
	c := v.identity
	fmt.Fprintf(out, "\n%s %s, client %s, scopes %q, groups %q, expires %s\n",
		c.Kind(), c.Subject, c.ClientID, c.Scopes, c.Groups, c.ExpiresAt.UTC().Format(time.RFC3339))
	return ctx.Err()
}

// reportBinding tells what requests with the token have to prove, which cannot be checked without one.
func reportBinding(v *verified, report func(string, *deny.Refusal) error) error {
	bound, ok := readConfirmation(v.identity.Confirmation)
	name := "binding to the sender: none"
	switch {
	case !ok:
		return report("binding to the sender", deny.ProofRequired.Because("cnf names a binding that cannot be checked"))
	case bound.thumbprint != "":
		name = "binding to the sender: requests need a DPoP proof of the key " + bound.thumbprint
	case bound.certificate != "":
		name = "binding to the sender: requests need the client certificate " + bound.certificate
	}
	return report(name, nil)
}

// verifySteps plays the steps before the checks of a verified token.
func verifySteps(ctx context.Context, rt *route, text string, report func(string, *deny.Refusal) error) (*verified, error) {
	var refusal *deny.Refusal
	if !isB64Token(text) {
		refusal = deny.MalformedRequest.Because("standard input holds no token, or more than one")
	}
	if err := report("alphabet", refusal); err != nil {
		return nil, err
	}
	token, err := jwt.Parse(text)
	if err != nil {
		return nil, report("form", deny.MalformedToken.Because("%w", err))
	}
	_ = report("form", nil)
	if issuer, _ := token.Claims.Get("iss"); issuer != rt.URL {
		refusal = deny.WrongIssuer.Because("iss is %q, want %q", issuer, rt.URL)
	}
	if err := report("issuer", refusal); err != nil {
		return nil, err
	}
	if err := report("algorithm", rt.checkAlgorithm(token.Algorithm)); err != nil {
		return nil, err
	}
	found, err := rt.keys.Lookup(ctx, token.KeyID)
	if err != nil {
		return nil, report("key", keyRefusal(err))
	}
	_ = report("key", nil)
	v, err := rt.keys.verify(token, found)
	if errors.As(err, &refusal) {
		return nil, report("signature", refusal)
	}
	return v, report("signature", nil)
}
