// Command quickstart shows the gateway at work, with nothing installed and no network: it starts an Okta-shaped
// authorization server, an echo backend, and real Caddy with the Caddyfile beside this file, all on loopback. It prints
// a curl line for each story and stays until Ctrl-C.
//
// With -check it plays all stories itself, prints one line for each request, and exits 1 on any difference.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	var ports ports
	check := flags.Bool("check", false, "play all stories, print what came of each request, and exit")
	flags.IntVar(&ports.gateway, "gateway-port", 0, "port of Caddy (0: any free one)")
	flags.IntVar(&ports.admin, "admin-port", 0, "port of Caddy's admin API (0: any free one)")
	flags.IntVar(&ports.issuer, "issuer-port", 0, "port of the authorization server (0: any free one)")
	flags.IntVar(&ports.backend, "backend-port", 0, "port of the echo backend (0: any free one)")
	flags.IntVar(&ports.stage, "stage-port", 0, "port of the stage, which hands out tokens and moves the scenery (0: any free one)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}

	w, err := startWorld(ports)
	if err != nil {
		return err
	}
	defer func() {
		if closing := w.close(); err == nil {
			err = closing
		}
	}()
	if *check {
		return w.play(ctx, out)
	}
	w.describe(out)
	<-ctx.Done()
	fmt.Fprintln(out, "\nstopped")
	return nil
}
