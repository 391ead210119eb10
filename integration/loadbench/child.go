package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// roleVariable tells a process that it is a child, and which.
const roleVariable = "LOADBENCH_ROLE"

// order is what the driver tells a child, as one line of JSON on the child's standard input.
type order struct {
	Do   string `json:"do"`
	Text string `json:"text,omitempty"`
}

// answer is the child's line on its standard output, one for each order.
type answer struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// play is the whole life of a child. It ends with its orders, so that no child outlives the driver, however that ended.
func play(role string, in io.Reader, out io.Writer) error {
	var obey func(order) (any, error)
	switch role {
	case "gateway":
		obey = new(gateway).obey
	case "backend":
		obey = new(backend).obey
	default:
		return fmt.Errorf("unknown role %q", role)
	}
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var a answer
		result, err := obey(o)
		if err == nil {
			a.Result, err = json.Marshal(result)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

// child is the driver's side of a child process.
type child struct {
	process *exec.Cmd
	stdin   io.Closer
	orders  *json.Encoder
	answers *json.Decoder
}

// startChild starts this program again in another role. The end of ctx kills the process.
func startChild(ctx context.Context, role string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process := exec.CommandContext(ctx, self)
	process.Env = append(os.Environ(), roleVariable+"="+role)
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	return &child{process, stdin, json.NewEncoder(stdin), json.NewDecoder(stdout)}, nil
}

// call gives an order and waits for its result. A nil result is not read.
func (c *child) call(o order, result any) error {
	if err := c.send(o); err != nil {
		return err
	}
	return c.answer(o, result)
}

func (c *child) send(o order) error { return c.orders.Encode(o) }

func (c *child) answer(o order, result any) error {
	var a answer
	if err := c.answers.Decode(&a); err != nil {
		return fmt.Errorf("no answer to %s: %w", o.Do, err)
	}
	if a.Error != "" {
		return fmt.Errorf("%s: %s", o.Do, a.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(a.Result, result)
}

// stop ends the process, which has a few seconds for it.
func (c *child) stop() error {
	_ = c.stdin.Close()
	defer time.AfterFunc(5*time.Second, func() { _ = c.process.Process.Kill() }).Stop()
	return c.process.Wait()
}
